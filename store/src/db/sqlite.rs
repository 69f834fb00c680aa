//! The store in one SQLite file, for one process.
//!
//! # Known weaknesses
//! - One process owns the file. A second one gets an error at once; more than one machine needs PostgreSQL.
//! - One writer at a time. Batches share a commit, and so a sync of the disk; a settlement alone pays for its own.
//! - It is as durable as the disk's sync is honest: every commit is synced (`synchronous = FULL`) before it is
//!   answered.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};

use self::file_lock::FileLock;
use super::fault::DatabaseFault;
use super::migrations::{self, Applied};
use super::{Backend, Conn, Loan, within};
use crate::StoreError;

mod file_lock;

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

impl SqliteStore {
    /// Opens or creates the file named by a path, or by a URL such as `sqlite://payhook.db`, and keeps every other
    /// process out of it until [`crate::Housekeeping::close`], or until this and every copy of [`SqliteStore::writer`]
    /// is dropped.
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
                // On a full disk or a failed sync SQLite ends the transaction by itself, and sqlx goes on counting it:
                // every later begin would fail. Such a connection is closed, and a new one opened in its place.
                .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
        };
        let options =
            options.journal_mode(SqliteJournalMode::Wal).pragma("cache_size", (-WRITER_CACHE_KIB).to_string());
        let writer = pool(1).connect_with(options).await.map_err(|error| DatabaseFault::sqlite(error).at(&address))?;
        let readers = pool(READERS_MAX).connect_lazy_with(readers);
        Ok(Self(Arc::new(Inner { writer, readers, lock, address, migrator: migrations::sqlite() })))
    }

    /// The one connection that writes, as a pool of exactly one: shared with the queue in the same file.
    ///
    /// Its holder keeps everyone else from writing: begin, write, commit, and never wait for anything else meanwhile.
    pub fn writer(&self) -> SqlitePool {
        self.0.writer.clone()
    }

    async fn migrate_now(&self) -> Result<(), DatabaseFault> {
        let mut connection = self.0.writer.acquire().await.map_err(DatabaseFault::sqlite)?;
        let migrated = self.0.migrator.run_direct(None, &mut *connection, false).await;
        migrated.map_err(|error| DatabaseFault::migration(error, DatabaseFault::sqlite))?;
        sqlx::raw_sql(FORGET_CLAIMS).execute(&mut *connection).await.map(drop).map_err(DatabaseFault::sqlite)
    }
}

/// Ends every lease and claim: one process owns the file, so whoever had them is gone, whatever time its clock wrote.
const FORGET_CLAIMS: &str = "
delete from leases;
update authorizations set claimed_by = null, claimed_until = null where claimed_by is not null;
update replay_items set claimed_until = 0 where state in ('waiting', 'out') and claimed_until > 0;";

#[async_trait]
impl Backend for SqliteStore {
    fn url(&self) -> &str {
        &self.0.address
    }

    fn deadline(&self) -> Duration {
        CALL_TIMEOUT
    }

    async fn lend_reader(&self) -> Result<Loan, DatabaseFault> {
        Ok(Loan::Sqlite(self.0.readers.acquire().await.map_err(DatabaseFault::sqlite)?))
    }

    async fn lend_writer(&self) -> Result<Loan, DatabaseFault> {
        Ok(Loan::Sqlite(self.0.writer.acquire().await.map_err(DatabaseFault::sqlite)?))
    }

    async fn now(&self, _on: &mut Conn<'_>, given: Timestamp) -> sqlx::Result<Timestamp> {
        Ok(given)
    }

    async fn migrate_all(&self) -> Result<(), DatabaseFault> {
        within(MIGRATION_TIMEOUT, self.migrate_now()).await
    }

    async fn check_version(&self) -> Result<(), DatabaseFault> {
        let mut reader = self.0.readers.acquire().await.map_err(DatabaseFault::sqlite)?;
        let applied = sqlx::query_as::<_, Applied>(migrations::APPLIED).fetch_all(&mut *reader).await;
        match migrations::difference(&self.0.migrator, &applied.map_err(DatabaseFault::sqlite)?) {
            Some(difference) => Err(DatabaseFault::Outdated(difference)),
            None => Ok(()),
        }
    }

    async fn close_all(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
        self.0.lock.release();
    }
}
