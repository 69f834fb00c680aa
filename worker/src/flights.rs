use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use payhook_queue::{Delivery, Settler};
use payhook_schema::PaymentKey;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// One consumption's settling side. Deliveries in hand outlive the flow they came from.
pub(crate) struct Generation {
    pub(crate) settler: Arc<dyn Settler>,
    /// Set when settling failed: the consumption is over and a new one must be started.
    pub(crate) broken: CancellationToken,
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
    settled: bool,
}

impl Unsettled {
    pub(crate) fn new(from: Arc<Generation>) -> Self {
        Self { from, settled: false }
    }

    /// Where to settle it, now.
    pub(crate) fn settling(mut self) -> Arc<Generation> {
        self.settled = true;
        self.from.clone()
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if !self.settled {
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

    /// What was decided no longer fits: the same passengers go again, with whoever came meanwhile.
    pub(crate) fn return_to_gate(&self, key: &PaymentKey, passengers: Vec<InHand>) {
        self.lock().entry(key.clone()).or_default().extend(passengers);
        self.land(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PaymentKey, Vec<InHand>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
