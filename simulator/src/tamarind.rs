//! Simulates Tamarind, the invented provider of debug builds: payments in memory, `GET /tamarind/payments/{id}`,
//! notifications. Its secret and its token are those of the simulated Omise.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::get;
use jiff::Timestamp;
use payhook_provider::tamarind::{self, TamarindAccount};
use payhook_schema::{AccountName, Money, PaymentId, Provider};
use serde_json::json;

use crate::faults::{ProviderAnswer, bend, instead};
use crate::journal::OpenCall;
use crate::sample::SampleKey;
use crate::shared::SimulatorState;
use crate::{SignedRequest, SimulatorError};

/// The simulated Tamarind. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Tamarind(pub(crate) Arc<SimulatorState>);

/// The amount and status of each payment.
pub(crate) type TamarindPayments = BTreeMap<PaymentId, (Money, &'static str)>;

impl Tamarind {
    /// Creates an open payment.
    pub fn create(&self, id: &PaymentId, amount: Money) {
        self.0.tamarinds().insert(id.clone(), (amount, "open"));
    }

    /// The customer paid.
    ///
    /// # Errors
    /// [`SimulatorError::NoSuchPayment`].
    pub fn pay(&self, id: &PaymentId) -> Result<(), SimulatorError> {
        let mut payments = self.0.tamarinds();
        let no_such_payment = || SimulatorError::NoSuchPayment { provider: Provider::Tamarind, id: id.clone() };
        payments.get_mut(id).ok_or_else(no_such_payment)?.1 = "paid";
        Ok(())
    }

    /// Makes the notification `payment.<status>` for an account, signed.
    ///
    /// # Errors
    /// [`SimulatorError::BaseUrl`].
    pub fn signed(
        &self,
        base_url: &str,
        account: &AccountName,
        id: &PaymentId,
        status: &str,
    ) -> Result<SignedRequest, SimulatorError> {
        let body = notification(&format!("payment.{status}"), id, self.0.clock.now());
        let path = format!("/tamarind/{account}/notify");
        SignedRequest::new(&self.0, Provider::Tamarind, id.as_str(), base_url, &path, body)
    }

    /// Returns the table `[tamarind.<account>]` of `payhook.toml`, with the simulator at `api`.
    pub fn config_toml(&self, account: &AccountName, api: &str) -> String {
        let (secret, token) = (self.0.keys.webhook_secret(), self.0.keys.secret_key());
        format!("\n[tamarind.{account}]\napi = \"{api}\"\nsecret = \"{secret}\"\ntoken = \"{token}\"\n")
    }
}

pub(crate) fn notification(kind: &str, payment: &PaymentId, now: Timestamp) -> Vec<u8> {
    let event = format!("evt-{payment}-{}", now.as_microsecond());
    json!({ "event": event, "kind": kind, "payment": payment }).to_string().into_bytes()
}

pub(crate) fn sign(secret: &str, now: Timestamp, body: &[u8]) -> Vec<(String, String)> {
    let time = now.as_second().to_string();
    headers(&tamarind::sign(secret, &time, body), &time)
}

pub(crate) fn sign_sample(
    account: &TamarindAccount,
    key: SampleKey<'_>,
    now: Timestamp,
    body: &[u8],
) -> Vec<(String, String)> {
    let time = now.as_second().to_string();
    match key {
        SampleKey::Forged => sign("a forged secret", now, body),
        SampleKey::Given(secret) => sign(secret, now, body),
        SampleKey::Configured => headers(&account.sign(&time, body), &time),
    }
}

fn headers(signature: &str, time: &str) -> Vec<(String, String)> {
    let headers = [("content-type", "application/json"), ("tamarind-signature", signature), ("tamarind-time", time)];
    headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

pub(crate) fn routes() -> Router<Arc<SimulatorState>> {
    Router::new().route("/tamarind/payments/{id}", get(payment))
}

async fn payment(
    State(shared): State<Arc<SimulatorState>>,
    Path(id): Path<PaymentId>,
    headers: HeaderMap,
) -> Response<Body> {
    let fault = shared.faults().take(Provider::Tamarind);
    let call = OpenCall::begin(
        &shared,
        Provider::Tamarind,
        "GET /tamarind/payments/{id}",
        Some(id.to_string()),
        fault.as_ref(),
    );
    if let Some(response) = instead(fault.as_ref()).await {
        return call.answered("fault", response);
    }
    let bearer = format!("Bearer {}", shared.keys.secret_key());
    let found = shared.tamarinds().get(&id).copied();
    let (status, body) = match found {
        _ if headers.get(AUTHORIZATION).is_none_or(|sent| sent.as_bytes() != bearer.as_bytes()) => {
            (StatusCode::UNAUTHORIZED, json!({}))
        }
        None => (StatusCode::NOT_FOUND, json!({})),
        Some((amount, status)) => {
            let Money { amount_minor, currency } = amount;
            let body = json!({ "payment": id, "status": status, "amount_minor": amount_minor, "currency": currency });
            (StatusCode::OK, body)
        }
    };
    let answer = ProviderAnswer { status, headers: Vec::new(), body: body.to_string().into_bytes() };
    call.answered("", bend(fault.as_ref(), answer).await)
}
