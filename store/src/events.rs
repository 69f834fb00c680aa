//! The feed: what fulfilment is sent, each event with a place in one order.

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{Event, OrderId, OrderState};
use uuid::Uuid;

use crate::StoreError;
use crate::db::row::Row;
use crate::db::value::micros;
use crate::db::{Backend, Conn, read, write};
use crate::housekeeping::history::EVENTS_DELETED;
use crate::housekeeping::leases;

#[cfg(feature = "conformance")]
pub(crate) mod promises;

/// The advisory lock of the feed: "payhook feed", read as digits of nothing else in this database.
const FEED_LOCK: i64 = 0x7061_7968_6f6f_6b01;

/// Sequences and reads events. They are written with what they report: by [`crate::Settling`].
///
/// - `events_are_sequenced_in_version_order_per_order`
/// - `a_reader_of_a_restored_feed_misses_nothing`
/// - `a_reader_of_the_feed_misses_nothing`
/// - `an_event_is_published_until_it_is_marked`
/// - `an_orders_events_are_read_in_version_order`
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Returns what fulfilment was sent about an order so far, whether published yet or not.
    async fn events_of(&self, order: &OrderId) -> Result<OrderEvents, StoreError>;

    /// Gives up to `limit` new events their place in the feed, in version order per order; returns how many.
    ///
    /// Each place is above the last one and above `now` in microseconds since 1970, so places have gaps. A store that
    /// was restored from a backup, or lost its newest events in a failover, therefore goes on above every place it ever
    /// gave, and a reader misses nothing.
    async fn events_sequence(&self, limit: u32, now: Timestamp) -> Result<usize, StoreError>;

    /// Sequenced events after `after`, in feed order.
    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError>;

    /// The highest place of an event that was deleted; 0 for none. A reader that stands below it may have missed some.
    async fn events_deleted_to(&self) -> Result<i64, StoreError>;

    /// Sequenced events after `after` that are not yet marked as published, in feed order.
    async fn events_unpublished(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError>;

    /// The first time counts; events without a place in the feed are not marked.
    async fn events_mark_published(&self, ids: &[Uuid], now: Timestamp) -> Result<(), StoreError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    pub seq: i64,
    pub event: Event,
}

/// The events of an order, with the values of those that were deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEvents {
    /// Absent while no event of the order was deleted.
    pub deleted: Option<SentBefore>,
    /// In version order.
    pub events: Vec<Event>,
}

/// The values of an order that fulfilment had seen when events of it were deleted: all that the order was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentBefore {
    pub state: OrderState,
    pub captured_minor: i64,
    pub refunded_minor: i64,
}

#[async_trait]
impl<B: Backend> Feed for B {
    async fn events_of(&self, order: &OrderId) -> Result<OrderEvents, StoreError> {
        read!(self, |on| of(on, order))
    }

    async fn events_sequence(&self, limit: u32, now: Timestamp) -> Result<usize, StoreError> {
        // Mostly there is nothing to do, and nobody needs to wait for a turn to write to learn that.
        if !read!(self, |on| are_waiting(on))? {
            return Ok(0);
        }
        write!(self, |on| async {
            let now = self.now(on, now).await?;
            sequence(on, limit, now).await
        })
    }

    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError> {
        let sql = "select seq, body from events where seq > $1 order by seq limit $2";
        read!(self, |on| list(on, sql, after, limit))
    }

    async fn events_deleted_to(&self) -> Result<i64, StoreError> {
        let deleted_to = read!(self, |on| leases::watermark(on, EVENTS_DELETED))?;
        Ok(deleted_to.map_or(0, micros))
    }

    async fn events_unpublished(&self, after: i64, limit: u32) -> Result<Vec<FeedEvent>, StoreError> {
        let sql = "select seq, body from events where published_at is null and seq > $1 order by seq limit $2";
        read!(self, |on| list(on, sql, after, limit))
    }

    async fn events_mark_published(&self, ids: &[Uuid], now: Timestamp) -> Result<(), StoreError> {
        write!(self, |on| mark_published(on, ids, now))
    }
}

/// Returns true if there are events without a place in the feed.
async fn are_waiting(on: &mut Conn<'_>) -> sqlx::Result<bool> {
    Ok(on.query("select 1 from events where seq is null limit 1").optional().await?.is_some())
}

async fn of(on: &mut Conn<'_>, order: &OrderId) -> sqlx::Result<OrderEvents> {
    let before = on.query("select sent_state, sent_captured_minor, sent_refunded_minor from orders where id = $1");
    let before = before.bind(order).optional().await?;
    let deleted = before.as_ref().map(sent_before).transpose()?.flatten();
    let rows = on.query("select body from events where order_id = $1 order by version").bind(order).all().await?;
    Ok(OrderEvents { deleted, events: rows.iter().map(|row| row.some_json("body")).collect::<sqlx::Result<_>>()? })
}

fn sent_before(row: &Row) -> sqlx::Result<Option<SentBefore>> {
    let Some(state) = row.opt("sent_state")? else { return Ok(None) };
    let (captured_minor, refunded_minor) = (row.get("sent_captured_minor")?, row.get("sent_refunded_minor")?);
    Ok(Some(SentBefore { state, captured_minor, refunded_minor }))
}

/// Gives places in the feed under a lock held to the commit, so that they become visible in their order: whoever has
/// read up to a place has read everything before it.
///
/// `n` was drawn while the order's row was locked by the settlement, so of one order's events those with the lower
/// version have the lower `n`, and are committed before any later one begins.
async fn sequence(on: &mut Conn<'_>, limit: u32, now: Timestamp) -> sqlx::Result<usize> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    on.lock(FEED_LOCK).await?;
    // A statement of its own: what it sees must be as of after the lock was had.
    let placed = on.query(
        "update events as e set seq = place.seq from \
            (select id, row_number() over (order by n) + greatest($2, coalesce( \
                (select seq from events where seq is not null order by seq desc limit 1), 0)) as seq \
             from (select n, id from events where seq is null order by n limit $1) next) place \
         where e.id = place.id",
    );
    let placed = placed.bind(limit).bind(micros(now)).execute().await?;
    unit.commit().await?;
    Ok(placed as usize)
}

async fn list(on: &mut Conn<'_>, sql: &'static str, after: i64, limit: u32) -> sqlx::Result<Vec<FeedEvent>> {
    let feed_event = |row: &Row| Ok(FeedEvent { seq: row.get("seq")?, event: row.some_json("body")? });
    on.query(sql).bind(after).bind(limit).all().await?.iter().map(feed_event).collect()
}

async fn mark_published(on: &mut Conn<'_>, ids: &[Uuid], now: Timestamp) -> sqlx::Result<()> {
    on.query("update events set published_at = $2 where id = any($1) and published_at is null and seq is not null")
        .bind(ids)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}
