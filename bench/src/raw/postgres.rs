//! The transaction that settles one payment, row for row what payhook writes: one archived notification, the order and
//! the payment moved on the revision that was read, three lines of the timeline, one event. The statement is sqlx's,
//! prepared once a connection, and commits by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use payhook_schema::{Clock, new_id};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Row};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::RawOutcome;
use crate::figures::Latencies;
use crate::orders::{EVENT_BODY, HEADERS, TOLD};

/// Settles one payment in one statement.
const ONE: &str = "
with moved as (
    update orders set state = 'paid', captured_minor = amount_minor, version = version + 1, revision = revision + 1,
        updated_at = now()
    where id = $1 and revision = 1 returning id
), paid as (
    update payments p set state = 'paid', captured_minor = 12000, provider_reference = $3, asked_at = now(),
        next_check_at = null, checks = 1
    from moved where p.provider = $2 and p.id = $3 and p.account = 'shop'
), archived as (
    insert into notifications (id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at,
        verified_by, signed_path, headers, body)
    select $4, $2, 'shop', 'paid', $3, $3, now(), now(), 'key 1', '', $5::jsonb, $6 from moved
    on conflict (id) do nothing
), told as (
    insert into timeline (order_id, at, kind, provider, account, payment_id, text)
    select moved.id, now(), 'transition', $2, 'shop', $3, line from moved, unnest($7::text[]) line
), announced as (
    insert into events (id, order_id, version, type, time, body)
    select $8, id, 1, 'payhook.order.paid.v1', now(), $9::jsonb from moved
)
select id from moved";

/// Many payments in one statement, a column of each in an array.
const MANY: &str = "
with change as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bytea[], $6::uuid[])
    as change (order_id, provider, payment_id, notification_id, body, event_id)
), moved as (
    update orders o set state = 'paid', captured_minor = amount_minor, version = version + 1, revision = revision + 1,
        updated_at = now()
    from change c where o.id = c.order_id and o.revision = 1 returning o.id
), paid as (
    update payments p set state = 'paid', captured_minor = 12000, provider_reference = c.payment_id, asked_at = now(),
        next_check_at = null, checks = 1
    from change c join moved on moved.id = c.order_id
    where p.provider = c.provider and p.id = c.payment_id and p.account = 'shop'
), archived as (
    insert into notifications (id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at,
        verified_by, signed_path, headers, body)
    select notification_id, provider, 'shop', 'paid', payment_id, payment_id, now(), now(), 'key 1', '', $7::jsonb, c.body
    from change c join moved on moved.id = c.order_id
    on conflict (id) do nothing
), told as (
    insert into timeline (order_id, at, kind, provider, account, payment_id, text)
    select order_id, now(), 'transition', provider, 'shop', payment_id, line
    from change c join moved on moved.id = c.order_id, unnest($8::text[]) line
), announced as (
    insert into events (id, order_id, version, type, time, body)
    select event_id, order_id, 1, 'payhook.order.paid.v1', now(), $9::jsonb
    from change c join moved on moved.id = c.order_id
)
select id from moved";

struct RegisteredRow {
    order: String,
    provider: String,
    payment: String,
}

/// Settles all that is registered.
pub(super) async fn settle(url: &str, connections: u32, rows: usize, body_bytes: usize) -> Result<RawOutcome> {
    let pool = PgPoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .test_before_acquire(false)
        .connect(url)
        .await?;
    let registered: Vec<RegisteredRow> = sqlx::query("select order_id, provider, id from payments order by order_id")
        .fetch_all(&pool)
        .await?
        .iter()
        .map(|row| RegisteredRow { order: row.get(0), provider: row.get(1), payment: row.get(2) })
        .collect();
    let count = registered.len();
    let (registered, next) = (Arc::new(registered), Arc::new(AtomicUsize::new(0)));
    let body: Arc<[u8]> = vec![b'x'; body_bytes].into();
    let began = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..connections {
        let (pool, registered, next, body) = (pool.clone(), registered.clone(), next.clone(), body.clone());
        running.spawn(async move {
            let mut latencies = Latencies::default();
            loop {
                let from = next.fetch_add(rows, Ordering::Relaxed);
                let Some(some) = registered.get(from..registered.len().min(from + rows)) else { break };
                if some.is_empty() {
                    break;
                }
                let began = Instant::now();
                match some {
                    [one] => settle_one(&pool, one, &body).await?,
                    many => settle_many(&pool, many, &body).await?,
                }
                latencies.push(began.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Latencies::default();
    while let Some(ended) = running.join_next().await {
        latencies.extend(ended??);
    }
    let took_s = began.elapsed().as_secs_f64();
    Ok(RawOutcome { done: count, took_s, ..RawOutcome::default() }.with(&latencies))
}

async fn settle_one(pool: &PgPool, one: &RegisteredRow, body: &[u8]) -> Result<()> {
    let now = Clock::system().now();
    let moved = sqlx::query(ONE)
        .bind(&one.order)
        .bind(&one.provider)
        .bind(&one.payment)
        .bind(new_id(now))
        .bind(HEADERS)
        .bind(body)
        .bind(&TOLD[..])
        .bind(new_id(now))
        .bind(EVENT_BODY)
        .fetch_all(pool)
        .await?;
    ensure!(moved.len() == 1, "an order was not settled");
    Ok(())
}

async fn settle_many(pool: &PgPool, many: &[RegisteredRow], body: &[u8]) -> Result<()> {
    let now = Clock::system().now();
    let column = |of: fn(&RegisteredRow) -> &str| many.iter().map(of).collect::<Vec<_>>();
    let ids = || many.iter().map(|_| new_id(now)).collect::<Vec<Uuid>>();
    let moved = sqlx::query(MANY)
        .bind(column(|one| &one.order))
        .bind(column(|one| &one.provider))
        .bind(column(|one| &one.payment))
        .bind(ids())
        .bind(vec![body; many.len()])
        .bind(ids())
        .bind(HEADERS)
        .bind(&TOLD[..])
        .bind(EVENT_BODY)
        .fetch_all(pool)
        .await?;
    ensure!(moved.len() == many.len(), "orders were not settled");
    Ok(())
}
