use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use payhook_queue::{Delivery, Settler};
use payhook_schema::PaymentKey;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

/// The ack side of one consumption. Deliveries in hand outlive the flow they came from.
pub(crate) struct Generation {
    pub(crate) settler: Arc<dyn Settler>,
    /// Set when settling failed: the consumption is over and a new one must be started.
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

/// A delivery taken and not settled yet.
pub(crate) struct InHand {
    pub(crate) delivery: Delivery,
    pub(crate) unsettled: Unsettled,
    /// Held until it is settled: what a graceful stop waits for.
    pub(crate) token: TaskTrackerToken,
}

/// Guards a delivery until it is settled. Dropped before (a panic unwinds, a task is given up), it ends the consumption, so that the
/// queue gives the delivery back instead of holding it for us for ever.
pub(crate) struct Unsettled {
    from: Arc<Generation>,
    envelope: Option<Uuid>,
    settled: bool,
}

impl Unsettled {
    /// Guards a delivery of `envelope`, where its bytes are one.
    pub(crate) fn new(from: Arc<Generation>, envelope: Option<Uuid>) -> Self {
        Self { from, envelope, settled: false }
    }

    /// Ends the guard, and returns the consumption to settle the delivery on, now.
    pub(crate) fn settling(mut self) -> Arc<Generation> {
        self.settled = true;
        self.from.clone()
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if !self.settled {
            if let Some(envelope) = self.envelope.filter(|_| std::thread::panicking()) {
                self.from.crashes.note(envelope);
            }
            self.from.broken.cancel();
        }
    }
}

/// Hints by payment: those that wait together share one inquiry.
///
/// A hint that comes while its payment is being asked about waits for the next inquiry, because the answer under way may be
/// older than what the hint hints at.
pub(crate) struct Flights {
    waiting: Mutex<HashMap<PaymentKey, Vec<InHand>>>,
    takeoff: mpsc::UnboundedSender<PaymentKey>,
}

impl Flights {
    /// Payments to look up and ask about come out of the receiver, each once until it has landed.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<PaymentKey>) {
        let (takeoff, departures) = mpsc::unbounded_channel();
        (Self { waiting: Mutex::default(), takeoff }, departures)
    }

    pub(crate) fn board(&self, key: PaymentKey, passenger: InHand) {
        let mut waiting = self.lock();
        if let Some(passengers) = waiting.get_mut(&key) {
            passengers.push(passenger);
        } else {
            waiting.insert(key.clone(), vec![passenger]);
            let _ = self.takeoff.send(key);
        }
    }

    /// Everyone who waits for this payment, immediately before the provider is asked.
    pub(crate) fn depart(&self, key: &PaymentKey) -> Vec<InHand> {
        self.lock().get_mut(key).map(std::mem::take).unwrap_or_default()
    }

    /// The same, if `all` holds for each of them; otherwise nobody departs.
    pub(crate) fn depart_if(&self, key: &PaymentKey, all: impl Fn(&InHand) -> bool) -> Option<Vec<InHand>> {
        let mut waiting = self.lock();
        let passengers = waiting.get_mut(key).filter(|waiting| !waiting.is_empty() && waiting.iter().all(all))?;
        Some(std::mem::take(passengers))
    }

    /// The payment has been dealt with: whoever came meanwhile starts the next flight.
    pub(crate) fn land(&self, key: &PaymentKey) {
        let mut waiting = self.lock();
        match waiting.get(key) {
            Some(passengers) if passengers.is_empty() => {
                waiting.remove(key);
            }
            Some(_) => {
                let _ = self.takeoff.send(key.clone());
            }
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PaymentKey, Vec<InHand>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            let from = Arc::new(Generation { settler: Arc::new(Nowhere), broken, crashes: crashes.clone() });
            let unsettled = Unsettled::new(from.clone(), Some(poison));
            let processing = async move {
                tokio::task::yield_now().await;
                let _in_hand = unsettled;
                panic!("a bug of ours");
            };
            assert!(std::panic::AssertUnwindSafe(processing).catch_unwind().await.is_err());
            assert!(from.broken.is_cancelled(), "the queue gives it back");
            drop(Unsettled::new(from, Some(innocent)));
        }
        assert!(crashes.is_poison(poison));
        assert!(!crashes.is_poison(poison), "a replay has its tries again");
        assert!(!crashes.is_poison(innocent), "given up by a task that was stopped");
    }
}
