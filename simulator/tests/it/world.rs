//! A simulator with keys made once, and a stand-in for ingress that checks what it is sent with payhook's own `verify`.

use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use payhook_provider::{Account, Accounts, AskError, Client, Received, Refusal, antom, verify};
use payhook_schema::{AccountName, Clock, Money, Notification, PaymentFacts, PaymentId, Provider, RefundId};
use payhook_simulator::{Keys, Options, Simulator};
use uuid::Uuid;

static KEYS: LazyLock<Keys> = LazyLock::new(Keys::generate);

pub(crate) const NOW: &str = "2026-01-01T00:00:00Z";

pub(crate) async fn simulator() -> Simulator {
    simulator_by(Clock::stopped(NOW.parse().unwrap())).await
}

/// Starts a simulator that takes its times from `clock`.
pub(crate) async fn simulator_by(clock: Clock) -> Simulator {
    let options = Options { listen: ([127, 0, 0, 1], 0).into(), clock, keys: KEYS.clone() };
    Simulator::start(options).await.unwrap()
}

pub(crate) fn shop() -> AccountName {
    AccountName::new("shop").unwrap()
}

pub(crate) fn id(text: &str) -> PaymentId {
    PaymentId::new(text).unwrap()
}

pub(crate) fn refund_id(text: &str) -> RefundId {
    RefundId::new(text).unwrap()
}

pub(crate) fn money(text: &str) -> Money {
    text.parse().unwrap()
}

/// Asks as a worker does.
pub(crate) async fn ask(simulator: &Simulator, provider: Provider, id: &PaymentId) -> Result<PaymentFacts, AskError> {
    let accounts = simulator.accounts(&shop());
    ask_with(&accounts.get(provider, &shop()).unwrap(), id).await
}

pub(crate) async fn ask_with(account: &Account, id: &PaymentId) -> Result<PaymentFacts, AskError> {
    Client::new(Clock::system()).unwrap().ask(account, id).await
}

/// Receives notifications, verifies each one, notes the result, and answers as ingress does.
#[derive(Clone)]
pub(crate) struct NotificationSink {
    pub(crate) url: String,
    accounts: Accounts,
    seen: Arc<Mutex<Vec<Result<Notification, Refusal>>>>,
}

impl NotificationSink {
    pub(crate) async fn start(simulator: &Simulator) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ingress = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            accounts: simulator.accounts(&shop()),
            seen: Arc::default(),
        };
        let router = Router::new()
            .route("/antom/{account}/{call}", post(receive))
            .route("/omise/{account}", post(receive))
            .route("/pay/antom/{account}/{call}", post(receive))
            .with_state(ingress.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        ingress
    }

    /// The result of the last request.
    pub(crate) fn last(&self) -> Result<Notification, Refusal> {
        self.seen.lock().unwrap().last().cloned().expect("something was sent")
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn receive(
    State(ingress): State<NotificationSink>,
    Path(path): Path<Vec<(String, String)>>,
    request: Request,
) -> impl IntoResponse + use<> {
    assert_eq!(path[0].1, "shop");
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let provider = if parts.uri.path().starts_with("/omise") { Provider::Omise } else { Provider::Antom };
    let received = Received {
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
        body: &body,
        at: NOW.parse().unwrap(),
        id: Uuid::nil(),
    };
    let account = ingress.accounts.get(provider, &shop()).unwrap();
    let outcome = verify(&account, &received).map(payhook_schema::Verified::into_inner);
    let answer = match &outcome {
        Ok(_) => (StatusCode::OK, antom::SUCCESS),
        Err(_) => (StatusCode::UNAUTHORIZED, ""),
    };
    ingress.seen.lock().unwrap().push(outcome);
    answer
}
