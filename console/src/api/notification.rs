//! Notifications: how they are chosen and shown. Never a body, and no header's value.

use std::borrow::Cow;

use jiff::Timestamp;
use payhook_schema::{About, AccountName, AuthorizationName, Notification, PaymentId, Provider, RefundId, fact_shown};
use payhook_store::Archived;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{IdList, TimeOrAgo, sha256_hex};

/// The parameters of the list of notifications.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotificationQuery {
    pub id: Option<IdList>,
    /// The provider's word: PAYMENT_RESULT, charge.complete.
    pub kind: Option<String>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub payment_id: Option<PaymentId>,
    pub since: Option<TimeOrAgo>,
    pub before: Option<Uuid>,
    pub limit: Option<u32>,
}

/// Notifications, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct NotificationPage {
    pub notifications: Vec<NotificationView>,
    /// Goes into `before` to read on; null on the last page.
    pub next: Option<Uuid>,
}

/// A notification as lists show it: no body, and no header's value, because signatures are among them.
#[derive(Debug, Serialize, Deserialize)]
pub struct NotificationView {
    pub id: Uuid,
    pub provider: Provider,
    pub account: AccountName,
    pub kind: String,
    /// `payment`, `refund`, `authorization` or `other`.
    pub about: Cow<'static, str>,
    pub payment_id: Option<PaymentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<RefundId>,
    /// The provider's own second name for the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_state: Option<String>,
    /// Null where it is made of a digest.
    pub idempotency_key: Option<String>,
    pub received_at: Timestamp,
    /// Only for a notification in the archive: how often the same signed bytes came, and when last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_received_at: Option<Timestamp>,
    pub signed_at: Option<Timestamp>,
    pub verified_by: String,
    pub signed_path: String,
    pub sealed_with: Option<u32>,
}

impl NotificationView {
    pub(crate) fn archived(archived: &Archived) -> Self {
        let Archived { notification, received, last_received_at } = archived;
        let view = Self::of(notification);
        Self { received: Some(*received), last_received_at: Some(*last_received_at), ..view }
    }

    pub(crate) fn of(notification: &Notification) -> Self {
        let mut view = Self {
            id: notification.id,
            provider: notification.provider,
            account: notification.account.clone(),
            kind: notification.kind.clone(),
            about: "other".into(),
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
            About::Payment(id) => (view.about, view.payment_id) = ("payment".into(), Some(id)),
            About::Reference(name) => (view.about, view.provider_reference) = ("payment".into(), Some(name)),
            About::Refund { id, payment } => {
                (view.about, view.refund_id, view.payment_id) = ("refund".into(), Some(id), payment);
            }
            About::Authorization(AuthorizationName::State(state)) => {
                (view.about, view.auth_state) = ("authorization".into(), Some(state.to_string()));
            }
            // Not even a token's digest is shown.
            About::Authorization(AuthorizationName::Token(_)) => view.about = "authorization".into(),
            About::Other | About::Unreadable(_) => {}
        }
        view
    }
}

/// A notification with everything that is known about it except its content.
#[derive(Debug, Serialize, Deserialize)]
pub struct NotificationDetails {
    #[serde(flatten)]
    pub notification: NotificationView,
    pub headers: Vec<HeaderView>,
    /// Of the body as it was received; null where it is sealed and its key is gone.
    pub body_bytes: Option<usize>,
    pub body_sha256: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct HeaderView {
    pub name: String,
    pub bytes: usize,
}

impl NotificationDetails {
    /// `body` is its own, opened if it was sealed.
    pub(crate) fn of(archived: &Archived, body: Option<&[u8]>) -> Self {
        let notification = &archived.notification;
        let headers = notification.headers.iter();
        // A digest of a confidential body would confirm a guess.
        let public = body.filter(|_| !notification.is_confidential());
        Self {
            notification: NotificationView::archived(archived),
            headers: headers.map(|(name, value)| HeaderView { name: name.clone(), bytes: value.len() }).collect(),
            body_bytes: body.map(<[u8]>::len),
            body_sha256: public.map(sha256_hex),
        }
    }
}
