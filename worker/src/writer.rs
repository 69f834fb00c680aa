use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use payhook_queue::{Death, Delivery, Verdict};
use payhook_schema::ReplayOutcome;
use payhook_store::{Change, PaymentCheck, ReplayResult, Settled, Settlement};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, error, warn};

use crate::class::Class;
use crate::flights::{Generation, InHand};
use crate::intake;
use crate::outcome::{Outcome, goes_round};
use crate::patience::{GaveUp, chain, jittered, patiently};
use crate::worker::Context;

/// The first wait before deliveries are settled again, the longest, and how long that goes on. Together with the wait
/// for the store it stays within RabbitMQ's half hour for an ack. It is long because giving back counts: a broker in
/// alarm takes no retries for hours, and a hint must not become poison for that. A delivery that is given back is not
/// taken again before the broker confirms publishes.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);
const SETTLE_AGAIN_MAX: Duration = Duration::from_secs(10);
const SETTLE_WITHIN: Duration = Duration::from_mins(20);
/// The time that a hint goes round the queue while the store is away.
const ROUND: Duration = Duration::from_secs(30);
/// The time before a payment that the store refuses to finish is looked at again.
const AFTER_REFUSAL: SignedDuration = SignedDuration::from_hours(1);

/// Settlements written in one transaction: past some thirty the database gains little and a conflict costs more.
const BATCH: usize = 32;

/// An order has a hundred payments at most, each of them settled by one worker at a time: after so many conflicts, something else keeps the
/// order from being written.
const CONFLICTS_MAX: u32 = 200;

/// Writes what flights come to, as many as are ready in one transaction, and settles their deliveries after the commit.
///
/// Of each order, one change at a time: the next one is decided on what this one makes of the order. Its provider is not asked again.
pub(crate) async fn writer(context: Arc<Context>, ready: Arc<Mutex<mpsc::Receiver<Outcome>>>, stop: CancellationToken) {
    // Decided on what their order no longer is.
    let mut behind: Vec<Outcome> = Vec::new();
    loop {
        let (again, mut rest) = one_of_each_order(std::mem::take(&mut behind));
        let decided = join_all(again.into_iter().map(|outcome| intake::decide_again(&context, outcome))).await;
        let mut batch: Vec<Outcome> = decided.into_iter().flatten().collect();
        if batch.is_empty() {
            if ready.lock().await.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
        } else if let Ok(mut ready) = ready.try_lock() {
            while batch.len() + rest.len() < BATCH
                && let Ok(outcome) = ready.try_recv()
            {
                batch.push(outcome);
            }
        }
        let (mut outcomes, more) = one_of_each_order(batch);
        rest.extend(more);
        behind = rest;
        let mut settlements: Vec<Settlement> =
            outcomes.iter_mut().map(|outcome| std::mem::take(&mut outcome.settlement)).collect();
        for notification in settlements.iter_mut().flat_map(|settlement| &mut settlement.notifications) {
            context.vault.seal_body(notification);
        }
        metrics::histogram!("payhook_worker_batch_settlements").record(settlements.len() as f64);
        match patiently("writing settlements", &stop, || context.store.settle(&settlements)).await {
            Ok(written) => {
                if settlements.iter().flat_map(|it| &it.change).any(|change| !change.events.is_empty()) {
                    context.events_written.notify_one();
                }
                let refused = settlements.iter().zip(&written).filter(|(_, it)| matches!(it, Settled::Refused(_)));
                let put_off: Vec<Settlement> =
                    refused.filter_map(|(settlement, _)| schedule_of(settlement, context.clock.now())).collect();
                let mut replayed = Vec::new();
                let landed = outcomes.into_iter().zip(written);
                let verdicts = landed.flat_map(|it| land(&context, it.0, it.1, &mut replayed, &mut behind)).collect();
                if !put_off.is_empty() {
                    let put = || context.store.settle(&put_off);
                    let _ = patiently("moving schedules on", &stop, put).await;
                }
                // Before the ack: a result that could not be noted comes again with its delivery.
                if !replayed.is_empty() {
                    let note = || context.store.replay_note(&replayed, context.clock.now());
                    let _ = patiently("noting what a replay did", &stop, note).await;
                }
                settle(verdicts).await;
            }
            Err(GaveUp::Stopped) => return,
            Err(GaveUp::TooLong | GaveUp::Refused(_)) => {
                let now = context.clock.now();
                let waiting = outcomes.into_iter().flat_map(|outcome| {
                    if let Some(key) = &outcome.key {
                        context.flights.land(key);
                    }
                    outcome.verdicts.into_iter().map(|(passenger, _)| passenger)
                });
                settle(waiting.map(|passenger| round_again(passenger, now)).collect()).await;
            }
        }
    }
}

/// Splits off what would change an order that another one changes: within each part, everything is of an order of its own or changes none.
fn one_of_each_order(outcomes: Vec<Outcome>) -> (Vec<Outcome>, Vec<Outcome>) {
    let mut orders = HashSet::new();
    let is_first = |outcome: &Outcome| match &outcome.answered {
        Some(answered) => orders.insert(answered.order.clone()),
        None => true,
    };
    outcomes.into_iter().partition(is_first)
}

/// Once round the queue, unchanged and uncounted: the store is away, and no broker lets a delivery be held for ever.
fn round_again(passenger: InHand, now: Timestamp) -> (InHand, Verdict) {
    let Delivery { attempt, first_failed_at, .. } = passenger.delivery;
    let first_failed_at = first_failed_at.unwrap_or(now);
    (passenger, Verdict::Retry { after: ROUND, attempt, first_failed_at })
}

/// Gives hints another round through the queue, outside any batch.
pub(crate) async fn go_round(context: &Context, passengers: Vec<InHand>) {
    let now = context.clock.now();
    settle(passengers.into_iter().map(|passenger| round_again(passenger, now)).collect()).await;
}

/// Returns the verdicts of a written outcome; an outcome whose order moved meanwhile is decided again.
fn land(
    context: &Context,
    mut outcome: Outcome,
    settled: Settled,
    replayed: &mut Vec<ReplayResult>,
    behind: &mut Vec<Outcome>,
) -> Vec<(InHand, Verdict)> {
    match settled {
        Settled::Written => {
            replayed.append(&mut outcome.replayed);
            metrics::counter!("payhook_worker_outcomes_total", "outcome" => outcome.word).increment(1);
            if let Some(key) = &outcome.key {
                context.flights.land(key);
            }
            outcome.verdicts
        }
        Settled::Conflict => {
            metrics::counter!("payhook_worker_outcomes_total", "outcome" => "conflict").increment(1);
            let key = outcome.key.clone().expect("only a change can conflict, and a change has a payment");
            outcome.conflicts += 1;
            if outcome.conflicts < CONFLICTS_MAX {
                debug!(payment = %key, "the order moved meanwhile, deciding again");
                behind.push(outcome);
                return Vec::new();
            }
            warn!(payment = %key, "the order of {key} cannot be written for now; its hints go round the queue");
            context.flights.land(&key);
            let now = context.clock.now();
            outcome.verdicts.into_iter().map(|(passenger, _)| round_again(passenger, now)).collect()
        }
        Settled::Refused(why) => {
            error!("the store refuses a settlement: {why}");
            let failed = |result: &ReplayResult| ReplayResult {
                outcome: Some(ReplayOutcome::Failed),
                detail: why.clone(),
                ..result.clone()
            };
            replayed.extend(outcome.replayed.iter().map(failed));
            poisoned(context, outcome, &why)
        }
    }
}

/// A value the store cannot keep: a person must look, and the neighbours go on. A look of our own is made again on the payment's schedule,
/// which moves on, and leaves no dead letter each time.
fn poisoned(context: &Context, outcome: Outcome, why: &str) -> Vec<(InHand, Verdict)> {
    metrics::counter!("payhook_worker_outcomes_total", "outcome" => "poison").increment(1);
    if let Some(key) = &outcome.key {
        context.flights.land(key);
    }
    let death = Death { cause: Class::Poison.cause(), detail: why.to_owned(), died_at: context.clock.now() };
    let judged = |(passenger, verdict): (InHand, Verdict)| {
        let verdict = if goes_round(&passenger.delivery) { Verdict::DeadLetter(death.clone()) } else { verdict };
        (passenger, verdict)
    };
    outcome.verdicts.into_iter().map(judged).collect()
}

/// Returns the schedule of a payment whose settlement cannot be written.
fn schedule_of(settlement: &Settlement, now: Timestamp) -> Option<Settlement> {
    let Change { payment, .. } = settlement.change.as_ref()?;
    // One that would be finished is not, as far as the store knows.
    let planned = payment.next_check_at.filter(|_| payment.is_unfinished());
    let next_check_at = planned.or_else(|| now.checked_add(AFTER_REFUSAL).ok());
    let check = PaymentCheck { key: payment.key.clone(), next_check_at, checks: payment.checks, asked: None };
    Some(Settlement { check: Some(check), ..Settlement::default() })
}

/// Settles deliveries where they came from.
pub(crate) async fn settle(verdicts: Vec<(InHand, Verdict)>) {
    let mut by_generation: HashMap<usize, Settling> = HashMap::new();
    for (InHand { delivery, unsettled, token }, verdict) in verdicts {
        let from = unsettled.settling();
        let group = by_generation.entry(Arc::as_ptr(&from).addr()).or_insert_with(|| Settling::new(from.clone()));
        group.verdicts.push((delivery, verdict));
        group.tokens.push(token);
    }
    for settling in by_generation.into_values() {
        settling.run().await;
    }
}

/// Deliveries of one consumption with their verdicts.
struct Settling {
    from: Arc<Generation>,
    verdicts: Vec<(Delivery, Verdict)>,
    /// Until these are dropped, a graceful stop waits.
    tokens: Vec<TaskTrackerToken>,
}

impl Settling {
    fn new(from: Arc<Generation>) -> Self {
        Self { from, verdicts: Vec::new(), tokens: Vec::new() }
    }

    async fn run(self) {
        match self.from.settler.settle(&self.verdicts).await {
            Ok(0) => {}
            Ok(gone) => {
                metrics::counter!("payhook_worker_deliveries_gone_total").increment(gone as u64);
                debug!(gone, "deliveries were no longer ours; they come again and change nothing");
            }
            Err(error) => {
                warn!(error = %chain(&error), "cannot settle deliveries, trying again");
                tokio::spawn(self.try_again());
            }
        }
    }

    /// Tries the verdicts again. An acked delivery stays acked; a delivery that cannot be moved on is held while the
    /// consumption lives. Giving it back at once would count against it, and against its neighbours in hand, for a
    /// fault that is none of theirs.
    async fn try_again(self) {
        let started = tokio::time::Instant::now();
        let mut wait = SETTLE_AGAIN;
        while started.elapsed() < SETTLE_WITHIN && !self.from.broken.is_cancelled() {
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(SETTLE_AGAIN_MAX);
            if self.from.settler.settle(&self.verdicts).await.is_ok() {
                return;
            }
        }
        warn!("gave up settling deliveries; they come again and change nothing");
        self.from.broken.cancel();
        drop(self.tokens);
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use payhook_queue::{QueueError, Settler};

    use super::*;
    use crate::flights::Crashes;

    /// A broker in alarm: it takes no publish, so nothing can be moved on.
    struct InAlarm;

    #[async_trait]
    impl Settler for InAlarm {
        async fn settle(&self, _: &[(Delivery, Verdict)]) -> Result<usize, QueueError> {
            Err(QueueError::Full { address: "amqp://mq".to_owned() })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_moved_on_is_held_and_given_back_within_the_half_hour_of_an_ack() {
        let broken = CancellationToken::new();
        let from =
            Generation { settler: Arc::new(InAlarm), broken: broken.clone(), crashes: Arc::new(Crashes::default()) };
        Settling::new(Arc::new(from)).run().await;
        let minutes = async |minutes| tokio::time::timeout(Duration::from_mins(minutes), broken.cancelled()).await;
        assert!(minutes(19).await.is_err(), "giving back counts towards poison: a short alarm counts for nothing");
        minutes(2).await.expect("the broker closes the channel of whoever holds a delivery for half an hour");
    }
}
