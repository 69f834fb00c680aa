//! Deletes history that is older than its age: one worker at a time, in small batches, below live work.

use std::sync::Arc;
use std::time::Duration;

use payhook_schema::jittered;
use payhook_store::{History, Place};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::chores::lease::Lease;
use crate::chores::sweep;
use crate::context::Context;
use crate::error_chain::chain;

/// The interval at which all kinds are gone through: a tenth of the shortest age, within these.
const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_hours(1);
/// The interval at which the lease is looked after meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Rows one batch reads and deletes at most: a few milliseconds of a store's time.
const BATCH: u32 = 200;
/// Between two batches, so that others write: two thousand rows a second at most.
const PAUSE: Duration = Duration::from_millis(100);
/// The same while hints wait: forty rows a second are retention's own share.
const PAUSE_WHILE_BUSY: Duration = Duration::from_secs(5);
/// More waiting hints than this are live work.
const HINTS_MAX: u32 = 100;

/// Goes through all kinds of history once in a while. Only the worker that has the lease in the store does.
pub(crate) async fn retain(context: Arc<Context>, holder: Uuid, stop: CancellationToken) {
    let Some(shortest) = context.options.retention.iter().map(|(_, age)| *age).min() else {
        return stop.cancelled().await;
    };
    let every = (shortest / 10).clamp(EVERY_MIN, EVERY_MAX);
    let mut lease = Lease::new("retention", holder);
    // Not all at once where many processes start together.
    let mut next = Instant::now() + jittered(every.min(LOOK_EVERY));
    while !stop.is_cancelled() {
        if lease.is_mine(&context).await && Instant::now() >= next {
            let run = Run { context: &context, stop: &stop };
            run.all(&mut lease).await;
            next = Instant::now() + jittered(every);
        }
        stop.run_until_cancelled(tokio::time::sleep(every.min(LOOK_EVERY))).await;
    }
    lease.release(&context).await;
}

/// A run through all kinds.
struct Run<'a> {
    context: &'a Context,
    stop: &'a CancellationToken,
}

impl Run<'_> {
    async fn all(&self, lease: &mut Lease) {
        let mut deleted = Vec::new();
        // Rows that name others are deleted first, so that the others may go in the same run.
        let mut ages = self.context.options.retention.clone();
        ages.sort_unstable();
        for (history, age) in ages {
            match self.pass(history, age, lease).await {
                0 => {}
                rows => deleted.push(format!("{rows} {}", history.as_str())),
            }
        }
        if !deleted.is_empty() {
            info!("deleted history older than its age: {}", deleted.join(", "));
        }
    }

    /// Goes through one kind, from its oldest row to the first that is young enough; returns how many rows were
    /// deleted.
    async fn pass(&self, history: History, age: Duration, lease: &mut Lease) -> u64 {
        let (kind, store) = (history.as_str(), &self.context.store);
        let (mut from, mut deleted, mut needed) = (Place::START, 0, 0);
        while !self.stop.is_cancelled() && lease.is_mine(self.context).await {
            let batch = match store.history_delete(history, age, self.context.clock.now(), from, BATCH).await {
                Ok(batch) => batch,
                Err(error) => {
                    warn!(error = %chain(&error), history = kind, "cannot delete old {kind}, trying again in the next run");
                    return deleted;
                }
            };
            deleted += batch.deleted;
            needed += batch.needed;
            metrics::counter!("payhook_retention_deleted_total", "kind" => kind).increment(batch.deleted);
            let Some(next) = batch.next else {
                metrics::gauge!("payhook_retention_needed", "kind" => kind).set(needed as f64);
                return deleted;
            };
            from = next;
            let busy = sweep::more_wait(self.context, HINTS_MAX).await == Some(true);
            self.stop
                .run_until_cancelled(tokio::time::sleep(jittered(if busy { PAUSE_WHILE_BUSY } else { PAUSE })))
                .await;
        }
        deleted
    }
}
