use jiff::SignedDuration;
use payhook_schema::{
    About, AccountName, AuthState, Authorization, AuthorizationId, AuthorizationName, AuthorizationState, Notification,
    Provider, SealedPlace, SecretDigest, Token, new_id,
};
use payhook_store::{AuthorizationChange, AuthorizationSettlement, Settled, traits::*};
use serde_json::{Value, json};

use crate::harness::{TestConsole, console_with_roles, detail, now, test_console};

pub(crate) const PATH: &str = "/v1/authorizations/AU-1";
pub(crate) const SECRET: &str = "281001037474638";

fn registration() -> Value {
    json!({ "account": "shop", "auth_state": "AS-1", "customer_belongs_to": "KPLUS" })
}

/// `registration` with one value changed.
fn with(key: &str, value: &str) -> Value {
    let mut body = registration();
    body[key] = value.into();
    body
}

impl TestConsole {
    pub(crate) async fn registers(&self, id: &str, auth_state: &str) -> Authorization {
        let body = with("auth_state", auth_state);
        assert_eq!(self.put(&format!("/v1/authorizations/{id}"), &body).await.0, 201);
        self.store.authorization_get(&AuthorizationId::new(id).unwrap()).await.unwrap().unwrap()
    }

    pub(crate) async fn becomes(&self, authorization: Authorization) {
        let settlement = AuthorizationSettlement {
            change: Some(AuthorizationChange { authorization, events: Vec::new() }),
            ..AuthorizationSettlement::default()
        };
        assert_eq!(self.store.authorization_settle(&settlement).await.unwrap(), Settled::Written);
    }

    /// As the worker does it: the token is sealed for its place.
    pub(crate) async fn issues(&self, authorization: Authorization, expires_in: SignedDuration) {
        let place = SealedPlace::AccessToken(authorization.id.clone());
        let token = Token {
            digest: SecretDigest::of(&format!("{SECRET} of {}", authorization.id)),
            access: Some(self.vault.seal(&place, SECRET.as_bytes()).unwrap()),
            refresh: None,
            expires_at: Some(now() + expires_in),
            refresh_expires_at: None,
            issued_at: now(),
        };
        self.becomes(Authorization { state: AuthorizationState::TokenIssued, token: Some(token), ..authorization })
            .await;
    }

    /// A notification comes before what it is about is registered.
    async fn archives(&self, auth_state: &str) {
        let notification = Notification {
            id: new_id(now()),
            provider: Provider::Antom,
            account: AccountName::new("shop").unwrap(),
            kind: "AUTHCODE_CREATED".to_owned(),
            about: About::Authorization(AuthorizationName::State(AuthState::new(auth_state).unwrap())),
            idempotency_key: "AUTHCODE_CREATED:1".to_owned(),
            received_at: now(),
            signed_at: None,
            verified_by: "keyVersion 1".to_owned(),
            signed_path: "/".to_owned(),
            signed_id: None,
            headers: Vec::new(),
            body: b"{}".to_vec(),
            sealed_with: None,
        };
        let settlement =
            AuthorizationSettlement { notifications: vec![notification], ..AuthorizationSettlement::default() };
        assert_eq!(self.store.authorization_settle(&settlement).await.unwrap(), Settled::Written);
    }
}

#[tokio::test]
async fn an_authorization_is_registered_once_and_shown_without_its_secrets() {
    let console = test_console().await;
    let (status, shown) = console.put(PATH, &registration()).await;
    assert_eq!(status, 201);
    assert_eq!(console.put(PATH, &registration()).await, (200, shown.clone()));
    assert_eq!(console.call("GET", PATH).await, (200, shown.clone()));
    let expected = json!({
        "authorization_id": "AU-1", "provider": "antom", "account": "shop", "customer_belongs_to": "KPLUS",
        "state": "awaiting", "version": 0, "expires_at": null, "refresh_expires_at": null, "reason": null,
        "next_check_at": null, "created_at": "2026-11-21T10:00:00Z", "updated_at": "2026-11-21T10:00:00Z",
    });
    assert_eq!(shown, expected);
    assert!(console.queue.hints().is_empty(), "nothing came before it");

    let authorization = console.store.authorization_get(&AuthorizationId::new("AU-1").unwrap()).await.unwrap().unwrap();
    console.issues(authorization, SignedDuration::from_hours(1)).await;
    let (_, shown) = console.call("GET", PATH).await;
    assert_eq!(
        (shown["state"].as_str(), shown["expires_at"].as_str()),
        (Some("token_issued"), Some("2026-11-21T11:00:00Z"))
    );
    let (status, timeline) = console.call("GET", &format!("{PATH}/timeline")).await;
    assert_eq!((status, timeline["timeline"][0]["kind"].as_str()), (200, Some("registered")));
    for answer in [shown.to_string(), timeline.to_string()] {
        assert!(!answer.contains(SECRET) && !answer.contains("digest"), "{answer}");
    }
}

#[tokio::test]
async fn a_registration_never_changes_and_its_auth_state_is_its_own() {
    let console = test_console().await;
    console.put(PATH, &registration()).await;
    for other in [with("auth_state", "AS-2"), with("customer_belongs_to", "DANA")] {
        let (status, body) = console.put(PATH, &other).await;
        assert_eq!(status, 409);
        assert!(detail(&body).contains("these never change"), "{body}");
    }
    let (status, body) = console.put("/v1/authorizations/AU-2", &registration()).await;
    assert_eq!(status, 409);
    assert!(detail(&body).contains("belongs to authorization AU-1"), "{body}");
}

#[tokio::test]
async fn a_wrong_registration_is_refused_with_the_reason() {
    let console = test_console().await;
    for (body, expected) in [
        (with("account", "nowhere"), "There is no antom account `nowhere`"),
        (with("account", "kiosk"), "only Antom has authorizations"),
        (with("account", "Shop"), "an account name must be"),
        (with("customer_belongs_to", "k plus"), "a wallet must be"),
        (with("auth_state", "with space"), "an auth state must be"),
    ] {
        let (status, answer) = console.put(PATH, &body).await;
        assert_eq!(status, 422, "{body}");
        assert!(detail(&answer).contains(expected), "{answer}");
    }
    assert_eq!(console.put(PATH, &with("wallet", "KPLUS")).await.0, 400, "a key nobody knows");
    assert_eq!(console.put("/v1/authorizations/A%20U", &registration()).await.0, 400);
    assert_eq!(console.call("GET", PATH).await.0, 404);
    assert_eq!(console.call("POST", &format!("{PATH}/token")).await.0, 404);
    assert_eq!(console.call("GET", &format!("{PATH}/timeline")).await.0, 404);
    let (status, _) = console.put(PATH, &with("customer_belongs_to", "NEW_WALLET_2027")).await;
    assert_eq!(status, 201, "Antom adds wallets several times a year");
}

#[tokio::test]
async fn notifications_that_came_first_are_hinted_at_until_somebody_applied_them() {
    let console = test_console().await;
    console.archives("AS-1").await;
    console.queue.goes_down(true);
    let (status, body) = console.put(PATH, &registration()).await;
    assert_eq!(status, 503);
    assert!(detail(&body).contains("repeating it is safe"), "{body}");

    console.queue.goes_down(false);
    for _ in 0..2 {
        assert_eq!(console.put(PATH, &registration()).await.0, 200);
        assert_eq!(console.queue.hints(), ["tend AU-1 registered"], "they still wait");
    }
    let authorization = console.store.authorization_get(&AuthorizationId::new("AU-1").unwrap()).await.unwrap().unwrap();
    console.becomes(Authorization { state: AuthorizationState::Granted, ..authorization }).await;
    assert_eq!(console.put(PATH, &registration()).await.0, 200);
    assert!(console.queue.hints().is_empty(), "applied");
}

#[tokio::test]
async fn a_token_is_given_to_the_merchant_after_the_audit_entry() {
    let console = console_with_roles().await;
    let token = || {
        let request = axum::http::Request::post(format!("{PATH}/token"));
        console.answers(
            request.header("authorization", "Bearer token-of-merchant").body(axum::body::Body::empty()).unwrap(),
        )
    };
    let new = payhook_schema::NewAuthorization {
        id: AuthorizationId::new("AU-1").unwrap(),
        account: AccountName::new("shop").unwrap(),
        auth_state: AuthState::new("AS-1").unwrap(),
        wallet: payhook_schema::Wallet::new("KPLUS").unwrap(),
    };
    console.store.authorization_register(&new, now()).await.unwrap();
    let authorization = console.store.authorization_get(&new.id).await.unwrap().unwrap();
    console.issues(authorization, SignedDuration::from_hours(1)).await;
    let (status, headers, body) = token().await;
    assert_eq!(status, 200);
    assert_eq!(headers["cache-control"], "no-store");
    let expected =
        json!({ "access_token": SECRET, "expires_at": "2026-11-21T11:00:00Z", "customer_belongs_to": "KPLUS" });
    assert_eq!(body, expected);

    let audit = console.store.audit_list(None, 10).await.unwrap();
    let [entry] = audit.as_slice() else { panic!("{audit:?}") };
    assert_eq!((entry.who.as_str(), entry.role.as_str()), ("the-merchant", "merchant"));
    assert_eq!((entry.action.as_str(), entry.subject.as_str(), entry.count), ("token.read", "AU-1", 1));
    assert!(!format!("{entry:?}").contains(SECRET));

    console.cannot_write().await;
    let (status, _, body) = token().await;
    assert_eq!(status, 503);
    assert!(!body.to_string().contains(SECRET), "what cannot be written down is not done");
}

#[tokio::test]
async fn an_unusable_token_is_refused_with_the_reason() {
    let console = test_console().await;
    let refused = async |id: &str| {
        let (status, body) = console.call("POST", &format!("/v1/authorizations/{id}/token")).await;
        assert_eq!(status, 409, "{body}");
        detail(&body).to_owned()
    };
    let awaiting = console.registers("AU-1", "AS-1").await;
    assert!(refused("AU-1").await.contains("has not agreed"));
    console.becomes(Authorization { state: AuthorizationState::Granted, ..awaiting }).await;
    assert!(refused("AU-1").await.contains("was not exchanged"));

    let expired = console.registers("AU-2", "AS-2").await;
    console.issues(expired, SignedDuration::ZERO).await;
    assert!(refused("AU-2").await.contains("expired at 2026-11-21T10:00:00Z"));

    let cancelled = console.registers("AU-3", "AS-3").await;
    console.becomes(Authorization { state: AuthorizationState::Cancelled, ..cancelled }).await;
    assert!(refused("AU-3").await.contains("was cancelled"));
    assert!(console.audited().await.is_empty(), "nobody read anything");
}

#[tokio::test]
async fn a_token_under_a_missing_key_is_a_500_and_is_not_audited_as_read() {
    let console = test_console().await;
    let authorization = console.registers("AU-1", "AS-1").await;
    console.issues(authorization, SignedDuration::from_hours(1)).await;
    console.vault.replace(&crate::harness::vault(&[2]));
    let (status, body) = console.call("POST", &format!("{PATH}/token")).await;
    assert_eq!(status, 500);
    assert!(detail(&body).contains("sealed under key 1"), "{body}");
    assert!(console.audited().await.is_empty());
}
