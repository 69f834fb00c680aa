//! Takes hints off the queue.

use std::sync::Arc;

use payhook_queue::{Deliveries, Delivery, Lane};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error_chain::chain;
use crate::hints::Hints;
use crate::hints::ack::ack;
use crate::hints::delivery::{Consumption, InHand, Unacked, goes_round, notification};
use crate::hints::route::{Subject, route};
use crate::wait::{HintWait, INTAKE_WAIT_MAX, intake_waits};

/// Deliveries taken in one go.
const AT_MOST: usize = 64;

/// Takes hints for ever: a consumption that ends is started again.
pub(crate) async fn intake(hints: Arc<Hints>, stop: CancellationToken) {
    let context = &hints.context;
    let prefetch = u16::try_from(context.options.concurrency * 2).unwrap_or(u16::MAX);
    let mut waits = intake_waits();
    while !stop.is_cancelled() {
        match context.queue.consume(Lane::Notifications, prefetch).await {
            Ok(consumer) => {
                info!(queue = %context.queue.address(), prefetch, "taking notifications");
                let consumption = Arc::new(Consumption {
                    settler: consumer.settler,
                    broken: CancellationToken::new(),
                    crashes: hints.crashes.clone(),
                });
                let started = Instant::now();
                take(&hints, consumer.deliveries, &consumption, &stop).await;
                if started.elapsed() > INTAKE_WAIT_MAX {
                    waits.reset();
                }
            }
            Err(error) => warn!(error = %chain(&error), "cannot take notifications, trying again"),
        }
        stop.run_until_cancelled(tokio::time::sleep(waits.next_wait())).await;
    }
}

/// Runs one consumption, until it breaks or the worker stops.
async fn take(
    hints: &Arc<Hints>,
    mut deliveries: Box<dyn Deliveries>,
    consumption: &Arc<Consumption>,
    stop: &CancellationToken,
) {
    loop {
        let taken = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = consumption.broken.cancelled() => return,
            taken = deliveries.next(AT_MOST) => taken,
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return warn!(error = %chain(&error), "the flow of notifications broke off"),
        };
        let mut waiting = Vec::new();
        for delivery in taken {
            match still_waits(hints, &delivery) {
                Some(wait) => waiting.push((delivery, wait)),
                None => route(hints, delivery, consumption).await,
            }
        }
        if !waiting.is_empty() {
            pass_on(hints, waiting, consumption);
        }
    }
}

/// Returns the wait of a notification that has waited for its account before, and has to again. It was archived when it
/// was put off first, its payment's timeline says why it waits, and the payment is due once the account answers:
/// nothing is looked up or written for it any more.
fn still_waits(hints: &Hints, delivery: &Delivery) -> Option<HintWait> {
    let about = notification(delivery).filter(|_| delivery.first_failed_at.is_some() && goes_round(delivery))?;
    let is_asked_about =
        matches!(Subject::of(delivery.envelope.as_ref().ok()?), Subject::Payment(_) | Subject::NamedOtherwise);
    let wait = || hints.gate.breakers.left_alone(about.provider, &about.account, None, Instant::now());
    is_asked_about.then(wait).flatten()
}

/// Gives hints another round through the queue, all at once and as they came.
fn pass_on(hints: &Hints, waiting: Vec<(Delivery, HintWait)>, consumption: &Arc<Consumption>) {
    metrics::counter!("payhook_worker_outcomes_total", "outcome" => "waiting").increment(waiting.len() as u64);
    let outcomes = hints.outcomes();
    let judged = |(delivery, wait): (Delivery, HintWait)| {
        let (unacked, verdict) = (Unacked::new(consumption.clone(), None), outcomes.waits(&delivery, &wait));
        (InHand { delivery, unacked, token: hints.context.in_hand.token() }, verdict)
    };
    tokio::spawn(ack(waiting.into_iter().map(judged).collect()));
}
