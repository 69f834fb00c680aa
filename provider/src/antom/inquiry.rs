use jiff::Timestamp;
use payhook_schema::{Currency, Money, PaymentFacts, PaymentId, PaymentState};
use serde::Deserialize;

use crate::client::AskError;
use crate::{AntomAccount, strict_json};

/// The API call that tells the truth about a payment.
pub const INQUIRY_PAYMENT: &str = "v1/payments/inquiryPayment";

/// The path of an API call, as it is sent and signed: the sandbox has its own prefix.
pub fn api_path(sandbox: bool, call: &str) -> String {
    match sandbox {
        true => format!("/ams/sandbox/api/{call}"),
        false => format!("/ams/api/{call}"),
    }
}

pub fn inquiry_body(payment: &PaymentId) -> String {
    serde_json::json!({ "paymentRequestId": payment }).to_string()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    result: ResultField,
    payment_status: Option<String>,
    payment_result_code: Option<String>,
    payment_request_id: Option<String>,
    payment_id: Option<String>,
    payment_amount: Option<Amount>,
    payment_time: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultField {
    result_code: Option<String>,
    result_status: Option<String>,
}

/// Documented as a string; a bare integer is read too, a float never.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Integer(i64),
}

#[derive(Deserialize)]
struct Amount {
    currency: String,
    value: Value,
}

/// Reads Antom's `inquiryPayment` answer into the facts it states about the payment.
///
/// # Shape
/// `paymentAmount.value` is in the currency's smallest unit (`"50000"` HKD is HK$500.00; KRW and JPY have none).
/// `paymentTime` is ISO 8601 with an offset.
///
/// The answer's own `result` says whether the *inquiry* worked, never whether the payment did:
///
/// | `resultStatus` | `paymentStatus`           | facts                                        |
/// |----------------|---------------------------|----------------------------------------------|
/// | `S`            | `SUCCESS`                 | `Paid`, all of it captured                   |
/// | `S`            | `FAIL`, `CANCELLED`       | `Failed`, `Cancelled`                        |
/// | `S`            | `PROCESSING`, `PENDING`   | `Awaiting`: ask again later                  |
/// | `U`            | -                         | none: [`AskError::Unavailable`], or throttled |
/// | `F`            | -                         | none: not there yet, or [`AskError::Misconfigured`] |
///
/// # Errors
/// [`AskError::OutsideTables`] for anything else: we never guess with money.
///
/// # Source
/// <https://docs.antom.com/ac/ams/paymentri_online>, read 2026-11-21; `reference/antom.md` section 6.2.
pub fn read_inquiry(body: &[u8], asked: &PaymentId, asked_at: Timestamp) -> Result<PaymentFacts, AskError> {
    let answer: Answer = strict_json::read(body).map_err(AskError::garbled)?;
    let code = answer.result.result_code.as_deref().unwrap_or("-");
    match answer.result.result_status.as_deref() {
        Some("S") => read_payment(&answer, asked, asked_at),
        Some("U") if code == "REQUEST_TRAFFIC_EXCEED_LIMIT" => Err(AskError::Throttled { after: None }),
        Some("U") => Err(AskError::unavailable(format!("Antom answered U {code}"))),
        // R8 and the pages: also what an order that never reached Antom gets, at first.
        Some("F") if matches!(code, "ORDER_NOT_EXIST" | "PROCESS_FAIL") => {
            Err(AskError::NotThere { code: code.to_owned() })
        }
        Some("F") => Err(AskError::Misconfigured { what: format!("Antom answered F {code}") }),
        other => Err(AskError::OutsideTables { what: format!("resultStatus {}", other.unwrap_or("absent")) }),
    }
}

/// Whether a body is at least shaped like an answer of Antom's, signed or not.
pub(crate) fn is_result(body: &[u8]) -> bool {
    strict_json::read::<Answer>(body).is_ok()
}

fn read_payment(answer: &Answer, asked: &PaymentId, asked_at: Timestamp) -> Result<PaymentFacts, AskError> {
    if answer.payment_request_id.as_deref() != Some(asked.as_str()) {
        return Err(AskError::garbled("the answer is about another payment"));
    }
    let status = answer.payment_status.as_deref().unwrap_or("absent");
    let state = match status {
        "SUCCESS" => PaymentState::Paid,
        "FAIL" => PaymentState::Failed,
        "CANCELLED" => PaymentState::Cancelled,
        "PROCESSING" | "PENDING" => PaymentState::Awaiting,
        other => {
            let word: String = other.chars().filter(|char| !char.is_control()).take(40).collect();
            return Err(AskError::OutsideTables { what: format!("paymentStatus {word}") });
        }
    };
    let amount = answer.payment_amount.as_ref().map(read_amount).transpose()?;
    let captured_minor = match (state, amount) {
        (PaymentState::Paid, Some(amount)) => amount.amount_minor,
        (PaymentState::Paid, None) => {
            return Err(AskError::OutsideTables { what: "paymentStatus SUCCESS without paymentAmount".to_owned() });
        }
        _ => 0,
    };
    let reason = answer.payment_result_code.clone().filter(|_| state == PaymentState::Failed);
    let shown = amount.map_or_else(String::new, |amount| format!(" {amount}"));
    Ok(PaymentFacts {
        state,
        amount,
        captured_minor,
        refunded_minor: 0,
        provider_reference: answer.payment_id.clone(),
        occurred_at: answer.payment_time.as_deref().and_then(super::signature::read_time),
        expires_at: None,
        asked_at,
        answer: format!(
            "paymentStatus {status}{}{shown}",
            reason.as_ref().map_or(String::new(), |code| format!(" ({code})"))
        ),
        reason,
    })
}

fn read_amount(amount: &Amount) -> Result<Money, AskError> {
    let outside = |what: &str| AskError::OutsideTables { what: what.to_owned() };
    let currency = Currency::new(&amount.currency).map_err(|_| outside("paymentAmount has an unknown currency"))?;
    let amount_minor = match &amount.value {
        Value::Integer(minor) => Some(*minor),
        Value::Text(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::Text(_) => None,
    };
    match amount_minor {
        Some(minor) if minor >= 0 => Ok(Money::new(minor, currency)),
        _ => Err(outside("paymentAmount is not a positive integer")),
    }
}

impl AntomAccount {
    /// Checks the signature of Antom's answer to a request sent to `path`. What is unsigned is never an answer.
    ///
    /// # Source
    /// `reference/antom.md` section 3.
    pub(crate) fn check_answer(&self, path: &str, headers: &http::HeaderMap, body: &[u8]) -> Result<(), String> {
        let header = |name: &str| {
            let mut values = headers.get_all(name).iter();
            match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(format!("the answer has not one `{name}` header")),
            }
        };
        let (client_id, time) = (header("client-id")?, header("response-time")?);
        if client_id != self.client_id {
            return Err("the answer is for another client-id".to_owned());
        }
        let signature = super::SignatureHeader::parse(header("signature")?)?;
        let message = super::signed_message(path, client_id, time, body);
        signature
            .verify(&message, &self.public_keys)
            .map_err(|()| "the answer's signature does not hold".to_owned())?;
        Ok(())
    }
}
