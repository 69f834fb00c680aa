use jiff::SignedDuration;
use payhook_schema::{Authorization, AuthorizationState, SealedPlace, SecretDigest, Token};
use payhook_vault::Vault;
use serde_json::json;

use crate::authorizations::SECRET;
use crate::harness::{TestConsole, detail, now, test_console, vault};

impl TestConsole {
    async fn has_tokens(&self, count: usize) {
        for number in 0..count {
            let authorization = self.registers(&format!("AU-{number}"), &format!("AS-{number}")).await;
            self.issues(authorization, SignedDuration::from_hours(1)).await;
        }
    }

    /// A token under key 1 that was sealed for another row: it opens with no key.
    async fn has_a_token_that_does_not_open(&self, id: &str) {
        let authorization = self.registers(id, &format!("AS-{id}")).await;
        let elsewhere = SealedPlace::Code(authorization.id.clone());
        let token = Token {
            digest: SecretDigest::of(id),
            access: Some(self.vault.seal(&elsewhere, b"x").unwrap()),
            refresh: None,
            expires_at: None,
            refresh_expires_at: None,
            issued_at: now(),
        };
        let state = AuthorizationState::TokenIssued;
        self.becomes(Authorization { state, token: Some(token), ..authorization }).await;
    }
}

#[tokio::test]
async fn everything_is_sealed_anew_under_the_newest_key_and_the_old_one_can_go() {
    let console = test_console().await;
    // More than one round of them.
    console.has_tokens(230).await;
    console.vault.replace(&vault(&[1, 2]));
    let (status, body) = console.call("POST", "/v1/keys/rotate").await;
    assert_eq!((status, body), (200, json!({ "newest": 2, "resealed": 230, "left": { "1": 0 }, "unopened": 0 })));
    console.vault.replace(&vault(&[2]));
    for id in ["AU-0", "AU-229"] {
        let (status, body) = console.call("POST", &format!("/v1/authorizations/{id}/token")).await;
        assert_eq!((status, body["access_token"].as_str()), (200, Some(SECRET)));
    }
    let (_, again) = console.call("POST", "/v1/keys/rotate").await;
    assert_eq!(again, json!({ "newest": 2, "resealed": 0, "left": {}, "unopened": 0 }));

    let (_, audit) = console.call("GET", "/v1/audit?limit=500").await;
    let rotations: Vec<_> =
        audit["audit"].as_array().unwrap().iter().filter(|it| it["action"] == "keys.rotate").collect();
    assert_eq!(rotations.len(), 2);
    let counted = |count: u64| rotations.iter().filter(|it| it["count"] == count && it["who"] == "local").count();
    assert_eq!([counted(230), counted(0)], [1, 1]);
}

#[tokio::test]
async fn sealed_things_that_do_not_open_are_skipped_and_the_rest_is_sealed_anew() {
    let console = test_console().await;
    for number in 0..3 {
        console.has_a_token_that_does_not_open(&format!("BAD-{number}")).await;
    }
    console.has_tokens(5).await;
    console.vault.replace(&vault(&[1, 2]));
    let (status, body) = console.call("POST", "/v1/keys/rotate").await;
    assert_eq!((status, body), (200, json!({ "newest": 2, "resealed": 5, "left": { "1": 3 }, "unopened": 3 })));
}

#[tokio::test]
async fn sealed_things_under_an_unknown_key_are_counted_and_left() {
    let console = test_console().await;
    console.has_tokens(3).await;
    console.vault.replace(&vault(&[7]));
    let (status, body) = console.call("POST", "/v1/keys/rotate").await;
    assert_eq!((status, body), (200, json!({ "newest": 7, "resealed": 0, "left": { "1": 3 }, "unopened": 3 })));
}

#[tokio::test]
async fn without_a_key_or_an_audit_log_nothing_is_rotated() {
    let console = test_console().await;
    console.has_tokens(1).await;
    console.vault.replace(&Vault::default());
    let (status, body) = console.call("POST", "/v1/keys/rotate").await;
    assert_eq!(status, 409);
    assert!(detail(&body).contains("[tokens] keys"), "{body}");
    console.vault.replace(&vault(&[1, 2]));
    console.cannot_write().await;
    assert_eq!(console.call("POST", "/v1/keys/rotate").await.0, 503);
}
