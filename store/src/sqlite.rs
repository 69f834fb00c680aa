//! The store in one SQLite file, for one process.
//!
//! # Known weaknesses
//! - One process owns the file. A second one is told so at once; more than one machine needs PostgreSQL.
//! - One writer at a time. Batches share a commit, and so a sync of the disk; a settlement alone pays for its own.
//! - It is as durable as the disk's sync is honest: every commit is synced (`synchronous = FULL`) before it is answered.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{
    AccountName, Authorization, AuthorizationId, AuthorizationName, Money, NewAuthorization, NewOrder, NewRefund,
    Notification, Order, OrderId, PaymentKey, Provider,
};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, SqlitePool, Transaction};
use uuid::Uuid;

use self::file_lock::FileLock;
use crate::authorizations::unkeepable;
use crate::batch::Batch;
use crate::fault::Fault;
use crate::history::Ends;
use crate::migrations::{self, Applied};
use crate::{
    AccountLimit, Act, Archived, AuditEntry, AuthorizationRegistered, AuthorizationSettlement, Backlog, DeadLetter,
    DeadLetterFilter, DeadLetterGroup, Deleted, FeedEvent, Found, History, KeyUse, NewReplay, NotificationFilter,
    OrderFilter, PaymentName, Place, Registered, Release, Replay, ReplayItem, ReplayResult, Resealed, SealedThing,
    Sent, Settled, Settlement, Steer, Store, StoreError, TimelineEntry, TimelinePage, TimelinePlace, settling,
};

mod audit;
mod authorizations;
mod clock;
mod dead_letters;
mod events;
mod file_lock;
mod history;
mod leases;
mod notifications;
mod orders;
mod refunds;
mod replays;
mod sealed;
mod settle;
mod watermarks;

/// Readers see the last commit and wait for nobody; more than a few only share the same two cores.
const READERS_MAX: u32 = 4;

/// The longest wait for a turn. The longest anyone holds the writer is a batch and its sync to disk: far below 1 s.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest a call may take altogether, on a disk that hardly answers.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest a migration may take.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(15);

/// The time SQLite itself waits for a lock: someone may look at the file with another program.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The writer's memory for pages, in KiB: its indexes are written all over, and SQLite's own 2 MB are soon too few.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// The store in an SQLite file.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    writer: SqlitePool,
    readers: SqlitePool,
    lock: Arc<FileLock>,
    address: String,
    migrator: Migrator,
}

/// Runs `$work` on a connection that reads, within the deadline.
macro_rules! read {
    ($store:expr, |$connection:ident| $work:expr) => {
        $store
            .within(CALL_TIMEOUT, async {
                let mut reader = $store.reader().await?;
                let $connection = &mut *reader;
                $work.await.map_err(Fault::sqlite)
            })
            .await
            .map_err(|fault| fault.at(&$store.0.address))
    };
}

/// Runs `$work` in a transaction of the writer, within the deadline.
macro_rules! write {
    ($store:expr, |$connection:ident| $work:expr) => {
        attempt!($store, |$connection| $work).map_err(|fault| fault.at(&$store.0.address))
    };
}

/// The same, for who can tell more about a fault than the caller of the store.
macro_rules! attempt {
    ($store:expr, |$connection:ident| $work:expr) => {
        $store
            .within(CALL_TIMEOUT, async {
                let mut transaction = $store.begin().await?;
                let $connection = &mut *transaction;
                let outcome = $work.await.map_err(Fault::sqlite)?;
                transaction.commit().await.map_err(Fault::sqlite)?;
                Ok(outcome)
            })
            .await
    };
}

impl SqliteStore {
    /// Opens or creates the file named by a path, or by a URL such as `sqlite://payhook.db`, and keeps every other process
    /// out of it until [`Store::close`], or until this and every copy of [`SqliteStore::writer`] is dropped.
    pub async fn open(url_or_path: &str) -> Result<Self, StoreError> {
        let refused = |what: &str, source: Option<Box<dyn std::error::Error + Send + Sync>>| StoreError::Refused {
            address: url_or_path.to_owned(),
            what: what.to_owned(),
            source,
        };
        let options = if url_or_path.starts_with("sqlite:") {
            SqliteConnectOptions::from_str(url_or_path)
                .map_err(|error| refused("this is no address of an SQLite file", Some(Box::new(error))))?
        } else {
            SqliteConnectOptions::new().filename(url_or_path)
        };
        let file = options.get_filename().to_owned();
        if url_or_path.contains(":memory:") || file.as_os_str().is_empty() || url_or_path.contains("mode=memory") {
            return Err(refused("it remembers nothing beyond the process: name a file", None));
        }
        let address = format!("sqlite:{}", file.display());
        let lock = Arc::new(FileLock::take(&file, &address)?);

        let options = options
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let readers = options.clone().pragma("query_only", "on");
        let pool = |connections| {
            // The queue in the same file keeps a copy of the writer: as long as anyone can write, the lock is held.
            let lock = Arc::clone(&lock);
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(TURN_TIMEOUT)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
                .after_connect(move |_, _| {
                    let _held = &lock;
                    Box::pin(async { Ok(()) })
                })
                // On a full disk or a failed sync SQLite ends the transaction by itself, and sqlx goes on counting it: every
                // later begin would fail. Such a connection is closed, and a new one opened in its place.
                .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
        };
        let options =
            options.journal_mode(SqliteJournalMode::Wal).pragma("cache_size", (-WRITER_CACHE_KIB).to_string());
        let writer = pool(1).connect_with(options).await.map_err(|error| Fault::sqlite(error).at(&address))?;
        let readers = pool(READERS_MAX).connect_lazy_with(readers);
        Ok(Self(Arc::new(Inner { writer, readers, lock, address, migrator: migrations::sqlite() })))
    }

    /// The one connection that writes, as a pool of exactly one: shared with the queue in the same file.
    ///
    /// Its holder keeps everyone else from writing: begin, write, commit, and never wait for anything else meanwhile.
    pub fn writer(&self) -> SqlitePool {
        self.0.writer.clone()
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, Fault> {
        self.0.readers.acquire().await.map_err(Fault::sqlite)
    }

    /// Begins a transaction that may write from the start: one that began by reading could only fail when it comes to it.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Fault> {
        self.0.writer.begin_with("begin immediate").await.map_err(Fault::sqlite)
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let silent = |_| Fault::Unavailable(format!("it took longer than {} s", limit.as_secs()), None);
        tokio::time::timeout(limit, work).await.map_err(silent)?
    }

    async fn migrate_now(&self) -> Result<(), Fault> {
        let mut connection = self.0.writer.acquire().await.map_err(Fault::sqlite)?;
        let migrated = self.0.migrator.run_direct(None, &mut *connection, false).await;
        migrated.map_err(|error| Fault::migration(error, Fault::sqlite))?;
        leases::forget(&mut connection).await.map_err(Fault::sqlite)
    }

    async fn check_now(&self) -> Result<(), Fault> {
        let mut reader = self.reader().await?;
        let applied = sqlx::query_as::<_, Applied>(migrations::APPLIED).fetch_all(&mut *reader).await;
        match migrations::difference(&self.0.migrator, &applied.map_err(Fault::sqlite)?) {
            Some(difference) => Err(Fault::Outdated(difference)),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl settling::Writes for SqliteStore {
    async fn write(&self, settlements: &[Settlement], wave: &[usize]) -> Result<Vec<i64>, Fault> {
        let batch = Batch::of(settlements, wave);
        self.within(CALL_TIMEOUT, async {
            let mut transaction = self.begin().await?;
            let written = settle::write(&mut transaction, batch).await.map_err(Fault::sqlite)?;
            transaction.commit().await.map_err(Fault::sqlite)?;
            Ok(written)
        })
        .await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        let migrated = self.within(MIGRATION_TIMEOUT, self.migrate_now());
        migrated.await.map_err(|fault| fault.at(&self.0.address))
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.within(CALL_TIMEOUT, self.check_now()).await.map_err(|fault| fault.at(&self.0.address))
    }

    fn address(&self) -> String {
        self.0.address.clone()
    }

    async fn order_register(&self, order: &NewOrder, now: Timestamp) -> Result<Registered, StoreError> {
        let registered = self.within(CALL_TIMEOUT, async {
            let mut transaction = self.begin().await?;
            let registered = orders::register(&mut transaction, order, now).await.map_err(Fault::sqlite)?;
            match registered {
                Registered::Order { .. } => transaction.commit().await.map_err(Fault::sqlite)?,
                Registered::AmountDiffers { .. }
                | Registered::TooManyPayments { .. }
                | Registered::PaymentTaken { .. }
                | Registered::RefundTaken { .. }
                | Registered::RefundOfNoPayment { .. } => {
                    transaction.rollback().await.map_err(Fault::sqlite)?;
                }
            }
            Ok(registered)
        });
        registered.await.map_err(|fault| fault.at(&self.0.address))
    }

    async fn order_get(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        read!(self, |connection| orders::get(connection, id))
    }

    async fn order_list(&self, filter: &OrderFilter) -> Result<Vec<Order>, StoreError> {
        read!(self, |connection| orders::list(connection, filter))
    }

    async fn order_timeline_page(
        &self,
        id: &OrderId,
        after: Option<TimelinePlace>,
        limit: u32,
    ) -> Result<TimelinePage, StoreError> {
        read!(self, |connection| orders::timeline(connection, id, after, limit))
    }

    async fn payments_find(&self, keys: &[PaymentKey]) -> Result<Vec<Found>, StoreError> {
        read!(self, |connection| orders::find(connection, keys))
    }

    async fn payment_named(&self, name: &PaymentName) -> Result<Option<PaymentKey>, StoreError> {
        read!(self, |connection| refunds::named(connection, name))
    }

    async fn payments_refundable(
        &self,
        provider: Provider,
        account: &AccountName,
        amount: Money,
        since: Timestamp,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<PaymentKey>, StoreError> {
        read!(self, |connection| refunds::refundable(connection, provider, account, amount, since, skip, limit))
    }

    async fn refund_assign(&self, refund: &NewRefund, now: Timestamp) -> Result<bool, StoreError> {
        write!(self, |connection| refunds::assign(connection, refund, now))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        settling::settle(self, settlements).await.map_err(|fault| fault.at(&self.0.address))
    }

    async fn payments_due(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
        at_most: &[AccountLimit],
    ) -> Result<Vec<PaymentKey>, StoreError> {
        write!(self, |connection| orders::due(connection, now, hold_for, limit, at_most))
    }

    async fn payments_due_late(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<PaymentKey>, StoreError> {
        write!(self, |connection| orders::due_late(connection, now, hold_for, limit))
    }

    async fn order_refresh(&self, id: &OrderId, at: Timestamp) -> Result<bool, StoreError> {
        write!(self, |connection| orders::refresh(connection, id, at))
    }

    async fn events_of(&self, order: &OrderId) -> Result<Sent, StoreError> {
        read!(self, |connection| events::of(connection, order))
    }

    async fn events_sequence(&self, limit: u32, now: Timestamp) -> Result<usize, StoreError> {
        // Mostly there is nothing to do, and nobody needs to wait for the writer to learn that.
        if !read!(self, |connection| events::waiting(connection))? {
            return Ok(0);
        }
        write!(self, |connection| events::sequence(connection, limit, now))
    }

    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError> {
        read!(self, |connection| events::after(connection, after, limit))
    }

    async fn events_deleted_to(&self) -> Result<i64, StoreError> {
        read!(self, |connection| events::deleted_to(connection))
    }

    async fn events_unpublished(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError> {
        read!(self, |connection| events::unpublished(connection, after, limit))
    }

    async fn events_mark_published(&self, ids: &[Uuid], now: Timestamp) -> Result<(), StoreError> {
        write!(self, |connection| events::mark_published(connection, ids, now))
    }

    async fn authorization_register(
        &self,
        new: &NewAuthorization,
        now: Timestamp,
    ) -> Result<AuthorizationRegistered, StoreError> {
        write!(self, |connection| authorizations::register(connection, new, now))
    }

    async fn authorization_get(&self, id: &AuthorizationId) -> Result<Option<Authorization>, StoreError> {
        read!(self, |connection| authorizations::get(connection, id))
    }

    async fn authorization_find(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Authorization>, StoreError> {
        read!(self, |connection| authorizations::find(connection, account, name))
    }

    async fn authorization_timeline(&self, id: &AuthorizationId) -> Result<Vec<TimelineEntry>, StoreError> {
        read!(self, |connection| authorizations::timeline(connection, id))
    }

    async fn authorization_notifications(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Notification>, StoreError> {
        read!(self, |connection| authorizations::notifications(connection, account, name))
    }

    async fn authorization_settle(&self, settlement: &AuthorizationSettlement) -> Result<Settled, StoreError> {
        if let Some(why) = unkeepable(settlement) {
            return Ok(Settled::Refused(why));
        }
        let outcome = attempt!(self, |connection| authorizations::settle(connection, settlement));
        settling::alone(outcome, settlement.change.is_some()).map_err(|fault| fault.at(&self.0.address))
    }

    async fn authorization_claim(
        &self,
        id: &AuthorizationId,
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<Option<Authorization>, StoreError> {
        write!(self, |connection| authorizations::claim(connection, id, holder, now, hold_for))
    }

    async fn authorizations_due(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<AuthorizationId>, StoreError> {
        write!(self, |connection| authorizations::due(connection, now, hold_for, limit))
    }

    async fn sealed_list(&self, newest: u32, limit: u32) -> Result<Vec<SealedThing>, StoreError> {
        read!(self, |connection| sealed::list(connection, newest, limit))
    }

    async fn sealed_replace(&self, replacements: &[Resealed]) -> Result<usize, StoreError> {
        write!(self, |connection| sealed::replace(connection, replacements))
    }

    async fn sealed_count(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        read!(self, |connection| sealed::count(connection))
    }

    async fn keys_used(&self) -> Result<Vec<KeyUse>, StoreError> {
        read!(self, |connection| audit::keys_used(connection))
    }

    async fn audit_write(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        write!(self, |connection| audit::write(connection, entry))
    }

    async fn audit_list(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        read!(self, |connection| audit::list(connection, before, limit))
    }

    async fn release_write(&self, release: &Release, audit: &AuditEntry) -> Result<(), StoreError> {
        write!(self, |connection| audit::release_write(connection, release, audit))
    }

    async fn release_get(&self, id: Uuid) -> Result<Option<Release>, StoreError> {
        read!(self, |connection| audit::release_get(connection, id))
    }

    async fn leases_held(&self, prefix: &str, now: Timestamp) -> Result<Vec<String>, StoreError> {
        read!(self, |connection| leases::held(connection, prefix, now))
    }

    async fn watermark_get(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        read!(self, |connection| watermarks::get(connection, name))
    }

    async fn watermark_set(&self, name: &str, at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        write!(self, |connection| watermarks::set(connection, name, at, now))
    }

    async fn notification_list(&self, filter: &NotificationFilter) -> Result<Vec<Archived>, StoreError> {
        read!(self, |connection| notifications::list(connection, filter))
    }

    async fn notification_get(&self, id: Uuid) -> Result<Option<Archived>, StoreError> {
        read!(self, |connection| notifications::get(connection, id))
    }

    async fn notifications_known(&self, signed: &[Uuid]) -> Result<Vec<Option<Uuid>>, StoreError> {
        read!(self, |connection| notifications::known(connection, signed))
    }

    async fn dead_letter_keep(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        write!(self, |connection| dead_letters::keep(connection, letters))
    }

    async fn dead_letter_list(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        read!(self, |connection| dead_letters::list(connection, filter))
    }

    async fn dead_letter_get(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
        read!(self, |connection| dead_letters::get(connection, id))
    }

    async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>, StoreError> {
        read!(self, |connection| dead_letters::groups(connection, filter))
    }

    async fn dead_letter_discard(&self, filter: &DeadLetterFilter, act: &Act) -> Result<u64, StoreError> {
        write!(self, |connection| dead_letters::discard(connection, filter, act))
    }

    async fn dead_letter_note(&self, filter: &DeadLetterFilter, note: &str) -> Result<u64, StoreError> {
        write!(self, |connection| dead_letters::note(connection, filter, note))
    }

    async fn replay_create(&self, new: &NewReplay) -> Result<(Replay, bool), StoreError> {
        write!(self, |connection| replays::create(connection, new))
    }

    async fn replay_get(&self, id: Uuid) -> Result<Option<Replay>, StoreError> {
        read!(self, |connection| replays::get(connection, id))
    }

    async fn replay_list(&self, limit: u32) -> Result<Vec<Replay>, StoreError> {
        read!(self, |connection| replays::list(connection, limit))
    }

    async fn replay_running(&self) -> Result<Vec<Replay>, StoreError> {
        read!(self, |connection| replays::running(connection))
    }

    async fn replay_items(&self, id: Uuid, after: i64, limit: u32) -> Result<Vec<ReplayItem>, StoreError> {
        read!(self, |connection| replays::items(connection, id, after, limit))
    }

    async fn replay_steer(&self, id: Uuid, steer: Steer, now: Timestamp) -> Result<Option<Replay>, StoreError> {
        write!(self, |connection| replays::steer(connection, id, steer, now))
    }

    async fn replay_claim(
        &self,
        replay: Uuid,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<ReplayItem>, StoreError> {
        write!(self, |connection| replays::claim(connection, replay, now, hold_for, limit))
    }

    async fn replay_note(&self, results: &[ReplayResult], now: Timestamp) -> Result<(), StoreError> {
        write!(self, |connection| replays::note(connection, results, now))
    }

    async fn history_delete(
        &self,
        history: History,
        age: Duration,
        now: Timestamp,
        from: Place,
        limit: u32,
    ) -> Result<Deleted, StoreError> {
        write!(self, |connection| history::delete(connection, history, Ends::at(now, age, from, limit)))
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        read!(self, |connection| leases::backlog(connection))
    }

    async fn lease_take(
        &self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<bool, StoreError> {
        Ok(!self.leases_take(&[name.to_owned()], holder, now, hold_for).await?.is_empty())
    }

    async fn leases_take(
        &self,
        names: &[String],
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<Vec<String>, StoreError> {
        write!(self, |connection| leases::take(connection, names, holder, now, hold_for))
    }

    async fn lease_release(&self, name: &str, holder: Uuid) -> Result<(), StoreError> {
        write!(self, |connection| leases::release(connection, name, holder))
    }

    async fn close(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
        self.0.lock.release();
    }
}
