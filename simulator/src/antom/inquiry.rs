//! The bodies of Antom's answers.

use serde_json::{Value, json};

use super::AntomStatus;
use super::authorization::TokenPair;
use super::payment::AntomPayment;
use super::transaction::{AntomOutcome, Transaction, TransactionType};
use super::wire::{amount, body, body_time, result};
use crate::json::fixture;

/// The answer to `inquiryPayment` about a payment that is known; an older gateway leaves its refunds out.
///
/// # Source
/// `docs/providers/antom.md#inquirypayment`, read 2026-11-21.
pub(super) fn payment(payment: &AntomPayment, refunds_listed: bool) -> Value {
    let (code, status) = payment.status.result();
    let own = result(code, status);
    let listed = payment.transactions.iter().filter(|it| refunds_listed || it.kind != TransactionType::Refund);
    let transactions: Vec<Value> = listed.map(transaction).collect();
    let paid = payment.status == AntomStatus::Success;
    let fields = json!({
        "paymentStatus": payment.status.word(),
        "paymentResultCode": own["resultCode"],
        "paymentResultMessage": own["resultMessage"],
        "paymentRequestId": payment.request_id,
        "paymentId": payment.antom_id,
        "paymentAmount": amount(payment.amount),
        "paymentCreateTime": body_time(payment.created_at),
        "paymentTime": paid.then(|| body_time(payment.decided_at)),
        "transactions": (!transactions.is_empty()).then_some(transactions),
    });
    body(fixture!("antom/inquiry_processing.json"), fields)
}

fn transaction(transaction: &Transaction) -> Value {
    let (word, running) = match transaction.kind {
        TransactionType::Refund => ("REFUND", "REFUND_IN_PROCESS"),
        TransactionType::Capture => ("CAPTURE", "CAPTURE_IN_PROCESS"),
    };
    let fields = json!({
        "transactionType": word,
        "transactionId": transaction.antom_id,
        "transactionRequestId": transaction.request_id,
        "transactionAmount": amount(transaction.amount),
        "transactionStatus": transaction.outcome.word(),
        "transactionResult": match &transaction.outcome {
            AntomOutcome::Success => result("SUCCESS", "S"),
            AntomOutcome::Fail(code) => result(code, "F"),
            AntomOutcome::Processing => result(running, "U"),
        },
        "transactionTime": body_time(transaction.at),
    });
    body(&fixture!("antom/inquiry_partly_refunded.json")["transactions"][0], fields)
}

/// The answer to `inquiryRefund` about a refund that is known: without a reason, and without its payment unless one is
/// given.
///
/// # Source
/// `docs/providers/antom.md#inquiryrefund`, read 2026-11-21.
pub(super) fn refund(refund: &Transaction, payment: Option<&str>) -> Value {
    let fields = json!({
        "refundId": refund.antom_id,
        "refundRequestId": refund.request_id,
        "refundAmount": amount(refund.amount),
        "refundStatus": refund.outcome.word(),
        "refundTime": (refund.outcome == AntomOutcome::Success).then(|| body_time(refund.at)),
        "paymentRequestId": payment,
    });
    body(fixture!("antom/refund_inquiry_processing.json"), fields)
}

/// The answer to `applyToken`.
///
/// # Source
/// `docs/providers/antom.md#applytoken`, read 2026-11-21.
pub(super) fn token(token: &TokenPair) -> Value {
    let refresh = token.refresh.as_ref();
    let fields = json!({
        "accessToken": token.access,
        "accessTokenExpiryTime": body_time(token.access_expires_at),
        "refreshToken": refresh.map(|refresh| &refresh.text),
        "refreshTokenExpiryTime": refresh.map(|refresh| body_time(refresh.expires_at)),
    });
    body(fixture!("antom/token_issued.json"), fields)
}

/// An answer that says nothing but how the call went.
pub(super) fn only_result(code: &str, status: &str) -> Value {
    json!({ "result": result(code, status) })
}
