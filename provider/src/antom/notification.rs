//! Reads the kind of Antom's notifications, and what they are about.

use payhook_schema::{About, PaymentId, RefundId};
use serde::Deserialize;

use super::authorization;
use super::wire::{Text, given};
use crate::meaning::{Meaning, fingerprint};
use crate::{Refusal, strict_json};

/// The fields that distinguish Antom's notifications and name what they are about. Everything else is ignored: it is
/// asked for, and new fields appear several times a year.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    notify_type: Option<Text>,
    result: Option<ResultField>,
    payment_request_id: Option<Text>,
    payment_id: Option<Text>,
    refund_id: Option<Text>,
    refund_request_id: Option<Text>,
    refund_status: Option<Text>,
    capture_id: Option<Text>,
    capture_request_id: Option<Text>,
    update_request_id: Option<Text>,
    authorization_notify_type: Option<Text>,
    auth_state: Option<Text>,
    auth_code: Option<Text>,
    access_token: Option<Text>,
    dispute_notification_type: Option<Text>,
    dispute_id: Option<Text>,
    subscription_notification_type: Option<Text>,
    subscription_id: Option<Text>,
    subscription_status: Option<Text>,
    vaulting_request_id: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultField {
    result_status: Option<Text>,
}

/// The longest word of the provider's that is stored as a notification's kind; documented ones have at most 21
/// characters.
const KIND_CHARS_MAX: usize = 64;
/// Longest idempotency key, in characters; the parts it is made of have at most 64 each.
const KEY_CHARS_MAX: usize = 255;

/// Reads the notification's kind and what it is about, from the body and never from the path it came on.
///
/// # Shape
/// | recognized by                                        | about                                                          |
/// |------------------------------------------------------|----------------------------------------------------------------|
/// | `authorizationNotifyType`                            | the authorization, by `authState` or the token's digest        |
/// | `disputeNotificationType`                            | the payment, by `paymentRequestId`, else by `paymentId`        |
/// | `subscriptionNotificationType`                       | nothing of ours                                                |
/// | `notifyType` of payments, subscriptions' included    | the payment                                                    |
/// | `notifyType` `REFUND_RESULT`                         | the refund, by `refundRequestId`, else by `refundId`           |
/// | `notifyType` `CAPTURE_RESULT`                        | the payment, by `paymentRequestId`, else by `paymentId`        |
/// | anything else                                        | nothing of ours                                                |
///
/// No notification carries a delivery id; the idempotency key is built from the values that repeats of one fact share.
/// Codes and tokens in it are hashed. A fact without an id of its own has the body's hash as its key. A notification
/// that does not name its object is stored, and is about nothing of ours.
///
/// # Errors
/// [`Refusal::Unreadable`]: no JSON object, a key twice, or a payment's notification without the payment's id. A kind
/// that is not in the table is not an error: it is stored as it came.
///
/// # Source
/// The page of each notification, read 2026-11-21; `docs/providers/antom.md#kinds-of-notifications`.
pub(super) fn read(body: &[u8]) -> Result<Meaning, Refusal> {
    let fields: Fields = strict_json::read(body).map_err(Refusal::unreadable)?;
    let status = fields.result.as_ref().and_then(|result| given(result.result_status.as_ref()));
    // A fact without its own name is no fact two bodies could share: the bytes name it then.
    let key = |name: Option<&str>, parts: &[Option<&str>]| match name {
        Some(name) => parts.iter().fold(name.to_owned(), |key, part| key + ":" + part.unwrap_or("-")),
        None => fingerprint(body),
    };
    let meaning = |kind: &str, about, idempotency_key: String| {
        let kind = kind.chars().filter(|char| !char.is_control()).take(KIND_CHARS_MAX).collect();
        Ok(Meaning { kind, about, idempotency_key: idempotency_key.chars().take(KEY_CHARS_MAX).collect() })
    };

    if let Some(kind) = given(fields.authorization_notify_type.as_ref()) {
        let (code, token) = (given(fields.auth_code.as_ref()), given(fields.access_token.as_ref()));
        let secret = code.or(token).map(|secret| fingerprint(secret.as_bytes()));
        let about = authorization::about(kind, given(fields.auth_state.as_ref()), code, token);
        return meaning(kind, about, secret.map_or_else(|| fingerprint(body), |secret| format!("{kind}:{secret}")));
    }
    if let Some(kind) = given(fields.dispute_notification_type.as_ref()) {
        return meaning(kind, fields.payment(), key(given(fields.dispute_id.as_ref()), &[Some(kind)]));
    }
    if let Some(kind) = given(fields.subscription_notification_type.as_ref()) {
        let id = given(fields.subscription_id.as_ref());
        return meaning(kind, About::Other, key(id, &[Some(kind), given(fields.subscription_status.as_ref())]));
    }
    match fields.notify_type() {
        Some(kind @ ("PAYMENT_RESULT" | "PAYMENT_PENDING" | "UPDATE_AMOUNT_RESULT")) => {
            let id = given(fields.payment_request_id.as_ref());
            let id = id.ok_or_else(|| Refusal::unreadable(format!("a {kind} without `paymentRequestId`")))?;
            let payment = PaymentId::new(id).map_err(|error| Refusal::unreadable(error.to_string()))?;
            let name = given(fields.payment_id.as_ref()).or(Some(id));
            let fact = [Some(kind), given(fields.update_request_id.as_ref()), status];
            meaning(kind, About::Payment(payment), key(name, &fact))
        }
        Some(kind @ "REFUND_RESULT") => {
            let name = given(fields.refund_id.as_ref()).or(given(fields.refund_request_id.as_ref()));
            meaning(kind, fields.refund(), key(name, &[given(fields.refund_status.as_ref())]))
        }
        Some(kind @ "CAPTURE_RESULT") => {
            let name = given(fields.capture_id.as_ref()).or(given(fields.capture_request_id.as_ref()));
            meaning(kind, fields.payment(), key(name, &[status]))
        }
        Some(other) => meaning(other, About::Other, fingerprint(body)),
        None => match given(fields.vaulting_request_id.as_ref()) {
            Some(id) => meaning("VAULTING", About::Other, key(Some(id), &[status])),
            None => meaning("unknown", About::Other, fingerprint(body)),
        },
    }
}

impl Fields {
    /// The `notifyType`; the one that a subscription's payment may do without.
    fn notify_type(&self) -> Option<&str> {
        let has = |field: &Option<Text>| given(field.as_ref()).is_some();
        let of_subscription = has(&self.subscription_id) && has(&self.payment_request_id);
        given(self.notify_type.as_ref()).or(of_subscription.then_some("PAYMENT_RESULT"))
    }

    /// The payment, by our name or by Antom's.
    fn payment(&self) -> About {
        let ours = given(self.payment_request_id.as_ref()).and_then(|id| PaymentId::new(id).ok());
        // Antom's name has the same length and alphabet.
        let theirs = || given(self.payment_id.as_ref()).and_then(|id| PaymentId::new(id).ok());
        match ours {
            Some(id) => About::Payment(id),
            None => theirs().map_or(About::Other, |id| About::Reference(id.into())),
        }
    }

    fn refund(&self) -> About {
        let names = [&self.refund_request_id, &self.refund_id].map(|id| given(id.as_ref()));
        let id = names.into_iter().flatten().find_map(|id| RefundId::new(id).ok());
        let payment = given(self.payment_request_id.as_ref()).and_then(|id| PaymentId::new(id).ok());
        id.map_or(About::Other, |id| About::Refund { id, payment })
    }
}
