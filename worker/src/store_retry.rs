//! Repeats operations on the store until it answers.
//!
//! While the store is away nothing can be written, so holding on to a prefetch's worth of deliveries is the back
//! pressure: the rest waits in the queue, no attempt is burnt, and nothing is dead-lettered for it. The same when it
//! refuses us: a wrong password or a missing right is for a person to mend, and what waits meanwhile is nobody's
//! poison. A value it does not keep is given up at once.

use payhook_store::StoreError;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::error_chain::chain;
use crate::wait::{STORE_WAITS_WITHIN, store_waits};

/// The reason why an operation on the store was given up.
#[derive(Debug)]
pub(crate) enum GaveUp {
    /// The worker stops: deliveries in hand come back to another one.
    Stopped,
    /// Longer than a delivery may be held: RabbitMQ wants it acked within half an hour.
    TooLong,
    /// The store answers and does not keep a value it was given. No waiting changes that: whatever holds the value is
    /// poison.
    Refused(String),
}

/// Repeats `operation` until it succeeds, the worker stops, or waiting is of no use. `what` is for the log.
pub(crate) async fn store_retry<T, F>(
    what: &'static str,
    stop: &CancellationToken,
    operation: impl Fn() -> F,
) -> Result<T, GaveUp>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut waits = store_waits();
    let started = Instant::now();
    let mut is_first = true;
    loop {
        let error = match operation().await {
            Ok(done) => {
                if !is_first {
                    info!("the store is back: {what}");
                }
                return Ok(done);
            }
            Err(error) => error,
        };
        if matches!(error, StoreError::Unkeepable { .. }) {
            return Err(GaveUp::Refused(chain(&error)));
        }
        match error.retryable() {
            true if is_first => warn!(error = %chain(&error), "the store is away, waiting for it: {what}"),
            true => {}
            false => error!(error = %chain(&error), "the store refuses, waiting until that is mended: {what}"),
        }
        is_first = false;
        metrics::counter!("payhook_store_unavailable_total").increment(1);
        if started.elapsed() > STORE_WAITS_WITHIN {
            return Err(GaveUp::TooLong);
        }
        stop.run_until_cancelled(sleep(waits.next_wait())).await.ok_or(GaveUp::Stopped)?;
    }
}
