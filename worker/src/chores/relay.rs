//! Relays events to fulfilment: gives them their place in the feed, and publishes one order's in version order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use payhook_queue::{QueueError, Routed};
use payhook_schema::jittered;
use payhook_store::{FeedEvent, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

use crate::chores::lease::Lease;
use crate::context::Context;
use crate::error_chain::chain;

/// Without a wake-up: events of another process, or of one that died between commit and wake-up.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After a round in which an event could not be published.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Events of one round, and how many orders' or authorizations' events are published at once.
const ROUND: u32 = 500;
const SUBJECTS_AT_ONCE: usize = 32;
/// The time before events that wait for a queue are offered again, and before they are in the log again.
const OFFER_AGAIN_EVERY: Duration = Duration::from_secs(5);
const ALARM_EVERY: Duration = Duration::from_mins(1);

/// Tells fulfilment: gives new events their place in the feed and publishes them, in version order per order. Only one
/// relay works at a time, by a lease in the store; where the queue carries no events, the feed is all there is.
pub(crate) async fn relay(context: Arc<Context>, holder: Uuid, stop: CancellationToken) {
    let mut lease = Lease::new("relay", holder);
    let mut waiting = Waiting::default();
    while !stop.is_cancelled() {
        let more = match lease.is_mine(&context).await {
            true => round(&context, &mut waiting).await.unwrap_or_else(|error| {
                warn!(error = %chain(&error), "cannot relay events, trying again");
                false
            }),
            false => {
                waiting.forget();
                false
            }
        };
        if !more {
            tokio::select! {
                () = stop.cancelled() => {}
                () = context.events_written.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
    waiting.forget();
    lease.release(&context).await;
}

/// Events that must not be dropped and that no queue wants yet, so they and what follows them in their order wait in
/// the outbox.
#[derive(Default)]
struct Waiting {
    subjects: BTreeSet<String>,
    events: usize,
    /// The place up to which all that is unpublished waits: rounds read what lies beyond it.
    after: i64,
    again_at: Option<Instant>,
    alarmed_at: Option<Instant>,
}

impl Waiting {
    /// Offers everything again once in a while: a queue may have been bound.
    fn start_round(&mut self) {
        if self.again_at.is_none_or(|at| at <= Instant::now()) {
            self.subjects.clear();
            (self.events, self.after) = (0, 0);
            self.again_at = Some(Instant::now() + OFFER_AGAIN_EVERY);
        }
    }

    fn alarm(&mut self) {
        metrics::gauge!("payhook_events_waiting_for_a_queue").set(self.events as f64);
        if self.events == 0 {
            self.alarmed_at = None;
        } else if self.alarmed_at.is_none_or(|at| at.elapsed() > ALARM_EVERY) {
            self.alarmed_at = Some(Instant::now());
            error!(
                events = self.events,
                "events of types in [events] must_route wait: no queue is bound to `payhook.events` for them"
            );
        }
    }

    /// Another worker relays now: its metric counts.
    fn forget(&mut self) {
        if self.events > 0 {
            metrics::gauge!("payhook_events_waiting_for_a_queue").set(0.0);
        }
        *self = Self::default();
    }
}

/// Does one round. Returns true if there may be more to do at once.
async fn round(context: &Context, waiting: &mut Waiting) -> Result<bool, StoreError> {
    context.store.events_sequence(ROUND, context.clock.now()).await?;
    waiting.start_round();
    let events = context.store.events_unpublished(waiting.after, ROUND).await?;
    let Some(last) = events.last().map(|event| event.seq) else {
        waiting.alarm();
        return Ok(false);
    };
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
    // Nothing overtakes an event of its own order that waits.
    by_subject.retain(|subject, events| {
        let waits = waiting.subjects.contains(subject);
        waiting.events += if waits { events.len() } else { 0 };
        !waits
    });
    let offered: Vec<Offered> = stream::iter(by_subject)
        .map(|(subject, events)| publish_in_order(context, subject, events))
        .buffer_unordered(SUBJECTS_AT_ONCE)
        .collect()
        .await;
    let ids: Vec<Uuid> = offered.iter().flat_map(|offered| offered.done.iter().copied()).collect();
    if !ids.is_empty() {
        context.store.events_mark_published(&ids, context.clock.now()).await?;
    }
    let mut failed = None;
    for Offered { subject, left, why_left, .. } in offered {
        match why_left {
            None => {}
            Some(NotPublished::NoQueue) => {
                waiting.events += left;
                waiting.subjects.insert(subject);
            }
            Some(NotPublished::Failed(error)) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        warn!(error = %chain(&error), "cannot publish events, trying again");
        waiting.again_at = None;
        tokio::time::sleep(jittered(AFTER_FAILURE)).await;
        return Ok(false);
    }
    // All that is left up to here waits for a queue.
    waiting.after = last;
    Ok(true)
}

/// The result of one subject's events in a round.
struct Offered {
    subject: String,
    /// Published, or counted because no queue wanted them.
    done: Vec<Uuid>,
    left: usize,
    why_left: Option<NotPublished>,
}

/// The reason why the rest of a subject's events was not published.
enum NotPublished {
    Failed(QueueError),
    NoQueue,
}

/// Publishes one order's or authorization's events one after the other; the first that is not confirmed ends it, so
/// that none overtakes it.
async fn publish_in_order(context: &Context, subject: String, events: Vec<FeedEvent>) -> Offered {
    let mut offered = Offered { subject, done: Vec::with_capacity(events.len()), left: events.len(), why_left: None };
    for FeedEvent { event, .. } in events {
        let event_type = event.event_type;
        match context.queue.publish_event(&event).await {
            Ok(Routed::Taken) => metrics::counter!("payhook_events_published_total").increment(1),
            Ok(Routed::Unwanted) if context.options.must_route.contains(&event_type) => {
                offered.why_left = Some(NotPublished::NoQueue);
                return offered;
            }
            // The feed has it; the broker keeps nothing for nobody.
            Ok(Routed::Unwanted) => {
                metrics::counter!("payhook_events_unwanted_total", "type" => event_type.as_str()).increment(1);
            }
            Err(error) => {
                offered.why_left = Some(NotPublished::Failed(error));
                return offered;
            }
        }
        offered.done.push(event.id);
        offered.left -= 1;
    }
    offered
}
