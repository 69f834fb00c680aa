use jiff::Timestamp;
use payhook_schema::OrderId;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::watermarks;
use crate::batch::json;
use crate::columns::micros;
use crate::history::EVENTS_DELETED;
use crate::{FeedEvent, Sent, history, rows};

/// Returns true if there are events without a place in the feed.
pub(super) async fn waiting(on: &mut SqliteConnection) -> sqlx::Result<bool> {
    let row = sqlx::query("select 1 from events where seq is null limit 1").fetch_optional(on).await?;
    Ok(row.is_some())
}

pub(super) async fn of(on: &mut SqliteConnection, order: &OrderId) -> sqlx::Result<Sent> {
    let before = sqlx::query("select sent_state, sent_captured_minor, sent_refunded_minor from orders where id = ?1")
        .bind(order.as_str())
        .fetch_optional(&mut *on)
        .await?;
    let rows = sqlx::query("select body from events where order_id = ?1 order by version")
        .bind(order.as_str())
        .fetch_all(on)
        .await?;
    let deleted = before.as_ref().map(history::sent_before).transpose()?.flatten();
    Ok(Sent { deleted, events: rows.iter().map(rows::event).collect::<sqlx::Result<_>>()? })
}

/// Gives places in the feed. There is one writer, so places become visible in their order by themselves.
pub(super) async fn sequence(on: &mut SqliteConnection, limit: u32, now: Timestamp) -> sqlx::Result<usize> {
    let placed = sqlx::query(
        "update events as e set seq = place.seq from \
            (select n, row_number() over (order by n) + max(?2, coalesce( \
                (select seq from events where seq is not null order by seq desc limit 1), 0)) as seq \
             from (select n from events where seq is null order by n limit ?1)) place \
         where e.n = place.n",
    )
    .bind(i64::from(limit))
    .bind(micros(now))
    .execute(on)
    .await?
    .rows_affected();
    Ok(placed as usize)
}

pub(super) async fn after(on: &mut SqliteConnection, after: i64, limit: u32) -> sqlx::Result<Vec<FeedEvent>> {
    let rows = sqlx::query("select seq, body from events where seq > ?1 order by seq limit ?2")
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(on)
        .await?;
    rows.iter().map(rows::feed_event).collect()
}

pub(super) async fn deleted_to(on: &mut SqliteConnection) -> sqlx::Result<i64> {
    Ok(watermarks::get(on, EVENTS_DELETED).await?.map_or(0, micros))
}

pub(super) async fn unpublished(on: &mut SqliteConnection, after: i64, limit: u32) -> sqlx::Result<Vec<FeedEvent>> {
    let rows =
        sqlx::query("select seq, body from events where published_at is null and seq > ?1 order by seq limit ?2")
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(on)
            .await?;
    rows.iter().map(rows::feed_event).collect()
}

pub(super) async fn mark_published(on: &mut SqliteConnection, ids: &[Uuid], now: Timestamp) -> sqlx::Result<()> {
    sqlx::query(
        "update events set published_at = ?2 \
         where id in (select value from json_each(?1)) and published_at is null and seq is not null",
    )
    .bind(json(&ids))
    .bind(micros(now))
    .execute(on)
    .await?;
    Ok(())
}
