//! Merges three tables into one history.

use jiff::Timestamp;
use payhook_schema::{Event, PaymentKey, TimelineKind, fact_shown};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{PlaceOf, TimelineEntry, TimelinePage, TimelinePlace};
use crate::db::row::Row;

/// Merges the rows of `notifications`, `timeline` and published `events`, each already in its own order, oldest first.
///
/// Entries of the same time are in the order they must have happened: the notification, what was done, what was
/// published.
pub(crate) fn merge(notifications: &[Row], written: &[Row], published: &[Row]) -> sqlx::Result<Vec<TimelineEntry>> {
    let notifications = notifications.iter().map(notification);
    let mut entries: Vec<_> = notifications
        .chain(written.iter().map(entry))
        .chain(published.iter().map(publish))
        .collect::<sqlx::Result<_>>()?;
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

/// Builds a page of an order's timeline. The rows are of places after the last one, in their order, and one more of
/// each than the page has place for.
pub(crate) fn page(
    notifications: &[Row],
    written: &[Row],
    published: &[Row],
    limit: u32,
) -> sqlx::Result<TimelinePage> {
    let placed = |of: PlaceOf, entry: TimelineEntry| (TimelinePlace { at: entry.at, of }, entry);
    let notifications =
        notifications.iter().map(|row| Ok(placed(PlaceOf::Notification(row.get("id")?), notification(row)?)));
    let written = written.iter().map(|row| Ok(placed(PlaceOf::Written(row.get("n")?), entry(row)?)));
    let published = published.iter().map(|row| Ok(placed(PlaceOf::Published(event(row)?.version()), publish(row)?)));
    let mut all = notifications.chain(written).chain(published).collect::<sqlx::Result<Vec<_>>>()?;
    all.sort_by_key(|(place, _)| *place);
    let is_more = all.len() > limit as usize;
    all.truncate(limit as usize);
    let next = all.last().filter(|_| is_more).map(|(place, _)| *place);
    Ok(TimelinePage { entries: all.into_iter().map(|(_, entry)| entry).collect(), next })
}

/// The first time that both databases keep: the year 1.
const FIRST: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// The place in each table that a page begins after.
pub(crate) struct From {
    pub(crate) notification: (Timestamp, Uuid),
    pub(crate) written: (Timestamp, i64),
    pub(crate) published: (Timestamp, i64),
}

impl From {
    pub(crate) fn after(place: Option<TimelinePlace>) -> Self {
        let at = place.map_or(FIRST, |place| place.at);
        let (notification, written, published) = match place.map(|place| place.of) {
            None => (Uuid::nil(), i64::MIN, i64::MIN),
            Some(PlaceOf::Notification(id)) => (id, i64::MIN, i64::MIN),
            Some(PlaceOf::Written(n)) => (Uuid::max(), n, i64::MIN),
            Some(PlaceOf::Published(version)) => (Uuid::max(), i64::MAX, version),
        };
        Self { notification: (at, notification), written: (at, written), published: (at, published) }
    }
}

fn entry(row: &Row) -> sqlx::Result<TimelineEntry> {
    Ok(TimelineEntry {
        at: row.get("at")?,
        kind: row.get("kind")?,
        payment: row.payment_key()?,
        text: row.get("text")?,
        detail: row.json("detail")?.unwrap_or(Value::Null),
    })
}

/// Says what came and that it held; never what was in it.
fn notification(row: &Row) -> sqlx::Result<TimelineEntry> {
    let kind: String = row.get("kind")?;
    let verified_by: String = row.get("verified_by")?;
    let received_at: Timestamp = row.get("received_at")?;
    let repeat = row.get::<i64>("nth")? > 1;
    let again = if repeat { "; a repeat" } else { "" };
    let received: i64 = row.get("received")?;
    let last_received_at = row.opt("last_received_at")?.unwrap_or(received_at);
    let times = match received {
        1 => String::new(),
        _ => format!("; the same bytes {received} times, last {last_received_at}"),
    };
    Ok(TimelineEntry {
        at: received_at,
        kind: TimelineKind::Notification,
        payment: row.payment_key()?,
        text: format!("{kind} received, genuine ({verified_by}){again}{times}"),
        detail: json!({
            "id": row.get::<Uuid>("id")?,
            "kind": kind,
            "idempotency_key": fact_shown(&row.get::<String>("idempotency_key")?),
            "received_at": received_at,
            "received": received,
            "last_received_at": last_received_at,
            "verified_by": verified_by,
            "body_bytes": row.get::<i64>("body_bytes")?,
            "repeat": repeat,
        }),
    })
}

fn event(row: &Row) -> sqlx::Result<Event> {
    row.some_json("body")
}

fn publish(row: &Row) -> sqlx::Result<TimelineEntry> {
    let event = event(row)?;
    let payment = event.order().map(|data| PaymentKey {
        provider: data.provider,
        account: data.account.clone(),
        id: data.payment_id.clone(),
    });
    Ok(TimelineEntry {
        at: row.get("published_at")?,
        kind: TimelineKind::Publish,
        payment,
        text: format!("{} published, version {}", event.event_type.routing_key(), event.version()),
        detail: json!({
            "id": event.id,
            "type": event.event_type,
            "version": event.version(),
            "seq": row.get::<i64>("seq")?,
        }),
    })
}
