//! Tamarind, an invented provider, for debug builds only. It shows that a further provider is one folder here, its
//! simulated part, and a variant of `Provider`: `docs/adding-a-provider.md`. `tests/it/third_provider.rs` is its
//! journey.

mod account;

use std::time::Duration;

pub use account::TamarindAccount;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use payhook_schema::{About, Currency, Money, PaymentFacts, PaymentId, PaymentState};
use serde::Deserialize;
use sha2::Sha256;

use crate::client::AskError;
use crate::meaning::Meaning;
use crate::{Protocol, Refusal, strict_json};

/// A single path for each account, and an empty 200.
pub const PROTOCOL: Protocol = Protocol {
    notify: &["/notify"],
    success: None,
    checks: &[Duration::from_mins(1), Duration::from_hours(1)],
    methods: &[],
    account: account::take,
    dispute: |_| None,
    authorization: |_| None,
};

/// Returns the HMAC-SHA256 of `<time>.<body>` in lower-case hexadecimal, as the header `tamarind-signature` has it.
///
/// # Source
/// `docs/providers/tamarind.md#signing`.
pub fn sign(secret: &str, time: &str, body: &[u8]) -> String {
    let digest: [u8; 32] = mac(secret, time, body).finalize().into_bytes().into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(secret: &str, time: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac: Hmac<Sha256> = KeyInit::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    for part in [time.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

/// Reads a notification.
///
/// # Errors
/// [`Refusal::Unreadable`]: not a notification, or none of a payment.
///
/// # Source
/// `docs/providers/tamarind.md#kinds-of-notifications`.
fn read_notification(body: &[u8]) -> Result<Meaning, Refusal> {
    #[derive(Deserialize)]
    struct Notice {
        event: String,
        kind: String,
        payment: Option<String>,
    }
    let Notice { event, kind, payment } = strict_json::read(body).map_err(Refusal::unreadable)?;
    let about = match payment {
        Some(payment) => {
            About::Payment(PaymentId::new(payment).map_err(|error| Refusal::unreadable(error.to_string()))?)
        }
        None => About::Other,
    };
    Ok(Meaning { kind, about, idempotency_key: event })
}

/// Reads the answer about a payment.
///
/// | `status`   | facts      |
/// |------------|------------|
/// | `open`     | `Awaiting` |
/// | `paid`     | `Paid`     |
/// | `declined` | `Failed`   |
///
/// # Errors
/// [`AskError::OutsideTables`] for any other status.
///
/// # Source
/// `docs/providers/tamarind.md#inquiry`.
pub fn read_payment(body: &[u8], asked: &PaymentId, asked_at: Timestamp) -> Result<PaymentFacts, AskError> {
    #[derive(Deserialize)]
    struct Answer {
        payment: String,
        status: String,
        amount_minor: i64,
        currency: String,
    }
    let answer: Answer = strict_json::read(body).map_err(AskError::garbled)?;
    if answer.payment != asked.as_str() {
        return Err(AskError::garbled("the answer is about another payment"));
    }
    let outside = |what: &str| AskError::OutsideTables { what: what.to_owned() };
    let currency = Currency::new(&answer.currency).map_err(|_| outside("an unknown currency"))?;
    let amount = Money::new(answer.amount_minor, currency);
    let state = match answer.status.as_str() {
        "open" => PaymentState::Awaiting,
        "paid" if amount.amount_minor > 0 => PaymentState::Paid,
        "declined" => PaymentState::Failed,
        _ => return Err(outside("an unknown status")),
    };
    Ok(PaymentFacts {
        state,
        amount: Some(amount),
        captured_minor: if state.took_money() { amount.amount_minor } else { 0 },
        refunded_minor: 0,
        refunds: Vec::new(),
        disputes: Vec::new(),
        provider_reference: None,
        reason: None,
        occurred_at: None,
        expires_at: None,
        asked_at,
        answer: format!("status {}, {amount}", answer.status),
    })
}

#[cfg(test)]
mod tests;
