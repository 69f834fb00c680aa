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

/// The parameters of the list of dead letters, and of their groups, which have no state and no pages.
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

view! {
    /// A dead letter as lists show it.
    pub struct DeadLetterView of (letter: DeadLetter) {
        id: Uuid = letter.id,
        cause: DeadCause = letter.cause,
        provider: Option<Provider> = letter.provider,
        account: Option<AccountName> = letter.account,
        payment_id: Option<PaymentId> = letter.payment.map(|key| key.id),
        order_id: Option<OrderId> = letter.order,
        /// The order's state now, not when the letter failed.
        order_state: Option<OrderState> = letter.order_now.map(|(state, _)| state),
        notification_id: Option<Uuid> = letter.notification_id,
        attempts: u32 = letter.attempts,
        first_failed_at: Timestamp = letter.first_failed_at,
        last_failed_at: Timestamp = letter.last_failed_at,
        detail: String = letter.detail,
        note: Option<String> = letter.note,
        state: DeadLetterState = letter.state,
    }
}

/// A dead letter with everything that is known about it except a body.
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
        let (hint, notification) = match Envelope::decode(&letter.bytes).map(|envelope| envelope.hint) {
            Ok(Hint::Notification(notification)) => (Some("notification"), Some(NotificationView::of(&notification))),
            Ok(Hint::Ask { .. }) => (Some("ask"), None),
            Ok(Hint::Tend { .. }) => (Some("tend"), None),
            Ok(Hint::Release { .. }) => (Some("release"), None),
            // The letter's own detail says why not.
            Err(_) => (None, None),
        };
        let (bytes, sha256) = (letter.bytes.len(), sha256_hex(&letter.bytes));
        let envelope = EnvelopeView { bytes, sha256, hint: hint.map(Cow::Borrowed), notification };
        let order_amount = letter.order_now.map(|(_, amount)| amount);
        Self { letter: DeadLetterView::of(letter), order_amount, envelope }
    }
}

view! {
    /// Dead letters of one kind, with the money that waits for them.
    pub struct DeadLetterGroupView of (group: DeadLetterGroup) {
        cause: DeadCause = group.cause,
        provider: Option<Provider> = group.provider,
        account: Option<AccountName> = group.account,
        count: u64 = group.count,
        first_failed_at: Timestamp = group.first_failed_at,
        last_failed_at: Timestamp = group.last_failed_at,
        at_stake: Vec<Money> = group.at_stake,
        paid_meanwhile: u64 = group.paid_meanwhile,
    }
}
