use payhook_schema::{About, PaymentId};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{Refusal, strict_json};

/// What a notification says about itself, as far as we act on it.
pub(super) struct Said {
    pub(super) kind: String,
    pub(super) about: About,
    pub(super) idempotency_key: String,
}

/// The fields that tell Antom's notifications apart and name what they are about. Everything else is ignored: it is asked
/// for again, and new fields appear several times a year.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    notify_type: Option<String>,
    result: Option<ResultField>,
    payment_request_id: Option<String>,
    payment_id: Option<String>,
    refund_id: Option<String>,
    refund_request_id: Option<String>,
    refund_status: Option<String>,
    capture_id: Option<String>,
    update_request_id: Option<String>,
    authorization_notify_type: Option<String>,
    auth_code: Option<String>,
    access_token: Option<String>,
    dispute_notification_type: Option<String>,
    dispute_id: Option<String>,
    subscription_notification_type: Option<String>,
    subscription_id: Option<String>,
    subscription_status: Option<String>,
    vaulting_request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultField {
    result_status: Option<String>,
}

/// Longest word of the provider's kept as a notification's kind; documented ones have at most 21 characters.
const KIND_CHARS_MAX: usize = 64;

/// Tells the notification's kind, by the body and never by the path it came on.
///
/// # Shape
/// No notification carries a delivery id; the idempotency key is what repeats of one fact have in common. Codes and tokens
/// in it are hashed.
///
/// # Errors
/// [`Refusal::Unreadable`]: no JSON object, a key twice, or a payment's notification without the payment's id. A kind that
/// is not in the table is none: it is kept as it came.
///
/// # Source
/// `reference/antom.md` section 5.1, after the pages of each notification, read 2026-11-21.
pub(super) fn read(body: &[u8]) -> Result<Said, Refusal> {
    let fields: Fields = strict_json::read(body).map_err(Refusal::unreadable)?;
    let status = fields.result.as_ref().and_then(|result| result.result_status.as_deref()).unwrap_or("-");
    let key = |parts: &[Option<&str>]| parts.iter().map(|part| part.unwrap_or("-")).collect::<Vec<_>>().join(":");
    let said = |kind: &str, about, idempotency_key: String| Said {
        kind: kind.chars().filter(|char| !char.is_control()).take(KIND_CHARS_MAX).collect(),
        about,
        idempotency_key: idempotency_key.chars().take(255).collect(),
    };

    if let Some(kind) = fields.authorization_notify_type.as_deref() {
        let secret = fields.auth_code.as_deref().or(fields.access_token.as_deref()).map(fingerprint);
        return Ok(said(kind, About::Other, key(&[Some(kind), secret.as_deref()])));
    }
    if let Some(kind) = fields.dispute_notification_type.as_deref() {
        return Ok(said(kind, About::Other, key(&[fields.dispute_id.as_deref(), Some(kind)])));
    }
    if let Some(kind) = fields.subscription_notification_type.as_deref() {
        let id = [fields.subscription_id.as_deref(), Some(kind), fields.subscription_status.as_deref()];
        return Ok(said(kind, About::Other, key(&id)));
    }
    match fields.notify_type.as_deref() {
        Some(kind @ ("PAYMENT_RESULT" | "PAYMENT_PENDING" | "UPDATE_AMOUNT_RESULT")) => {
            let id = fields.payment_request_id.as_deref();
            let id = id.ok_or_else(|| Refusal::unreadable(format!("a {kind} without `paymentRequestId`")))?;
            let payment = PaymentId::new(id).map_err(|error| Refusal::unreadable(error.to_string()))?;
            let names = fields.payment_id.as_deref().or(Some(id));
            let fact = [names, Some(kind), fields.update_request_id.as_deref(), Some(status)];
            Ok(said(kind, About::Payment(payment), key(&fact)))
        }
        Some(kind @ "REFUND_RESULT") => {
            let id = fields.refund_id.as_deref().or(fields.refund_request_id.as_deref());
            Ok(said(kind, About::Other, key(&[id, fields.refund_status.as_deref()])))
        }
        Some(kind @ "CAPTURE_RESULT") => {
            Ok(said(kind, About::Other, key(&[fields.capture_id.as_deref(), Some(status)])))
        }
        Some(other) => Ok(said(other, About::Other, fingerprint_bytes(body))),
        None => match fields.vaulting_request_id.as_deref() {
            Some(id) => Ok(said("VAULTING", About::Other, key(&[Some(id), Some(status)]))),
            None => Ok(said("unknown", About::Other, fingerprint_bytes(body))),
        },
    }
}

fn fingerprint(secret: &str) -> String {
    fingerprint_bytes(secret.as_bytes())
}

fn fingerprint_bytes(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.iter().take(16).fold("sha256-".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
