//! The bodies of Antom's notifications.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::authorization::Consent;
use super::kind::{AntomKind, SubscriptionStep};
use super::payment::{AntomPayment, AntomStatus};
use super::transaction::{AntomOutcome, Transaction, TransactionType};
use super::wire::{amount, body, body_time, result};
use crate::SimulatorError;
use crate::json::{fixture, with};

/// The time a merchant has to answer a dispute here.
const DEFENSE_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A subscription's period here.
const PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The body of a notification about `payment`. A dispute or subscription that the payment does not have gets an id
/// derived from the payment's, so that repeats name the same one.
///
/// # Errors
/// [`SimulatorError::NotPossible`]: Antom would send nothing.
///
/// # Source
/// The page of each notification, read 2026-11-21; `docs/providers/antom.md#sources`.
pub(crate) fn of_payment(payment: &AntomPayment, kind: AntomKind, now: Timestamp) -> Result<Value, SimulatorError> {
    let id = &payment.request_id;
    let silent = |why: &str| SimulatorError::NotPossible(format!("Antom says nothing about `{id}`: {why}"));
    let last = |kind, none| payment.of_type(kind).next_back().ok_or_else(|| silent(none));
    let paid_at = body_time(if payment.status == AntomStatus::Success { payment.decided_at } else { now });
    Ok(match (kind, &payment.status) {
        (AntomKind::State, AntomStatus::Processing) => return Err(silent("it is PROCESSING")),
        (AntomKind::State, AntomStatus::Cancelled) => return Err(silent("a cancelled payment is not notified")),
        (AntomKind::Paid, _) | (AntomKind::State, AntomStatus::Success) => {
            about(payment, fixture!("antom/notify_payment_paid.json"), json!({ "paymentTime": paid_at }))
        }
        (AntomKind::Pending, _) | (AntomKind::State, AntomStatus::Pending) => {
            about(payment, fixture!("antom/notify_payment_pending.json"), json!({}))
        }
        (AntomKind::State | AntomKind::Failed, _) => {
            let code = match payment.status.result() {
                (code, "F") => code,
                _ => "USER_BALANCE_NOT_ENOUGH",
            };
            about(payment, fixture!("antom/notify_payment_failed.json"), json!({ "result": result(code, "F") }))
        }
        (AntomKind::AmountUpdated, _) => {
            let fields = json!({ "updateRequestId": format!("UR-{id}"), "authExpiryTime": null });
            about(payment, fixture!("antom/notify_update_amount.json"), fields)
        }
        (AntomKind::SubscriptionPayment, _) => {
            let [request_id, id, starts, ends] = subscription(payment);
            let fields = json!({
                "paymentTime": paid_at,
                "subscriptionRequestId": request_id,
                "subscriptionId": id,
                "periodStartTime": starts,
                "periodEndTime": ends,
            });
            about(payment, fixture!("antom/notify_payment_of_subscription.json"), fields)
        }
        (AntomKind::Capture | AntomKind::CaptureFailed, _) => {
            let capture = last(TransactionType::Capture, "it has no capture")?;
            of_capture(payment, capture, kind == AntomKind::Capture)
        }
        (AntomKind::RefundState | AntomKind::Refund | AntomKind::RefundFailed, _) => {
            return of_refund(last(TransactionType::Refund, "it has no refund")?, kind);
        }
        (AntomKind::AuthcodeCreated | AntomKind::TokenCreated | AntomKind::TokenCanceled, _) => {
            // The consent that the payment would have been made under.
            let auth_state = format!("AS-{id}").parse().expect("a payment id with a prefix is short and visible");
            let wallet = "KPLUS".parse().expect("a documented wallet");
            return of_authorization(&Consent::sample(auth_state, wallet, &payment.antom_id, now), kind);
        }
        (AntomKind::Subscription(step), _) => of_subscription(payment, step),
        (AntomKind::Vaulting, _) => {
            let fields = json!({
                "vaultingRequestId": format!("VR-{id}"),
                "vaultingCreateTime": body_time(payment.created_at),
            });
            body(fixture!("antom/notify_vaulting.json"), fields)
        }
        (AntomKind::Unknown, _) => {
            let fields =
                json!({ "notifyType": "NOVELTY_RESULT", "paymentRequestId": null, "noveltyId": format!("NV-{id}") });
            body(fixture!("antom/notify_new_kind.json"), fields)
        }
        (
            AntomKind::Dispute
            | AntomKind::DefenseDueAlert
            | AntomKind::DefenseSupplied
            | AntomKind::DisputeJudged(_)
            | AntomKind::DisputeAccepted
            | AntomKind::DisputeCancelled
            | AntomKind::RdrResolved,
            _,
        ) => of_dispute(payment, kind, now),
    })
}

/// A documented notification, about this payment. The settlement in another currency is left out: it would vary with
/// the amount.
fn about(payment: &AntomPayment, documented: &Value, fields: Value) -> Value {
    let names = json!({
        "paymentRequestId": payment.request_id,
        "paymentId": payment.antom_id,
        "paymentAmount": amount(payment.amount),
        "paymentCreateTime": body_time(payment.created_at),
        "grossSettlementAmount": null,
        "settlementQuote": null,
    });
    body(documented, with(&names, fields))
}

/// The body of a notification about one refund: the truth of [`AntomKind::RefundState`], or what the kind says.
pub(crate) fn of_refund(refund: &Transaction, kind: AntomKind) -> Result<Value, SimulatorError> {
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
    let documented = match happened {
        true => fixture!("antom/notify_refund_succeeded.json"),
        false => fixture!("antom/notify_refund_failed.json"),
    };
    let fields = json!({
        "result": result_of(refund, happened),
        "refundRequestId": refund.request_id,
        "refundId": refund.antom_id,
        "refundAmount": amount(refund.amount),
        "refundTime": happened.then(|| body_time(refund.at)),
        "grossSettlementAmount": null,
        "settlementQuote": null,
    });
    Ok(body(documented, fields))
}

/// The body of a notification about one authorization.
///
/// # Errors
/// [`SimulatorError::NotPossible`]: there is no code or token yet.
pub(crate) fn of_authorization(of: &Consent, kind: AntomKind) -> Result<Value, SimulatorError> {
    let no = |why: &str| {
        SimulatorError::NotPossible(format!("Antom says nothing about authorization `{}`: {why}", of.auth_state))
    };
    let token = || of.token.as_ref().map(|token| &token.access).ok_or_else(|| no("it has no token"));
    Ok(match kind {
        AntomKind::AuthcodeCreated => {
            let code = of.code.as_ref().ok_or_else(|| no("the customer has not agreed"))?;
            let fields = json!({ "authState": of.auth_state, "authCode": code.text });
            body(fixture!("antom/notify_authcode_created.json"), fields)
        }
        AntomKind::TokenCreated => {
            let fields = json!({ "authState": of.auth_state, "accessToken": token()? });
            body(fixture!("antom/notify_token_created.json"), fields)
        }
        AntomKind::TokenCanceled => {
            let reason = of.cancelled.as_ref().and_then(|cancelled| cancelled.reason.as_ref());
            let fields = json!({ "accessToken": token()?, "reason": reason });
            body(fixture!("antom/notify_token_cancelled.json"), fields)
        }
        other => return Err(no(&format!("`{other}` is about something else"))),
    })
}

/// Success, or the code a refund or capture failed with, if it did.
fn result_of(transaction: &Transaction, happened: bool) -> Value {
    match (&transaction.outcome, happened) {
        (_, true) => result("SUCCESS", "S"),
        (AntomOutcome::Fail(code), false) => result(code, "F"),
        (_, false) => result("PROCESS_FAIL", "F"),
    }
}

/// It names the payment by Antom's own name for it, and by no other.
fn of_capture(payment: &AntomPayment, capture: &Transaction, happened: bool) -> Value {
    let fields = json!({
        "result": result_of(capture, happened),
        "captureRequestId": capture.request_id,
        "captureId": capture.antom_id,
        "paymentId": payment.antom_id,
        "captureAmount": amount(capture.amount),
        "captureTime": happened.then(|| body_time(capture.at)),
    });
    body(fixture!("antom/notify_capture.json"), fields)
}

/// The last dispute that was opened, or one of the whole amount that nobody has opened.
fn of_dispute(payment: &AntomPayment, kind: AntomKind, now: Timestamp) -> Value {
    let opened = payment.disputes.last();
    let disputed = amount(opened.map_or(payment.amount, |dispute| dispute.amount));
    let at = opened.map_or(now, |dispute| dispute.at);
    let (word, judged) = match kind {
        AntomKind::DefenseDueAlert => ("DEFENSE_DUE_ALERT", None),
        AntomKind::DefenseSupplied => ("DEFENSE_SUPPLIED", None),
        AntomKind::DisputeJudged(judgement) => ("DISPUTE_JUDGED", Some(judgement.word())),
        AntomKind::DisputeAccepted => ("DISPUTE_ACCEPTED", None),
        AntomKind::DisputeCancelled => ("DISPUTE_CANCELLED", None),
        AntomKind::RdrResolved => ("RDR_RESOLVED", None),
        _ => ("DISPUTE_CREATED", None),
    };
    let answer_by = matches!(kind, AntomKind::Dispute | AntomKind::DefenseDueAlert)
        .then(|| body_time(at.saturating_add(DEFENSE_WITHIN).unwrap_or(at)));
    let fields = json!({
        "disputeNotificationType": word,
        "disputeId": opened.map_or_else(|| format!("DP-{}", payment.antom_id), |dispute| dispute.id.to_string()),
        "paymentRequestId": payment.request_id,
        "paymentId": payment.antom_id,
        "disputeTime": body_time(at),
        "disputeAmount": disputed,
        "defenseDueTime": answer_by,
        "disputeJudgedTime": judged.map(|_| body_time(now)),
        "disputeJudgedAmount": judged.map(|_| &disputed),
        "disputeJudgedResult": judged,
    });
    body(fixture!("antom/notify_dispute_created.json"), fields)
}

/// The subscription's two names, and its period's start and end.
fn subscription(payment: &AntomPayment) -> [String; 4] {
    let ends = payment.created_at.saturating_add(PERIOD).unwrap_or(payment.created_at);
    let (request_id, id) = (format!("SR-{}", payment.request_id), format!("SB-{}", payment.antom_id));
    [request_id, id, body_time(payment.created_at), body_time(ends)]
}

fn of_subscription(payment: &AntomPayment, step: SubscriptionStep) -> Value {
    let [request_id, id, starts, ends] = subscription(payment);
    let fields = json!({
        "subscriptionNotificationType": step.word(),
        "subscriptionRequestId": request_id,
        "subscriptionId": id,
        "subscriptionStatus": match step {
            SubscriptionStep::Create | SubscriptionStep::Change | SubscriptionStep::Update => "ACTIVE",
            SubscriptionStep::Cancel => "CANCELLED",
            SubscriptionStep::Terminate => "TERMINATED",
        },
        "subscriptionStartTime": starts,
        "subscriptionEndTime": ends,
    });
    body(fixture!("antom/notify_subscription.json"), fields)
}
