//! Dead letters: how they are chosen and shown, and what is done to them.

use std::borrow::Cow;

use jiff::Timestamp;
use payhook_schema::{
    AccountName, DeadCause, DeadLetterState, Envelope, Hint, Money, OrderId, OrderState, PaymentId, Provider,
};
use payhook_store::{DeadLetter, DeadLetterGroup};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FilterRequest, IdList, NotificationView, TimeOrAgo, sha256_hex};

/// The parameters of the list of dead letters.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterQuery {
    pub id: Option<IdList>,
    pub cause: Option<DeadCause>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub since: Option<TimeOrAgo>,
    /// A state, or `all`; the open ones unless given.
    pub state: Option<String>,
    pub before: Option<Uuid>,
    pub limit: Option<u32>,
}

/// The parameters of the groups: they are of open dead letters only, and have no pages.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupQuery {
    pub id: Option<IdList>,
    pub cause: Option<DeadCause>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub since: Option<TimeOrAgo>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscardRequest {
    #[serde(default)]
    pub filter: FilterRequest,
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct DiscardReport {
    pub discarded: u64,
    /// Dead letters of the filter that an unfinished replay has: they stay with it.
    pub in_other_replays: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteRequest {
    #[serde(default)]
    pub filter: FilterRequest,
    /// On one line; an empty one removes a note.
    pub note: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct NoteReport {
    pub noted: u64,
}

/// Dead letters, the latest failure first.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetterPage {
    pub dead_letters: Vec<DeadLetterView>,
    /// Goes into `before` to read on; null on the last page.
    pub next: Option<Uuid>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetterGroupList {
    pub groups: Vec<DeadLetterGroupView>,
}

/// A dead letter as lists show it.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetterView {
    pub id: Uuid,
    pub cause: DeadCause,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub payment_id: Option<PaymentId>,
    pub order_id: Option<OrderId>,
    /// The order's now, not when it failed.
    pub order_state: Option<OrderState>,
    pub notification_id: Option<Uuid>,
    pub attempts: u32,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    pub detail: String,
    pub note: Option<String>,
    pub state: DeadLetterState,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            cause: letter.cause,
            provider: letter.provider,
            account: letter.account,
            payment_id: letter.payment.map(|key| key.id),
            order_id: letter.order,
            order_state: letter.order_now.map(|(state, _)| state),
            notification_id: letter.notification_id,
            attempts: letter.attempts,
            first_failed_at: letter.first_failed_at,
            last_failed_at: letter.last_failed_at,
            detail: letter.detail,
            note: letter.note,
            state: letter.state,
        }
    }
}

/// A dead letter with everything that is known about it but a body.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetterDetails {
    #[serde(flatten)]
    pub letter: DeadLetterView,
    pub order_amount: Option<Money>,
    pub envelope: EnvelopeView,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct EnvelopeView {
    pub bytes: usize,
    pub sha256: String,
    /// `notification`, `ask`, `tend` or `release`; null where the bytes are no envelope.
    pub hint: Option<Cow<'static, str>>,
    /// The notification inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification: Option<NotificationView>,
}

impl DeadLetterDetails {
    pub(crate) fn of(letter: DeadLetter) -> Self {
        Self {
            order_amount: letter.order_now.map(|(_, amount)| amount),
            envelope: EnvelopeView::of(&letter.bytes),
            letter: letter.into(),
        }
    }
}

impl EnvelopeView {
    fn of(bytes: &[u8]) -> Self {
        let (hint, notification) = match Envelope::decode(bytes).map(|envelope| envelope.hint) {
            Ok(Hint::Notification(notification)) => (Some("notification"), Some(NotificationView::of(&notification))),
            Ok(Hint::Ask { .. }) => (Some("ask"), None),
            Ok(Hint::Tend { .. }) => (Some("tend"), None),
            Ok(Hint::Release { .. }) => (Some("release"), None),
            // The letter's own detail says why not.
            Err(_) => (None, None),
        };
        Self { bytes: bytes.len(), sha256: sha256_hex(bytes), hint: hint.map(Cow::Borrowed), notification }
    }
}

/// Dead letters of one kind, with the money that waits for them.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetterGroupView {
    pub cause: DeadCause,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub count: u64,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    pub at_stake: Vec<Money>,
    pub paid_meanwhile: u64,
}

impl From<DeadLetterGroup> for DeadLetterGroupView {
    fn from(group: DeadLetterGroup) -> Self {
        Self {
            cause: group.cause,
            provider: group.provider,
            account: group.account,
            count: group.count,
            first_failed_at: group.first_failed_at,
            last_failed_at: group.last_failed_at,
            at_stake: group.at_stake,
            paid_meanwhile: group.paid_meanwhile,
        }
    }
}
