//! Keeps the store in order: its version, leases, watermarks, sealed things, and the end of history.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{Sealed, SealedPlace};
use uuid::Uuid;

use self::history::Ends;
use crate::StoreError;
use crate::db::{Backend, read, within, write};

pub(crate) mod history;
#[cfg(feature = "conformance")]
pub(crate) mod history_promises;
pub(crate) mod leases;
#[cfg(feature = "conformance")]
pub(crate) mod promises;
mod sealed;

/// Keeps the store in order.
///
/// - `migrating_twice_does_no_harm`
/// - `the_backlog_counts_what_is_left`
/// - `a_lease_has_one_holder_until_it_expires`
/// - `several_leases_are_taken_at_once_each_by_itself`
/// - `leases_are_counted_by_their_name`
/// - `a_watermark_never_goes_back`
/// - `what_is_sealed_under_an_old_key_is_found_and_replaced_once`
/// - `archived_notifications_end_unless_something_needs_them`
/// - `a_timeline_ends_with_its_releases_once_its_order_is_at_rest`
/// - `the_history_of_an_authorization_ends_once_it_is_cancelled`
/// - `published_events_end_and_what_fulfilment_saw_is_remembered`
/// - `closed_dead_letters_end_and_open_ones_stay`
/// - `audit_entries_end`
/// - `finished_replays_end_with_their_items`
/// - `what_stays_holds_up_nothing_behind_it`
#[async_trait]
pub trait Housekeeping: Send + Sync + 'static {
    /// Brings the store to this version; twice does no harm, two at once wait for each other.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// [`StoreError::Outdated`] unless the store is at this program's version.
    async fn check(&self) -> Result<(), StoreError>;

    /// Returns the store's address, without credentials.
    fn address(&self) -> String;

    /// Finishes what is in flight and lets go of connections.
    async fn close(&self);

    /// Counts what is left to do; for metrics.
    async fn backlog(&self) -> Result<Backlog, StoreError>;

    /// Takes or renews the lease `name` for `holder` until `now + hold_for`; false while another holds it.
    async fn lease_take(
        &self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<bool, StoreError> {
        Ok(!self.leases_take(&[name.to_owned()], holder, now, hold_for).await?.is_empty())
    }

    /// The same for several leases at once: the names of those that are `holder`'s now. Each is taken or not by itself.
    async fn leases_take(
        &self,
        names: &[String],
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<Vec<String>, StoreError>;

    /// Gives the lease up, if `holder` has it.
    async fn lease_release(&self, name: &str, holder: Uuid) -> Result<(), StoreError>;

    /// The names of the leases that begin with `prefix` and are held now, sorted.
    async fn leases_held(&self, prefix: &str, now: Timestamp) -> Result<Vec<String>, StoreError>;

    /// Returns how far something was followed.
    async fn watermark_get(&self, name: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Moves a watermark forward; one that would go back stays. A watermark that lies after `now` was set by a clock
    /// that was wrong, and gives way.
    async fn watermark_set(&self, name: &str, at: Timestamp, now: Timestamp) -> Result<(), StoreError>;

    /// Up to `limit` things that are sealed under another key than `newest`, in no particular order.
    async fn sealed_list(&self, newest: u32, limit: u32) -> Result<Vec<SealedThing>, StoreError>;

    /// Replaces sealed things with what is sealed anew, each only if it is still sealed as `was`; returns how many
    /// were. To an authorization it is a write like any other: whoever read it before would bring the old secret back.
    async fn sealed_replace(&self, replacements: &[Resealed]) -> Result<usize, StoreError>;

    /// Counts the things sealed under each key, by key.
    async fn sealed_count(&self) -> Result<Vec<(u32, u64)>, StoreError>;

    /// Deletes history of one kind that is older than `age` and that nothing needs: reads up to `limit` rows by an
    /// index, oldest first and behind `from`, and deletes those that may go. A pass begins at [`Place::START`] and ends
    /// where there is no next place.
    ///
    /// - Of an order, timeline, releases, events and notifications stay while it is held or something is expected of
    ///   its payments, and until it has not changed for `age`. Of an authorization, the timeline stays while it is not
    ///   cancelled.
    /// - An event that is not published keeps all of its order. The order keeps a note of what fulfilment has seen:
    ///   [`crate::Feed::events_of`].
    /// - A dead letter counts from when it was closed. A letter in a replay stays as long as the replay.
    /// - A notification stays as long as a dead letter or a replay names it. A notification that names a payment,
    ///   refund or authorization that is not registered stays for 30 days at least.
    /// - A replay goes with its items, done or cancelled.
    async fn history_delete(
        &self,
        history: History,
        age: Duration,
        now: Timestamp,
        from: Place,
        limit: u32,
    ) -> Result<Deleted, StoreError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    pub payments_unfinished: u64,
    /// Of the unfinished payment that was not heard of for the longest: when its provider last answered, or it was
    /// registered.
    pub silent_since: Option<Timestamp>,
    pub events_unpublished: u64,
    /// The open ones.
    pub dead_letters: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedThing {
    pub place: SealedPlace,
    pub sealed: Sealed,
}

/// A thing sealed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    pub place: SealedPlace,
    pub was: Sealed,
    pub now: Sealed,
}

/// A kind of rows that end at an age. The present values of orders, payments, refunds, disputes and authorizations
/// never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum History {
    /// Finished ones, with their items.
    Replays,
    /// Closed ones.
    DeadLetters,
    /// The archive, with its bodies.
    Notifications,
    /// Of orders, with their releases.
    Timeline,
    AuthorizationTimeline,
    /// Published ones.
    Events,
    Audit,
}

impl History {
    /// Names a kind for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replays => "replays",
            Self::DeadLetters => "dead_letters",
            Self::Notifications => "notifications",
            Self::Timeline => "timeline",
            Self::AuthorizationTimeline => "authorization_timeline",
            Self::Events => "events",
            Self::Audit => "audit",
        }
    }
}

/// The position of a pass through one kind of history: the row that was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(crate) number: i64,
    pub(crate) id: Uuid,
}

impl Place {
    /// Before the oldest row.
    pub const START: Self = Self { number: 0, id: Uuid::nil() };
}

/// The result of one batch of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    pub deleted: u64,
    /// Rows older than their age that something still needs.
    pub needed: u64,
    /// The place where the pass goes on; `None` if it has ended.
    pub next: Option<Place>,
}

#[async_trait]
impl<B: Backend> Housekeeping for B {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.migrate_all().await.map_err(|fault| fault.at(self.url()))
    }

    async fn check(&self) -> Result<(), StoreError> {
        within(self.deadline(), self.check_version()).await.map_err(|fault| fault.at(self.url()))
    }

    fn address(&self) -> String {
        self.url().to_owned()
    }

    async fn close(&self) {
        self.close_all().await;
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        read!(self, |on| leases::backlog(on))
    }

    async fn leases_take(
        &self,
        names: &[String],
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<Vec<String>, StoreError> {
        write!(self, |on| async {
            let now = self.now(on, now).await?;
            leases::take(on, names, holder, now, hold_for).await
        })
    }

    async fn lease_release(&self, name: &str, holder: Uuid) -> Result<(), StoreError> {
        write!(self, |on| leases::release(on, name, holder))
    }

    async fn leases_held(&self, prefix: &str, now: Timestamp) -> Result<Vec<String>, StoreError> {
        read!(self, |on| async {
            let now = self.now(on, now).await?;
            leases::held(on, prefix, now).await
        })
    }

    async fn watermark_get(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        read!(self, |on| leases::watermark(on, name))
    }

    async fn watermark_set(&self, name: &str, at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        write!(self, |on| leases::set_watermark(on, name, at, now))
    }

    async fn sealed_list(&self, newest: u32, limit: u32) -> Result<Vec<SealedThing>, StoreError> {
        read!(self, |on| sealed::list(on, newest, limit))
    }

    async fn sealed_replace(&self, replacements: &[Resealed]) -> Result<usize, StoreError> {
        write!(self, |on| sealed::replace(on, replacements))
    }

    async fn sealed_count(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        read!(self, |on| sealed::count(on))
    }

    async fn history_delete(
        &self,
        history: History,
        age: Duration,
        now: Timestamp,
        from: Place,
        limit: u32,
    ) -> Result<Deleted, StoreError> {
        write!(self, |on| async {
            let now = self.now(on, now).await?;
            history::delete(on, history, Ends::at(now, age, from, limit)).await
        })
    }
}
