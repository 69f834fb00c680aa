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
use payhook_schema::{Clock, shown_url};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

pub use self::clock::LeaseClock;
use self::clock::ServerClock;
pub use self::options::PgOptions;
use super::fault::DatabaseFault;
use super::lent::Lent;
use super::migrations::{self, Applied};
use super::{Backend, Conn, Loan};
use crate::StoreError;

mod clock;
mod options;
mod tls;

/// The longest a migration may take: an index over 10⁷ rows is minutes, and another process may be migrating first.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(15);

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

impl PgStore {
    /// A store at `url`, such as `postgres://payhook:secret@db.internal/payhook`, without asking whether it is there: a
    /// process starts whether the server is up or not. To be called within a Tokio runtime.
    pub fn connect(url: &str, options: PgOptions) -> Result<Self, StoreError> {
        let millis = |duration: Duration| format!("{}ms", duration.as_millis());
        // The URL may hold a password: neither it nor the parser's error is repeated.
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

    /// The time all processes on this server share: the server's, and `machine`'s until there was a first connection.
    pub fn clock(&self, machine: Clock) -> Clock {
        let server = self.0.clock.clone();
        Clock::new(move || server.now().unwrap_or_else(|| machine.now()))
    }

    /// A connection beside the pool, whose failure tells its own cause: the pool would only say that time was up.
    async fn dial(&self, connect: &PgConnectOptions) -> Result<PgConnection, DatabaseFault> {
        let silent = |_| DatabaseFault::Unavailable("no answer to connecting".to_owned(), None);
        let dialled = tokio::time::timeout(self.0.options.acquire_timeout, PgConnection::connect_with(connect));
        dialled.await.map_err(silent)?.map_err(DatabaseFault::postgres)
    }

    async fn migrate_now(&self) -> Result<(), DatabaseFault> {
        let timeout = format!("{}ms", MIGRATION_TIMEOUT.as_millis());
        let patient = self.0.connect.clone().options([("statement_timeout", &timeout), ("lock_timeout", &timeout)]);
        let mut connection = self.dial(&patient).await?;
        let silent = |_| DatabaseFault::Unavailable("migrating took too long".to_owned(), None);
        let migrated =
            tokio::time::timeout(MIGRATION_TIMEOUT, self.0.migrator.run_direct(None, &mut connection, false));
        let outcome = migrated.await.map_err(silent)?;
        outcome.map_err(|error| DatabaseFault::migration(error, DatabaseFault::postgres))?;
        // Everything is committed; how the connection ends does not matter.
        drop(tokio::time::timeout(self.0.options.acquire_timeout, connection.close()).await);
        Ok(())
    }
}

#[async_trait]
impl Backend for PgStore {
    fn url(&self) -> &str {
        &self.0.address
    }

    fn deadline(&self) -> Duration {
        // A second more, so that a server that does answer can say what took too long.
        self.0.options.acquire_timeout + self.0.options.statement_timeout + Duration::from_secs(1)
    }

    async fn lend_reader(&self) -> Result<Loan, DatabaseFault> {
        Ok(Loan::Postgres(Lent::new(self.0.pool.acquire().await.map_err(DatabaseFault::postgres)?)))
    }

    async fn lend_writer(&self) -> Result<Loan, DatabaseFault> {
        self.lend_reader().await
    }

    async fn now(&self, on: &mut Conn<'_>, given: Timestamp) -> sqlx::Result<Timestamp> {
        match self.0.options.clock {
            LeaseClock::Database => self.0.clock.read(on).await,
            LeaseClock::Caller => Ok(given),
        }
    }

    async fn migrate_all(&self) -> Result<(), DatabaseFault> {
        self.migrate_now().await
    }

    async fn check_version(&self) -> Result<(), DatabaseFault> {
        let mut connection = self.dial(&self.0.connect).await?;
        let applied = sqlx::query_as::<_, Applied>(migrations::APPLIED).fetch_all(&mut connection).await;
        match migrations::difference(&self.0.migrator, &applied.map_err(DatabaseFault::postgres)?) {
            Some(difference) => Err(DatabaseFault::Outdated(difference)),
            None => Ok(()),
        }
    }

    async fn close_all(&self) {
        // A call in flight has its own deadline; a frozen server must not keep us from stopping.
        drop(tokio::time::timeout(self.0.options.acquire_timeout, self.0.pool.close()).await);
    }
}
