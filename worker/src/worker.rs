//! Starts the worker's tasks, and stops them.

use std::sync::Arc;
use std::time::Duration;

use payhook_schema::{PaymentKey, new_id};
use thiserror::Error;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::ask::gate::ProviderGate;
use crate::chores::{dead_letters, follow, relay, replay, retention, share, sweep, unrouted};
use crate::context::{Context, WorkerOptions, WorkerParts};
use crate::hints::outcome::HintOutcome;
use crate::hints::single_flight::SingleFlight;
use crate::hints::{Hints, intake, settle_payment, writer};

/// Outcomes waiting for a writer: a few batches' worth.
const OUTCOMES_MAX: usize = 256;
/// The time to ack the deliveries in hand once the worker stops; the rest comes back by itself.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// The longest a worker that stops takes to give its shares of the budgets to the others; they run out by themselves.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(3);

/// Takes hints, asks providers, moves payments, tells fulfilment.
pub struct Worker {
    hints: Arc<Hints>,
    due: mpsc::UnboundedReceiver<PaymentKey>,
    ready: mpsc::Receiver<HintOutcome>,
}

impl Worker {
    pub fn new(parts: WorkerParts, options: WorkerOptions) -> Self {
        let context = Arc::new(Context::new(parts, options));
        let gate = Arc::new(ProviderGate::new(context.clone()));
        let (single_flight, due) = SingleFlight::new();
        let (to_writers, ready) = mpsc::channel(OUTCOMES_MAX);
        let hints = Arc::new(Hints::new(context, gate, single_flight, to_writers));
        Self { hints, due, ready }
    }

    /// Works until `stop`, then finishes what is in hand.
    ///
    /// # Errors
    /// One of its tasks ended by itself, which only a bug does: whoever runs the worker must not go on as if it worked.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Died> {
        let Self { hints, due, ready } = self;
        let (context, gate) = (hints.context.clone(), hints.gate.clone());
        // The inner tasks outlive the outer ones: what was taken is still asked about, written and acked.
        let (flow, abandon) = (stop.child_token(), context.abandon.clone());
        let (mut outer, mut inner) = (JoinSet::new(), JoinSet::new());
        let holder = new_id(context.clock.now());
        outer.spawn(intake::intake(hints.clone(), flow.clone()));
        outer.spawn(sweep::sweep(context.clone(), gate.clone(), flow.clone()));
        outer.spawn(dead_letters::move_to_store(context.clone(), flow.clone()));
        outer.spawn(unrouted::move_back(context.clone(), flow.clone()));
        outer.spawn(relay::relay(context.clone(), holder, flow.clone()));
        outer.spawn(replay::replay(context.clone(), gate.clone(), holder, flow.clone()));
        outer.spawn(follow::follow(context.clone(), gate.clone(), holder, flow.clone()));
        outer.spawn(retention::retain(context.clone(), holder, flow.clone()));
        // Until the last question is answered.
        inner.spawn(share::share(context.clone(), gate.clone(), holder, abandon.clone()));
        inner.spawn(settle_payment::dispatch(hints.clone(), due, abandon.clone()));
        let ready = Arc::new(Mutex::new(ready));
        for _ in 0..context.options.writers.max(1) {
            inner.spawn(writer::writer(hints.clone(), ready.clone(), abandon.clone()));
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
        let finished = async {
            while outer.join_next().await.is_some() {}
            context.in_hand.wait().await;
        };
        if tokio::time::timeout(STOP_WITHIN, finished).await.is_err() {
            warn!(deliveries = context.in_hand.len(), "stopped with deliveries in hand; they come again");
        }
        abandon.cancel();
        inner.shutdown().await;
        let _ = tokio::time::timeout(GIVE_UP_WITHIN, share::give_up(&context, &gate, holder)).await;
        Ok(())
    }
}

/// A task of the worker ended by itself.
#[derive(Debug, Error)]
#[error("a part of the worker died")]
pub struct Died(#[source] Option<tokio::task::JoinError>);
