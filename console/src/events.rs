//! The feed of order events, for consumers without RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Console;
use crate::api::WaitTime;
use crate::problem::ApiProblem;
use crate::query::{Parameters, page_rows, waits};

/// The time between two looks of a waiting request.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedQuery {
    after: Option<i64>,
    wait: Option<WaitTime>,
    limit: Option<u32>,
}

/// `GET /v1/events?after=SEQ&wait=`: the order events as a feed. Reading on from `next` misses nothing,
/// also after the store was restored; then events come again under the same ids.
///
/// A reader that stands before an event that retention deleted is answered 410, so that it does not go on as if it had
/// read everything. A reader that begins at 0 has read nothing yet, and begins with the oldest event that is left.
pub(crate) async fn feed(
    State(console): State<Arc<Console>>,
    Parameters(query): Parameters<FeedQuery>,
) -> Result<Json<Value>, ApiProblem> {
    let (after, limit) = (query.after.unwrap_or(0), page_rows(query.limit));
    let deadline = tokio::time::Instant::now() + waits(query.wait);
    loop {
        let events = console.store.events_after(after, limit).await?;
        if !events.is_empty() || tokio::time::Instant::now() >= deadline {
            // After the events were read: one deleted before that is known of now. A reader at 0 can miss none.
            let deleted_to = if after > 0 { console.store.events_deleted_to().await? } else { 0 };
            if after < deleted_to {
                return Err(ApiProblem::gone(format!(
                    "Events between {after} and {deleted_to} were deleted, because they are older than [retention] events. Compare \
                     your orders with GET /v1/orders, then go on with after={deleted_to}."
                )));
            }
            let next = events.last().map_or(after, |last| last.seq);
            let events: Vec<_> = events.into_iter().map(|event| event.event).collect();
            return Ok(Json(json!({ "events": events, "next": next })));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
