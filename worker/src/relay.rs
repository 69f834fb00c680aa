use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use payhook_queue::QueueError;
use payhook_store::{FeedEvent, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use crate::lease::Lease;
use crate::patience::{chain, jittered};
use crate::worker::Context;

/// Without a wake-up: events of another process, or of one that died between commit and wake-up.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After a round in which an event could not be published.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Events of one round, and how many orders' or authorizations' events are published at once.
const ROUND: u32 = 500;
const SUBJECTS_AT_ONCE: usize = 32;

/// Tells fulfilment: gives new events their place in the feed and publishes them, in version order per order. One relay works
/// at a time, by a lease in the store; where the queue carries no events, the feed is all there is.
pub(crate) async fn relay(context: Arc<Context>, holder: Uuid, stop: CancellationToken) {
    let mut lease = Lease::new("relay", holder);
    while !stop.is_cancelled() {
        let more = match lease.is_mine(&context).await {
            true => round(&context).await.unwrap_or_else(|error| {
                warn!(error = %chain(&error), "cannot relay events, trying again");
                false
            }),
            false => false,
        };
        if !more {
            tokio::select! {
                () = stop.cancelled() => {}
                () = context.events_written.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
    lease.release(&context).await;
}

/// One round; whether there may be more to do at once.
async fn round(context: &Context) -> Result<bool, StoreError> {
    context.store.events_sequence(ROUND, context.clock.now()).await?;
    let events = context.store.events_unpublished(ROUND).await?;
    if events.is_empty() {
        return Ok(false);
    }
    if !context.queue.carries_events() {
        // The feed is all there is: with its place in it, an event is published.
        let ids: Vec<Uuid> = events.iter().map(|event| event.event.id).collect();
        context.store.events_mark_published(&ids, context.clock.now()).await?;
        return Ok(true);
    }
    let mut by_subject: BTreeMap<String, Vec<FeedEvent>> = BTreeMap::new();
    for event in events {
        by_subject.entry(event.event.subject.clone()).or_default().push(event);
    }
    let published = stream::iter(by_subject.into_values())
        .map(|events| publish_in_order(context, events))
        .buffer_unordered(SUBJECTS_AT_ONCE)
        .fold((Vec::new(), None), async |(mut all, failed): (Vec<Uuid>, Option<QueueError>), (some, error)| {
            all.extend(some);
            (all, failed.or(error))
        })
        .await;
    let (ids, failed) = published;
    if !ids.is_empty() {
        context.store.events_mark_published(&ids, context.clock.now()).await?;
        metrics::counter!("payhook_events_published_total").increment(ids.len() as u64);
    }
    if let Some(error) = failed {
        warn!(error = %chain(&error), "cannot publish events, trying again");
        tokio::time::sleep(jittered(AFTER_FAILURE)).await;
        return Ok(false);
    }
    Ok(true)
}

/// Publishes one order's or authorization's events one after the other; the first that is not confirmed ends it, so that none overtakes it.
async fn publish_in_order(context: &Context, events: Vec<FeedEvent>) -> (Vec<Uuid>, Option<QueueError>) {
    let mut published = Vec::with_capacity(events.len());
    for FeedEvent { event, .. } in events {
        if let Err(error) = context.queue.publish_event(&event).await {
            return (published, Some(error));
        }
        published.push(event.id);
    }
    (published, None)
}
