//! Takes rows from the table and settles them. Hands out alone what may crash its process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{DeadCause, Envelope};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::EmbeddedShared;
use super::group_commit::{CountAfter, GroupCommit, Settle, To};
use super::in_flight::json;
use crate::contract::HANDED_OUT_TOO_OFTEN;
use crate::delays::{RetryWait, delay_name};
use crate::{Consumer, Death, Deliveries, Delivery, Lane, QueueError, Settler, Verdict};

/// The longest sleep before the next look for due retries: the machine's clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// An envelope that was handed out this often without being settled is handed out alone.
const SUSPECT_FROM: i64 = 3;
/// An envelope that was handed out this often without being settled is poison.
const DELIVERIES_MAX: i64 = 5;

/// The next consumer's number. Unique within this process, which is enough: held rows are known in memory only.
static NEXT_CONSUMER: AtomicU64 = AtomicU64::new(1);

pub(super) fn start(shared: Arc<EmbeddedShared>, writer: GroupCommit, lane: Lane, prefetch: u16) -> Consumer {
    let consumer =
        Arc::new(EmbeddedConsumer { id: NEXT_CONSUMER.fetch_add(1, Ordering::Relaxed), lane, shared, writer });
    let prefetch = usize::from(prefetch.max(1));
    Consumer {
        deliveries: Box::new(EmbeddedDeliveries { consumer: Arc::clone(&consumer), prefetch }),
        settler: Arc::new(EmbeddedSettler { consumer }),
    }
}

/// Both halves of a consumer share it; when the last is dropped, what was not settled is given back.
struct EmbeddedConsumer {
    id: u64,
    lane: Lane,
    shared: Arc<EmbeddedShared>,
    writer: GroupCommit,
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.shared.in_flight.remove_all_of(self.id);
        self.shared.in_flight.ready(self.lane).notify_waiters();
    }
}

struct EmbeddedDeliveries {
    consumer: Arc<EmbeddedConsumer>,
    prefetch: usize,
}

#[async_trait]
impl Deliveries for EmbeddedDeliveries {
    async fn next(&mut self, at_most: usize) -> Result<Vec<Delivery>, QueueError> {
        let consumer = &*self.consumer;
        loop {
            // Listens before it looks: what becomes ready in between still wakes it.
            let ready = consumer.shared.in_flight.ready(consumer.lane).notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            if consumer.writer.is_closed() {
                return Err(consumer.shared.closed());
            }
            let room = self.prefetch.saturating_sub(consumer.shared.in_flight.count(consumer.id));
            let mut next_due = None;
            if room > 0 {
                // One reading of the clock for both looks: what is not ready by the first is hidden by the second.
                let now = consumer.shared.now();
                let taken = consumer.take(room.min(at_most.max(1)), now).await?;
                if !taken.is_empty() {
                    return Ok(taken);
                }
                next_due = consumer.next_due(now).await?;
            }
            tokio::select! {
                () = ready => {}
                () = tokio::time::sleep(next_due.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)) => {}
            }
        }
    }
}

impl EmbeddedConsumer {
    /// Takes what is ready. Cancel safe: nothing is awaited once a row is marked as held.
    async fn take(&self, at_most: usize, now: i64) -> Result<Vec<Delivery>, QueueError> {
        let _alone = self.shared.choosing.lock().await;
        self.shared.shorten_waits(now).await?;
        if self.shared.in_flight.has_suspect() {
            return Ok(Vec::new());
        }
        let sql = "select id, bytes, attempt, first_failed_at, death_cause, death_detail, died_at, deliveries \
                   from queue_envelope \
                   where lane = ?1 and due_at <= ?2 and id not in (select value from json_each(?3)) \
                   order by due_at, id limit ?4";
        let rows = sqlx::query(sql)
            .bind(word(self.lane))
            .bind(now)
            .bind(self.shared.in_flight.ids_json())
            .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
            .fetch_all(&self.shared.pool)
            .await
            .map_err(|error| self.shared.error("take deliveries", error))?;
        let mut rows = match self.lane {
            Lane::Notifications => self.without_poison(rows, now).await?,
            Lane::Dead => rows,
        };
        // A suspect is handed out alone, so that a crash counts for it only: it waits until nothing else is held, and
        // others wait behind it.
        let first = rows.iter().position(|row| deliveries(row) >= SUSPECT_FROM);
        let suspect = first == Some(0);
        match first {
            Some(0) if !self.shared.in_flight.is_empty() => return Ok(Vec::new()),
            Some(0) => rows.truncate(1),
            Some(first) => rows.truncate(first),
            None => {}
        }
        self.count(&rows).await?;
        self.shared.in_flight.add(self.id, suspect, rows.iter().map(id));
        Ok(rows.iter().map(delivery).collect())
    }

    /// Moves to the dead lane what was handed out too often.
    async fn without_poison(&self, rows: Vec<SqliteRow>, now: i64) -> Result<Vec<SqliteRow>, QueueError> {
        let (poison, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| deliveries(row) >= DELIVERIES_MAX);
        if !poison.is_empty() {
            let died_at = Timestamp::from_microsecond(now).unwrap_or_default();
            let death = || Death { cause: DeadCause::Poison, detail: HANDED_OUT_TOO_OFTEN.to_owned(), died_at };
            let settle = |row: &SqliteRow| Settle { id: id(row), to: To::Dead { death: death(), due_at: now } };
            self.writer.settle(poison.iter().map(settle).collect(), self.lane).await?;
        }
        Ok(rows)
    }

    /// CountAfter, before anybody sees them, those of `rows` that an earlier process left behind.
    async fn count(&self, rows: &[SqliteRow]) -> Result<(), QueueError> {
        let last = self.shared.left_behind().await?;
        let left_behind = rows.iter().map(id).filter(|id| *id <= last && self.lane == Lane::Notifications);
        let counted = self.shared.in_flight.count_once(left_behind);
        if counted.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "update queue_envelope set deliveries = deliveries + 1 where id in (select value from json_each(?1))",
        )
        .bind(json(counted.iter()))
        .execute(&self.shared.pool)
        .await
        .map_err(|error| self.shared.error("count deliveries", error))?;
        Ok(())
    }

    /// Returns the time until the next hidden retry is due, if there is one.
    async fn next_due(&self, now: i64) -> Result<Option<Duration>, QueueError> {
        let due_at: Option<i64> =
            sqlx::query_scalar("select min(due_at) from queue_envelope where lane = ?1 and due_at > ?2")
                .bind(word(self.lane))
                .bind(now)
                .fetch_one(&self.shared.pool)
                .await
                .map_err(|error| self.shared.error("look for the next retry", error))?;
        Ok(due_at.map(|due_at| Duration::from_micros(due_at.saturating_sub(now).unsigned_abs())))
    }
}

struct EmbeddedSettler {
    consumer: Arc<EmbeddedConsumer>,
}

#[async_trait]
impl Settler for EmbeddedSettler {
    async fn settle(&self, settled: &[(Delivery, Verdict)]) -> Result<usize, QueueError> {
        let EmbeddedConsumer { id: consumer, lane, shared, writer } = &*self.consumer;
        let now = shared.now();
        let mut lost = 0;
        let mut released = Vec::new();
        let mut settles = Vec::new();
        for (delivery, verdict) in settled {
            let id = i64::try_from(delivery.tag).unwrap_or(-1);
            if !shared.in_flight.begin_settling(*consumer, id) {
                lost += 1;
                continue;
            }
            let to = match verdict {
                Verdict::Ack => To::Gone,
                Verdict::Retry { after, attempt, first_failed_at } => {
                    let RetryWait { delay, hidden } = shared.delays.wait(*after);
                    // Up: it is hidden for at least what was asked.
                    let micros = i64::try_from(hidden.as_nanos().div_ceil(1000)).unwrap_or(i64::MAX);
                    let due_at = now.saturating_add(micros);
                    let first_failed_at = first_failed_at.as_microsecond();
                    let count = match shared.in_flight.uncount(id) {
                        _ if *attempt != delivery.attempt => CountAfter::Zero,
                        true => CountAfter::OneLess,
                        false => CountAfter::Same,
                    };
                    To::Retry { attempt: *attempt, first_failed_at, due_at, delay: delay_name(delay), count }
                }
                Verdict::DeadLetter(death) => To::Dead { death: death.clone(), due_at: now },
                Verdict::Release => {
                    released.push(id);
                    continue;
                }
            };
            settles.push(Settle { id, to });
        }
        if !released.is_empty() {
            shared.in_flight.remove(released);
            shared.in_flight.ready(*lane).notify_waiters();
        }
        if !settles.is_empty() {
            writer.settle(settles, *lane).await?;
        }
        Ok(lost)
    }
}

fn id(row: &SqliteRow) -> i64 {
    row.get("id")
}

fn deliveries(row: &SqliteRow) -> i64 {
    row.get("deliveries")
}

fn word(lane: Lane) -> &'static str {
    match lane {
        Lane::Notifications => "notifications",
        Lane::Dead => "dead",
    }
}

fn delivery(row: &SqliteRow) -> Delivery {
    let time = |column| row.get::<Option<i64>, _>(column).and_then(|at| Timestamp::from_microsecond(at).ok());
    let bytes: Vec<u8> = row.get("bytes");
    let death = time("died_at").map(|died_at| {
        let cause = row.get::<Option<&str>, _>("death_cause").and_then(|cause| cause.parse().ok());
        let detail = row.get::<Option<String>, _>("death_detail").unwrap_or_default();
        // A newer version's cause, after going back to this one: the detail still tells.
        Death { cause: cause.unwrap_or(DeadCause::Poison), detail, died_at }
    });
    Delivery {
        tag: row.get::<i64, _>("id").unsigned_abs(),
        envelope: Envelope::decode(&bytes),
        bytes,
        attempt: row.get("attempt"),
        first_failed_at: time("first_failed_at"),
        death,
    }
}
