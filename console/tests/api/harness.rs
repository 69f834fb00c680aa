use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use payhook_console::{Caller, Callers, Console, RecentRefreshes, Role};
use payhook_queue::conformance::PublishRecorder;
use payhook_schema::{AccountName, Clock, Provider};
use payhook_store::{SqliteStore, traits::*};
use payhook_vault::{Vault, VaultKey};
use secrecy::SecretString;
use serde_json::Value;
use tower::ServiceExt;

pub(crate) const NOW: &str = "2026-11-21T10:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Keys of these numbers, each its own.
pub(crate) fn vault(numbers: &[u32]) -> Vault {
    let key = |number: &u32| {
        let first = char::from(b'A' + *number as u8);
        let text = format!("{first}AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        (*number, VaultKey::parse(&SecretString::from(text)).unwrap())
    };
    Vault::new(numbers.iter().map(key).collect())
}

/// A console with two accounts, `shop` with Antom and `kiosk` with Omise.
pub(crate) struct TestConsole {
    pub(crate) store: SqliteStore,
    pub(crate) queue: Arc<PublishRecorder>,
    pub(crate) vault: Vault,
    router: Router,
    _folder: tempfile::TempDir,
}

pub(crate) async fn test_console() -> TestConsole {
    console_for(Callers::local()).await
}

/// A console whose callers have their role's name for a name, and `token-of-<role>` for a token.
pub(crate) async fn console_with_roles() -> TestConsole {
    let tokens = Role::NAMED.map(|role| SecretString::from(format!("token-of-{role}")));
    let callers = Role::NAMED.map(|role| Caller { name: format!("the-{role}"), role });
    let token = SecretString::from("token-of-all");
    console_for(Callers::known(Some(&token), tokens.iter().zip(callers))).await
}

async fn console_for(callers: Callers) -> TestConsole {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payhook.db");
    let store = SqliteStore::open(file.to_str().unwrap()).await.unwrap();
    store.migrate().await.unwrap();
    let (queue, vault) = (Arc::new(PublishRecorder::default()), vault(&[1]));
    let has_account = |provider, name: &AccountName| {
        matches!((provider, name.as_str()), (Provider::Antom, "shop") | (Provider::Omise, "kiosk"))
    };
    let router = payhook_console::routes(Console {
        queue: queue.clone(),
        store: Arc::new(store.clone()),
        clock: Clock::stopped(now()),
        vault: vault.clone(),
        has_account: Box::new(has_account),
        methods: |_| &[],
        callers,
        recent_refreshes: RecentRefreshes::default(),
    });
    TestConsole { store, queue, vault, router, _folder: folder }
}

impl TestConsole {
    pub(crate) async fn answers(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
        let (parts, body) = self.raw(request).await;
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        if !parts.status.is_success() {
            assert_eq!(parts.headers["content-type"], "application/problem+json", "{body}");
        }
        (parts.status, parts.headers, body)
    }

    /// The answer as it is, whatever is in it.
    pub(crate) async fn raw(&self, request: Request<Body>) -> (axum::http::response::Parts, Body) {
        self.router.clone().oneshot(request).await.unwrap().into_parts()
    }

    pub(crate) async fn call(&self, method: &str, path: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (status, _, body) = self.answers(request).await;
        (status.as_u16(), body)
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.sends("PUT", path, body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.sends("POST", path, body).await
    }

    async fn sends(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let (status, _, body) = self.answers(request.body(body.to_string().into()).unwrap()).await;
        (status.as_u16(), body)
    }

    /// The audit log: action, subject, count, reason, without the registrations that tests begin with. The clock
    /// stands, so the order says nothing.
    pub(crate) async fn audited(&self) -> Vec<(String, String, u64, Option<String>)> {
        let entries = self.store.audit_list(None, 100).await.unwrap();
        let entries = entries.into_iter().filter(|entry| !entry.action.ends_with(".register"));
        entries.map(|entry| (entry.action, entry.subject, entry.count, entry.reason)).collect()
    }

    /// From now on nothing can be written; what is there can be read.
    pub(crate) async fn cannot_write(&self) {
        self.store.writer().close().await;
    }
}

/// The reason a refusal gives.
#[track_caller]
pub(crate) fn detail(body: &Value) -> &str {
    body["detail"].as_str().unwrap_or_else(|| panic!("no detail in {body}"))
}
