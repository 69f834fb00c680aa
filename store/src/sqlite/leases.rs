use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::Backlog;
use crate::batch::json;
use crate::clocks;
use crate::columns::{Columns, micros, some};

pub(super) async fn take(
    on: &mut SqliteConnection,
    names: &[String],
    holder: Uuid,
    now: Timestamp,
    hold_for: Duration,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "insert into leases (name, holder, expires_at) select distinct value, ?2, ?4 from json_each(?1) where true \
         on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at \
         where leases.holder = excluded.holder or leases.expires_at <= ?3 or leases.expires_at > ?5 \
         returning name",
    )
    .bind(json(&names))
    .bind(holder.to_string())
    .bind(micros(now))
    .bind(micros(now + hold_for))
    .bind(micros(clocks::longest(now, hold_for)))
    .fetch_all(on)
    .await
}

/// Ends every lease and claim: one process owns the file, so whoever had them is gone, whatever time its clock wrote.
pub(super) async fn forget(on: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "delete from leases; \
         update authorizations set claimed_by = null, claimed_until = null where claimed_by is not null; \
         update replay_items set claimed_until = 0 where state in ('waiting', 'out') and claimed_until > 0;",
    )
    .execute(on)
    .await?;
    Ok(())
}

pub(super) async fn release(on: &mut SqliteConnection, name: &str, holder: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from leases where name = ?1 and holder = ?2")
        .bind(name)
        .bind(holder.to_string())
        .execute(on)
        .await?;
    Ok(())
}

/// Held ones alone: a lease that is over stays in the table until somebody takes it.
pub(super) async fn held(on: &mut SqliteConnection, prefix: &str, now: Timestamp) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select name from leases where substr(name, 1, length(?1)) = ?1 and expires_at > ?2 order by name",
    )
    .bind(prefix)
    .bind(micros(now))
    .fetch_all(on)
    .await
}

pub(super) async fn backlog(on: &mut SqliteConnection) -> sqlx::Result<Backlog> {
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
