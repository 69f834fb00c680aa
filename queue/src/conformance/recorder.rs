//! A queue that only takes envelopes, for the tests of programs that publish and never consume.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use payhook_schema::{Envelope, Event, Hint};

use crate::{Consumer, Depth, Lane, Queue, QueueError, Routed};

/// Takes envelopes, or is down.
#[derive(Default)]
pub struct PublishRecorder {
    pub published: Mutex<Vec<Envelope>>,
    pub down: AtomicBool,
}

#[async_trait]
impl Queue for PublishRecorder {
    async fn publish(&self, envelope: &Envelope) -> Result<(), QueueError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(QueueError::Full { address: self.address() });
        }
        self.published.lock().unwrap().push(envelope.clone());
        Ok(())
    }

    async fn consume(&self, _: Lane, _: u16) -> Result<Consumer, QueueError> {
        unreachable!("this queue never consumes")
    }

    fn carries_events(&self) -> bool {
        false
    }

    async fn publish_event(&self, _: &Event) -> Result<Routed, QueueError> {
        unreachable!("this queue never publishes events")
    }

    async fn migrate(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn probe(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        Ok(Vec::new())
    }

    async fn waiting(&self, _: u32) -> Result<u32, QueueError> {
        Ok(0)
    }

    fn address(&self) -> String {
        "recorder".to_owned()
    }

    async fn close(&self) {}
}

impl PublishRecorder {
    pub fn goes_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Returns the hints that were published since the last call.
    pub fn hints(&self) -> Vec<String> {
        let published = std::mem::take(&mut *self.published.lock().unwrap());
        let hints = published.into_iter().map(|envelope| match envelope.hint {
            Hint::Notification(_) => "a notification".to_owned(),
            Hint::Ask { payment, because } => format!("ask {payment} {because}"),
            Hint::Tend { authorization, because } => format!("tend {authorization} {because}"),
            Hint::Release { order, id } => format!("release {order} {id}"),
        });
        hints.collect()
    }
}
