//! Short waits inside one attempt: a second try at a refused connection, not a schedule. Redelivery belongs to the
//! queue, which survives us.

use std::time::Duration;

use payhook_schema::Backoff;
use tokio::time::{Instant, sleep};

/// The delays and the time limit for repeating one call, before its attempt counts as failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    /// The first wait; each further one doubles.
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
    let mut waits = Backoff::new(policy.first_delay, policy.within);
    let started = Instant::now();
    loop {
        let error = match operation().await {
            Err(error) if worth_waiting(&error) => error,
            done => return done,
        };
        let wait = waits.next_wait();
        if started.elapsed() + wait > policy.within {
            return Err(error);
        }
        sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tries(within: Duration, worth_waiting: fn(&u32) -> bool, succeeds_at: u32) -> Result<u32, u32> {
        let mut tries = 0;
        let policy = RetryPolicy { first_delay: Duration::from_millis(200), within };
        let operation = || {
            tries += 1;
            std::future::ready(if tries == succeeds_at { Ok(tries) } else { Err(tries) })
        };
        with_retry(policy, worth_waiting, operation).await
    }

    #[tokio::test]
    async fn a_call_is_repeated_until_it_succeeds_or_waiting_does_not_help_or_time_is_up() {
        let long = Duration::from_hours(1);
        assert_eq!(tries(long, |_| true, 3).await, Ok(3));
        assert_eq!(tries(long, |tries| *tries < 2, 9).await, Err(2));
        assert_eq!(tries(Duration::ZERO, |_| true, 9).await, Err(1));
    }
}
