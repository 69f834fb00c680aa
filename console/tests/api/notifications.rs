use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use payhook_schema::{About, AuthorizationName, Notification, Provider, Sealed, SealedPlace, SecretDigest, new_id};
use payhook_store::{Settled, Settlement, traits::*};
use payhook_vault::Vault;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{TestConsole, detail, now, test_console, vault};

/// In every body and every header of these tests, and in no answer but one.
pub(crate) const SECRET: &str = "281001037474638";

pub(crate) fn notification(kind: &str, payment: &str, at: Timestamp) -> Notification {
    Notification {
        id: new_id(at),
        provider: Provider::Antom,
        account: "shop".parse().unwrap(),
        kind: kind.to_owned(),
        about: About::Payment(payment.parse().unwrap()),
        idempotency_key: format!("{payment}:{kind}"),
        received_at: at,
        signed_at: Some(at),
        verified_by: "keyVersion 1".to_owned(),
        signed_path: "/antom/shop/notifyPayment".to_owned(),
        signed_id: None,
        headers: vec![("signature".to_owned(), SECRET.to_owned()), ("client-id".to_owned(), "5YX".to_owned())],
        body: format!("{{\"token\":\"{SECRET}\"}}\r\n").into_bytes(),
        sealed_with: None,
    }
}

impl TestConsole {
    pub(crate) async fn keeps(&self, notification: &Notification) -> Uuid {
        let settlement = Settlement { notifications: vec![notification.clone()], ..Settlement::default() };
        assert_eq!(self.store.settle(&[settlement]).await.unwrap(), [Settled::Written]);
        notification.id
    }

    async fn body(&self, id: Uuid) -> (u16, axum::http::HeaderMap, Vec<u8>) {
        let request = Request::get(format!("/v1/notifications/{id}/body")).body(Body::empty()).unwrap();
        let (parts, body) = self.raw(request).await;
        (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }
}

fn ids(answer: &Value) -> Vec<String> {
    let all = answer["notifications"].as_array().unwrap_or_else(|| panic!("no notifications in {answer}"));
    all.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn notifications_are_listed_newest_first_by_every_filter_and_in_pages() {
    let console = test_console().await;
    let minute = SignedDuration::from_mins(1);
    let mut stored = Vec::new();
    for (minutes, kind, payment) in
        [(3, "PAYMENT_RESULT", "PR-1"), (2, "CAPTURE_RESULT", "PR-1"), (1, "PAYMENT_RESULT", "PR-2")]
    {
        stored.insert(0, console.keeps(&notification(kind, payment, now() - minute * minutes)).await.to_string());
    }
    let listed = async |query: &str| {
        let (status, answer) = console.call("GET", &format!("/v1/notifications?{query}")).await;
        assert_eq!(status, 200, "{query}: {answer}");
        assert!(!answer.to_string().contains(SECRET), "{answer}");
        ids(&answer)
    };
    assert_eq!(listed("").await, stored);
    assert_eq!(listed("kind=CAPTURE_RESULT").await, stored[1..2]);
    assert_eq!(listed("payment_id=PR-1").await, stored[1..]);
    assert_eq!(listed("since=90s").await, stored[..1]);
    assert_eq!(listed("provider=antom&account=shop").await, stored);
    assert!(listed("provider=omise").await.is_empty());
    assert_eq!(listed(&format!("id={},{}", stored[0], stored[2])).await, [stored[0].clone(), stored[2].clone()]);
    let (_, first) = console.call("GET", "/v1/notifications?limit=2").await;
    let next = first["next"].as_str().unwrap();
    assert_eq!(listed(&format!("limit=2&before={next}")).await, stored[2..]);
    for (wrong, why) in
        [("since=yesterday", "neither a time"), ("id=7", "is not an id"), ("cause=poison", "unknown field `cause`")]
    {
        let (status, answer) = console.call("GET", &format!("/v1/notifications?{wrong}")).await;
        assert_eq!(status, 400);
        assert!(detail(&answer).contains(why), "{answer}");
    }
}

#[tokio::test]
async fn a_notification_is_shown_without_its_body_and_its_headers_values() {
    let console = test_console().await;
    let sent = notification("PAYMENT_RESULT", "PR-1", now());
    let id = console.keeps(&sent).await;
    let (status, shown) = console.call("GET", &format!("/v1/notifications/{id}")).await;
    assert_eq!(status, 200);
    let expected = json!({
        "id": id, "provider": "antom", "account": "shop", "kind": "PAYMENT_RESULT", "about": "payment", "payment_id": "PR-1",
        "idempotency_key": "PR-1:PAYMENT_RESULT", "received_at": "2026-11-21T10:00:00Z", "received": 1,
        "last_received_at": "2026-11-21T10:00:00Z", "signed_at": "2026-11-21T10:00:00Z",
        "verified_by": "keyVersion 1", "signed_path": "/antom/shop/notifyPayment", "sealed_with": null,
        "headers": [{ "name": "signature", "bytes": 15 }, { "name": "client-id", "bytes": 3 }],
        "body_bytes": sent.body.len(), "body_sha256": null,
    });
    assert_eq!(shown, expected, "the digest of what is confidential would confirm a guess");
    let kiosk = "kiosk".parse().unwrap();
    let of_omise =
        Notification { provider: Provider::Omise, account: kiosk, ..notification("charge.complete", "chrg_1", now()) };
    let id = console.keeps(&of_omise).await;
    let (_, shown) = console.call("GET", &format!("/v1/notifications/{id}")).await;
    assert_eq!(shown["body_sha256"].as_str().unwrap().len(), 64);
    let (status, answer) = console.call("GET", &format!("/v1/notifications/{}", Uuid::nil())).await;
    assert_eq!(status, 404, "{answer}");
    assert_eq!(console.call("GET", "/v1/notifications/7").await.0, 400);
}

#[tokio::test]
async fn exact_bytes_are_read_after_the_audit_entry() {
    let console = test_console().await;
    let sent = notification("PAYMENT_RESULT", "PR-1", now());
    let id = console.keeps(&sent).await;
    let (status, headers, body) = console.body(id).await;
    assert_eq!((status, body), (200, sent.body));
    assert_eq!(
        (&headers["content-type"], &headers["cache-control"]),
        (&"application/octet-stream".parse().unwrap(), &"no-store".parse().unwrap())
    );
    assert_eq!(console.audited().await, [("notification.read".to_owned(), id.to_string(), 1, None)]);

    console.cannot_write().await;
    let (status, _, body) = console.body(id).await;
    assert_eq!(status, 503);
    assert!(!String::from_utf8(body).unwrap().contains(SECRET), "what cannot be written down is not done");
}

#[tokio::test]
async fn a_sealed_body_is_opened_for_an_admin_or_refused_with_the_reason() {
    let console = test_console().await;
    let clear = notification("PAYMENT_RESULT", "PR-1", now());
    let sealed = console.vault.seal(&SealedPlace::NotificationBody(clear.id), &clear.body).unwrap();
    let Sealed { key, bytes } = sealed;
    let id = console.keeps(&Notification { body: bytes, sealed_with: Some(key), ..clear.clone() }).await;

    let (_, shown) = console.call("GET", &format!("/v1/notifications/{id}")).await;
    assert_eq!((&shown["sealed_with"], &shown["body_bytes"]), (&json!(1), &json!(clear.body.len())));
    assert!(shown["body_sha256"].is_null(), "a digest would confirm a guess");
    assert_eq!(console.body(id).await.2, clear.body);

    for other in [vault(&[2]), Vault::default()] {
        console.vault.replace(&other);
        let (status, _, body) = console.body(id).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, 500);
        assert!(detail(&body).contains("sealed under key 1"), "{body}");
        let (status, shown) = console.call("GET", &format!("/v1/notifications/{id}")).await;
        assert_eq!((status, &shown["body_bytes"]), (200, &Value::Null), "the rest is worth showing");
    }
    assert_eq!(console.audited().await.len(), 1, "nobody read anything after the first");
}

#[tokio::test]
async fn a_notification_with_a_token_is_never_shown() {
    let console = test_console().await;
    let about = About::Authorization(AuthorizationName::Token(SecretDigest::of(SECRET)));
    let clear = Notification { about, ..notification("TOKEN_CREATED", "PR-1", now()) };
    let id = console.keeps(&clear).await;
    let (_, shown) = console.call("GET", &format!("/v1/notifications/{id}")).await;
    assert!(!shown.to_string().contains(SecretDigest::of(SECRET).as_str()), "{shown}");
    let (status, _, body) = console.body(id).await;
    assert_eq!(status, 403);
    assert!(!body.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()));
    assert_eq!(console.audited().await.len(), 0);
}
