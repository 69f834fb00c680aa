use jiff::Timestamp;
use payhook_schema::{AccountName, DeadCause, DeadLetterState, Notification, PaymentId, Provider};
use uuid::Uuid;

/// Selects dead letters, alike for all that is done to several at once: what is listed is what is noted or discarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Empty for any.
    pub ids: Vec<Uuid>,
    pub cause: Option<DeadCause>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub state: Option<DeadLetterState>,
    /// Last failed at or after.
    pub since: Option<Timestamp>,
    /// Only letters listed after this one.
    pub before: Option<Uuid>,
    /// Of more, the first of the list. Groups and replays take no heed of it: groups count all, a replay has its own.
    pub limit: u32,
}

/// A notification as it is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// As it was received first.
    pub notification: Notification,
    /// The number of times the same signed bytes were received. A notification that a crash had delivered or written
    /// twice is counted twice.
    pub received: u64,
    pub last_received_at: Timestamp,
}

/// Selects archived notifications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationFilter {
    /// Empty for any.
    pub ids: Vec<Uuid>,
    pub kind: Option<String>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub payment: Option<PaymentId>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Only those listed after this one.
    pub before: Option<Uuid>,
    /// A replay takes no heed of it: it has its own.
    pub limit: u32,
}
