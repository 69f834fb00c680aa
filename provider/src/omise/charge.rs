use jiff::Timestamp;
use payhook_schema::{Currency, Money, PaymentFacts, PaymentId, PaymentState};
use serde::Deserialize;

use crate::client::AskError;
use crate::strict_json;

#[expect(clippy::struct_excessive_bools, reason = "the flags are Omise's")]
#[derive(Deserialize)]
struct Charge {
    object: String,
    id: String,
    livemode: bool,
    status: String,
    amount: i64,
    currency: String,
    #[serde(default)]
    captured_amount: Option<i64>,
    #[serde(default)]
    authorized_amount: Option<i64>,
    #[serde(default)]
    refunded_amount: Option<i64>,
    #[serde(default)]
    paid: bool,
    #[serde(default)]
    authorized: bool,
    #[serde(default)]
    reversed: bool,
    paid_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    failure_code: Option<String>,
    /// An id until expanded; only its presence and text matter.
    transaction: Option<serde_json::Value>,
}

/// Reads Omise's charge, in API version 2019-05-29, into the facts it states about the payment.
///
/// # Shape
/// Amounts are integers in the smallest unit of `currency`. `amount` does not shrink on partial capture or refund, and
/// `captured_amount` means something only once `paid`. `status` never becomes "refunded".
///
/// | `status`     | flags                         | facts                               |
/// |--------------|-------------------------------|-------------------------------------|
/// | `failed`     |                               | `Failed`, with `failure_code`       |
/// | `expired`    |                               | `Expired`                           |
/// | `reversed`   | not `paid`                    | `Cancelled`: the hold was released  |
/// | `pending`    | `authorized`                  | `Authorized`                        |
/// | `pending`    |                               | `Awaiting`                          |
/// | `successful` | `paid`, nothing refunded      | `Paid`                              |
/// | `successful` | `paid`, less than captured    | `PartlyRefunded`                    |
/// | `successful` | `paid`, all of it (a void)    | `Refunded`                          |
///
/// # Errors
/// [`AskError::OutsideTables`] for any other combination: we never guess with money.
///
/// # Source
/// "Charge API", docs.omise.co/charges-api, read 2026-11-21; `reference/omise.md` section 4.3.
pub fn read_charge(
    body: &[u8],
    asked: &PaymentId,
    livemode: bool,
    asked_at: Timestamp,
) -> Result<PaymentFacts, AskError> {
    let charge: Charge = strict_json::read(body).map_err(AskError::garbled)?;
    if charge.object != "charge" || charge.id != asked.as_str() || charge.livemode != livemode {
        return Err(AskError::garbled("the answer is not the charge asked for"));
    }
    let outside = |what: String| AskError::OutsideTables { what };
    let currency = Currency::new(&charge.currency).map_err(|_| outside("an unknown currency".to_owned()))?;
    let captured = match charge.captured_amount {
        _ if !charge.paid => 0,
        Some(captured) if captured > 0 => captured,
        _ => charge.amount,
    };
    let refunded = charge.refunded_amount.unwrap_or(0);
    if charge.amount < 0 || captured > charge.amount || refunded < 0 || refunded > captured {
        return Err(outside(format!("amount {}, captured {captured}, refunded {refunded}", charge.amount)));
    }
    let state = match (charge.status.as_str(), charge.paid) {
        ("failed", false) => PaymentState::Failed,
        ("expired", false) => PaymentState::Expired,
        ("reversed", false) => PaymentState::Cancelled,
        ("pending", false) if charge.reversed => PaymentState::Cancelled,
        ("pending", false) if charge.authorized => PaymentState::Authorized,
        ("pending", false) => PaymentState::Awaiting,
        ("successful", true) if charge.reversed => return Err(outside("paid and reversed".to_owned())),
        ("successful", true) if refunded == 0 => PaymentState::Paid,
        ("successful", true) if refunded < captured => PaymentState::PartlyRefunded,
        ("successful", true) => PaymentState::Refunded,
        (status, paid) => {
            let status: String = status.chars().filter(|char| !char.is_control()).take(40).collect();
            return Err(outside(format!("status {status} with paid {paid}")));
        }
    };
    let amount = match state {
        PaymentState::Authorized => charge.authorized_amount.filter(|held| *held > 0).unwrap_or(charge.amount),
        _ => charge.amount,
    };
    let reason = charge.failure_code.filter(|_| state == PaymentState::Failed);
    let transaction = charge.transaction.as_ref();
    let transaction = transaction.and_then(|it| it.as_str().or_else(|| it.get("id").and_then(|id| id.as_str())));
    let mut answer = format!("status {}, paid {}, {}", charge.status, charge.paid, Money::new(charge.amount, currency));
    if refunded > 0 {
        answer += &format!(", refunded {}", Money::new(refunded, currency));
    }
    if let Some(code) = &reason {
        answer += &format!(" ({code})");
    }
    Ok(PaymentFacts {
        state,
        amount: Some(Money::new(amount, currency)),
        captured_minor: captured,
        refunded_minor: refunded,
        provider_reference: transaction.map(str::to_owned),
        reason,
        occurred_at: charge.paid_at.filter(|_| charge.paid),
        expires_at: charge.expires_at,
        asked_at,
        answer,
    })
}

/// Whether an error object says that the provider itself is in trouble: the one code under 400 that is worth another try.
pub(crate) fn is_their_trouble(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        code: String,
    }
    strict_json::read::<Refusal>(body).is_ok_and(|refusal| refusal.code == "backend_error")
}
