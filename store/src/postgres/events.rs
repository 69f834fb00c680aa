use jiff::Timestamp;
use payhook_schema::OrderId;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::watermarks;
use crate::columns::{micros, pg_time};
use crate::history::EVENTS_DELETED;
use crate::{FeedEvent, Sent, history, rows};

/// The advisory lock of the feed: "payhook feed", read as digits of nothing else in this database.
const FEED_LOCK: i64 = 0x7061_7968_6f6f_6b01;

/// Returns true if there are events without a place in the feed.
pub(super) async fn waiting(on: &mut PgConnection) -> sqlx::Result<bool> {
    let row = sqlx::query("select 1 from events where seq is null limit 1").fetch_optional(on).await?;
    Ok(row.is_some())
}

pub(super) async fn of(on: &mut PgConnection, order: &OrderId) -> sqlx::Result<Sent> {
    let before = sqlx::query("select sent_state, sent_captured_minor, sent_refunded_minor from orders where id = $1")
        .bind(order.as_str())
        .fetch_optional(&mut *on)
        .await?;
    let rows = sqlx::query("select body from events where order_id = $1 order by version")
        .bind(order.as_str())
        .fetch_all(on)
        .await?;
    let deleted = before.as_ref().map(history::sent_before).transpose()?.flatten();
    Ok(Sent { deleted, events: rows.iter().map(rows::event).collect::<sqlx::Result<_>>()? })
}

/// Gives places in the feed under a lock held to the commit, so that they become visible in their order: whoever has
/// read up to a place has read everything before it.
///
/// `n` was drawn while the order's row was locked by the settlement, so of one order's events those with the lower version
/// have the lower `n`, and are committed before any later one begins.
pub(super) async fn sequence(on: &mut PgConnection, limit: u32, now: Timestamp) -> sqlx::Result<usize> {
    let mut transaction = on.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(FEED_LOCK).execute(&mut *transaction).await?;
    // A statement of its own: what it sees must be as of after the lock was had.
    let placed = sqlx::query(
        "update events e set seq = place.seq from \
            (select id, row_number() over (order by n) + greatest($2, coalesce( \
                (select seq from events where seq is not null order by seq desc limit 1), 0)) as seq \
             from (select n, id from events where seq is null order by n limit $1) next) place \
         where e.id = place.id",
    )
    .bind(i64::from(limit))
    .bind(micros(now))
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    transaction.commit().await?;
    Ok(placed as usize)
}

pub(super) async fn after(on: &mut PgConnection, after: i64, limit: u32) -> sqlx::Result<Vec<FeedEvent>> {
    let rows = sqlx::query("select seq, body from events where seq > $1 order by seq limit $2")
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(on)
        .await?;
    rows.iter().map(rows::feed_event).collect()
}

pub(super) async fn deleted_to(on: &mut PgConnection) -> sqlx::Result<i64> {
    Ok(watermarks::get(on, EVENTS_DELETED).await?.map_or(0, micros))
}

pub(super) async fn unpublished(on: &mut PgConnection, after: i64, limit: u32) -> sqlx::Result<Vec<FeedEvent>> {
    let rows =
        sqlx::query("select seq, body from events where published_at is null and seq > $1 order by seq limit $2")
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(on)
            .await?;
    rows.iter().map(rows::feed_event).collect()
}

pub(super) async fn mark_published(on: &mut PgConnection, ids: &[Uuid], now: Timestamp) -> sqlx::Result<()> {
    sqlx::query("update events set published_at = $2 where id = any($1) and published_at is null and seq is not null")
        .bind(ids)
        .bind(pg_time(now))
        .execute(on)
        .await?;
    Ok(())
}
