//! A delivery in hand, from when it was taken until it is acked; and what its envelope carries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use payhook_queue::{Delivery, Settler};
use payhook_schema::{Envelope, Hint, Notification};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

/// The ack side of one consumption. Deliveries in hand outlive the flow they came from.
pub(crate) struct Consumption {
    pub(crate) settler: Arc<dyn Settler>,
    /// Set when acking failed: the consumption is over and a new one must be started.
    pub(crate) broken: CancellationToken,
    pub(crate) crashes: Arc<Crashes>,
}

/// Counts, for each envelope, the panics of tasks that had it in hand. Such a panic ends no process, so no queue counts
/// it.
#[derive(Default)]
pub(crate) struct Crashes(Mutex<HashMap<Uuid, u32>>);

/// An envelope whose processing panicked so often is given up on.
const CRASHES_MAX: u32 = 3;

impl Crashes {
    fn note(&self, envelope: Uuid) {
        *self.lock().entry(envelope).or_default() += 1;
    }

    /// Returns whether an envelope is given up on; then it is forgotten, so that a replay gets its tries again.
    pub(crate) fn is_poison(&self, envelope: Uuid) -> bool {
        let mut crashes = self.lock();
        let is_poison = crashes.get(&envelope).is_some_and(|count| *count >= CRASHES_MAX);
        is_poison && crashes.remove(&envelope).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery taken and not acked, retried or dead-lettered yet.
pub(crate) struct InHand {
    pub(crate) delivery: Delivery,
    pub(crate) unacked: Unacked,
    /// A graceful stop waits until this is dropped.
    pub(crate) token: TaskTrackerToken,
}

/// Guards a delivery until it is acked. Dropped before (a panic unwinds, a task is given up), it ends the consumption,
/// so that the queue gives the delivery back instead of holding it for us for ever.
pub(crate) struct Unacked {
    from: Arc<Consumption>,
    envelope: Option<Uuid>,
    acked: bool,
}

impl Unacked {
    /// Guards a delivery of `envelope`, where its bytes are one.
    pub(crate) fn new(from: Arc<Consumption>, envelope: Option<Uuid>) -> Self {
        Self { from, envelope, acked: false }
    }

    /// Ends the guard, and returns the consumption to ack the delivery on, now.
    pub(crate) fn acking(mut self) -> Arc<Consumption> {
        self.acked = true;
        self.from.clone()
    }
}

impl Drop for Unacked {
    fn drop(&mut self) {
        if !self.acked {
            if let Some(envelope) = self.envelope.filter(|_| std::thread::panicking()) {
                self.from.crashes.note(envelope);
            }
            self.from.broken.cancel();
        }
    }
}

/// Returns true if a delivery that could not be finished is tried again as it is. A look of our own is on its payment's
/// schedule, and an item of a replay is the replay's to hand out again.
pub(crate) fn goes_round(delivery: &Delivery) -> bool {
    notification(delivery).is_some() && replay_item(delivery).is_none()
}

/// The item of a replay a delivery was published for.
pub(crate) fn replay_item(delivery: &Delivery) -> Option<Uuid> {
    delivery.envelope.as_ref().ok()?.replay
}

pub(crate) fn notification(delivery: &Delivery) -> Option<&Notification> {
    notification_of(delivery.envelope.as_ref().ok()?)
}

/// The notification that an envelope carries, if it carries one.
pub(crate) fn notification_of(envelope: &Envelope) -> Option<&Notification> {
    match &envelope.hint {
        Hint::Notification(notification) => Some(notification),
        Hint::Ask { .. } | Hint::Tend { .. } | Hint::Release { .. } => None,
    }
}

pub(crate) fn notifications(deliveries: &[InHand]) -> impl Iterator<Item = &Notification> {
    deliveries.iter().filter_map(|in_hand| notification(&in_hand.delivery))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures_util::FutureExt;
    use payhook_queue::{QueueError, Verdict};

    use super::*;

    struct Nowhere;

    #[async_trait]
    impl Settler for Nowhere {
        async fn settle(&self, _: &[(Delivery, Verdict)]) -> Result<usize, QueueError> {
            Ok(0)
        }
    }

    #[tokio::test]
    async fn an_envelope_whose_processing_panics_again_and_again_is_given_up_on_and_a_lost_one_is_not() {
        let crashes = Arc::new(Crashes::default());
        let (poison, innocent) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for crash in 0..CRASHES_MAX {
            assert!(!crashes.is_poison(poison), "after {crash} panics");
            let broken = CancellationToken::new();
            let from = Arc::new(Consumption { settler: Arc::new(Nowhere), broken, crashes: crashes.clone() });
            let unacked = Unacked::new(from.clone(), Some(poison));
            let processing = async move {
                tokio::task::yield_now().await;
                let _in_hand = unacked;
                panic!("a bug of ours");
            };
            assert!(std::panic::AssertUnwindSafe(processing).catch_unwind().await.is_err());
            assert!(from.broken.is_cancelled(), "the queue gives it back");
            drop(Unacked::new(from, Some(innocent)));
        }
        assert!(crashes.is_poison(poison));
        assert!(!crashes.is_poison(poison), "a replay has its tries again");
        assert!(!crashes.is_poison(innocent), "given up by a task that was stopped");
    }
}
