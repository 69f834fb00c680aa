use serde::Serialize;

use super::AntomStatus;
use super::authorization::Token;
use super::payment::Payment;
use super::transaction::{AntomOutcome, Transaction, TransactionType};
use super::wire::{Amount, ResultBody, body_time};
use crate::json;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentAnswer {
    result: ResultBody,
    payment_status: &'static str,
    payment_result_code: String,
    payment_result_message: String,
    payment_request_id: String,
    payment_id: String,
    payment_amount: Amount,
    payment_create_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_time: Option<String>,
    /// Left out while there are none: Antom's own library cannot read `null` here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transactions: Vec<TransactionBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the provider's names")]
struct TransactionBody {
    transaction_type: &'static str,
    transaction_id: String,
    transaction_request_id: String,
    transaction_amount: Amount,
    transaction_status: &'static str,
    transaction_result: ResultBody,
    transaction_time: String,
}

/// The answer to `inquiryPayment` about a payment that is known; an older gateway leaves its refunds out.
///
/// # Source
/// `docs/providers/antom.md#inquirypayment`, read 2026-11-21.
pub(super) fn payment(payment: &Payment, refunds_listed: bool) -> Vec<u8> {
    let own = ResultBody::new(payment.status.result().0, payment.status.result().1);
    let listed = |it: &&Transaction| refunds_listed || it.kind != TransactionType::Refund;
    let transactions = payment.transactions.iter().filter(listed).map(transaction).collect();
    json::compact(&PaymentAnswer {
        result: ResultBody::success(),
        payment_status: payment.status.word(),
        payment_result_code: own.result_code,
        payment_result_message: own.result_message,
        payment_request_id: payment.request_id.to_string(),
        payment_id: payment.antom_id.clone(),
        payment_amount: payment.amount.into(),
        payment_create_time: body_time(payment.created_at),
        payment_time: (payment.status == AntomStatus::Success).then(|| body_time(payment.decided_at)),
        transactions,
    })
}

fn transaction(it: &Transaction) -> TransactionBody {
    TransactionBody {
        transaction_type: match it.kind {
            TransactionType::Refund => "REFUND",
            TransactionType::Capture => "CAPTURE",
        },
        transaction_id: it.antom_id.clone(),
        transaction_request_id: it.request_id.clone(),
        transaction_amount: it.amount.into(),
        transaction_status: it.outcome.word(),
        transaction_result: match (&it.outcome, it.kind) {
            (AntomOutcome::Success, _) => ResultBody::success(),
            (AntomOutcome::Fail(code), _) => ResultBody::new(code, "F"),
            (AntomOutcome::Processing, TransactionType::Refund) => ResultBody::new("REFUND_IN_PROCESS", "U"),
            (AntomOutcome::Processing, TransactionType::Capture) => ResultBody::new("CAPTURE_IN_PROCESS", "U"),
        },
        transaction_time: body_time(it.at),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefundAnswer<'a> {
    result: ResultBody,
    refund_id: String,
    refund_request_id: String,
    refund_amount: Amount,
    refund_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_request_id: Option<&'a str>,
}

/// The answer to `inquiryRefund` about a refund that is known. It names no payment, as documented, unless it is to, and no reason.
///
/// # Source
/// `docs/providers/antom.md#inquiryrefund`, read 2026-11-21.
pub(super) fn refund(refund: &Transaction, payment: Option<&str>) -> Vec<u8> {
    json::compact(&RefundAnswer {
        result: ResultBody::success(),
        refund_id: refund.antom_id.clone(),
        refund_request_id: refund.request_id.clone(),
        refund_amount: refund.amount.into(),
        refund_status: refund.outcome.word(),
        refund_time: (refund.outcome == AntomOutcome::Success).then(|| body_time(refund.at)),
        payment_request_id: payment,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenAnswer<'a> {
    result: ResultBody,
    access_token: &'a str,
    access_token_expiry_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token_expiry_time: Option<String>,
}

/// The answer to `applyToken`.
///
/// # Source
/// `docs/providers/antom.md#applytoken`, read 2026-11-21.
pub(super) fn token(token: &Token) -> Vec<u8> {
    let refresh = token.refresh.as_ref();
    json::compact(&TokenAnswer {
        result: ResultBody::success(),
        access_token: &token.access,
        access_token_expiry_time: body_time(token.access_expires_at),
        refresh_token: refresh.map(|refresh| refresh.text.as_str()),
        refresh_token_expiry_time: refresh.map(|refresh| body_time(refresh.expires_at)),
    })
}

#[derive(Serialize)]
struct OnlyResult {
    result: ResultBody,
}

/// An answer that says nothing but how the call went.
pub(super) fn only_result(code: &str, status: &'static str) -> Vec<u8> {
    json::compact(&OnlyResult { result: ResultBody::new(code, status) })
}
