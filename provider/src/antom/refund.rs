//! Asks Antom about a refund, and reads the answer.

use payhook_schema::{PaymentId, Refund, RefundId, RefundState};
use serde::Deserialize;

use super::wire::{Amount, Outcome, Text, given, not_there, time, word};
use crate::client::AskError;
use crate::strict_json;

/// The API call that answers with the state of a refund.
pub const INQUIRY_REFUND: &str = "v1/payments/inquiryRefund";

pub fn refund_inquiry_body(refund: &RefundId) -> String {
    serde_json::json!({ "refundRequestId": refund }).to_string()
}

/// Antom's answer about one refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundAnswer {
    pub refund: Refund,
    /// Antom's documented answer names no payment; taken where it happens to.
    pub payment: Option<PaymentId>,
    /// Likewise its `paymentId`.
    pub reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    result: Outcome,
    refund_id: Option<Text>,
    refund_request_id: Option<Text>,
    refund_status: Option<Text>,
    refund_amount: Option<Amount>,
    refund_time: Option<Text>,
    payment_request_id: Option<Text>,
    payment_id: Option<Text>,
}

/// Reads Antom's `inquiryRefund` answer.
///
/// # Shape
/// The answer's own `result` says whether the *inquiry* worked, never whether the refund did:
///
/// | `resultStatus` | `refundStatus` | refund                                                              |
/// |----------------|----------------|---------------------------------------------------------------------|
/// | `S`            | `SUCCESS`, `S` | `Succeeded`, with `refundAmount` and `refundTime`                   |
/// | `S`            | `FAIL`, `F`    | `Failed`; `resultCode` is the reason, unless it only says `SUCCESS` |
/// | `S`            | `PROCESSING`   | `Pending`: ask again later                                          |
/// | `S`            | nothing at all | none: [`AskError::NotThere`], as Antom documents for "not found"    |
/// | `U`            | -              | none: [`AskError::Unavailable`], or throttled                       |
/// | `F`            | -              | none: not there yet, or [`AskError::Misconfigured`]                 |
///
/// # Errors
/// [`AskError::OutsideTables`] for anything else; [`AskError::Unavailable`] for another refund's answer.
///
/// # Source
/// <https://docs.antom.com/ac/ams/ir_online>, read 2026-11-21; `docs/providers/antom.md#inquiryrefund`.
pub fn read_refund(body: &[u8], asked: &RefundId) -> Result<RefundAnswer, AskError> {
    let answer: Answer = strict_json::read(body).map_err(AskError::garbled)?;
    answer.result.worked(not_there)?;
    let (id, request_id) = (given(answer.refund_id.as_ref()), given(answer.refund_request_id.as_ref()));
    let status = given(answer.refund_status.as_ref());
    if id.is_none() && request_id.is_none() && status.is_none() {
        return Err(AskError::NotThere { code: answer.result.code() });
    }
    if ![id, request_id].contains(&Some(asked.as_str())) {
        return Err(AskError::garbled("the answer is about another refund"));
    }
    let outside = |what: String| AskError::OutsideTables { what };
    let state = match status {
        Some("SUCCESS" | "S") => RefundState::Succeeded,
        Some("FAIL" | "F") => RefundState::Failed,
        Some("PROCESSING") => RefundState::Pending,
        other => return Err(outside(format!("refundStatus {}", word(other.unwrap_or("absent"))))),
    };
    let amount = answer.refund_amount.as_ref().map(|amount| amount.money("refundAmount")).transpose()?;
    if state == RefundState::Succeeded && amount.is_none() {
        return Err(outside("refundStatus SUCCESS without refundAmount".to_owned()));
    }
    let reason = answer.result.reason().filter(|_| state == RefundState::Failed);
    Ok(RefundAnswer {
        refund: Refund {
            id: asked.clone(),
            provider_reference: id.map(word),
            state,
            amount,
            voided: false,
            reason,
            occurred_at: time(answer.refund_time.as_ref()),
        },
        payment: given(answer.payment_request_id.as_ref()).and_then(|id| PaymentId::new(id).ok()),
        reference: given(answer.payment_id.as_ref()).map(word),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Result<RefundAnswer, AskError> {
        let body = format!(r#"{{"result":{{"resultCode":"SUCCESS","resultStatus":"S"}},{fields}}}"#);
        read_refund(body.as_bytes(), &RefundId::new("RF-1").unwrap())
    }

    const AMOUNT: &str = r#""refundAmount":{"currency":"THB","value":"50000"}"#;

    #[test]
    fn the_other_spelling_of_a_refunds_status_is_read_as_well() {
        for (status, state) in [("S", RefundState::Succeeded), ("F", RefundState::Failed)] {
            let answer = read(&format!(r#""refundRequestId":"RF-1","refundStatus":"{status}",{AMOUNT}"#)).unwrap();
            assert_eq!((answer.refund.state, answer.refund.reason), (state, None));
        }
    }

    #[test]
    fn an_answer_is_taken_under_either_name_of_the_refund_and_no_other() {
        let named = |name: &str, other: &str| {
            read(&format!(
                r#"{name},{other},"refundStatus":"SUCCESS",{AMOUNT},"paymentId":2024,"paymentRequestId":"PR-1""#
            ))
        };
        let answer = named(r#""refundRequestId":"RF-2""#, r#""refundId":"RF-1""#).unwrap();
        assert_eq!((answer.payment, answer.reference.as_deref()), (PaymentId::new("PR-1").ok(), Some("2024")));
        let another = named(r#""refundRequestId":"RF-2""#, r#""refundId":"RF-3""#);
        assert!(matches!(another, Err(AskError::Unavailable { .. })));
    }

    #[test]
    fn a_refund_is_never_guessed() {
        for fields in [
            r#""refundRequestId":"RF-1""#.to_owned(),
            r#""refundRequestId":"RF-1","refundStatus":"SUCCESS""#.to_owned(),
            format!(r#""refundRequestId":"RF-1","refundStatus":"DONE",{AMOUNT}"#),
            format!(r#""refundRequestId":"RF-1","refundStatus":"SUCCESS",{}"#, AMOUNT.replace("50000", "5e4")),
        ] {
            assert!(matches!(read(&fields), Err(AskError::OutsideTables { .. })), "{fields}");
        }
        assert!(matches!(read(r#""refundStatus":"SUCCESS""#), Err(AskError::Unavailable { .. })));
    }
}
