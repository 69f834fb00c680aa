use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentKey, Provider, ReplayOutcome, ReplayState};
use uuid::Uuid;

use super::{Act, DeadLetterFilter, NotificationFilter};

/// The things that a replay takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The open ones.
    DeadLetters(DeadLetterFilter),
    Notifications(NotificationFilter),
    /// Payments registered in a period: to compare ours with the providers'.
    Payments {
        provider: Option<Provider>,
        account: Option<AccountName>,
        since: Timestamp,
        until: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReplay {
    pub id: Uuid,
    pub selection: Selection,
    /// Only ask, and tell what would change.
    pub plan: bool,
    pub rate_per_s: u32,
    /// The number of items that go first. The rest follow only after all of them went well; 0 for none.
    pub canary: u32,
    pub limit: u32,
    pub act: Act,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    pub id: Uuid,
    pub state: ReplayState,
    pub plan: bool,
    pub rate_per_s: u32,
    pub canary: u32,
    pub who: String,
    pub reason: String,
    /// The reason why it stopped by itself.
    pub detail: Option<String>,
    pub total: u64,
    pub done: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub failed: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    Pause,
    Resume,
    Cancel,
}

/// An item of a replay: a dead letter or an archived notification, or a payment to ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayItem {
    /// Its place in the replay, from 1.
    pub n: i64,
    /// The claim: what comes back with the result.
    pub id: Uuid,
    pub replay: Uuid,
    pub plan: bool,
    pub rate_per_s: u32,
    pub dead_letter: Option<Uuid>,
    pub notification: Option<Uuid>,
    pub payment: Option<PaymentKey>,
    /// Absent while it has none.
    pub outcome: Option<ReplayOutcome>,
    pub detail: Option<String>,
}

/// The result of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayResult {
    pub item: Uuid,
    /// Absent where it could not be tried: it waits again.
    pub outcome: Option<ReplayOutcome>,
    /// A sentence for a person.
    pub detail: String,
}
