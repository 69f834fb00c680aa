//! Moves messages out of `payhook.unrouted`, back to where they belong.

use std::sync::Arc;
use std::time::Duration;

use payhook_queue::MoveBack;
use payhook_schema::jittered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::Context;
use crate::error_chain::chain;

/// The time between two looks at `payhook.unrouted`, and the most messages moved in one go.
const EVERY: Duration = Duration::from_secs(5);
const AT_MOST: usize = 1000;
/// The time before the next try, after one that failed or left something behind.
const AGAIN: Duration = Duration::from_mins(1);

/// Moves what lost its way back to where it belongs. While that way is still missing it stays where it is.
pub(crate) async fn move_back(context: Arc<Context>, stop: CancellationToken) {
    let mut not_before = Instant::now();
    loop {
        if stop.run_until_cancelled(tokio::time::sleep(jittered(EVERY))).await.is_none() {
            return;
        }
        if Instant::now() < not_before {
            continue;
        }
        match context.queue.unrouted_move_back(MoveBack::Harmless, AT_MOST).await {
            Ok(moved) => {
                if !moved.is_nothing() {
                    info!(
                        hints = moved.hints,
                        dead_letters = moved.dead_letters,
                        events_dropped = moved.events_dropped,
                        left = moved.left,
                        "moved messages out of `payhook.unrouted`"
                    );
                }
                // What is left over and nothing moved: it is for a person, and each look counts as a delivery.
                if moved.is_nothing() && moved.left > 0 {
                    not_before = Instant::now() + AGAIN;
                    warn!(left = moved.left, "messages in `payhook.unrouted` need a person: `payhook queue unrouted`");
                }
            }
            // Not reachable: others say so, and often enough.
            Err(error) if error.retryable() => {}
            Err(error) => {
                not_before = Instant::now() + AGAIN;
                warn!(error = %chain(&error), "cannot empty `payhook.unrouted`; `payhook queue unrouted --republish` does it");
            }
        }
    }
}
