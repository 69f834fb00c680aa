//! The refusals of the API as programs read them, as snapshots in `snapshots/`.

use axum::body::Body;
use axum::http::Request;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::harness::{TestConsole, console_with_roles, test_console};

impl TestConsole {
    async fn refusal(&self, request: Request<Body>) -> String {
        let (status, _, body) = self.answers(request).await;
        assert!(!status.is_success(), "{body}");
        format!("{body:#}\n")
    }

    async fn refuses(&self, method: &str, path: &str, body: &Value) -> String {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let body = if body.is_null() { Body::empty() } else { body.to_string().into() };
        format!("{method} {path}\n{}", self.refusal(request.body(body).unwrap()).await)
    }
}

#[tokio::test]
async fn refusals() {
    let console = test_console().await;
    let order = json!({ "amount_minor": 12_000, "currency": "THB" });
    assert_eq!(console.put("/v1/orders/O-1", &order).await.0, 201);
    let payment = |account| {
        json!({
            "amount_minor": 1, "currency": "THB", "payments": [{ "provider": "antom", "account": account, "id": "PR-1" }],
        })
    };
    let mut all = Vec::new();
    for (method, path, body) in [
        ("GET", "/v1/nonsense", Value::Null),
        ("DELETE", "/v1/orders", Value::Null),
        ("GET", "/v1/orders/O-2", Value::Null),
        ("GET", "/v1/orders/with%20space", Value::Null),
        ("GET", "/v1/orders?state=closed", Value::Null),
        ("GET", "/v1/orders?limit=many", Value::Null),
        ("GET", "/v1/orders?status=paid", Value::Null),
        ("GET", "/v1/dead-letters?state=closed", Value::Null),
        ("GET", "/v1/notifications/7", Value::Null),
        ("GET", "/v1/notifications?since=yesterday", Value::Null),
        ("PUT", "/v1/orders/O-1", json!({ "amount_minor": 12_100, "currency": "THB" })),
        ("PUT", "/v1/orders/O-2", json!({ "amount_minor": 0, "currency": "THB" })),
        ("PUT", "/v1/orders/O-2", json!({ "amount_minor": 1, "currency": "baht" })),
        ("PUT", "/v1/orders/O-2", json!({ "amount_minor": 1 })),
        ("PUT", "/v1/orders/O-2", json!({ "amount_minor": 1, "currency": "THB", "note": "" })),
        ("PUT", "/v1/orders/O-2", payment("nowhere")),
        ("POST", "/v1/orders/O-1/release", json!({ "reason": "checked" })),
        ("POST", "/v1/orders/O-1/release", json!({ "reason": "checked", "version": 0 })),
        ("POST", "/v1/dead-letters/discard", json!({ "reason": "checked" })),
        ("POST", "/v1/dead-letters/discard", json!({ "filter": { "all": true } })),
        ("POST", "/v1/dead-letters/replay", json!({ "filter": { "kind": "x" }, "plan": true })),
        ("POST", "/v1/drift", json!({ "since": "1h", "until": "2h" })),
    ] {
        all.push(console.refuses(method, path, &body).await);
    }
    assert_snapshot!("refusals", all.join("\n"));
    let text = Request::builder().method("PUT").uri("/v1/orders/O-2").body("amount=1".into()).unwrap();
    assert_snapshot!("no_json", console.refusal(text).await);
    let elsewhere = Request::builder().uri("/v1/orders").header("host", "evil.example").body(Body::empty()).unwrap();
    assert_snapshot!("from_elsewhere", console.refusal(elsewhere).await);
    console.cannot_write().await;
    assert_snapshot!("store_away", console.refuses("PUT", "/v1/orders/O-2", &order).await);
}

#[tokio::test]
async fn refusals_of_callers() {
    let console = console_with_roles().await;
    let request = |token: &str| {
        let request = Request::builder().method("PUT").uri("/v1/orders/O-1").header("authorization", token);
        request.body(Body::empty()).unwrap()
    };
    assert_snapshot!("unknown_token", console.refusal(request("Bearer nonsense")).await);
    assert_snapshot!("other_role", console.refusal(request("Bearer token-of-viewer")).await);
}
