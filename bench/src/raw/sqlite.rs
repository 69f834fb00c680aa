//! Writes the rows that the embedded backends write for one notification, without them: a row of the queue, then the
//! settlement and the end of that row. It uses one connection, transactions of many rows, a sync at every commit, and
//! one statement a row: sqlx as its manual shows it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use payhook_schema::{Clock, new_id};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::RawOutcome;
use crate::orders::{EVENT_BODY, HEADERS, TOLD};

const MOVE: &str = "update orders set state = 'paid', captured_minor = amount_minor, version = version + 1, \
                    revision = revision + 1, updated_at = ?2 where id = ?1 and revision = 1";
const PAY: &str = "update payments set state = 'paid', captured_minor = 12000, provider_reference = ?2, asked_at = ?3, \
                   next_check_at = null, checks = 1 where provider = ?1 and id = ?2 and account = 'shop'";
const ARCHIVE: &str = "insert into notifications (id, provider, account, kind, payment_id, idempotency_key, received_at, \
                       signed_at, verified_by, signed_path, headers, body) \
                       values (?1, ?2, 'shop', 'paid', ?3, ?3, ?4, ?4, 'key 1', '', ?5, ?6) on conflict (id) do nothing";
const TELL: &str = "insert into timeline (order_id, at, kind, provider, account, payment_id, text) \
                    values (?1, ?2, 'transition', ?3, 'shop', ?4, ?5)";
const ANNOUNCE: &str = "insert into events (id, order_id, version, type, time, body, seq, published_at) \
                        values (?1, ?2, 1, 'payhook.order.paid.v1', ?3, ?4, ?5, ?3)";

pub(super) async fn run(file: &Path, rows: usize, envelope_bytes: usize, body_bytes: usize) -> Result<RawOutcome> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let registered: Vec<(String, String, String)> =
        sqlx::query("select order_id, provider, id from payments order by order_id")
            .fetch_all(&mut connection)
            .await?
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect();
    let (envelope, body) = (vec![b'x'; envelope_bytes], vec![b'x'; body_bytes]);

    let began = Instant::now();
    let mut queued = Vec::with_capacity(registered.len());
    for some in registered.chunks(rows) {
        let mut transaction = connection.begin_with("begin immediate").await?;
        for _ in some {
            let sql = "insert into queue_envelope (lane, bytes, attempt, due_at) values ('notifications', ?1, 1, ?2)";
            let now = Clock::system().now().as_microsecond();
            let put = sqlx::query(sql).bind(&envelope).bind(now).execute(&mut *transaction).await?;
            queued.push(put.last_insert_rowid());
        }
        transaction.commit().await?;
    }
    let queued_s = began.elapsed().as_secs_f64();

    let mut seq = 0;
    for (some, queued) in registered.chunks(rows).zip(queued.chunks(rows)) {
        let mut transaction = connection.begin_with("begin immediate").await?;
        for ((order, provider, payment), queued) in some.iter().zip(queued) {
            seq += 1;
            settle(&mut transaction, (order, provider, payment), &body, seq).await?;
            let done = sqlx::query("delete from queue_envelope where id = ?1").bind(queued);
            done.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
    }
    let took_s = began.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(RawOutcome { done: registered.len(), took_s, queued_s, ..RawOutcome::default() })
}

async fn settle(
    on: &mut SqliteConnection,
    (order, provider, payment): (&str, &str, &str),
    body: &[u8],
    seq: i64,
) -> Result<()> {
    let clock = Clock::system().now();
    let now = clock.as_microsecond();
    let moved = sqlx::query(MOVE).bind(order).bind(now).execute(&mut *on).await?;
    ensure!(moved.rows_affected() == 1, "an order was not settled");
    sqlx::query(PAY).bind(provider).bind(payment).bind(now).execute(&mut *on).await?;
    sqlx::query(ARCHIVE)
        .bind(new_id(clock).to_string())
        .bind(provider)
        .bind(payment)
        .bind(now)
        .bind(HEADERS)
        .bind(body)
        .execute(&mut *on)
        .await?;
    for line in TOLD {
        sqlx::query(TELL).bind(order).bind(now).bind(provider).bind(payment).bind(line).execute(&mut *on).await?;
    }
    sqlx::query(ANNOUNCE)
        .bind(new_id(clock).to_string())
        .bind(order)
        .bind(now)
        .bind(EVENT_BODY)
        .bind(seq)
        .execute(&mut *on)
        .await?;
    Ok(())
}
