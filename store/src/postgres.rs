//! The store on PostgreSQL 15 or newer, for any number of workers.
//!
//! # Known weaknesses
//! - All reads are of the primary: a replica can show two settlements in different orders, and money depends on it.
//! - A server that freezes is only noticed by our deadlines. A call then gives up its connection, and what it had asked
//!   for may still happen once the server thaws.
//! - After an asynchronous failover the last settlements may be gone. The store cannot know; the hints that come again
//!   and the sweep find the same truth again, and events keep their ids because those are made of the fact.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{
    AccountName, Authorization, AuthorizationId, AuthorizationName, Clock, Money, NewAuthorization, NewOrder,
    NewRefund, Notification, Order, OrderId, PaymentKey, Provider, shown_url,
};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use uuid::Uuid;

pub use self::clock::LeaseClock;
use self::clock::ServerClock;
pub use self::options::PgOptions;
use crate::authorizations::unkeepable;
use crate::batch::Batch;
use crate::fault::Fault;
use crate::history::Ends;
use crate::lent::Lent;
use crate::migrations::{self, Applied};
use crate::{
    AccountLimit, Act, Archived, AuditEntry, AuthorizationRegistered, AuthorizationSettlement, Backlog, DeadLetter,
    DeadLetterFilter, DeadLetterGroup, Deleted, FeedEvent, Found, History, KeyUse, NewReplay, NotificationFilter,
    OrderFilter, PaymentName, Place, Registered, Release, Replay, ReplayItem, ReplayResult, Resealed, SealedThing,
    Sent, Settled, Settlement, Steer, Store, StoreError, TimelineEntry, TimelinePage, TimelinePlace, settling,
};

mod audit;
mod authorizations;
mod bind;
mod clock;
mod dead_letters;
mod events;
mod history;
mod leases;
mod notifications;
mod options;
mod orders;
mod refunds;
mod replays;
mod sealed;
mod settle;
mod tls;
mod watermarks;

/// The longest a migration may take: an index over 10⁷ rows is minutes, and another process may be migrating first.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(15);

/// The number of tries of a transaction that lost against another, before the caller hears of it.
const TRIES_MAX: u32 = 4;

/// The store on PostgreSQL.
#[derive(Clone)]
pub struct PgStore(Arc<Inner>);

struct Inner {
    pool: PgPool,
    connect: PgConnectOptions,
    options: PgOptions,
    clock: ServerClock,
    address: String,
    migrator: Migrator,
}

/// Runs `$work` on a lent connection, within the deadline; a connection on which something went wrong is not used again.
macro_rules! on {
    ($store:expr, |$connection:ident| $work:expr) => {
        $store
            .within(async {
                let mut lent = $store.lend().await?;
                let $connection = lent.connection();
                let outcome = $work.await;
                lent.give_back(&outcome);
                outcome.map_err(Fault::postgres)
            })
            .await
            .map_err(|fault| fault.at(&$store.0.address))
    };
}

/// The same for a transaction, which is tried again where it lost against another.
macro_rules! transaction {
    ($store:expr, |$connection:ident| $work:expr) => {
        attempts!($store, |$connection| $work).map_err(|fault| fault.at(&$store.0.address))
    };
}

/// The same, for who can tell more about a fault than the caller of the store.
macro_rules! attempts {
    ($store:expr, |$connection:ident| $work:expr) => {
        $store
            .within(async {
                let mut tries = 1;
                loop {
                    let mut lent = $store.lend().await?;
                    let $connection = lent.connection();
                    let outcome = $work.await;
                    lent.give_back(&outcome);
                    match outcome.map_err(Fault::postgres) {
                        Err(Fault::Contended(_)) if tries < TRIES_MAX => tries += 1,
                        outcome => return outcome,
                    }
                }
            })
            .await
    };
}

impl PgStore {
    /// A store at `url`, such as `postgres://payhook:secret@db.internal/payhook`, without asking whether it is there: a
    /// process starts whether the server is up or not. To be called within a Tokio runtime.
    pub fn connect(url: &str, options: PgOptions) -> Result<Self, StoreError> {
        let millis = |duration: Duration| format!("{}ms", duration.as_millis());
        // What was given may hold a password: neither it nor the parser's word about it is repeated.
        let wrong = |what: &str| StoreError::Refused {
            address: "postgres://…".to_owned(),
            what: format!("its URL {what}"),
            source: None,
        };
        let address = shown_url(url).ok_or_else(|| {
            wrong("cannot be read: percent-encode `/`, `?`, `#` and `@` in user, password and parameters")
        })?;
        let connect = PgConnectOptions::from_str(url).map_err(|_| {
            wrong("is no address of a PostgreSQL database: postgres://USER:PASSWORD@HOST:PORT/DATABASE")
        })?;
        let connect = tls::trusting(connect, options.tls_ca_pem.as_deref())
            .application_name("payhook")
            .options([
                ("statement_timeout", millis(options.statement_timeout)),
                ("lock_timeout", millis(options.statement_timeout / 2)),
                ("idle_in_transaction_session_timeout", millis(options.statement_timeout * 2)),
                ("timezone", "UTC".to_owned()),
            ])
            .disable_statement_logging();
        let clock = ServerClock::default();
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false);
        let pool = clock.followed_by(pool).connect_lazy_with(connect.clone());
        Ok(Self(Arc::new(Inner { pool, connect, options, clock, address, migrator: migrations::postgres() })))
    }

    /// The time for leases, claims and what is due; `given` is the caller's.
    async fn now(&self, on: &mut PgConnection, given: Timestamp) -> sqlx::Result<Timestamp> {
        match self.0.options.clock {
            LeaseClock::Database => self.0.clock.read(on).await,
            LeaseClock::Caller => Ok(given),
        }
    }

    /// The time all processes on this server share: the server's, and `machine`'s until there was a first connection.
    pub fn clock(&self, machine: Clock) -> Clock {
        let server = self.0.clock.clone();
        Clock::new(move || server.now().unwrap_or_else(|| machine.now()))
    }

    async fn lend(&self) -> Result<Lent, Fault> {
        Ok(Lent::new(self.0.pool.acquire().await.map_err(Fault::postgres)?))
    }

    /// Ends `work` at the deadline: the server may never answer, and then nothing else would end it.
    async fn within<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let PgOptions { acquire_timeout, statement_timeout, .. } = self.0.options;
        // A second more, so that a server that does answer can say what took too long.
        let deadline = acquire_timeout + statement_timeout + Duration::from_secs(1);
        let silent = |_| Fault::Unavailable(format!("no answer within {} s", deadline.as_secs()), None);
        tokio::time::timeout(deadline, work).await.map_err(silent)?
    }

    /// A connection beside the pool, whose failure tells its own cause: the pool would only say that time was up.
    async fn dial(&self, connect: &PgConnectOptions) -> Result<PgConnection, Fault> {
        let silent = |_| Fault::Unavailable("no answer to connecting".to_owned(), None);
        let dialled = tokio::time::timeout(self.0.options.acquire_timeout, PgConnection::connect_with(connect));
        dialled.await.map_err(silent)?.map_err(Fault::postgres)
    }

    async fn migrate_now(&self) -> Result<(), Fault> {
        let timeout = format!("{}ms", MIGRATION_TIMEOUT.as_millis());
        let patient = self.0.connect.clone().options([("statement_timeout", &timeout), ("lock_timeout", &timeout)]);
        let mut connection = self.dial(&patient).await?;
        let silent = |_| Fault::Unavailable("migrating took too long".to_owned(), None);
        let migrated =
            tokio::time::timeout(MIGRATION_TIMEOUT, self.0.migrator.run_direct(None, &mut connection, false));
        let outcome = migrated.await.map_err(silent)?;
        outcome.map_err(|error| Fault::migration(error, Fault::postgres))?;
        // Everything is committed; how the connection ends does not matter.
        drop(tokio::time::timeout(self.0.options.acquire_timeout, connection.close()).await);
        Ok(())
    }

    async fn check_now(&self) -> Result<(), Fault> {
        let mut connection = self.dial(&self.0.connect).await?;
        let applied = sqlx::query_as::<_, Applied>(migrations::APPLIED).fetch_all(&mut connection).await;
        match migrations::difference(&self.0.migrator, &applied.map_err(Fault::postgres)?) {
            Some(difference) => Err(Fault::Outdated(difference)),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl settling::Writes for PgStore {
    /// Writes one wave, trying again where it lost against another writer.
    async fn write(&self, settlements: &[Settlement], wave: &[usize]) -> Result<Vec<i64>, Fault> {
        let batch = Batch::of(settlements, wave);
        let mut tries = 1;
        loop {
            let written = self.within(async {
                let mut lent = self.lend().await?;
                let outcome = settle::write(lent.connection(), &batch).await;
                lent.give_back(&outcome);
                outcome.map_err(Fault::postgres)
            });
            match written.await {
                Err(Fault::Contended(_)) if tries < TRIES_MAX => tries += 1,
                outcome => return outcome,
            }
        }
    }
}

#[async_trait]
impl Store for PgStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.migrate_now().await.map_err(|fault| fault.at(&self.0.address))
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.within(self.check_now()).await.map_err(|fault| fault.at(&self.0.address))
    }

    fn address(&self) -> String {
        self.0.address.clone()
    }

    async fn order_register(&self, order: &NewOrder, now: Timestamp) -> Result<Registered, StoreError> {
        transaction!(self, |connection| orders::register(connection, order, now))
    }

    async fn order_get(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        on!(self, |connection| orders::get(connection, id))
    }

    async fn order_list(&self, filter: &OrderFilter) -> Result<Vec<Order>, StoreError> {
        on!(self, |connection| orders::list(connection, filter))
    }

    async fn order_timeline_page(
        &self,
        id: &OrderId,
        after: Option<TimelinePlace>,
        limit: u32,
    ) -> Result<TimelinePage, StoreError> {
        on!(self, |connection| orders::timeline(connection, id, after, limit))
    }

    async fn payments_find(&self, keys: &[PaymentKey]) -> Result<Vec<Found>, StoreError> {
        on!(self, |connection| orders::find(connection, keys))
    }

    async fn payment_named(&self, name: &PaymentName) -> Result<Option<PaymentKey>, StoreError> {
        on!(self, |connection| refunds::named(connection, name))
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
        on!(self, |connection| refunds::refundable(connection, provider, account, amount, since, skip, limit))
    }

    async fn refund_assign(&self, refund: &NewRefund, now: Timestamp) -> Result<bool, StoreError> {
        transaction!(self, |connection| refunds::assign(connection, refund, now))
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
        transaction!(self, |connection| async {
            let now = self.now(connection, now).await?;
            orders::due(connection, now, hold_for, limit, at_most).await
        })
    }

    async fn payments_due_late(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<PaymentKey>, StoreError> {
        transaction!(self, |connection| async {
            let now = self.now(connection, now).await?;
            orders::due_late(connection, now, hold_for, limit).await
        })
    }

    async fn order_refresh(&self, id: &OrderId, at: Timestamp) -> Result<bool, StoreError> {
        transaction!(self, |connection| orders::refresh(connection, id, at))
    }

    async fn events_of(&self, order: &OrderId) -> Result<Sent, StoreError> {
        on!(self, |connection| events::of(connection, order))
    }

    async fn events_sequence(&self, limit: u32, now: Timestamp) -> Result<usize, StoreError> {
        transaction!(self, |connection| async {
            // Mostly there is nothing to do, and nobody needs to wait to learn that.
            if !events::waiting(connection).await? {
                return Ok(0);
            }
            let now = self.now(connection, now).await?;
            events::sequence(connection, limit, now).await
        })
    }

    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError> {
        on!(self, |connection| events::after(connection, after, limit))
    }

    async fn events_deleted_to(&self) -> Result<i64, StoreError> {
        on!(self, |connection| events::deleted_to(connection))
    }

    async fn events_unpublished(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError> {
        on!(self, |connection| events::unpublished(connection, after, limit))
    }

    async fn events_mark_published(&self, ids: &[Uuid], now: Timestamp) -> Result<(), StoreError> {
        transaction!(self, |connection| events::mark_published(connection, ids, now))
    }

    async fn authorization_register(
        &self,
        new: &NewAuthorization,
        now: Timestamp,
    ) -> Result<AuthorizationRegistered, StoreError> {
        transaction!(self, |connection| authorizations::register(connection, new, now))
    }

    async fn authorization_get(&self, id: &AuthorizationId) -> Result<Option<Authorization>, StoreError> {
        on!(self, |connection| authorizations::get(connection, id))
    }

    async fn authorization_find(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Authorization>, StoreError> {
        on!(self, |connection| authorizations::find(connection, account, name))
    }

    async fn authorization_timeline(&self, id: &AuthorizationId) -> Result<Vec<TimelineEntry>, StoreError> {
        on!(self, |connection| authorizations::timeline(connection, id))
    }

    async fn authorization_notifications(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Notification>, StoreError> {
        on!(self, |connection| authorizations::notifications(connection, account, name))
    }

    async fn authorization_settle(&self, settlement: &AuthorizationSettlement) -> Result<Settled, StoreError> {
        if let Some(why) = unkeepable(settlement) {
            return Ok(Settled::Refused(why));
        }
        let outcome = attempts!(self, |connection| authorizations::settle(connection, settlement));
        settling::alone(outcome, settlement.change.is_some()).map_err(|fault| fault.at(&self.0.address))
    }

    async fn authorization_claim(
        &self,
        id: &AuthorizationId,
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<Option<Authorization>, StoreError> {
        transaction!(self, |connection| async {
            let now = self.now(connection, now).await?;
            authorizations::claim(connection, id, holder, now, hold_for).await
        })
    }

    async fn authorizations_due(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<AuthorizationId>, StoreError> {
        transaction!(self, |connection| async {
            let now = self.now(connection, now).await?;
            authorizations::due(connection, now, hold_for, limit).await
        })
    }

    async fn sealed_list(&self, newest: u32, limit: u32) -> Result<Vec<SealedThing>, StoreError> {
        on!(self, |connection| sealed::list(connection, newest, limit))
    }

    async fn sealed_replace(&self, replacements: &[Resealed]) -> Result<usize, StoreError> {
        transaction!(self, |connection| sealed::replace(connection, replacements))
    }

    async fn sealed_count(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        on!(self, |connection| sealed::count(connection))
    }

    async fn keys_used(&self) -> Result<Vec<KeyUse>, StoreError> {
        on!(self, |connection| audit::keys_used(connection))
    }

    async fn audit_write(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        transaction!(self, |connection| audit::write(connection, entry))
    }

    async fn audit_list(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        on!(self, |connection| audit::list(connection, before, limit))
    }

    async fn release_write(&self, release: &Release, audit: &AuditEntry) -> Result<(), StoreError> {
        transaction!(self, |connection| audit::release_write(connection, release, audit))
    }

    async fn release_get(&self, id: Uuid) -> Result<Option<Release>, StoreError> {
        on!(self, |connection| audit::release_get(connection, id))
    }

    async fn leases_held(&self, prefix: &str, now: Timestamp) -> Result<Vec<String>, StoreError> {
        on!(self, |connection| async {
            let now = self.now(connection, now).await?;
            leases::held(connection, prefix, now).await
        })
    }

    async fn watermark_get(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        on!(self, |connection| watermarks::get(connection, name))
    }

    async fn watermark_set(&self, name: &str, at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        transaction!(self, |connection| watermarks::set(connection, name, at, now))
    }

    async fn notification_list(&self, filter: &NotificationFilter) -> Result<Vec<Archived>, StoreError> {
        on!(self, |connection| notifications::list(connection, filter))
    }

    async fn notification_get(&self, id: Uuid) -> Result<Option<Archived>, StoreError> {
        on!(self, |connection| notifications::get(connection, id))
    }

    async fn notifications_known(&self, signed: &[Uuid]) -> Result<Vec<Option<Uuid>>, StoreError> {
        on!(self, |connection| notifications::known(connection, signed))
    }

    async fn dead_letter_keep(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        transaction!(self, |connection| dead_letters::keep(connection, letters))
    }

    async fn dead_letter_list(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        on!(self, |connection| dead_letters::list(connection, filter))
    }

    async fn dead_letter_get(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
        on!(self, |connection| dead_letters::get(connection, id))
    }

    async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>, StoreError> {
        on!(self, |connection| dead_letters::groups(connection, filter))
    }

    async fn dead_letter_discard(&self, filter: &DeadLetterFilter, act: &Act) -> Result<u64, StoreError> {
        transaction!(self, |connection| dead_letters::discard(connection, filter, act))
    }

    async fn dead_letter_note(&self, filter: &DeadLetterFilter, note: &str) -> Result<u64, StoreError> {
        transaction!(self, |connection| dead_letters::note(connection, filter, note))
    }

    async fn replay_create(&self, new: &NewReplay) -> Result<(Replay, bool), StoreError> {
        transaction!(self, |connection| replays::create(connection, new))
    }

    async fn replay_get(&self, id: Uuid) -> Result<Option<Replay>, StoreError> {
        on!(self, |connection| replays::get(connection, id))
    }

    async fn replay_list(&self, limit: u32) -> Result<Vec<Replay>, StoreError> {
        on!(self, |connection| replays::list(connection, limit))
    }

    async fn replay_running(&self) -> Result<Vec<Replay>, StoreError> {
        on!(self, |connection| replays::running(connection))
    }

    async fn replay_items(&self, id: Uuid, after: i64, limit: u32) -> Result<Vec<ReplayItem>, StoreError> {
        on!(self, |connection| replays::items(connection, id, after, limit))
    }

    async fn replay_steer(&self, id: Uuid, steer: Steer, now: Timestamp) -> Result<Option<Replay>, StoreError> {
        transaction!(self, |connection| replays::steer(connection, id, steer, now))
    }

    async fn replay_claim(
        &self,
        replay: Uuid,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<ReplayItem>, StoreError> {
        transaction!(self, |connection| async {
            let clock = self.now(connection, now).await?;
            replays::claim(connection, replay, now, clock, hold_for, limit).await
        })
    }

    async fn replay_note(&self, results: &[ReplayResult], now: Timestamp) -> Result<(), StoreError> {
        transaction!(self, |connection| async {
            let clock = self.now(connection, now).await?;
            replays::note(connection, results, now, clock).await
        })
    }

    async fn history_delete(
        &self,
        history: History,
        age: Duration,
        now: Timestamp,
        from: Place,
        limit: u32,
    ) -> Result<Deleted, StoreError> {
        transaction!(self, |connection| async {
            let now = self.now(connection, now).await?;
            history::delete(connection, history, Ends::at(now, age, from, limit)).await
        })
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        on!(self, |connection| leases::backlog(connection))
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
        transaction!(self, |connection| async {
            let now = self.now(connection, now).await?;
            leases::take(connection, names, holder, now, hold_for).await
        })
    }

    async fn lease_release(&self, name: &str, holder: Uuid) -> Result<(), StoreError> {
        transaction!(self, |connection| leases::release(connection, name, holder))
    }

    async fn close(&self) {
        // What is in flight has its own deadline; a frozen server must not keep us from stopping.
        drop(tokio::time::timeout(self.0.options.acquire_timeout, self.0.pool.close()).await);
    }
}
