use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use payhook_schema::Money;
use serde::Serialize;

use super::payment::{AntomStatus, Payment};
use crate::{SimulatorError, json};

/// The version under which each side knows the other's key.
pub(crate) const KEY_VERSION: u32 = 1;

/// What a notification of Antom's says. [`Self::State`] tells the truth; the others say what their name says, whatever is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AntomKind {
    /// What the payment's state gives Antom to say: paid, failed, or paid by the customer and pending.
    State,
    Paid,
    /// With the state's code, if the payment failed.
    Failed,
    /// `PAYMENT_PENDING`, whose `resultStatus` is `S` although nothing is paid yet.
    Pending,
    /// The last refund succeeded.
    Refund,
    /// The last refund did not happen.
    RefundFailed,
    AuthcodeCreated,
    TokenCreated,
    TokenCanceled,
    Dispute,
}

impl AntomKind {
    pub const ALL: [Self; 10] = [
        Self::State,
        Self::Paid,
        Self::Failed,
        Self::Pending,
        Self::Refund,
        Self::RefundFailed,
        Self::AuthcodeCreated,
        Self::TokenCreated,
        Self::TokenCanceled,
        Self::Dispute,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Refund => "refund",
            Self::RefundFailed => "refund_failed",
            Self::AuthcodeCreated => "authcode_created",
            Self::TokenCreated => "token_created",
            Self::TokenCanceled => "token_canceled",
            Self::Dispute => "dispute",
        }
    }

    /// The last part of the URL it is posted to.
    pub fn call(self) -> &'static str {
        match self {
            Self::State | Self::Paid | Self::Failed | Self::Pending | Self::Dispute => "notifyPayment",
            Self::Refund | Self::RefundFailed => "notifyRefund",
            Self::AuthcodeCreated | Self::TokenCreated | Self::TokenCanceled => "notifyAuthorization",
        }
    }
}

impl std::fmt::Display for AntomKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for AntomKind {
    type Err = SimulatorError;

    fn from_str(word: &str) -> Result<Self, SimulatorError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            SimulatorError::NotPossible(format!("Antom sends no `{word}`; known are {known}"))
        })
    }
}

/// ISO 8601 with an offset, to the second, as Antom writes times.
pub(crate) fn iso(at: Timestamp, hours_east: i8) -> String {
    at.to_zoned(TimeZone::fixed(tz::offset(hours_east))).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Times inside bodies are Pacific ones in every sample.
fn body_time(at: Timestamp) -> String {
    iso(at, -7)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the provider's names")]
pub(super) struct ResultBody {
    result_code: String,
    result_status: &'static str,
    result_message: String,
}

impl ResultBody {
    pub(super) fn new(code: &str, status: &'static str) -> Self {
        let message = code.replace('_', " ").to_lowercase();
        Self { result_code: code.to_owned(), result_status: status, result_message: message }
    }
}

#[derive(Serialize)]
pub(super) struct Amount {
    value: String,
    currency: String,
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self { value: money.amount_minor.to_string(), currency: money.currency.to_string() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotifyPayment {
    notify_type: &'static str,
    result: ResultBody,
    payment_request_id: String,
    payment_id: String,
    payment_amount: Amount,
    payment_create_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_time: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotifyRefund {
    notify_type: &'static str,
    result: ResultBody,
    refund_status: &'static str,
    refund_request_id: String,
    refund_id: String,
    refund_amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_time: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotifyAuthorization {
    authorization_notify_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    result: ResultBody,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotifyDispute {
    dispute_notification_type: &'static str,
    dispute_id: String,
    payment_request_id: String,
    payment_id: String,
    dispute_time: String,
    dispute_amount: Amount,
    dispute_reason_code: &'static str,
}

/// The body of a notification about `payment`, compact as Antom sends it.
///
/// # Source
/// `reference/antom.md` sections 5.2 to 5.6, read 2026-11-21.
pub(crate) fn notification(payment: &Payment, kind: AntomKind, now: Timestamp) -> Result<Vec<u8>, SimulatorError> {
    let id = &payment.request_id;
    let silent = |why: &str| Err(SimulatorError::NotPossible(format!("Antom says nothing about `{id}`: {why}")));
    Ok(match (kind, &payment.status) {
        (AntomKind::State, AntomStatus::Processing) => return silent("it is PROCESSING"),
        (AntomKind::State, AntomStatus::Cancelled) => return silent("a cancelled payment is not notified"),
        (AntomKind::Paid, _) | (AntomKind::State, AntomStatus::Success) => {
            let paid_at = if payment.status == AntomStatus::Success { payment.decided_at } else { now };
            json::compact(&notify_payment(payment, "PAYMENT_RESULT", ("SUCCESS", "S"), Some(paid_at)))
        }
        (AntomKind::Pending, _) | (AntomKind::State, AntomStatus::Pending) => {
            json::compact(&notify_payment(payment, "PAYMENT_PENDING", ("SUCCESS", "S"), None))
        }
        (AntomKind::State | AntomKind::Failed, _) => {
            let code = match payment.status.result() {
                (code, "F") => code,
                _ => "USER_BALANCE_NOT_ENOUGH",
            };
            json::compact(&notify_payment(payment, "PAYMENT_RESULT", (code, "F"), None))
        }
        (AntomKind::Refund | AntomKind::RefundFailed, _) => match payment.refunds.last() {
            Some(refund) => json::compact(&notify_refund(refund, kind == AntomKind::Refund)),
            None => return silent("it has no refund"),
        },
        (AntomKind::AuthcodeCreated | AntomKind::TokenCreated | AntomKind::TokenCanceled, _) => {
            json::compact(&notify_authorization(payment, kind))
        }
        (AntomKind::Dispute, _) => json::compact(&NotifyDispute {
            dispute_notification_type: "DISPUTE_CREATED",
            dispute_id: format!("DP-{}", payment.antom_id),
            payment_request_id: payment.request_id.to_string(),
            payment_id: payment.antom_id.clone(),
            dispute_time: body_time(now),
            dispute_amount: payment.amount.into(),
            dispute_reason_code: "FRAUD",
        }),
    })
}

fn notify_payment(
    payment: &Payment,
    notify_type: &'static str,
    (code, status): (&str, &'static str),
    paid_at: Option<Timestamp>,
) -> NotifyPayment {
    NotifyPayment {
        notify_type,
        result: ResultBody::new(code, status),
        payment_request_id: payment.request_id.to_string(),
        payment_id: payment.antom_id.clone(),
        payment_amount: payment.amount.into(),
        payment_create_time: body_time(payment.created_at),
        payment_time: paid_at.map(body_time),
    }
}

fn notify_refund(refund: &super::Refund, happened: bool) -> NotifyRefund {
    let (code, status, word) = if happened { ("SUCCESS", "S", "SUCCESS") } else { ("PROCESS_FAIL", "F", "FAIL") };
    NotifyRefund {
        notify_type: "REFUND_RESULT",
        result: ResultBody::new(code, status),
        refund_status: word,
        refund_request_id: refund.request_id.clone(),
        refund_id: refund.antom_id.clone(),
        refund_amount: refund.amount.into(),
        refund_time: happened.then(|| body_time(refund.at)),
    }
}

/// The mandate behind the payment: its state, code and token are named after the payment, so that repeats name the same one.
fn notify_authorization(payment: &Payment, kind: AntomKind) -> NotifyAuthorization {
    let id = &payment.request_id;
    let token = Some(format!("28100103{}", payment.antom_id));
    let state = Some(format!("AS-{id}"));
    let (word, auth_state, auth_code, access_token, reason) = match kind {
        AntomKind::AuthcodeCreated => {
            ("AUTHCODE_CREATED", state, Some(format!("28100103{:.24}", payment.antom_id)), None, None)
        }
        AntomKind::TokenCreated => ("TOKEN_CREATED", state, None, token, None),
        _ => ("TOKEN_CANCELED", None, None, token, Some("user request")),
    };
    let result = ResultBody::new("SUCCESS", "S");
    NotifyAuthorization { authorization_notify_type: word, auth_state, auth_code, access_token, reason, result }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inquiry {
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transactions: Vec<Transaction>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the provider's names")]
struct Transaction {
    transaction_type: &'static str,
    transaction_id: String,
    transaction_request_id: String,
    transaction_amount: Amount,
    transaction_status: &'static str,
    transaction_result: ResultBody,
    transaction_time: String,
}

/// The answer to `inquiryPayment` about a payment that is known.
///
/// # Source
/// `reference/antom.md` section 6.2, read 2026-11-21.
pub(super) fn inquiry(payment: &Payment) -> Vec<u8> {
    let own = ResultBody::new(payment.status.result().0, payment.status.result().1);
    json::compact(&Inquiry {
        result: ResultBody::new("SUCCESS", "S"),
        payment_status: payment.status.word(),
        payment_result_code: own.result_code,
        payment_result_message: own.result_message,
        payment_request_id: payment.request_id.to_string(),
        payment_id: payment.antom_id.clone(),
        payment_amount: payment.amount.into(),
        payment_create_time: body_time(payment.created_at),
        payment_time: (payment.status == AntomStatus::Success).then(|| body_time(payment.decided_at)),
        transactions: payment.refunds.iter().map(transaction).collect(),
    })
}

fn transaction(refund: &super::Refund) -> Transaction {
    Transaction {
        transaction_type: "REFUND",
        transaction_id: refund.antom_id.clone(),
        transaction_request_id: refund.request_id.clone(),
        transaction_amount: refund.amount.into(),
        transaction_status: "SUCCESS",
        transaction_result: ResultBody::new("SUCCESS", "S"),
        transaction_time: body_time(refund.at),
    }
}

#[derive(Serialize)]
struct OnlyResult {
    result: ResultBody,
}

/// An answer that says nothing but how the call went.
pub(super) fn only_result(code: &str, status: &'static str) -> Vec<u8> {
    json::compact(&OnlyResult { result: ResultBody::new(code, status) })
}
