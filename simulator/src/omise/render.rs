//! Charges, refunds and disputes as Omise prints them in API version 2019-05-29.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::charge::{ChargeRefund, OmiseCharge, OmiseStatus};
use super::dispute::ChargeDispute;
use crate::json::{fixture, with};

/// Omise's card fee in basis points, and the tax on it in percent; stated as text in `transaction_fees`.
const FEE_BASIS_POINTS: i128 = 365;
const VAT_PERCENT: i128 = 7;

/// UTC, to the second.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The charge with the flags Omise was seen to combine with its state.
///
/// # Source
/// "Charge API", docs.omise.co/charges-api, and recorded charges, read 2026-11-21; `docs/providers/omise.md#charges`.
pub(super) fn charge(charge: &OmiseCharge) -> Value {
    let (paid, held) = (charge.status == OmiseStatus::Successful, charge.status == OmiseStatus::Authorized);
    let amount = charge.amount.amount_minor;
    let basis = if paid { charge.captured_minor } else { amount };
    let fee = i128::from(basis) * FEE_BASIS_POINTS / 10_000;
    let fee_vat = fee * VAT_PERCENT / 100;
    let number = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    let refunded = charge.refunded_minor();
    let refundable = paid && refunded < charge.captured_minor && charge.can_be_refunded();
    let decided = |is: bool| is.then(|| time(charge.decided_at));
    let (expired, reversed) = (charge.status == OmiseStatus::Expired, charge.status == OmiseStatus::Reversed);
    let location = format!("/charges/{}", charge.id);
    let failure_code = match &charge.status {
        OmiseStatus::Failed(code) => Some(code),
        _ => None,
    };
    let documented = fixture!("omise/charge_paid.json");
    let refunds = json!({
        "data": charge.refunds.iter().map(|it| refund(charge, it)).collect::<Vec<_>>(),
        "total": charge.refunds.len(),
        "location": format!("{location}/refunds"),
        "to": time(charge.decided_at),
    });
    let fields = json!({
        "id": charge.id,
        "amount": amount,
        "authorized_amount": if charge.authorized_at.is_some() { amount } else { 0 },
        "captured_amount": charge.captured_minor,
        "net": number(i128::from(basis) - fee - fee_vat),
        "fee": number(fee),
        "fee_vat": number(fee_vat),
        "funding_amount": basis,
        "refunded_amount": refunded,
        "transaction_fees": { "fee_flat": "0.0", "fee_rate": "3.65", "vat_rate": "7.0" },
        "currency": charge.amount.currency,
        "funding_currency": charge.amount.currency,
        "refunds": with(&documented["refunds"], refunds),
        "location": location,
        "description": charge.description,
        "metadata": {},
        "card": charge.is_card().then(|| card(charge)),
        "source": charge.source.as_ref().map(|kind| source(charge, kind)),
        "dispute": charge.dispute.as_ref().map(|it| dispute(charge, it)),
        "transaction": charge.transaction,
        "failure_message": failure_code.map(|code| code.replace('_', " ")),
        "failure_code": failure_code,
        "status": status(charge),
        "authorize_uri": format!("https://pay.example/payments/pay2_test_{}/authorize", suffix(charge)),
        "return_uri": "https://shop.example/complete",
        "created_at": time(charge.created_at),
        "paid_at": charge.paid_at.map(time),
        "authorized_at": charge.authorized_at.map(time),
        "expires_at": time(charge.expires_at),
        "expired_at": decided(expired),
        "reversed_at": decided(reversed),
        "authorized": charge.authorized_at.is_some(),
        "capturable": held,
        "capture": charge.capture,
        "disputable": paid && charge.is_card() && charge.dispute.is_none(),
        "refundable": refundable,
        "partially_refundable": refundable,
        "reversed": reversed,
        "reversible": held,
        "voided": charge.refunds.iter().any(|refund| refund.voided),
        "paid": paid,
        "expired": expired,
        "can_perform_void": refundable && refunded == 0,
    });
    with(documented, fields)
}

fn status(charge: &OmiseCharge) -> &'static str {
    match charge.status {
        OmiseStatus::Pending | OmiseStatus::Authorized => "pending",
        OmiseStatus::Successful => "successful",
        OmiseStatus::Failed(_) => "failed",
        OmiseStatus::Expired => "expired",
        OmiseStatus::Reversed => "reversed",
    }
}

fn suffix(charge: &OmiseCharge) -> &str {
    charge.id.as_str().trim_start_matches("chrg_test_")
}

fn card(charge: &OmiseCharge) -> Value {
    let fields = json!({ "id": format!("card_test_{}", suffix(charge)), "location": null });
    with(&fixture!("omise/event_card_2019-05-29.json")["data"], fields)
}

fn source(charge: &OmiseCharge, kind: &str) -> Value {
    let id = format!("src_test_{}", suffix(charge));
    let flow = match kind {
        "promptpay" => "offline",
        kind if kind.starts_with("mobile_banking_") => "app_redirect",
        _ => "redirect",
    };
    let fields = json!({
        "location": format!("/sources/{id}"),
        "id": id,
        "amount": charge.amount.amount_minor,
        "currency": charge.amount.currency,
        "flow": flow,
        "type": kind,
        "charge_status": status(charge),
        "created_at": time(charge.created_at),
    });
    with(&fixture!("omise/charge_paid.json")["source"], fields)
}

/// Only `closed` was ever shown: `docs/providers/omise.md#refunds`.
pub(super) fn refund(charge: &OmiseCharge, refund: &ChargeRefund) -> Value {
    let fields = json!({
        "id": refund.id,
        "location": format!("/charges/{}/refunds/{}", charge.id, refund.id),
        "amount": refund.minor,
        "funding_amount": refund.minor,
        "funding_currency": charge.amount.currency,
        "currency": charge.amount.currency,
        "charge": charge.id,
        "transaction": refund.transaction,
        "voided": refund.voided,
        "status": if refund.pending { "pending" } else { "closed" },
        "created_at": time(refund.at),
    });
    with(&fixture!("omise/event_refund_2019-05-29.json")["data"], fields)
}

/// Source: `docs/providers/omise.md#disputes`.
pub(super) fn dispute(charge: &OmiseCharge, dispute: &ChargeDispute) -> Value {
    let documented = &fixture!("omise/event_dispute_2019-05-29.json")["data"];
    let (location, currency) = (format!("/disputes/{}", dispute.id), charge.amount.currency);
    let transaction = json!({ "id": dispute.transaction, "amount": dispute.minor, "currency": currency });
    let fields = json!({
        "id": dispute.id,
        "amount": dispute.minor,
        "funding_amount": dispute.minor,
        "funding_currency": currency,
        "currency": currency,
        "charge": charge.id,
        "transactions": [with(&documented["transactions"][0], transaction)],
        "status": dispute.status.word(),
        "documents": with(&documented["documents"], json!({ "location": format!("{location}/documents") })),
        "location": location,
        "closed_at": dispute.closed_at.map(time),
        "created_at": time(dispute.at),
    });
    with(documented, fields)
}
