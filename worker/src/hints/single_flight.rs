//! Single-flight by payment: hints that wait together share one inquiry.
//!
//! A hint that comes while its payment is being asked about waits for the next inquiry, because the answer under way
//! may be older than what the hint hints at.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use payhook_schema::PaymentKey;
use tokio::sync::mpsc;

use crate::hints::delivery::InHand;

/// The deliveries that wait, by payment. A payment with an entry is being dealt with, also while nothing waits for it.
pub(crate) struct SingleFlight {
    waiting: Mutex<HashMap<PaymentKey, Vec<InHand>>>,
    due: mpsc::UnboundedSender<PaymentKey>,
}

impl SingleFlight {
    /// Payments to look up and ask about come out of the receiver, each once until it is finished.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<PaymentKey>) {
        let (due, receiver) = mpsc::unbounded_channel();
        (Self { waiting: Mutex::default(), due }, receiver)
    }

    pub(crate) fn join(&self, key: PaymentKey, in_hand: InHand) {
        let mut waiting = self.lock();
        if let Some(deliveries) = waiting.get_mut(&key) {
            deliveries.push(in_hand);
        } else {
            waiting.insert(key.clone(), vec![in_hand]);
            let _ = self.due.send(key);
        }
    }

    /// Takes all that wait for a payment. To be called immediately before the provider is asked: they share the answer.
    pub(crate) fn take(&self, key: &PaymentKey) -> Vec<InHand> {
        self.lock().get_mut(key).map(std::mem::take).unwrap_or_default()
    }

    /// Takes all that wait if `holds` for each of them; otherwise none.
    pub(crate) fn take_if_all(&self, key: &PaymentKey, holds: impl Fn(&InHand) -> bool) -> Option<Vec<InHand>> {
        let mut waiting = self.lock();
        let deliveries = waiting.get_mut(key).filter(|waiting| !waiting.is_empty() && waiting.iter().all(holds))?;
        Some(std::mem::take(deliveries))
    }

    /// Ends the work on a payment. Hints that came since they were taken start the next one.
    pub(crate) fn finish(&self, key: &PaymentKey) {
        let mut waiting = self.lock();
        match waiting.get(key) {
            Some(deliveries) if deliveries.is_empty() => {
                waiting.remove(key);
            }
            Some(_) => {
                let _ = self.due.send(key.clone());
            }
            None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PaymentKey, Vec<InHand>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
