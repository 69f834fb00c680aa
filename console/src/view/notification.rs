use jiff::Timestamp;
use payhook_schema::{About, AccountName, AuthorizationName, Notification, PaymentId, Provider, RefundId, fact_shown};
use payhook_store::Archived;
use serde::Serialize;
use uuid::Uuid;

use super::sha256_hex;

/// A notification as lists show it: no body, and no header's value, because signatures are among them.
#[derive(Serialize)]
pub(crate) struct NotificationView {
    id: Uuid,
    provider: Provider,
    account: AccountName,
    kind: String,
    /// `payment`, `refund`, `authorization` or `other`.
    about: &'static str,
    payment_id: Option<PaymentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_id: Option<RefundId>,
    /// The provider's own second name for the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_state: Option<String>,
    /// Null where it is made of a digest.
    idempotency_key: Option<String>,
    received_at: Timestamp,
    /// Only for a notification in the archive: how often the same signed bytes came, and when last.
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_received_at: Option<Timestamp>,
    signed_at: Option<Timestamp>,
    verified_by: String,
    signed_path: String,
    sealed_with: Option<u32>,
}

impl NotificationView {
    pub(crate) fn archived(archived: &Archived) -> Self {
        let Archived { notification, received, last_received_at } = archived;
        let view = Self::of(notification);
        Self { received: Some(*received), last_received_at: Some(*last_received_at), ..view }
    }

    pub(crate) fn of(notification: &Notification) -> Self {
        let view = Self {
            id: notification.id,
            provider: notification.provider,
            account: notification.account.clone(),
            kind: notification.kind.clone(),
            about: "other",
            payment_id: None,
            refund_id: None,
            provider_reference: None,
            auth_state: None,
            idempotency_key: fact_shown(&notification.idempotency_key).map(str::to_owned),
            received_at: notification.received_at,
            received: None,
            last_received_at: None,
            signed_at: notification.signed_at,
            verified_by: notification.verified_by.clone(),
            signed_path: notification.signed_path.clone(),
            sealed_with: notification.sealed_with,
        };
        match notification.about.clone() {
            About::Payment(id) => Self { about: "payment", payment_id: Some(id), ..view },
            About::Reference(reference) => Self { about: "payment", provider_reference: Some(reference), ..view },
            About::Refund { id, payment } => Self { about: "refund", refund_id: Some(id), payment_id: payment, ..view },
            About::Authorization(AuthorizationName::State(state)) => {
                Self { about: "authorization", auth_state: Some(state.to_string()), ..view }
            }
            // Not even a token's digest is shown.
            About::Authorization(AuthorizationName::Token(_)) => Self { about: "authorization", ..view },
            About::Other | About::Unreadable(_) => view,
        }
    }
}

/// A notification with everything that is known about it except its content.
#[derive(Serialize)]
pub(crate) struct NotificationWhole {
    #[serde(flatten)]
    notification: NotificationView,
    headers: Vec<HeaderView>,
    /// Of the body as it was received; null where it is sealed and its key is gone.
    body_bytes: Option<usize>,
    body_sha256: Option<String>,
}

#[derive(Serialize)]
struct HeaderView {
    name: String,
    bytes: usize,
}

impl NotificationWhole {
    /// `body` is its own, opened if it was sealed.
    pub(crate) fn of(archived: &Archived, body: Option<&[u8]>) -> Self {
        let notification = &archived.notification;
        let headers = notification.headers.iter();
        // The digest of what is confidential tells who guesses that they guessed right.
        let told = body.filter(|_| !notification.is_confidential());
        Self {
            notification: NotificationView::archived(archived),
            headers: headers.map(|(name, value)| HeaderView { name: name.clone(), bytes: value.len() }).collect(),
            body_bytes: body.map(<[u8]>::len),
            body_sha256: told.map(sha256_hex),
        }
    }
}
