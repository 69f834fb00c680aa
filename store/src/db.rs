//! Runs one statement on either database: a connection, a query with its parameters, a transaction.
//!
//! SQL is written once, as for PostgreSQL; [`dialect`] says what SQLite is given instead. Where the databases really
//! differ, the noun has a `differs.rs`.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Connection, PgConnection, Postgres, Sqlite, SqliteConnection};

use self::fault::DatabaseFault;
use self::lent::Lent;
use self::value::Parameter;

mod dialect;
pub(crate) mod fault;
mod lent;
pub(crate) mod migrations;
pub mod postgres;
pub(crate) mod row;
pub mod sqlite;
pub(crate) mod value;

/// The number of tries of work that lost against another transaction, before the caller hears of it.
pub(crate) const TRIES_MAX: u32 = 4;

/// A database: where connections come from, and which clock counts.
#[async_trait]
pub(crate) trait Backend: Send + Sync + 'static {
    fn url(&self) -> &str;

    /// The longest a call may take, whatever the database does.
    fn deadline(&self) -> Duration;

    /// A connection that reads.
    async fn lend_reader(&self) -> Result<Loan, DatabaseFault>;

    /// A connection that may write.
    async fn lend_writer(&self) -> Result<Loan, DatabaseFault>;

    /// The time for leases, claims and what is due; `given` is the caller's.
    async fn now(&self, on: &mut Conn<'_>, given: Timestamp) -> sqlx::Result<Timestamp>;

    async fn migrate_all(&self) -> Result<(), DatabaseFault>;

    async fn check_version(&self) -> Result<(), DatabaseFault>;

    async fn close_all(&self);
}

/// A connection that was lent, and goes back.
pub(crate) enum Loan {
    Postgres(Lent),
    Sqlite(PoolConnection<Sqlite>),
}

impl Loan {
    pub(crate) fn connection(&mut self) -> Conn<'_> {
        match self {
            Self::Postgres(lent) => Conn::Postgres(lent.connection()),
            Self::Sqlite(connection) => Conn::Sqlite(connection),
        }
    }

    /// Gives the connection back and reads what failed; one on which something went wrong is not used again.
    pub(crate) fn end<T>(self, outcome: sqlx::Result<T>) -> Result<T, DatabaseFault> {
        match self {
            Self::Postgres(lent) => {
                lent.give_back(&outcome);
                outcome.map_err(DatabaseFault::postgres)
            }
            Self::Sqlite(_) => outcome.map_err(DatabaseFault::sqlite),
        }
    }
}

/// Ends `work` at the deadline: the database may never answer, and then nothing else would end it.
pub(crate) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, DatabaseFault>>,
) -> Result<T, DatabaseFault> {
    let silent = |_| DatabaseFault::Unavailable(format!("no answer within {} s", deadline.as_secs()), None);
    tokio::time::timeout(deadline, work).await.map_err(silent)?
}

/// Runs `$work` on a connection that reads.
macro_rules! read {
    ($store:expr, |$on:ident| $work:expr) => {
        $crate::db::attempt!($store, lend_reader, |$on| $work)
            .map_err(|fault| fault.at($crate::db::Backend::url($store)))
    };
}
pub(crate) use read;

/// Runs `$work` on a connection that may write. Several statements that belong together begin a transaction.
macro_rules! write {
    ($store:expr, |$on:ident| $work:expr) => {
        $crate::db::attempt!($store, lend_writer, |$on| $work)
            .map_err(|fault| fault.at($crate::db::Backend::url($store)))
    };
}
pub(crate) use write;

/// The same, for who can tell more about a fault than the caller of the store. Work that lost against another
/// transaction is tried again.
macro_rules! attempt {
    ($store:expr, $lend:ident, |$on:ident| $work:expr) => {
        $crate::db::within($crate::db::Backend::deadline($store), async {
            let mut tries = 1;
            loop {
                let mut loan = $crate::db::Backend::$lend($store).await?;
                let outcome = {
                    let $on = &mut loan.connection();
                    $work.await
                };
                match loan.end(outcome) {
                    Err($crate::db::fault::DatabaseFault::Contended(_)) if tries < $crate::db::TRIES_MAX => tries += 1,
                    outcome => return outcome,
                }
            }
        })
        .await
    };
}
pub(crate) use attempt;

/// A connection to either database.
pub(crate) enum Conn<'c> {
    Postgres(&'c mut PgConnection),
    Sqlite(&'c mut SqliteConnection),
}

impl Conn<'_> {
    /// A statement, written as for PostgreSQL.
    pub(crate) fn query(&mut self, sql: &'static str) -> Query<'_> {
        match self {
            Self::Postgres(on) => Query::Postgres(on, sqlx::query(sql)),
            Self::Sqlite(on) => Query::Sqlite(on, sqlx::query(dialect::sqlite(sql))),
        }
    }

    /// Begins a transaction. In SQLite it may write from the start: one that began by reading could only fail when it
    /// comes to it.
    pub(crate) async fn begin(&mut self) -> sqlx::Result<Unit<'_>> {
        Ok(match self {
            Self::Postgres(on) => Unit::Postgres(on.begin().await?),
            Self::Sqlite(on) => Unit::Sqlite(on.begin_with("begin immediate").await?),
        })
    }

    /// Begins to read one snapshot.
    pub(crate) async fn begin_snapshot(&mut self) -> sqlx::Result<Unit<'_>> {
        Ok(match self {
            Self::Postgres(on) => {
                Unit::Postgres(on.begin_with("begin isolation level repeatable read, read only").await?)
            }
            Self::Sqlite(on) => Unit::Sqlite(on.begin().await?),
        })
    }

    /// Returns true if others may write at the same time. SQLite has one writer.
    pub(crate) fn has_other_writers(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Waits for a lock that is held to the end of the transaction. SQLite has one writer, who has it already.
    pub(crate) async fn lock(&mut self, number: i64) -> sqlx::Result<()> {
        match self {
            Self::Postgres(_) => self.query("select pg_advisory_xact_lock($1)").bind(number).execute().await.map(drop),
            Self::Sqlite(_) => Ok(()),
        }
    }
}

/// A transaction; rolled back unless it is committed.
pub(crate) enum Unit<'c> {
    Postgres(sqlx::Transaction<'c, Postgres>),
    Sqlite(sqlx::Transaction<'c, Sqlite>),
}

impl Unit<'_> {
    pub(crate) fn connection(&mut self) -> Conn<'_> {
        match self {
            Self::Postgres(transaction) => Conn::Postgres(transaction),
            Self::Sqlite(transaction) => Conn::Sqlite(transaction),
        }
    }

    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Postgres(transaction) => transaction.commit().await,
            Self::Sqlite(transaction) => transaction.commit().await,
        }
    }
}

/// A statement and its parameters, in order.
pub(crate) enum Query<'c> {
    Postgres(&'c mut PgConnection, sqlx::query::Query<'static, Postgres, PgArguments>),
    Sqlite(&'c mut SqliteConnection, sqlx::query::Query<'static, Sqlite, SqliteArguments>),
}

impl Query<'_> {
    pub(crate) fn bind<'v>(self, value: impl Into<Parameter<'v>>) -> Self {
        match self {
            Self::Postgres(on, query) => Self::Postgres(on, value.into().for_postgres(query)),
            Self::Sqlite(on, query) => Self::Sqlite(on, value.into().for_sqlite(query)),
        }
    }

    /// Has PostgreSQL plan the statement for these parameters, each time: a partial index is used only by a plan that
    /// knows which provider is asked for.
    pub(crate) fn planned_anew(self) -> Self {
        match self {
            Self::Postgres(on, query) => Self::Postgres(on, query.persistent(false)),
            Self::Sqlite(..) => self,
        }
    }

    /// Returns the number of rows that were written.
    pub(crate) async fn execute(self) -> sqlx::Result<u64> {
        match self {
            Self::Postgres(on, query) => Ok(query.execute(on).await?.rows_affected()),
            Self::Sqlite(on, query) => Ok(query.execute(on).await?.rows_affected()),
        }
    }

    pub(crate) async fn all(self) -> sqlx::Result<Vec<row::Row>> {
        match self {
            Self::Postgres(on, query) => Ok(query.fetch_all(on).await?.into_iter().map(row::Row::Postgres).collect()),
            Self::Sqlite(on, query) => Ok(query.fetch_all(on).await?.into_iter().map(row::Row::Sqlite).collect()),
        }
    }

    pub(crate) async fn optional(self) -> sqlx::Result<Option<row::Row>> {
        match self {
            Self::Postgres(on, query) => Ok(query.fetch_optional(on).await?.map(row::Row::Postgres)),
            Self::Sqlite(on, query) => Ok(query.fetch_optional(on).await?.map(row::Row::Sqlite)),
        }
    }

    pub(crate) async fn one(self) -> sqlx::Result<row::Row> {
        self.optional().await?.ok_or(sqlx::Error::RowNotFound)
    }
}
