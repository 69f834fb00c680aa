use std::time::Duration;

pub use payhook_schema::seed_waits;
pub(crate) use payhook_schema::{jittered, jittered_fully};
use payhook_store::StoreError;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The time that deliveries are held for the store before they go round the queue.
const HOLD_FOR: Duration = Duration::from_mins(5);

/// The reason why an operation on the store was given up.
#[derive(Debug)]
pub(crate) enum GaveUp {
    /// The worker stops: deliveries in hand come back to another one.
    Stopped,
    /// Longer than a delivery may be held: RabbitMQ wants it settled within half an hour.
    TooLong,
    /// The store answers and does not keep a value it was given. No waiting changes that: whatever holds the value is poison.
    Refused(String),
}

/// Repeats an operation on the store until it answers.
///
/// While the store is away nothing can be settled, so holding on to a prefetch's worth of deliveries is the back pressure: the
/// rest waits in the queue, no attempt is burnt, and nothing is dead-lettered for it. The same when it refuses us: a wrong password or
/// a missing right is for a person to mend, and what waits meanwhile is nobody's poison. A value it does not keep is given up at once.
pub(crate) async fn patiently<T, F>(
    what: &'static str,
    stop: &CancellationToken,
    operation: impl Fn() -> F,
) -> Result<T, GaveUp>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut wait = FIRST_WAIT;
    let started = tokio::time::Instant::now();
    loop {
        let error = match operation().await {
            Ok(done) if wait > FIRST_WAIT => {
                info!("the store is back: {what}");
                return Ok(done);
            }
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if matches!(error, StoreError::Unkeepable { .. }) {
            return Err(GaveUp::Refused(chain(&error)));
        }
        match error.retryable() {
            true if wait == FIRST_WAIT => warn!(error = %chain(&error), "the store is away, waiting for it: {what}"),
            true => {}
            false => error!(error = %chain(&error), "the store refuses, waiting until that is mended: {what}"),
        }
        metrics::counter!("payhook_store_unavailable_total").increment(1);
        if started.elapsed() > HOLD_FOR {
            return Err(GaveUp::TooLong);
        }
        tokio::select! {
            () = stop.cancelled() => return Err(GaveUp::Stopped),
            () = tokio::time::sleep(jittered(wait)) => wait = (wait * 2).min(LONGEST_WAIT),
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
