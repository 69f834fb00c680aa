use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use payhook_provider::{Accounts, Client};
use payhook_queue::Queue;
use payhook_schema::{Clock, EventType, PaymentKey, new_id};
use payhook_store::{History, Store, StoreError};
use payhook_vault::Vault;
use thiserror::Error;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::authorization::Tended;
use crate::breaker::Breakers;
use crate::budget::Budgets;
use crate::flights::{Crashes, Flights};
use crate::gate::AskingAtOnce;
use crate::outcome::{Making, Outcome};
use crate::patience::{GaveUp, patiently};
use crate::repeats::AskedLately;
use crate::{Schedule, budget, dead, follow, intake, relay, replay, retention, sweep, unrouted, writer};

/// Outcomes waiting for a writer: a few batches' worth.
const OUTCOMES_MAX: usize = 256;
/// The time to settle the deliveries in hand once the worker is told to stop; the rest comes back by itself.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// The longest a worker that stops takes to give its shares of the budgets to the others; they run out by themselves.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// There is no other worker, and never will be: the store is a file of one process.
    pub alone: bool,
    /// Inquiries in the air at once; twice as many deliveries are in hand.
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

/// Everything the worker's tasks share.
pub(crate) struct Context {
    pub(crate) accounts: Accounts,
    pub(crate) client: Client,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) vault: Vault,
    pub(crate) schedule: Schedule,
    pub(crate) options: WorkerOptions,
    pub(crate) flights: Flights,
    pub(crate) asked_lately: AskedLately,
    pub(crate) crashes: Arc<Crashes>,
    pub(crate) breakers: Breakers,
    pub(crate) budgets: Budgets,
    pub(crate) tended: Tended,
    pub(crate) asking: AskingAtOnce,
    pub(crate) outcomes: mpsc::Sender<Outcome>,
    pub(crate) events_written: Notify,
    pub(crate) in_hand: TaskTracker,
    /// Set when the worker ends for good: what still waits for the store is given up and comes back.
    pub(crate) abandon: CancellationToken,
}

/// Takes hints, asks providers, moves payments, tells fulfilment.
pub struct Worker {
    context: Arc<Context>,
    departures: mpsc::UnboundedReceiver<PaymentKey>,
    ready: mpsc::Receiver<Outcome>,
}

impl Worker {
    pub fn new(parts: WorkerParts, options: WorkerOptions) -> Self {
        let WorkerParts { accounts, client, queue, store, clock, vault, schedule } = parts;
        let (flights, departures) = Flights::new();
        let (outcomes, ready) = mpsc::channel(OUTCOMES_MAX);
        let (asking, budgets) = (AskingAtOnce::new(options.concurrency), Budgets::new(options.alone));
        let context = Context {
            accounts,
            client,
            queue,
            store,
            clock,
            vault,
            schedule,
            options,
            flights,
            asked_lately: AskedLately::default(),
            crashes: Arc::default(),
            breakers: Breakers::default(),
            budgets,
            tended: Tended::default(),
            asking,
            outcomes,
            events_written: Notify::new(),
            in_hand: TaskTracker::new(),
            abandon: CancellationToken::new(),
        };
        Self { context: Arc::new(context), departures, ready }
    }

    /// Works until `stop`, then settles what is in hand.
    ///
    /// # Errors
    /// One of its tasks ended by itself, which only a bug does: whoever runs the worker must not go on as if it worked.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Died> {
        let Self { context, departures, ready } = self;
        // The inner tasks outlive the outer ones: what was taken is still asked about, written and settled.
        let (flow, abandon) = (stop.child_token(), context.abandon.clone());
        let (mut outer, mut inner) = (JoinSet::new(), JoinSet::new());
        let holder = new_id(context.clock.now());
        outer.spawn(intake::intake(context.clone(), flow.clone()));
        outer.spawn(sweep::sweep(context.clone(), flow.clone()));
        outer.spawn(dead::undertaker(context.clone(), flow.clone()));
        outer.spawn(unrouted::move_back(context.clone(), flow.clone()));
        outer.spawn(relay::relay(context.clone(), holder, flow.clone()));
        outer.spawn(replay::replay(context.clone(), holder, flow.clone()));
        outer.spawn(follow::follow(context.clone(), holder, flow.clone()));
        outer.spawn(retention::retain(context.clone(), holder, flow.clone()));
        // Until the last question is answered.
        inner.spawn(budget::share(context.clone(), holder, abandon.clone()));
        inner.spawn(intake::dispatch(context.clone(), departures, abandon.clone()));
        let ready = Arc::new(Mutex::new(ready));
        for _ in 0..context.options.writers.max(1) {
            inner.spawn(writer::writer(context.clone(), ready.clone(), abandon.clone()));
        }

        let died = tokio::select! {
            () = stop.cancelled() => None,
            ended = outer.join_next() => ended,
            ended = inner.join_next() => ended,
        };
        flow.cancel();
        if let Some(ended) = died.filter(|_| !stop.is_cancelled()) {
            return Err(Died(ended.err()));
        }
        context.in_hand.close();
        let settled = async {
            while outer.join_next().await.is_some() {}
            context.in_hand.wait().await;
        };
        if tokio::time::timeout(STOP_WITHIN, settled).await.is_err() {
            warn!(deliveries = context.in_hand.len(), "stopped with deliveries in hand; they come again");
        }
        abandon.cancel();
        inner.shutdown().await;
        let _ = tokio::time::timeout(GIVE_UP_WITHIN, budget::give_up(&context, holder)).await;
        Ok(())
    }
}

/// A task of the worker ended by itself.
#[derive(Debug, Error)]
#[error("a part of the worker died")]
pub struct Died(#[source] Option<tokio::task::JoinError>);

impl Context {
    pub(crate) fn making(&self) -> Making<'_> {
        Making { schedule: &self.schedule, now: self.clock.now() }
    }

    /// Repeats an operation on the store until it answers, it was away for too long, or the worker ends.
    pub(crate) async fn patiently<T, F>(&self, what: &'static str, operation: impl Fn() -> F) -> Result<T, GaveUp>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        patiently(what, &self.abandon, operation).await
    }
}
