//! Acks, retries and dead-letters deliveries on the consumption that they came from.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use payhook_queue::{Delivery, Verdict};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, warn};

use crate::error_chain::chain;
use crate::hints::delivery::{Consumption, InHand};
use crate::hints::outcome::round_again;
use crate::wait::{ACK_WITHIN, ack_waits};

/// Gives hints another round through the queue, outside any batch.
pub(crate) async fn go_round(deliveries: Vec<InHand>, now: Timestamp) {
    ack(round_again(deliveries, now)).await;
}

pub(crate) async fn ack(verdicts: Vec<(InHand, Verdict)>) {
    let mut by_consumption: HashMap<usize, AckBatch> = HashMap::new();
    for (InHand { delivery, unacked, token }, verdict) in verdicts {
        let from = unacked.acking();
        let group = by_consumption.entry(Arc::as_ptr(&from).addr()).or_insert_with(|| AckBatch::new(from.clone()));
        group.verdicts.push((delivery, verdict));
        group.tokens.push(token);
    }
    for batch in by_consumption.into_values() {
        batch.send().await;
    }
}

/// Deliveries of one consumption with their verdicts.
struct AckBatch {
    from: Arc<Consumption>,
    verdicts: Vec<(Delivery, Verdict)>,
    /// Until these are dropped, a graceful stop waits.
    tokens: Vec<TaskTrackerToken>,
}

impl AckBatch {
    fn new(from: Arc<Consumption>) -> Self {
        Self { from, verdicts: Vec::new(), tokens: Vec::new() }
    }

    async fn send(self) {
        match self.from.settler.settle(&self.verdicts).await {
            Ok(0) => {}
            Ok(gone) => {
                metrics::counter!("payhook_worker_deliveries_gone_total").increment(gone as u64);
                debug!(gone, "deliveries were no longer ours; they come again and change nothing");
            }
            Err(error) => {
                warn!(error = %chain(&error), "cannot ack deliveries, trying again");
                tokio::spawn(self.try_again());
            }
        }
    }

    /// Tries the verdicts again. An acked delivery stays acked; a delivery that cannot be moved on is held while the
    /// consumption lives. Giving it back at once would count against it, and against its neighbours in hand, for a
    /// fault that is none of theirs.
    async fn try_again(self) {
        let (started, mut waits) = (Instant::now(), ack_waits());
        while started.elapsed() < ACK_WITHIN && !self.from.broken.is_cancelled() {
            tokio::time::sleep(waits.next_wait()).await;
            if self.from.settler.settle(&self.verdicts).await.is_ok() {
                return;
            }
        }
        warn!("gave up acking deliveries; they come again and change nothing");
        self.from.broken.cancel();
        drop(self.tokens);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use payhook_queue::{QueueError, Settler};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::hints::delivery::Crashes;

    /// A broker in alarm: it takes no publish, so nothing can be moved on.
    struct InAlarm;

    #[async_trait]
    impl Settler for InAlarm {
        async fn settle(&self, _: &[(Delivery, Verdict)]) -> Result<usize, QueueError> {
            Err(QueueError::Full { address: "amqp://mq".to_owned() })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_moved_on_is_held_and_given_back_within_the_half_hour_of_an_ack() {
        let broken = CancellationToken::new();
        let from =
            Consumption { settler: Arc::new(InAlarm), broken: broken.clone(), crashes: Arc::new(Crashes::default()) };
        AckBatch::new(Arc::new(from)).send().await;
        let minutes = async |minutes| tokio::time::timeout(Duration::from_mins(minutes), broken.cancelled()).await;
        assert!(minutes(19).await.is_err(), "giving back counts towards poison: a short alarm counts for nothing");
        minutes(2).await.expect("the broker closes the channel of whoever holds a delivery for half an hour");
    }
}
