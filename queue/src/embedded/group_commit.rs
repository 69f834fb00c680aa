//! Commits publishes and settles in groups: whatever waits while the disk syncs shares the next sync.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use metrics::histogram;
use sqlx::{Connection, QueryBuilder, Sqlite, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use super::EmbeddedShared;
use crate::{Death, Lane, QueueError};

/// The most publishes and settles that may wait for the writer; the next ones wait in their callers.
const WAITING_MAX: usize = 1024;

/// The most of them in one commit: enough that the sync no longer counts, small enough to stay in memory.
const COMMIT_MAX: usize = 512;

/// Rows per insert statement: past this, preparing the longer statement costs what it saves.
const INSERT_ROWS: usize = 32;

/// The one task that writes. It commits waiting work together, then answers each caller.
#[derive(Clone)]
pub(super) struct GroupCommit {
    shared: Arc<EmbeddedShared>,
    work: mpsc::Sender<Work>,
    closing: CancellationToken,
    task: TaskTracker,
}

/// A new envelope.
pub(super) struct Put {
    pub(super) bytes: Vec<u8>,
    pub(super) due_at: i64,
}

/// The change to a row that a consumer holds.
pub(super) struct Settle {
    pub(super) id: i64,
    pub(super) to: To,
}

pub(super) enum To {
    Gone,
    Retry { attempt: u32, first_failed_at: i64, due_at: i64, delay: String, count: CountAfter },
    Dead { death: Death, due_at: i64 },
}

/// The count of deliveries after a retry.
#[derive(Clone, Copy)]
pub(super) enum CountAfter {
    /// It was tried.
    Zero,
    /// It was not tried, which does not show if it crashes its worker.
    Same,
    /// The same, and this process counted once itself.
    OneLess,
}

struct Work {
    puts: Vec<Put>,
    settles: Vec<Settle>,
    /// The lane the settles came from: its consumer may take more.
    from: Lane,
    answer: oneshot::Sender<Result<(), QueueError>>,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.settles.is_empty()
    }
}

impl GroupCommit {
    pub(super) fn start(shared: Arc<EmbeddedShared>) -> Self {
        let (work, waiting) = mpsc::channel(WAITING_MAX);
        let closing = CancellationToken::new();
        let task = TaskTracker::new();
        task.spawn(write(Arc::clone(&shared), waiting, closing.clone()));
        task.close();
        Self { shared, work, closing, task }
    }

    pub(super) async fn put(&self, put: Put) -> Result<(), QueueError> {
        self.commit(vec![put], Vec::new(), Lane::Notifications).await
    }

    pub(super) async fn settle(&self, settles: Vec<Settle>, from: Lane) -> Result<(), QueueError> {
        self.commit(Vec::new(), settles, from).await
    }

    /// Commits what changes nothing, together with whatever else waits.
    pub(super) async fn probe(&self) -> Result<(), QueueError> {
        self.commit(Vec::new(), Vec::new(), Lane::Notifications).await
    }

    async fn commit(&self, puts: Vec<Put>, settles: Vec<Settle>, from: Lane) -> Result<(), QueueError> {
        let (answer, answered) = oneshot::channel();
        let work = Work { puts, settles, from, answer };
        self.work.send(work).await.map_err(|_| self.shared.closed())?;
        answered.await.map_err(|_| self.shared.closed())?
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closing.is_cancelled() || self.work.is_closed()
    }

    /// Commits what waits, refuses what comes after, and returns when the task has ended.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.task.wait().await;
    }
}

async fn write(shared: Arc<EmbeddedShared>, mut waiting: mpsc::Receiver<Work>, closing: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled(), if !waiting.is_closed() => waiting.close(),
            count = waiting.recv_many(&mut batch, COMMIT_MAX) => {
                if count == 0 {
                    return;
                }
                let committed = AssertUnwindSafe(commit(&shared, &mut batch)).catch_unwind().await;
                if committed.is_err() {
                    // A bug of ours, in one batch: its callers get an error, and the next one is written all the same.
                    error!("writing to {} panicked; what was to be written is unknown", shared.address);
                    let ids = batch.iter().flat_map(|work| &work.settles).map(|settle| settle.id);
                    shared.in_flight.commit_failed(ids);
                    batch.clear();
                }
            }
        }
    }
}

/// Commits all of `batch` in one transaction. Each caller is answered only once all of it is on the disk, or none of it
/// is.
async fn commit(shared: &EmbeddedShared, batch: &mut Vec<Work>) {
    histogram!("payhook_queue_commit_works").record(batch.len() as f64);
    let outcome = match write_all(shared, batch).await {
        Ok(()) => Ok(()),
        Err(error) => Err(Arc::new(error)),
    };
    let mut woken = [false; 2];
    for Work { puts, settles, from, .. } in batch.iter() {
        let ids = settles.iter().map(|settle| settle.id);
        match &outcome {
            Ok(()) => shared.in_flight.remove(ids),
            Err(_) => shared.in_flight.commit_failed(ids),
        }
        let to_dead = settles.iter().any(|settle| matches!(settle.to, To::Dead { .. }));
        let to_retry = settles.iter().any(|settle| matches!(settle.to, To::Retry { .. }));
        let freed = (!settles.is_empty()).then_some(*from);
        woken[0] |= !puts.is_empty() || to_retry || freed == Some(Lane::Notifications);
        woken[1] |= to_dead || freed == Some(Lane::Dead);
    }
    for (lane, woken) in [Lane::Notifications, Lane::Dead].into_iter().zip(woken) {
        if woken {
            shared.in_flight.ready(lane).notify_waiters();
        }
    }
    for work in batch.drain(..) {
        let answer = match &outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(shared.error("commit", Arc::clone(error))),
        };
        // Nobody waits any more: the caller went away, and may not rely on either outcome.
        let _ = work.answer.send(answer);
    }
}

async fn write_all(shared: &EmbeddedShared, batch: &[Work]) -> Result<(), sqlx::Error> {
    let mut connection = shared.pool.acquire().await?;
    let written = write_on(&mut connection, batch).await;
    if written.is_err() {
        // On a full disk or a failed sync SQLite ends the transaction by itself, and sqlx goes on counting it: every
        // later begin on this connection would fail. The pool opens another.
        let _ = connection.close().await;
    }
    written
}

async fn write_on(connection: &mut SqliteConnection, batch: &[Work]) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("begin immediate").await?;
    if batch.iter().all(Work::is_empty) {
        // A probe: a row that nobody ever sees.
        let sql = "insert into queue_envelope (lane, bytes, attempt, due_at) values ('notifications', x'', 1, 0)";
        let row = sqlx::query(sql).execute(&mut *transaction).await?.last_insert_rowid();
        sqlx::query("delete from queue_envelope where id = ?1").bind(row).execute(&mut *transaction).await?;
    }
    let puts: Vec<&Put> = batch.iter().flat_map(|work| &work.puts).collect();
    for rows in puts.chunks(INSERT_ROWS) {
        insert(&mut transaction, rows).await?;
    }
    let settles = || batch.iter().flat_map(|work| &work.settles);
    let gone: Vec<i64> = settles().filter(|settle| matches!(settle.to, To::Gone)).map(|settle| settle.id).collect();
    if !gone.is_empty() {
        let gone = serde_json::to_string(&gone).expect("numbers always serialise");
        let sql = "delete from queue_envelope where id in (select value from json_each(?1))";
        sqlx::query(sql).bind(gone).execute(&mut *transaction).await?;
    }
    for settle in settles() {
        move_row(&mut transaction, settle).await?;
    }
    transaction.commit().await
}

async fn insert(connection: &mut SqliteConnection, rows: &[&Put]) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::<Sqlite>::new("insert into queue_envelope (lane, bytes, attempt, due_at) ");
    insert.push_values(rows, |mut row, put| {
        row.push("'notifications'").push_bind(put.bytes.as_slice()).push("1").push_bind(put.due_at);
    });
    insert.build().execute(connection).await?;
    Ok(())
}

async fn move_row(connection: &mut SqliteConnection, settle: &Settle) -> Result<(), sqlx::Error> {
    let query = match &settle.to {
        To::Gone => return Ok(()),
        To::Retry { attempt, first_failed_at, due_at, delay, count } => {
            let sql = "update queue_envelope set lane = 'notifications', attempt = ?2, first_failed_at = ?3, due_at = ?4, \
                       delay = ?5, death_cause = null, death_detail = null, died_at = null, \
                       deliveries = case ?6 when 0 then 0 when 1 then deliveries else max(deliveries - 1, 0) end \
                       where id = ?1";
            let query = sqlx::query(sql).bind(settle.id).bind(attempt).bind(first_failed_at).bind(due_at).bind(delay);
            query.bind(*count as i64)
        }
        To::Dead { death, due_at } => {
            let sql = "update queue_envelope set lane = 'dead', due_at = ?2, delay = null, death_cause = ?3, \
                       death_detail = ?4, died_at = ?5, deliveries = 0 where id = ?1";
            sqlx::query(sql)
                .bind(settle.id)
                .bind(due_at)
                .bind(death.cause.as_str())
                .bind(death.detail_cut())
                .bind(death.died_at.as_microsecond())
        }
    };
    query.execute(connection).await?;
    Ok(())
}
