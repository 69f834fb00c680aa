//! Waits for a condition.

use std::time::{Duration, Instant};

/// The longest time anything may take on a machine that runs other tests beside.
pub(crate) const WITHIN: Duration = Duration::from_secs(45);
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// Looks until it holds. An error is what was seen instead; the last one is returned when time is up.
pub(crate) async fn eventually<T>(look: impl AsyncFn() -> Result<T, String>) -> Result<T, String> {
    let end = Instant::now() + WITHIN;
    loop {
        match look().await {
            Ok(seen) => return Ok(seen),
            Err(last) if Instant::now() >= end => return Err(last),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
