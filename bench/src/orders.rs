//! Registered orders, written many at once: registering is not what is measured here.

use anyhow::Result;
use payhook_schema::PaymentId;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, PgPool, Row as _, SqliteConnection};

use crate::world::SignedPayments;

// What a settlement writes beside the notification's body, in the sizes payhook writes them; for the raw programs.
pub(crate) const HEADERS: &str = r#"[["omise-signature","0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],["omise-signature-timestamp","1767225600"]]"#;
pub(crate) const TOLD: [&str; 3] =
    ["asked omise: status successful 120.00 THB", "payment awaiting -> paid", "order pending -> paid"];
pub(crate) const EVENT_BODY: &str = r#"{"specversion":"1.0","id":"0198a2c4-5b1e-8c3a-9d2f-6e7a8b9c0d1e","type":"payhook.order.paid.v1","source":"/payhook","subject":"order-00000001","time":"2026-01-01T00:00:00.123456Z","datacontenttype":"application/json","data":{"order_id":"order-00000001","version":1,"amount_minor":12000,"currency":"THB","captured_minor":12000,"refunded_minor":0,"provider":"omise","account":"shop","payment_id":"chrg_test_0123456789abcdefghi","occurred_at":"2026-01-01T00:00:00Z"}}"#;

/// A handful of connections for preparing and counting.
pub(crate) async fn postgres(url: &str) -> Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(2).connect(url).await?)
}

/// Empties the database and registers the first `count` of `payments`, one order each.
pub(crate) async fn register(on: &PgPool, payments: &SignedPayments, count: usize) -> Result<()> {
    let ids: Vec<&str> = payments.ids.iter().take(count).map(PaymentId::as_str).collect();
    sqlx::raw_sql(
        "truncate orders, payments, notifications, timeline, events, dead_letters, leases restart identity cascade",
    )
    .execute(on)
    .await?;
    sqlx::query(
        "insert into orders (id, amount_minor, currency, state, captured_minor, refunded_minor, version, revision, \
            created_at, updated_at) \
         select 'order-' || lpad(n::text, 8, '0'), 12000, 'THB', 'pending', 0, 0, 0, 1, now(), now() \
         from generate_series(1, $1::bigint) n",
    )
    .bind(ids.len() as i64)
    .execute(on)
    .await?;
    sqlx::query(
        "insert into payments (provider, account, id, order_id, position, state, captured_minor, refunded_minor, \
            currency, next_check_at, checks, created_at) \
         select $1, 'shop', id, 'order-' || lpad(n::text, 8, '0'), 1, 'awaiting', 0, 0, 'THB', now() + interval '1 day', \
            0, now() \
         from unnest($2::text[]) with ordinality as p (id, n)",
    )
    .bind(payments.provider.as_str())
    .bind(ids)
    .execute(on)
    .await?;
    // A store in use has been through this; a fresh one would be planned as if it were empty.
    for sql in ["vacuum analyze orders, payments", "checkpoint"] {
        sqlx::raw_sql(sql).execute(on).await?;
    }
    Ok(())
}

/// Counts the paid orders, and the events published to fulfilment.
pub(crate) async fn progress(on: &PgPool) -> Result<(usize, usize)> {
    let row = sqlx::query(
        "select (select count(*) from orders where state = 'paid'), (select count(published_at) from events)",
    )
    .fetch_one(on)
    .await?;
    Ok((row.try_get::<i64, _>(0)? as usize, row.try_get::<i64, _>(1)? as usize))
}

/// The process id of the database's first process, the parent of all.
pub(crate) async fn postmaster(on: &PgPool) -> Result<u32> {
    let row = sqlx::query("select pg_backend_pid()").fetch_one(on).await?;
    let backend: i32 = row.try_get(0)?;
    let status = std::fs::read_to_string(format!("/proc/{backend}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(parent.map(str::trim).unwrap_or_default().parse()?)
}

/// Looks at, or prepares, a file nobody else writes.
pub(crate) async fn sqlite(file: &std::path::Path) -> Result<SqliteConnection> {
    Ok(SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await?)
}

/// Registers the first `count` of `payments` in a fresh file, one order each.
pub(crate) async fn register_in_file(on: &mut SqliteConnection, payments: &SignedPayments, count: usize) -> Result<()> {
    let ids: Vec<&str> = payments.ids.iter().take(count).map(PaymentId::as_str).collect();
    let ids = serde_json::to_string(&ids)?;
    let now_us = payhook_schema::Clock::system().now().as_microsecond();
    let mut transaction = on.begin().await?;
    sqlx::query(
        "insert into orders (id, amount_minor, currency, state, captured_minor, refunded_minor, version, revision, \
            created_at, updated_at) \
         select printf('order-%08d', key + 1), 12000, 'THB', 'pending', 0, 0, 0, 1, ?2, ?2 from json_each(?1)",
    )
    .bind(&ids)
    .bind(now_us)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "insert into payments (provider, account, id, order_id, position, state, captured_minor, refunded_minor, \
            currency, next_check_at, checks, created_at) \
         select ?3, 'shop', value, printf('order-%08d', key + 1), 1, 'awaiting', 0, 0, 'THB', ?2 + 86400000000, 0, ?2 \
         from json_each(?1)",
    )
    .bind(&ids)
    .bind(now_us)
    .bind(payments.provider.as_str())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Counts the paid orders that have their event in the feed.
pub(crate) async fn progress_in_file(on: &mut SqliteConnection) -> Result<usize> {
    let row = sqlx::query("select count(*) from events where seq is not null").fetch_one(on).await?;
    Ok(row.try_get::<i64, _>(0)? as usize)
}
