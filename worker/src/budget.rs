use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use payhook_provider::{Account, Limits};
use payhook_schema::{AccountName, Clock, Provider};
use payhook_store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::patience::{chain, jittered};
use crate::worker::Context;

/// A worker shows itself this often; one that did not for three times is gone, and its share is the others'.
const SHOW_EVERY: Duration = Duration::from_secs(5);
const GONE_AFTER: Duration = Duration::from_secs(15);
/// Whoever waited longer than this for a turn waited long.
const LONG: Duration = Duration::from_secs(1);
/// What the leases of workers are called; the rest of the name is the worker's id.
const LEASES: &str = "worker:";

/// What this worker may ask of each account: its part of what the provider allows all of us together.
///
/// The parts are equal, because the queue hands every worker about as much. Dividing costs nothing per question; counting each one in
/// the store would cost more than many of the answers.
pub(crate) struct Budgets {
    workers: AtomicU32,
    shares: Mutex<HashMap<(Provider, AccountName), Arc<Share>>>,
}

struct Share {
    limits: Limits,
    of: u32,
    parallel: Arc<Semaphore>,
    rate: Option<DefaultDirectRateLimiter>,
    /// How many wait for a turn, and whether the last one who had it had waited long.
    waiting: AtomicUsize,
    slow: AtomicBool,
}

impl Share {
    fn new(limits: Limits, of: u32) -> Self {
        let part = |whole: u32| whole.div_ceil(of).max(1);
        // A rate below one a second for each is rounded up: a worker that may never ask holds hints for nothing.
        let rate = limits.requests_per_s.and_then(|rate| NonZeroU32::new(part(rate)));
        Self {
            limits,
            of,
            parallel: Arc::new(Semaphore::new(part(limits.parallel) as usize)),
            rate: rate.map(|rate| RateLimiter::direct(Quota::per_second(rate))),
            waiting: AtomicUsize::new(0),
            slow: AtomicBool::new(false),
        }
    }
}

/// One who waits for a turn, or gave up waiting.
struct InLine<'a>(&'a AtomicUsize);

impl<'a> InLine<'a> {
    fn join(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed) && self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Waits until one more question is within the rate.
    async fn ready(&self) {
        if let Some(rate) = &self.rate {
            rate.until_ready().await;
        }
    }
}

/// This worker's turn to ask an account: held while it is asked.
pub(crate) struct Turn {
    share: Arc<Share>,
    _parallel: OwnedSemaphorePermit,
    _asking: OwnedSemaphorePermit,
}

impl Turn {
    /// Waits until one more question may be asked, after the first.
    pub(crate) async fn once_more(&self) {
        self.share.ready().await;
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self { workers: AtomicU32::new(1), shares: Mutex::default() }
    }
}

impl Budgets {
    /// Waits until this worker may ask the account once. `asking` limits what one worker asks of all accounts together.
    pub(crate) async fn turn(&self, account: &Account, asking: &Arc<Semaphore>) -> Turn {
        let started = tokio::time::Instant::now();
        let share = self.share(account);
        let in_line = InLine::join(&share.waiting);
        let parallel = share.parallel.clone().acquire_owned().await.expect("the semaphore is never closed");
        share.ready().await;
        // Last: who waits for a slow account's rate keeps nobody else from asking.
        let asking = asking.clone().acquire_owned().await.expect("the semaphore is never closed");
        share.slow.store(started.elapsed() > LONG, Ordering::Relaxed);
        drop(in_line);
        let turn = Turn { share, _parallel: parallel, _asking: asking };
        let label = account.provider().as_str();
        metrics::histogram!("payhook_budget_wait_seconds", "provider" => label).record(started.elapsed().as_secs_f64());
        turn
    }

    /// Whether somebody waits for this account already, and for long.
    pub(crate) fn is_slow(&self, account: &Account) -> bool {
        self.share(account).is_slow()
    }

    /// The account's share, made anew when its limits or the number of workers changed. Who is asking by the old one finishes.
    fn share(&self, account: &Account) -> Arc<Share> {
        let of = self.workers.load(Ordering::Relaxed);
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares
            .entry((account.provider(), account.name().clone()))
            .or_insert_with(|| Arc::new(Share::new(account.limits(), of)));
        if share.of != of || share.limits != account.limits() {
            *share = Arc::new(Share::new(account.limits(), of));
        }
        share.clone()
    }
}

/// Shows this worker to the others and counts them.
pub(crate) async fn divide(context: Arc<Context>, holder: Uuid, stop: CancellationToken) {
    let name = format!("{LEASES}{holder}");
    while !stop.is_cancelled() {
        match count(&*context.store, &context.clock, &name, holder).await {
            Ok(workers) => {
                let before = context.budgets.workers.swap(workers, Ordering::Relaxed);
                if before != workers {
                    info!(workers, "the providers' budgets are shared by {workers} workers");
                }
                metrics::gauge!("payhook_workers").set(f64::from(workers));
            }
            // The last known number stands: the store away for a moment must not double anybody's rate.
            Err(error) => warn!(error = %chain(&error), "cannot count the workers, keeping the last number"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(jittered(SHOW_EVERY)) => {}
        }
    }
    let _ = context.store.lease_release(&name, holder).await;
}

async fn count(store: &dyn Store, clock: &Clock, name: &str, holder: Uuid) -> Result<u32, payhook_store::StoreError> {
    let now = clock.now();
    store.lease_take(name, holder, now, GONE_AFTER).await?;
    let others = store.leases_held(LEASES, now).await?;
    Ok(u32::try_from(others).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(parallel: u32, requests_per_s: Option<u32>, of: u32) -> Share {
        Share::new(Limits { parallel, requests_per_s }, of)
    }

    #[test]
    fn the_parts_add_up_to_the_whole_or_a_little_more_and_nobody_has_none() {
        for (parallel, of, part) in [(8, 1, 8), (8, 2, 4), (8, 3, 3), (8, 16, 1)] {
            assert_eq!(share(parallel, None, of).parallel.available_permits(), part, "{parallel} by {of}");
        }
    }

    #[test]
    fn an_account_is_slow_while_somebody_waits_for_it_and_for_long() {
        let share = share(1, None, 1);
        let waiting = InLine::join(&share.waiting);
        assert!(!share.is_slow(), "for a moment");
        share.slow.store(true, Ordering::Relaxed);
        assert!(share.is_slow());
        drop(waiting);
        assert!(!share.is_slow(), "nobody waits");
    }

    #[test]
    fn no_more_than_the_share_is_asked_in_a_second() {
        let share = share(8, Some(10), 2);
        let rate = share.rate.as_ref().unwrap();
        let at_once = (0..20).filter(|_| rate.check().is_ok()).count();
        assert_eq!(at_once, 5);
    }
}
