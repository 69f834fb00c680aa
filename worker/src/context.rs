//! The parts that every wing of the worker shares.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use payhook_provider::{Accounts, Client};
use payhook_queue::Queue;
use payhook_schema::{Clock, EventType};
use payhook_store::{History, Store, StoreError};
use payhook_vault::Vault;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Schedule;
use crate::store_retry::{GaveUp, store_retry};

#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// There is no other worker, and never will be: the store is a file of one process.
    pub alone: bool,
    /// Inquiries under way at once; twice as many deliveries are in hand.
    pub concurrency: usize,
    /// Transactions written at once: one for a store with one writer, two or more for a server.
    pub writers: usize,
    /// The largest difference between the workers' clocks; zero for one worker.
    pub clocks_differ: SignedDuration,
    /// The interval at which the providers' own lists of events are read; never, if absent.
    pub follow_every: Option<Duration>,
    /// Events of these types wait until a queue is bound for them; others are counted and left to the feed.
    pub must_route: Vec<EventType>,
    /// The age each kind of history ends at; what is not in it never ends.
    pub retention: Vec<(History, Duration)>,
}

/// The parts a worker works with.
pub struct WorkerParts {
    pub accounts: Accounts,
    pub client: Client,
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub vault: Vault,
    pub schedule: Schedule,
}

/// Everything that all of the worker's tasks share.
pub(crate) struct Context {
    pub(crate) accounts: Accounts,
    pub(crate) client: Client,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) vault: Vault,
    pub(crate) schedule: Schedule,
    pub(crate) options: WorkerOptions,
    /// Wakes the relay.
    pub(crate) events_written: Notify,
    /// The deliveries in hand, and other work that a graceful stop waits for.
    pub(crate) in_hand: TaskTracker,
    /// Set when the worker ends for good: what still waits for the store is given up and comes back.
    pub(crate) abandon: CancellationToken,
}

impl Context {
    pub(crate) fn new(parts: WorkerParts, options: WorkerOptions) -> Self {
        let WorkerParts { accounts, client, queue, store, clock, vault, schedule } = parts;
        Self {
            accounts,
            client,
            queue,
            store,
            clock,
            vault,
            schedule,
            options,
            events_written: Notify::new(),
            in_hand: TaskTracker::new(),
            abandon: CancellationToken::new(),
        }
    }

    /// Repeats an operation on the store until it answers, it was away for too long, or the worker ends.
    pub(crate) async fn store_retry<T, F>(&self, what: &'static str, operation: impl Fn() -> F) -> Result<T, GaveUp>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        store_retry(what, &self.abandon, operation).await
    }
}
