//! Short waits inside one attempt: a second try at a refused connection, not a schedule. Redelivery belongs to the queue,
//! which survives us. The one place that knows the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoffBuilder;

/// The delays and the time limit for repeating one call, before its attempt counts as failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    /// The first wait; each further one doubles, every one is randomized by half either way.
    pub first_delay: Duration,
    /// No try starts later than this after the first.
    pub within: Duration,
}

/// Calls `operation` until it succeeds, fails in a way waiting does not help (`worth_waiting` says no), or time is up.
pub(crate) async fn with_retry<T, E, F>(
    policy: RetryPolicy,
    worth_waiting: fn(&E) -> bool,
    mut operation: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let waits = ExponentialBackoffBuilder::new()
        .with_initial_interval(policy.first_delay)
        .with_multiplier(2.0)
        .with_max_elapsed_time(Some(policy.within))
        .build();
    backoff::future::retry(waits, || {
        let attempt = operation();
        async move {
            // Spelled out: `?` would make every error a transient one.
            attempt.await.map_err(|error| match worth_waiting(&error) {
                true => backoff::Error::transient(error),
                false => backoff::Error::permanent(error),
            })
        }
    })
    .await
}
