use axum::body::Body;
use axum::http::Request;
use payhook_store::traits::*;

use crate::harness::{TestConsole, console_with_roles, detail, test_console};

/// Everything that can be asked for, and who may, besides whoever has the one token for everything.
const WHO_MAY: &[(&str, &str, &[&str])] = &[
    ("GET", "/v1/orders", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/orders/O-1", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/orders/O-1/timeline", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/authorizations/AU-1", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/authorizations/AU-1/timeline", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/events", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/dead-letters", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/dead-letters/groups", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/dead-letters/DL-1", &["viewer", "operator", "merchant", "admin"]),
    ("POST", "/v1/dead-letters/replay", &["operator", "admin"]),
    ("POST", "/v1/dead-letters/discard", &["operator", "admin"]),
    ("POST", "/v1/dead-letters/note", &["operator", "admin"]),
    ("GET", "/v1/notifications", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/notifications/N-1", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/notifications/N-1/body", &["admin"]),
    ("POST", "/v1/notifications/replay", &["operator", "admin"]),
    ("GET", "/v1/replays", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/replays/R-1", &["viewer", "operator", "merchant", "admin"]),
    ("GET", "/v1/replays/R-1/items", &["viewer", "operator", "merchant", "admin"]),
    ("POST", "/v1/replays/R-1/pause", &["operator", "admin"]),
    ("POST", "/v1/replays/R-1/resume", &["operator", "admin"]),
    ("POST", "/v1/replays/R-1/cancel", &["operator", "admin"]),
    ("POST", "/v1/drift", &["operator", "admin"]),
    ("POST", "/v1/orders/O-1/release", &["operator", "admin"]),
    ("POST", "/v1/orders/O-1/refresh", &["operator", "merchant", "admin"]),
    ("PUT", "/v1/orders/O-1", &["merchant", "admin"]),
    ("PUT", "/v1/authorizations/AU-1", &["merchant", "admin"]),
    ("POST", "/v1/authorizations/AU-1/token", &["merchant"]),
    ("GET", "/v1/audit", &["admin"]),
    ("POST", "/v1/keys/rotate", &["admin"]),
];

impl TestConsole {
    async fn status(&self, method: &str, path: &str, authorization: Option<&str>) -> (u16, serde_json::Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let (status, _, body) = self.answers(request.body(Body::empty()).unwrap()).await;
        (status.as_u16(), body)
    }
}

#[tokio::test]
async fn each_role_has_the_rights_of_its_work_and_no_more() {
    let console = console_with_roles().await;
    for (method, path, may) in WHO_MAY {
        for role in ["viewer", "operator", "merchant", "admin", "all"] {
            let (status, body) = console.status(method, path, Some(&format!("Bearer token-of-{role}"))).await;
            let allowed = role == "all" || may.contains(&role);
            // Allowed is whatever the handler makes of an empty console: 200, 404, or 415 for the body that is missing.
            assert_eq!(status != 403, allowed, "{role}: {method} {path}: {status} {body}");
            assert_ne!(status, 401);
            if !allowed {
                assert!(may.iter().all(|wanted| detail(&body).contains(&format!("`{wanted}`"))), "{body}");
                assert!(detail(&body).contains(&format!("`the-{role}` has `{role}`")), "{body}");
            }
        }
    }
}

#[tokio::test]
async fn a_stranger_learns_nothing_but_that_a_token_is_wanted() {
    let console = console_with_roles().await;
    for (method, path, _) in WHO_MAY {
        for authorization in
            [None, Some("Bearer "), Some("Bearer token-of"), Some("Basic token-of-admin"), Some("token-of-admin")]
        {
            let (status, body) = console.status(method, path, authorization).await;
            assert_eq!(status, 401, "{method} {path} {authorization:?}: {body}");
        }
    }
    let twice = Request::get("/v1/orders")
        .header("authorization", "Bearer token-of-admin")
        .header("authorization", "Bearer token-of-viewer");
    let (status, headers, _) = console.answers(twice.body(Body::empty()).unwrap()).await;
    assert_eq!((status.as_u16(), &headers["www-authenticate"]), (401, &"Bearer".parse().unwrap()));
}

#[tokio::test]
async fn who_registers_and_who_refreshes_is_in_the_audit_log() {
    let console = console_with_roles().await;
    let order = serde_json::json!({ "amount_minor": 5_000, "currency": "THB", "payments": [] }).to_string();
    let authorization = serde_json::json!({ "account": "shop", "auth_state": "S-1", "customer_belongs_to": "KPLUS" });
    for (method, path, body) in [
        ("PUT", "/v1/orders/O-1", order),
        ("PUT", "/v1/authorizations/AU-1", authorization.to_string()),
        ("POST", "/v1/orders/O-1/refresh", String::new()),
    ] {
        let request = Request::builder().method(method).uri(path).header("authorization", "Bearer token-of-merchant");
        let request = request.header("content-type", "application/json").body(body.into()).unwrap();
        let (status, _, answer) = console.answers(request).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
    }
    let entries = console.store.audit_list(None, 10).await.unwrap();
    let mut seen: Vec<_> = entries.iter().map(|entry| (&*entry.who, &*entry.action, &*entry.subject)).collect();
    seen.sort_unstable();
    let expected = [("authorization.register", "AU-1"), ("order.refresh", "O-1"), ("order.register", "O-1")];
    assert_eq!(seen, expected.map(|(action, subject)| ("the-merchant", action, subject)));
}

#[tokio::test]
async fn an_unknown_method_is_a_405_and_another_role_a_403() {
    let console = console_with_roles().await;
    let viewer = Some("Bearer token-of-viewer");
    assert_eq!(console.status("DELETE", "/v1/orders/O-1", viewer).await.0, 405);
    assert_eq!(console.status("POST", "/v1/audit", viewer).await.0, 405);
    assert_eq!(console.status("HEAD", "/v1/audit", viewer).await.0, 403, "a look is a look");
    assert_eq!(console.status("GET", "/v1/nothing", viewer).await.0, 404);
}

#[tokio::test]
async fn where_no_token_is_asked_for_everything_may_be_done() {
    let console = test_console().await;
    for (method, path, _) in WHO_MAY {
        let (status, _) = console.status(method, path, None).await;
        assert!(!matches!(status, 401 | 403), "{method} {path}: {status}");
    }
}

#[tokio::test]
async fn the_audit_log_is_listed_newest_first_in_pages() {
    let console = console_with_roles().await;
    for _ in 0..3 {
        console.status("POST", "/v1/keys/rotate", Some("Bearer token-of-admin")).await;
    }
    let admin = Some("Bearer token-of-admin");
    let (_, first) = console.status("GET", "/v1/audit?limit=2", admin).await;
    let next = first["next"].as_str().unwrap();
    let (_, rest) = console.status("GET", &format!("/v1/audit?limit=2&before={next}"), admin).await;
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["audit"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = [ids(&first), ids(&rest)].concat();
    assert_eq!((all.len(), rest["next"].is_null()), (3, true));
    assert!(all.is_sorted_by(|newer, older| newer > older), "{all:?}");
    assert_eq!(first["audit"][0]["who"], "the-admin");
    assert_eq!(console.status("GET", "/v1/audit?since=1h", admin).await.0, 400);
}

#[tokio::test]
async fn without_tokens_only_this_machine_may_call_and_no_other_page() {
    let open = test_console().await;
    let asked = async |headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(Request::builder().uri("/v1/orders"), |request, (name, value)| request.header(*name, *value));
        open.answers(request.body(Body::empty()).unwrap()).await.0.as_u16()
    };
    for host in ["127.0.0.1:8081", "127.1.2.3", "localhost:8081", "LOCALHOST", "[::1]:8081"] {
        assert_eq!(asked(&[("host", host)]).await, 200, "{host}");
    }
    assert_eq!(asked(&[("host", "localhost:8081"), ("origin", "http://localhost:8081")]).await, 200);
    for host in ["evil.example:8081", "127.0.0.1.evil.example", "192.168.1.7:8081", ""] {
        assert_eq!(asked(&[("host", host)]).await, 403, "{host}");
    }
    for origin in ["http://localhost:3000", "https://localhost:8081", "http://evil.example", "null"] {
        assert_eq!(asked(&[("host", "localhost:8081"), ("origin", origin)]).await, 403, "{origin}");
    }
    for (site, status) in [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("?", 403)] {
        assert_eq!(asked(&[("host", "localhost:8081"), ("sec-fetch-site", site)]).await, status, "{site}");
    }
    // A token proves more than a name.
    let known = console_with_roles().await;
    let request = Request::builder().uri("/v1/orders").header("host", "payhook.example");
    let request = request.header("authorization", "Bearer token-of-viewer").body(Body::empty()).unwrap();
    assert_eq!(known.answers(request).await.0, 200);
}

#[tokio::test]
async fn a_change_refuses_unknown_parameters() {
    let console = test_console().await;
    let changing = WHO_MAY.iter().filter(|(method, ..)| *method != "GET");
    for (method, path, _) in changing {
        let request = Request::builder().method(*method).uri(format!("{path}?cause=poison"));
        let request = request.header("content-type", "application/json").body(r#"{"reason":"x"}"#.into()).unwrap();
        let (status, _, body) = console.answers(request).await;
        assert_eq!(status, 400, "{method} {path}: {body}");
    }
}
