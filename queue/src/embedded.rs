//! The queue as a table in the SQLite file the store lives in: for one machine, nothing to install.
//!
//! Known weakness: one process owns the file. The deliveries that each consumer holds are therefore known in memory
//! only. This costs no write, and gives everything back by itself when the process dies; a second process on the same
//! file would hand out the same deliveries again.
//!
//! An envelope that crashes its process would crash it at every start. Envelopes that an earlier process left behind
//! are therefore counted when they are handed out, before anybody sees them; an envelope that never was in a process
//! that died is not counted. From the third time on such an envelope is handed out alone, so that only the one that
//! crashes goes on counting; after the fifth it lies in the dead lane as poison.
//!
//! Publishes and settles are committed in groups by one task (`group_commit`): whatever waits while the disk syncs
//! shares the next sync, so throughput grows with the load and a lone publish waits for nobody.

mod consumer;
mod group_commit;
mod in_flight;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use metrics::histogram;
use payhook_schema::{Clock, Envelope, Event};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, Row, SqlSafeStr, SqliteConnection, SqlitePool};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::delays::{Delays, delay_name};
use crate::{Consumer, Depth, Lane, Queue, QueueError, Routed};
use group_commit::{GroupCommit, Put};
use in_flight::InFlight;

/// The table where sqlx notes which of our migrations were applied: not the store's table, though it may be the same
/// file.
const MIGRATIONS_TABLE: &str = "_payhook_queue_migrations";

/// A clock that goes back by less changes nothing that matters, in microseconds.
const BACK_MAX: i64 = 1_000_000;

/// A durable queue in SQLite. Cheap to share behind an [`Arc`]; dropping the last one ends its writer task.
pub struct EmbeddedQueue {
    shared: Arc<EmbeddedShared>,
    writer: GroupCommit,
}

/// The state that the queue and its consumers share.
struct EmbeddedShared {
    pool: SqlitePool,
    address: String,
    clock: Clock,
    delays: Delays,
    in_flight: InFlight,
    /// HeldRow while rows are chosen and marked as held, so that two consumers never choose the same.
    choosing: tokio::sync::Mutex<()>,
    /// The last row that was there when this process began to consume.
    left_behind: OnceCell<i64>,
    /// The latest time the clock ever showed, in microseconds; before the first look at the rows, the end of time.
    latest: AtomicI64,
}

impl EmbeddedQueue {
    /// A queue in the file behind `writer`, a pool of exactly one connection: the file's write lock, shared with the
    /// store. The code that opens it sets WAL and `synchronous = FULL`, without which a confirmed envelope can be lost.
    ///
    /// Every envelope that a dead process held is waiting again. Call it inside a Tokio runtime, once per file.
    ///
    /// # Errors
    /// [`QueueError::Misconfigured`] when `retry_delays` is empty or holds a zero.
    pub fn open(writer: SqlitePool, clock: Clock, retry_delays: &[Duration]) -> Result<Self, QueueError> {
        let address = format!("sqlite:{}", writer.connect_options().get_filename().display());
        let delays = Delays::new(retry_delays, &address)?;
        let shared = Arc::new(EmbeddedShared {
            pool: writer,
            address,
            clock,
            delays,
            in_flight: InFlight::default(),
            choosing: tokio::sync::Mutex::default(),
            left_behind: OnceCell::new(),
            latest: AtomicI64::new(i64::MAX),
        });
        let writer = GroupCommit::start(Arc::clone(&shared));
        Ok(Self { shared, writer })
    }
}

/// CountAfter the waiting rows in groups: by lane, whether it can be taken at time 1, and its delay; without the rows
/// of list 2.
const DEPTHS: &str = "select lane, due_at <= ?1 as ready, delay, count(*) as rows, min(due_at) as first from queue_envelope \
                      where id not in (select value from json_each(?2)) group by lane, ready, delay";

fn depths(groups: &[SqliteRow], delays: &Delays) -> Vec<Depth> {
    let depth = |queue: String, lane: &str, ready: bool, delay: Option<&str>| {
        let of_it = |row: &&SqliteRow| {
            row.get::<&str, _>("lane") == lane
                && row.get::<bool, _>("ready") == ready
                && delay.is_none_or(|delay| row.get::<Option<&str>, _>("delay") == Some(delay))
        };
        let matching: Vec<_> = groups.iter().filter(of_it).collect();
        let first = matching.iter().map(|row| row.get::<i64, _>("first")).min();
        let first = first.and_then(|at| Timestamp::from_microsecond(at).ok());
        let (oldest_at, next_due_at) = if ready { (first, None) } else { (None, first) };
        let ready = matching.iter().map(|row| row.get::<i64, _>("rows").unsigned_abs()).sum();
        Depth { queue, ready, consumers: None, oldest_at, next_due_at }
    };
    let mut depths = vec![depth("payhook.notifications".to_owned(), "notifications", true, None)];
    for delay in delays.iter().map(delay_name) {
        depths.push(depth(format!("payhook.retry.{delay}"), "notifications", false, Some(&delay)));
    }
    depths.push(depth("payhook.dead".to_owned(), "dead", true, None));
    depths
}

/// Returns the depths of the queue in a file that another process owns: read beside it, without its lock. Deliveries
/// that the other process holds count as waiting.
///
/// # Errors
/// [`QueueError::Misconfigured`] when there is no such file or no queue in it.
pub async fn depths_of_file(file: &Path, clock: &Clock, retry_delays: &[Duration]) -> Result<Vec<Depth>, QueueError> {
    let address = format!("sqlite:{}", file.display());
    let delays = Delays::new(retry_delays, &address)?;
    let failed = |error: sqlx::Error| QueueError::Misconfigured {
        address: address.clone(),
        what: "its queue cannot be read".to_owned(),
        source: Some(Box::new(error)),
    };
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let now = clock.now().as_microsecond();
    let groups = sqlx::query(DEPTHS).bind(now).bind("[]").fetch_all(&mut connection).await.map_err(failed)?;
    Ok(depths(&groups, &delays))
}

#[async_trait]
impl Queue for EmbeddedQueue {
    async fn publish(&self, envelope: &Envelope) -> Result<(), QueueError> {
        let began = Instant::now();
        let due_at = self.shared.now();
        self.writer.put(Put { bytes: envelope.encode(), due_at }).await?;
        histogram!("payhook_queue_publish_seconds").record(began.elapsed());
        Ok(())
    }

    async fn consume(&self, lane: Lane, prefetch: u16) -> Result<Consumer, QueueError> {
        self.probe().await?;
        self.shared.left_behind().await?;
        Ok(consumer::start(Arc::clone(&self.shared), self.writer.clone(), lane, prefetch))
    }

    fn carries_events(&self) -> bool {
        false
    }

    async fn publish_event(&self, _event: &Event) -> Result<Routed, QueueError> {
        let what = "the embedded queue carries no order events; consumers read them from the feed";
        Err(QueueError::misconfigured(&self.shared.address, what))
    }

    async fn migrate(&self) -> Result<(), QueueError> {
        let scripts = [
            ("queue", include_str!("../../migrations/embedded_queue/0001_queue.sql")),
            ("deliveries", include_str!("../../migrations/embedded_queue/0002_deliveries.sql")),
        ];
        let migration = |(number, (name, sql)): (i64, (&'static str, &'static str))| {
            Migration::new(number, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        };
        let mut migrator = Migrator::with_migrations((1..).zip(scripts).map(migration).collect());
        migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
        migrator.run(&self.shared.pool).await.map_err(|error| QueueError::Misconfigured {
            address: self.shared.address.clone(),
            what: "its table cannot be created".to_owned(),
            source: Some(Box::new(error)),
        })
    }

    async fn probe(&self) -> Result<(), QueueError> {
        if self.writer.is_closed() {
            return Err(self.shared.closed());
        }
        // A read answers from a file that takes no writes; only a commit proves one.
        self.writer.probe().await
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let now = self.shared.clock.now().as_microsecond();
        // One walk along the index, however many delays there are: this connection is also the one that writes.
        let groups = sqlx::query(DEPTHS)
            .bind(now)
            .bind(self.shared.in_flight.ids_json())
            .fetch_all(&self.shared.pool)
            .await
            .map_err(|error| self.shared.error("count what waits", error))?;
        Ok(depths(&groups, &self.shared.delays))
    }

    async fn waiting(&self, up_to: u32) -> Result<u32, QueueError> {
        let sql = "select count(*) from (select 1 from queue_envelope where lane = 'notifications' and due_at <= ?1 \
                   and id not in (select value from json_each(?2)) limit ?3)";
        let counted: i64 = sqlx::query_scalar(sql)
            .bind(self.shared.clock.now().as_microsecond())
            .bind(self.shared.in_flight.ids_json())
            .bind(up_to)
            .fetch_one(&self.shared.pool)
            .await
            .map_err(|error| self.shared.error("count what waits", error))?;
        Ok(u32::try_from(counted).unwrap_or(up_to))
    }

    fn address(&self) -> String {
        self.shared.address.clone()
    }

    async fn close(&self) {
        self.writer.close().await;
        // A process that ends as it should gives rows back, and that is no crash. If this cannot be written, it counts
        // as one.
        let given_back = "update queue_envelope set deliveries = deliveries - 1 \
                          where deliveries > 0 and id in (select value from json_each(?1))";
        let _ = sqlx::query(given_back).bind(self.shared.in_flight.counted_ids_json()).execute(&self.shared.pool).await;
        self.shared.in_flight.wake_all();
    }
}

impl EmbeddedShared {
    /// The last row that an earlier process left behind; what is published from now on lies above it.
    async fn left_behind(&self) -> Result<i64, QueueError> {
        let last = async || {
            let sql = "select coalesce(max(id), 0) from queue_envelope";
            sqlx::query_scalar(sql)
                .fetch_one(&self.pool)
                .await
                .map_err(|error| self.error("read the queue's table", error))
        };
        self.left_behind.get_or_try_init(last).await.copied()
    }

    /// The clock's time in microseconds.
    fn now(&self) -> i64 {
        let now = self.clock.now().as_microsecond();
        self.latest.fetch_max(now, Ordering::Relaxed);
        now
    }

    /// Lets no row be hidden for longer than its own delay. A clock that was ahead wrote times that are too late, so
    /// this runs at the first look and after the clock went back. It walks all rows, so it does not run at every look.
    async fn shorten_waits(&self, now: i64) -> Result<(), QueueError> {
        if self.latest.load(Ordering::Relaxed).saturating_sub(now) <= BACK_MAX {
            return Ok(());
        }
        let micros = |delay: Duration| i64::try_from(delay.as_micros()).unwrap_or(i64::MAX / 2);
        let longest = self.delays.iter().map(micros).max().unwrap_or(0);
        let delays: serde_json::Map<String, serde_json::Value> =
            self.delays.iter().map(|delay| (delay_name(delay), micros(delay).into())).collect();
        // A delay of an earlier configuration counts as the longest.
        let sql = "update queue_envelope set due_at = ?1 + h.hidden from \
                    (select id, case when delay is null then 0 \
                        else coalesce((select value from json_each(?2) where key = delay), ?3) end as hidden \
                     from queue_envelope where due_at > ?1) h \
                   where queue_envelope.id = h.id and queue_envelope.due_at > ?1 + h.hidden";
        sqlx::query(sql)
            .bind(now)
            .bind(serde_json::Value::Object(delays).to_string())
            .bind(longest)
            .execute(&self.pool)
            .await
            .map_err(|error| self.error("shorten the waits of hidden rows", error))?;
        self.latest.store(now, Ordering::Relaxed);
        Ok(())
    }

    fn closed(&self) -> QueueError {
        QueueError::unavailable(&self.address, "it was closed")
    }

    /// Sorts SQLite's error by what a caller can do about it.
    fn error(&self, doing: &str, error: impl Into<Arc<sqlx::Error>>) -> QueueError {
        let address = self.address.clone();
        let error: Arc<sqlx::Error> = error.into();
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // The low byte is the primary code: https://www.sqlite.org/rescode.html
        let primary = code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
        match primary {
            Some(SQLITE_FULL) => QueueError::Full { address },
            Some(SQLITE_ERROR | SQLITE_PERM | SQLITE_READONLY | SQLITE_CORRUPT | SQLITE_NOTADB) => {
                let what = format!("it cannot {doing}");
                QueueError::Misconfigured { address, what, source: Some(Box::new(error)) }
            }
            _ => {
                let what = format!("it cannot {doing} now");
                QueueError::Unavailable { address, what, source: Some(Box::new(error)) }
            }
        }
    }
}

/// `no such table`, above all.
const SQLITE_ERROR: i32 = 1;
const SQLITE_PERM: i32 = 3;
const SQLITE_READONLY: i32 = 8;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_NOTADB: i32 = 26;
