//! Checks that a process can do its roles now: proven by writes that were confirmed, never assumed.

use std::sync::Arc;
use std::time::Duration;

use payhook_console::ReadyCheck;
use payhook_queue::Queue;
use payhook_schema::Clock;
use payhook_store::Store;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

/// A write to the store proves it for this long: `/readyz` is asked by every balancer there is.
const PROVEN_FOR: Duration = Duration::from_secs(5);
/// A row for all processes: the last writer owns it, and nothing depends on that.
const LEASE: &str = "readiness";
const LEASE_FOR: Duration = Duration::from_secs(1);

/// The queue takes what this process publishes: a confirm within the last seconds, or a probe that is confirmed now. A
/// worker needs every queue, those of its retry delays too.
pub(crate) fn queue(queue: Arc<dyn Queue>, with_delays: bool) -> ReadyCheck {
    ReadyCheck::new("queue", move || {
        let queue = queue.clone();
        async move {
            queue.probe().await.map_err(|error| error.to_string())?;
            match with_delays {
                true => queue.depths().await.map(drop).map_err(|error| error.to_string()),
                false => Ok(()),
            }
        }
    })
}

/// The store answers, is of this version, and takes writes: a row is written.
pub(crate) fn store(store: Arc<dyn Store>, clock: Clock) -> ReadyCheck {
    let proven = Arc::new(Mutex::new(None::<Instant>));
    ReadyCheck::new("store", move || {
        let (store, clock, proven) = (store.clone(), clock.clone(), proven.clone());
        async move {
            store.check().await.map_err(|error| error.to_string())?;
            let mut proven = proven.lock().await;
            if proven.is_some_and(|at| at.elapsed() < PROVEN_FOR) {
                return Ok(());
            }
            *proven = None;
            let taken = store.lease_take(LEASE, Uuid::nil(), clock.now(), LEASE_FOR).await;
            taken.map_err(|error| format!("the store takes no writes: {error}"))?;
            *proven = Some(Instant::now());
            Ok(())
        }
    })
}
