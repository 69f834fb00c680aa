use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Backlog;
use crate::clocks;
use crate::columns::{Columns, pg_time, some};

pub(super) async fn take(
    on: &mut PgConnection,
    names: &[String],
    holder: Uuid,
    now: Timestamp,
    hold_for: Duration,
) -> sqlx::Result<Vec<String>> {
    // Sorted: two that take the same leases take them in the same order, and neither waits for the other in a circle.
    sqlx::query_scalar(
        "insert into leases (name, holder, expires_at) \
         select name, $2, $4 from (select distinct name from unnest($1::text[]) as name order by name) n \
         on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at \
         where leases.holder = excluded.holder or leases.expires_at <= $3 or leases.expires_at > $5 \
         returning name",
    )
    .bind(names)
    .bind(holder)
    .bind(pg_time(now))
    .bind(pg_time(now + hold_for))
    .bind(pg_time(clocks::longest(now, hold_for)))
    .fetch_all(on)
    .await
}

pub(super) async fn release(on: &mut PgConnection, name: &str, holder: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from leases where name = $1 and holder = $2").bind(name).bind(holder).execute(on).await?;
    Ok(())
}

/// Held ones alone: a lease that is over stays in the table until somebody takes it.
pub(super) async fn held(on: &mut PgConnection, prefix: &str, now: Timestamp) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select name from leases where starts_with(name, $1) and expires_at > $2 order by name collate \"C\"",
    )
    .bind(prefix)
    .bind(pg_time(now))
    .fetch_all(on)
    .await
}

pub(super) async fn backlog(on: &mut PgConnection) -> sqlx::Result<Backlog> {
    let row = sqlx::query(
        "select (select count(*) from payments where state in ('awaiting', 'authorized')) as payments_unfinished, \
            (select min(coalesce(asked_at, created_at)) from payments where state in ('awaiting', 'authorized')) \
                as silent_since, \
            (select count(*) from events where seq is null) \
                + (select count(*) from events where published_at is null and seq is not null) as events_unpublished, \
            (select count(*) from dead_letters where state = 'open') as dead_letters",
    )
    .fetch_one(on)
    .await?;
    Ok(Backlog {
        payments_unfinished: some("payments_unfinished", row.int("payments_unfinished"))? as u64,
        silent_since: row.time("silent_since")?,
        events_unpublished: some("events_unpublished", row.int("events_unpublished"))? as u64,
        dead_letters: some("dead_letters", row.int("dead_letters"))? as u64,
    })
}
