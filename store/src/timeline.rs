//! One story of three tables, alike for both databases.

use payhook_schema::{PaymentKey, TimelineKind, fact_shown};
use serde_json::{Value, json};

use crate::TimelineEntry;
use crate::columns::{Columns, some};
use crate::rows;

/// Merges the rows of `notifications`, `timeline` and published `events`, each already in its own order, oldest first.
///
/// What has the same time is told in the order it must have happened: the notification, what was done, what was published.
pub(crate) fn merge<R: Columns>(
    notifications: &[R],
    written: &[R],
    published: &[R],
) -> sqlx::Result<Vec<TimelineEntry>> {
    let notifications = notifications.iter().map(notification);
    let mut entries: Vec<_> = notifications
        .chain(written.iter().map(entry))
        .chain(published.iter().map(publish))
        .collect::<sqlx::Result<_>>()?;
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

fn entry(row: &impl Columns) -> sqlx::Result<TimelineEntry> {
    Ok(TimelineEntry {
        at: some("at", row.time("at"))?,
        kind: rows::timeline_kind(row)?,
        payment: rows::payment_key(row)?,
        text: some("text", row.text("text"))?,
        detail: row.json("detail")?.unwrap_or(Value::Null),
    })
}

/// Says what came and that it held; never what was in it.
fn notification(row: &impl Columns) -> sqlx::Result<TimelineEntry> {
    let kind = some("kind", row.text("kind"))?;
    let verified_by = some("verified_by", row.text("verified_by"))?;
    let received_at = some("received_at", row.time("received_at"))?;
    let repeat = some("nth", row.int("nth"))? > 1;
    let again = if repeat { "; a repeat" } else { "" };
    Ok(TimelineEntry {
        at: received_at,
        kind: TimelineKind::Notification,
        payment: rows::payment_key(row)?,
        text: format!("{kind} received, genuine ({verified_by}){again}"),
        detail: json!({
            "id": some("id", row.id("id"))?,
            "kind": kind,
            "idempotency_key": fact_shown(&some("idempotency_key", row.text("idempotency_key"))?),
            "received_at": received_at,
            "verified_by": verified_by,
            "body_bytes": some("body_bytes", row.int("body_bytes"))?,
            "repeat": repeat,
        }),
    })
}

fn publish(row: &impl Columns) -> sqlx::Result<TimelineEntry> {
    let event = rows::event(row)?;
    let payment = event.order().map(|data| PaymentKey {
        provider: data.provider,
        account: data.account.clone(),
        id: data.payment_id.clone(),
    });
    Ok(TimelineEntry {
        at: some("published_at", row.time("published_at"))?,
        kind: TimelineKind::Publish,
        payment,
        text: format!("{} published, version {}", event.event_type.routing_key(), event.version()),
        detail: json!({
            "id": event.id,
            "type": event.event_type,
            "version": event.version(),
            "seq": some("seq", row.int("seq"))?,
        }),
    })
}
