//! Reads Omise's charge: the answer about a payment.

use jiff::Timestamp;
use payhook_schema::{
    Currency, Dispute, DisputeId, DisputeState, Money, PaymentFacts, PaymentId, PaymentState, Refund, RefundId,
    RefundState, keepable_time,
};
use serde::Deserialize;
use serde_json::Value;

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
    transaction: Option<Value>,
    /// A list object; a path where it is not expanded.
    refunds: Option<Value>,
    dispute: Option<Value>,
}

/// An entry of a charge's `refunds`.
#[derive(Deserialize)]
struct RefundEntry {
    id: String,
    amount: Option<i64>,
    currency: Option<String>,
    #[serde(default)]
    voided: Option<bool>,
    status: Option<String>,
    transaction: Option<Value>,
    created_at: Option<String>,
}

/// A charge's `dispute`.
#[derive(Deserialize)]
struct DisputeField {
    id: String,
    status: Option<String>,
    amount: Option<i64>,
    currency: Option<String>,
    reason_code: Option<String>,
    closed_at: Option<String>,
    created_at: Option<String>,
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
/// The refunded sum is `refunded_amount`. `refunds` lists each refund: without a status, or with `closed`, it is
/// `Succeeded`; any other is `Pending`. `dispute` is `open`, `pending`, `won` or `lost`; with any other word it is
/// `Closed` once it has a `closed_at`, else `Open`. Neither field decides about money: unreadable parts of them are
/// left out.
///
/// # Errors
/// [`AskError::OutsideTables`] for any other combination: we never guess with money.
///
/// # Source
/// "Charge API", docs.omise.co/charges-api, read 2026-11-21; `docs/providers/omise.md#charges`.
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
    let mut answer = format!("status {}, paid {}, {}", charge.status, charge.paid, Money::new(charge.amount, currency));
    if refunded > 0 {
        answer += &format!(", refunded {}", Money::new(refunded, currency));
    }
    if let Some(code) = &reason {
        answer += &format!(" ({code})");
    }
    let dispute = charge.dispute.as_ref().and_then(|field| dispute(field, currency));
    if let Some(dispute) = &dispute {
        answer += &format!(", dispute {}", dispute.state);
    }
    Ok(PaymentFacts {
        state,
        amount: Some(Money::new(amount, currency)),
        captured_minor: captured,
        refunded_minor: refunded,
        refunds: refunds(charge.refunds.as_ref(), currency),
        disputes: dispute.into_iter().collect(),
        provider_reference: id_of(charge.transaction.as_ref()),
        reason,
        occurred_at: charge.paid_at.filter(|_| charge.paid),
        expires_at: charge.expires_at,
        asked_at,
        answer,
    })
}

/// The refunds of the charge's embedded list. It holds the first twenty, and there are at most fifteen.
fn refunds(list: Option<&Value>, currency: Currency) -> Vec<Refund> {
    let entries = list.and_then(|list| list.get("data")).and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(|entry| refund(entry, currency)).collect()
}

fn refund(entry: &Value, currency: Currency) -> Option<Refund> {
    let entry = RefundEntry::deserialize(entry).ok()?;
    Some(Refund {
        id: RefundId::new(entry.id).ok()?,
        provider_reference: id_of(entry.transaction.as_ref()),
        state: match entry.status.as_deref() {
            None | Some("closed") => RefundState::Succeeded,
            Some(_) => RefundState::Pending,
        },
        amount: money(entry.amount, entry.currency.as_deref(), currency),
        voided: entry.voided.unwrap_or(false),
        reason: None,
        occurred_at: time(entry.created_at.as_deref()),
    })
}

fn dispute(field: &Value, currency: Currency) -> Option<Dispute> {
    let field = DisputeField::deserialize(field).ok()?;
    let state = match field.status.as_deref() {
        Some("open") => DisputeState::Open,
        Some("pending") => DisputeState::Pending,
        Some("won") => DisputeState::Won,
        Some("lost") => DisputeState::Lost,
        _ if field.closed_at.is_some() => DisputeState::Closed,
        _ => DisputeState::Open,
    };
    Some(Dispute {
        id: DisputeId::new(field.id).ok()?,
        state,
        amount: money(field.amount, field.currency.as_deref(), currency),
        reason: field.reason_code,
        answer_by: None,
        occurred_at: time(field.closed_at.as_deref().filter(|_| state.is_over()))
            .or_else(|| time(field.created_at.as_deref())),
    })
}

/// An amount in its own currency, else in the charge's.
fn money(amount_minor: Option<i64>, letters: Option<&str>, charges: Currency) -> Option<Money> {
    let currency = letters.map_or(Some(charges), |letters| Currency::new(letters).ok())?;
    amount_minor.filter(|minor| *minor >= 0).map(|minor| Money::new(minor, currency))
}

fn time(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok()).and_then(keepable_time)
}

/// The id of what is an id until it is expanded.
fn id_of(field: Option<&Value>) -> Option<String> {
    field.and_then(|field| field.as_str().or_else(|| field.get("id")?.as_str())).map(str::to_owned)
}

/// Returns true if an error object says that the provider itself is in trouble: the only code under 400 that is worth
/// another try.
pub(super) fn is_their_trouble(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct ErrorObject {
        code: String,
    }
    strict_json::read::<ErrorObject>(body).is_ok_and(|error| error.code == "backend_error")
}
