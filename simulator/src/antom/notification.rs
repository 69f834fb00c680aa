use jiff::{SignedDuration, Timestamp};
use payhook_schema::PaymentId;
use serde::Serialize;

use super::authorization::Authorization;
use super::kind::{AntomKind, SubscriptionStep};
use super::payment::{AntomStatus, Payment};
use super::transaction::{AntomOutcome, Transaction, TransactionType};
use super::wire::{Amount, ResultBody, body_time};
use crate::{SimulatorError, json};

/// The time a merchant has to answer a dispute here.
const DEFENSE_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A subscription's period here.
const PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);

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
    #[serde(skip_serializing_if = "Option::is_none")]
    update_request_id: Option<String>,
    #[serde(flatten)]
    renewal: Option<Renewal>,
}

/// The fields that a subscription's payment has beside those of every payment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Renewal {
    subscription_request_id: String,
    subscription_id: String,
    period_start_time: String,
    period_end_time: String,
    phase_no: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotifyCapture {
    notify_type: &'static str,
    result: ResultBody,
    capture_request_id: String,
    capture_id: String,
    payment_id: String,
    capture_amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture_time: Option<String>,
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
    reason: Option<String>,
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
    defendable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    defense_due_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dispute_judged_result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dispute_judged_amount: Option<Amount>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotifySubscription {
    subscription_notification_type: &'static str,
    subscription_request_id: String,
    subscription_id: String,
    subscription_status: &'static str,
    subscription_start_time: String,
    subscription_end_time: String,
    period_rule: PeriodRule,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeriodRule {
    period_type: &'static str,
    period_count: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotifyVaulting {
    result: ResultBody,
    vaulting_request_id: String,
    payment_method_detail: PaymentMethodDetail,
    vaulting_create_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentMethodDetail {
    payment_method_type: &'static str,
    card: KeptCard,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeptCard {
    card_token: String,
    masked_card_no: &'static str,
    brand: &'static str,
}

/// A kind Antom might add next year.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotifyUnknown {
    notify_type: &'static str,
    result: ResultBody,
    novelty_id: String,
}

/// The body of a notification about `payment`, compact as Antom sends it. A dispute or subscription that the payment
/// does not have gets an id derived from the payment's, so that repeats name the same one.
///
/// # Source
/// The page of each notification, read 2026-11-21; `docs/providers/antom.md#sources`.
pub(crate) fn of_payment(payment: &Payment, kind: AntomKind, now: Timestamp) -> Result<Vec<u8>, SimulatorError> {
    let id = &payment.request_id;
    let silent = |why: &str| Err(SimulatorError::NotPossible(format!("Antom says nothing about `{id}`: {why}")));
    let paid_at = if payment.status == AntomStatus::Success { payment.decided_at } else { now };
    let paid = || notify_payment(payment, "PAYMENT_RESULT", ("SUCCESS", "S"), Some(paid_at));
    Ok(match (kind, &payment.status) {
        (AntomKind::State, AntomStatus::Processing) => return silent("it is PROCESSING"),
        (AntomKind::State, AntomStatus::Cancelled) => return silent("a cancelled payment is not notified"),
        (AntomKind::Paid, _) | (AntomKind::State, AntomStatus::Success) => json::compact(&paid()),
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
        (AntomKind::AmountUpdated, _) => json::compact(&NotifyPayment {
            update_request_id: Some(format!("UR-{id}")),
            ..notify_payment(payment, "UPDATE_AMOUNT_RESULT", ("SUCCESS", "S"), None)
        }),
        (AntomKind::SubscriptionPayment, _) => {
            json::compact(&NotifyPayment { renewal: Some(renewal(payment)), ..paid() })
        }
        (AntomKind::Capture | AntomKind::CaptureFailed, _) => match payment.of_type(TransactionType::Capture).last() {
            Some(capture) => json::compact(&notify_capture(payment, capture, kind == AntomKind::Capture)),
            None => return silent("it has no capture"),
        },
        (AntomKind::RefundState | AntomKind::Refund | AntomKind::RefundFailed, _) => {
            match payment.of_type(TransactionType::Refund).last() {
                Some(refund) => return of_refund(refund, kind),
                None => return silent("it has no refund"),
            }
        }
        (AntomKind::AuthcodeCreated | AntomKind::TokenCreated | AntomKind::TokenCanceled, _) => {
            return of_authorization(&mandate(payment, now), kind);
        }
        (AntomKind::Subscription(step), _) => json::compact(&notify_subscription(payment, step)),
        (AntomKind::Vaulting, _) => json::compact(&notify_vaulting(payment)),
        (AntomKind::Unknown, _) => json::compact(&NotifyUnknown {
            notify_type: "NOVELTY_RESULT",
            result: ResultBody::success(),
            novelty_id: format!("NV-{id}"),
        }),
        (
            AntomKind::Dispute
            | AntomKind::DefenseDueAlert
            | AntomKind::DefenseSupplied
            | AntomKind::DisputeJudged(_)
            | AntomKind::DisputeAccepted
            | AntomKind::DisputeCancelled
            | AntomKind::RdrResolved,
            _,
        ) => json::compact(&notify_dispute(payment, kind, now)),
    })
}

/// The body of a notification about one refund: the truth of [`AntomKind::RefundState`], or what the kind says.
pub(crate) fn of_refund(refund: &Transaction, kind: AntomKind) -> Result<Vec<u8>, SimulatorError> {
    let no = |why: &str| {
        let id = &refund.request_id;
        Err(SimulatorError::NotPossible(format!("Antom says nothing about refund `{id}`: {why}")))
    };
    let happened = match (kind, &refund.outcome) {
        (AntomKind::RefundState, AntomOutcome::Processing) => return no("it is PROCESSING"),
        (AntomKind::RefundState, outcome) => *outcome == AntomOutcome::Success,
        (AntomKind::Refund, _) => true,
        (AntomKind::RefundFailed, _) => false,
        (kind, _) => return no(&format!("`{kind}` is about something else")),
    };
    Ok(json::compact(&NotifyRefund {
        notify_type: "REFUND_RESULT",
        result: result_of(refund, happened),
        refund_status: if happened { "SUCCESS" } else { "FAIL" },
        refund_request_id: refund.request_id.clone(),
        refund_id: refund.antom_id.clone(),
        refund_amount: refund.amount.into(),
        refund_time: happened.then(|| body_time(refund.at)),
    }))
}

/// The body of a notification about one authorization.
///
/// # Errors
/// [`SimulatorError::NotPossible`]: there is no code or token to tell of yet.
pub(crate) fn of_authorization(of: &Authorization, kind: AntomKind) -> Result<Vec<u8>, SimulatorError> {
    let no = |why: &str| {
        SimulatorError::NotPossible(format!("Antom says nothing about authorization `{}`: {why}", of.auth_state))
    };
    let code = || of.code.as_ref().map(|code| code.text.clone()).ok_or_else(|| no("the customer has not agreed"));
    let token = || of.token.as_ref().map(|token| token.access.clone()).ok_or_else(|| no("it has no token"));
    let mut body = NotifyAuthorization {
        authorization_notify_type: "AUTHCODE_CREATED",
        auth_state: Some(of.auth_state.to_string()),
        auth_code: None,
        access_token: None,
        reason: None,
        result: ResultBody::success(),
    };
    match kind {
        AntomKind::AuthcodeCreated => body.auth_code = Some(code()?),
        AntomKind::TokenCreated => {
            (body.authorization_notify_type, body.access_token) = ("TOKEN_CREATED", Some(token()?));
        }
        AntomKind::TokenCanceled => {
            (body.authorization_notify_type, body.access_token) = ("TOKEN_CANCELED", Some(token()?));
            (body.auth_state, body.reason) = (None, of.cancelled.as_ref().and_then(|it| it.reason.clone()));
        }
        other => return Err(no(&format!("`{other}` is about something else"))),
    }
    Ok(json::compact(&body))
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
        update_request_id: None,
        renewal: None,
    }
}

/// Success, or the code a refund or capture failed with, if it did.
fn result_of(transaction: &Transaction, happened: bool) -> ResultBody {
    match (&transaction.outcome, happened) {
        (_, true) => ResultBody::success(),
        (AntomOutcome::Fail(code), false) => ResultBody::new(code, "F"),
        (_, false) => ResultBody::new("PROCESS_FAIL", "F"),
    }
}

/// It names the payment by Antom's own name for it, and by no other.
fn notify_capture(payment: &Payment, capture: &Transaction, happened: bool) -> NotifyCapture {
    NotifyCapture {
        notify_type: "CAPTURE_RESULT",
        result: result_of(capture, happened),
        capture_request_id: capture.request_id.clone(),
        capture_id: capture.antom_id.clone(),
        payment_id: payment.antom_id.clone(),
        capture_amount: capture.amount.into(),
        capture_time: happened.then(|| body_time(capture.at)),
    }
}

/// The mandate a payment would have been made under: for whoever asks about one that never consulted.
fn mandate(payment: &Payment, now: Timestamp) -> Authorization {
    let auth_state = state_of(&payment.request_id).parse().expect("a payment id with a prefix is short and visible");
    let wallet = "KPLUS".parse().expect("a documented wallet");
    Authorization::sample(auth_state, wallet, &payment.antom_id, now)
}

fn state_of(id: &PaymentId) -> String {
    format!("AS-{id}")
}

/// The last dispute that was opened, or one of the whole amount that nobody has opened.
fn notify_dispute(payment: &Payment, kind: AntomKind, now: Timestamp) -> NotifyDispute {
    let opened = payment.disputes.last();
    let amount = opened.map_or(payment.amount, |dispute| dispute.amount);
    let at = opened.map_or(now, |dispute| dispute.at);
    let judged = match kind {
        AntomKind::DisputeJudged(judgement) => Some(judgement.word()),
        _ => None,
    };
    NotifyDispute {
        dispute_notification_type: match kind {
            AntomKind::DefenseDueAlert => "DEFENSE_DUE_ALERT",
            AntomKind::DefenseSupplied => "DEFENSE_SUPPLIED",
            AntomKind::DisputeJudged(_) => "DISPUTE_JUDGED",
            AntomKind::DisputeAccepted => "DISPUTE_ACCEPTED",
            AntomKind::DisputeCancelled => "DISPUTE_CANCELLED",
            AntomKind::RdrResolved => "RDR_RESOLVED",
            _ => "DISPUTE_CREATED",
        },
        dispute_id: opened.map_or_else(|| format!("DP-{}", payment.antom_id), |dispute| dispute.id.to_string()),
        payment_request_id: payment.request_id.to_string(),
        payment_id: payment.antom_id.clone(),
        dispute_time: body_time(at),
        dispute_amount: amount.into(),
        dispute_reason_code: "FRAUD",
        defendable: true,
        defense_due_time: matches!(kind, AntomKind::Dispute | AntomKind::DefenseDueAlert)
            .then(|| body_time(at.saturating_add(DEFENSE_WITHIN).unwrap_or(at))),
        dispute_judged_result: judged,
        dispute_judged_amount: judged.map(|_| amount.into()),
    }
}

fn renewal(payment: &Payment) -> Renewal {
    let ends = payment.created_at.saturating_add(PERIOD).unwrap_or(payment.created_at);
    Renewal {
        subscription_request_id: format!("SR-{}", payment.request_id),
        subscription_id: format!("SB-{}", payment.antom_id),
        period_start_time: body_time(payment.created_at),
        period_end_time: body_time(ends),
        phase_no: "1",
    }
}

fn notify_subscription(payment: &Payment, step: SubscriptionStep) -> NotifySubscription {
    let renewal = renewal(payment);
    NotifySubscription {
        subscription_notification_type: step.word(),
        subscription_request_id: renewal.subscription_request_id,
        subscription_id: renewal.subscription_id,
        subscription_status: match step {
            SubscriptionStep::Create | SubscriptionStep::Change | SubscriptionStep::Update => "ACTIVE",
            SubscriptionStep::Cancel => "CANCELLED",
            SubscriptionStep::Terminate => "TERMINATED",
        },
        subscription_start_time: renewal.period_start_time,
        subscription_end_time: renewal.period_end_time,
        period_rule: PeriodRule { period_type: "MONTH", period_count: "1" },
    }
}

fn notify_vaulting(payment: &Payment) -> NotifyVaulting {
    NotifyVaulting {
        result: ResultBody::success(),
        vaulting_request_id: format!("VR-{}", payment.request_id),
        payment_method_detail: PaymentMethodDetail {
            payment_method_type: "CARD",
            card: KeptCard {
                card_token: format!("ALIPAY{}", payment.antom_id),
                masked_card_no: "************4242",
                brand: "VISA",
            },
        },
        vaulting_create_time: body_time(payment.created_at),
    }
}
