//! Replays: dead letters, notifications, or payments that become hints again, slowly and under control.
//!
//! When a replay goes on, stops, and is done is [`payhook_schema::ReplayProgress`]'s to say.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentKey, Provider, ReplayOutcome, ReplayState, Steer};
use uuid::Uuid;

use crate::db::{Backend, read, write};
use crate::{Act, DeadLetterFilter, NotificationFilter, StoreError};

#[cfg(feature = "conformance")]
pub(crate) mod promises;
pub(crate) mod sql;

/// Begins and steers replays, and hands out their items.
///
/// - `a_replay_takes_what_its_filter_says_and_nothing_another_one_has`
/// - `an_item_of_a_replay_is_handed_out_once_until_its_claim_runs_out`
/// - `a_canary_goes_first_and_alone`
/// - `a_replay_stops_by_itself_when_too_many_fail`
/// - `a_paused_replay_hands_out_nothing_and_a_cancelled_one_never_again`
/// - `a_result_counts_once_and_closes_its_dead_letter`
/// - `what_a_replay_did_is_in_the_timeline`
#[async_trait]
pub trait Replays: Send + Sync + 'static {
    /// Begins a replay: everything of its selection that is not in another replay still going on, oldest first, at most
    /// `limit`. A plan takes what others have, too, and keeps nothing from them. Of nothing, it is done at once. A
    /// replay with a known id changes nothing. Also says whether the limit left something out that it would have taken.
    async fn replay_create(&self, new: &NewReplay) -> Result<(Replay, bool), StoreError>;

    async fn replay_get(&self, id: Uuid) -> Result<Option<Replay>, StoreError>;

    /// Newest first.
    async fn replay_list(&self, limit: u32) -> Result<Vec<Replay>, StoreError>;

    /// Returns the running replays, oldest first.
    async fn replay_running(&self) -> Result<Vec<Replay>, StoreError>;

    /// The items of a replay, in the order they are taken, after `after` (0 for the first).
    async fn replay_items(&self, id: Uuid, after: i64, limit: u32) -> Result<Vec<ReplayItem>, StoreError>;

    /// Pauses, resumes or cancels; the replay as it is then, none if there is no such. A request that does not fit its
    /// state changes nothing. A stopped replay can be resumed: its failures so far are forgiven.
    async fn replay_steer(&self, id: Uuid, steer: Steer, now: Timestamp) -> Result<Option<Replay>, StoreError>;

    /// Hands out up to `limit` items of one replay, if it runs, and claims them until `now + hold_for`. An item whose
    /// claim ran out without a result is handed out again. While a canary is out, nothing else of its replay is. An
    /// operator's entry is written to the order's timeline the first time, unless it is a plan.
    async fn replay_claim(
        &self,
        replay: Uuid,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<ReplayItem>, StoreError>;

    /// Records results of claimed items; results of others are ignored. An item that was not tried is waiting again,
    /// and is not handed out for two seconds. A dead letter whose item changed something, or found nothing to change,
    /// is replayed, unless it was a plan or the letter died again since the replay began. A replay with nothing left is
    /// done; one whose canary failed, or of whose items more than a fifth (of ten or more) failed, is stopped.
    async fn replay_note(&self, results: &[ReplayResult], now: Timestamp) -> Result<(), StoreError>;
}

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

#[async_trait]
impl<B: Backend> Replays for B {
    async fn replay_create(&self, new: &NewReplay) -> Result<(Replay, bool), StoreError> {
        write!(self, |on| sql::create(on, new))
    }

    async fn replay_get(&self, id: Uuid) -> Result<Option<Replay>, StoreError> {
        read!(self, |on| sql::get(on, id))
    }

    async fn replay_list(&self, limit: u32) -> Result<Vec<Replay>, StoreError> {
        read!(self, |on| sql::list(on, limit))
    }

    async fn replay_running(&self) -> Result<Vec<Replay>, StoreError> {
        read!(self, |on| sql::running(on))
    }

    async fn replay_items(&self, id: Uuid, after: i64, limit: u32) -> Result<Vec<ReplayItem>, StoreError> {
        read!(self, |on| sql::items(on, id, after, limit))
    }

    async fn replay_steer(&self, id: Uuid, steer: Steer, now: Timestamp) -> Result<Option<Replay>, StoreError> {
        write!(self, |on| sql::steer(on, id, steer, now))
    }

    async fn replay_claim(
        &self,
        replay: Uuid,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<ReplayItem>, StoreError> {
        write!(self, |on| async {
            let clock = self.now(on, now).await?;
            sql::claim(on, replay, now, (clock, hold_for), limit).await
        })
    }

    async fn replay_note(&self, results: &[ReplayResult], now: Timestamp) -> Result<(), StoreError> {
        write!(self, |on| async {
            let clock = self.now(on, now).await?;
            sql::note(on, results, now, clock).await
        })
    }
}
