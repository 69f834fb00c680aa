//! Leases and watermarks, and the backlog.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::Backlog;
use crate::clocks;
use crate::db::Conn;
use crate::db::row::Row;

pub(super) async fn take(
    on: &mut Conn<'_>,
    names: &[String],
    holder: Uuid,
    now: Timestamp,
    hold_for: Duration,
) -> sqlx::Result<Vec<String>> {
    // Sorted: two that take the same leases take them in the same order, and neither waits for the other in a circle.
    let taken = on.query(
        "insert into leases (name, holder, expires_at) \
         select name, $2, $4 from (select distinct name from unnest($1::text[]) as k (name) order by name) n where true \
         on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at \
         where leases.holder = excluded.holder or leases.expires_at <= $3 or leases.expires_at > $5 \
         returning name",
    );
    let taken = taken.bind(names).bind(holder).bind(now).bind(now + hold_for).bind(clocks::longest(now, hold_for));
    names_of(&taken.all().await?)
}

pub(super) async fn release(on: &mut Conn<'_>, name: &str, holder: Uuid) -> sqlx::Result<()> {
    on.query("delete from leases where name = $1 and holder = $2").bind(name).bind(holder).execute().await.map(drop)
}

/// Held ones alone: a lease that is over stays in the table until somebody takes it.
pub(super) async fn held(on: &mut Conn<'_>, prefix: &str, now: Timestamp) -> sqlx::Result<Vec<String>> {
    let held = on.query(
        "select name from leases where substr(name, 1, length($1::text)) = $1 and expires_at > $2 \
         order by name collate \"C\"",
    );
    names_of(&held.bind(prefix).bind(now).all().await?)
}

fn names_of(rows: &[Row]) -> sqlx::Result<Vec<String>> {
    rows.iter().map(|row| row.get("name")).collect()
}

pub(crate) async fn watermark(on: &mut Conn<'_>, name: &str) -> sqlx::Result<Option<Timestamp>> {
    let row = on.query("select at from watermarks where name = $1").bind(name).optional().await?;
    row.map(|row| row.get("at")).transpose()
}

pub(crate) async fn set_watermark(on: &mut Conn<'_>, name: &str, at: Timestamp, now: Timestamp) -> sqlx::Result<()> {
    let set = on.query(
        "insert into watermarks (name, at) values ($1, $2) \
         on conflict (name) do update set at = excluded.at where watermarks.at < excluded.at or watermarks.at > $3",
    );
    set.bind(name).bind(at).bind(now).execute().await.map(drop)
}

pub(super) async fn backlog(on: &mut Conn<'_>) -> sqlx::Result<Backlog> {
    let row = on.query(
        "select (select count(*) from payments where state in ('awaiting', 'authorized')) as payments_unfinished, \
            (select min(coalesce(asked_at, created_at)) from payments where state in ('awaiting', 'authorized')) \
                as silent_since, \
            (select count(*) from events where seq is null) \
                + (select count(*) from events where published_at is null and seq is not null) as events_unpublished, \
            (select count(*) from dead_letters where state = 'open') as dead_letters",
    );
    let row = row.one().await?;
    Ok(Backlog {
        payments_unfinished: row.get("payments_unfinished")?,
        silent_since: row.opt("silent_since")?,
        events_unpublished: row.get("events_unpublished")?,
        dead_letters: row.get("dead_letters")?,
    })
}
