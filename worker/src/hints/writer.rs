//! Writes outcomes, as many as are ready in one transaction, and acks their deliveries after the commit.
//!
//! Of each order, one change at a time: the next one is decided on what this one makes of the order. Its provider is
//! not asked again.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use payhook_queue::{Death, Verdict};
use payhook_schema::ReplayOutcome;
use payhook_store::{ReplayResult, Settled, Settlement};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::ask::failure::Class;
use crate::hints::Hints;
use crate::hints::ack::ack;
use crate::hints::delivery::{InHand, goes_round};
use crate::hints::outcome::{HintOutcome, round_again};
use crate::hints::settle_payment::decide_again;
use crate::schedule::check_after_refusal;
use crate::store_retry::{GaveUp, store_retry};

/// Settlements written in one transaction: past some thirty the database gains little and a conflict costs more.
const BATCH: usize = 32;

/// An order has a hundred payments at most, each of them settled by one worker at a time: after so many conflicts,
/// something else keeps the order from being written.
const CONFLICTS_MAX: u32 = 200;

/// Runs until the last outcome is written, or `stop`.
pub(crate) async fn writer(hints: Arc<Hints>, ready: Arc<Mutex<mpsc::Receiver<HintOutcome>>>, stop: CancellationToken) {
    // Decided on what their order no longer is.
    let mut behind: Vec<HintOutcome> = Vec::new();
    loop {
        let (again, mut rest) = one_of_each_order(std::mem::take(&mut behind));
        let decided = join_all(again.into_iter().map(|outcome| decide_again(&hints, outcome))).await;
        let mut batch: Vec<HintOutcome> = decided.into_iter().flatten().collect();
        if batch.is_empty() {
            if ready.lock().await.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
        } else if let Ok(mut ready) = ready.try_lock() {
            // Another writer may hold the lock while it waits for outcomes: these need not wait for that.
            while batch.len() + rest.len() < BATCH
                && let Ok(outcome) = ready.try_recv()
            {
                batch.push(outcome);
            }
        }
        let (outcomes, more) = one_of_each_order(batch);
        rest.extend(more);
        behind = rest;
        if write(&hints, outcomes, &mut behind, &stop).await.is_err() {
            return;
        }
    }
}

/// The worker ends, and what was in hand comes back to another one.
struct WriterStopped;

/// Writes one batch, and acks it. Outcomes whose order moved meanwhile go to `behind`.
async fn write(
    hints: &Hints,
    mut outcomes: Vec<HintOutcome>,
    behind: &mut Vec<HintOutcome>,
    stop: &CancellationToken,
) -> Result<(), WriterStopped> {
    let (context, store) = (&hints.context, &hints.context.store);
    let mut settlements: Vec<Settlement> =
        outcomes.iter_mut().map(|outcome| std::mem::take(&mut outcome.settlement)).collect();
    for notification in settlements.iter_mut().flat_map(|settlement| &mut settlement.notifications) {
        context.vault.seal_body(notification);
    }
    metrics::histogram!("payhook_worker_batch_settlements").record(settlements.len() as f64);
    let written = match store_retry("writing settlements", stop, || store.settle(&settlements)).await {
        Ok(written) => written,
        Err(GaveUp::Stopped) => return Err(WriterStopped),
        Err(GaveUp::TooLong | GaveUp::Refused(_)) => {
            outcomes.iter().filter_map(|outcome| outcome.key.as_ref()).for_each(|key| hints.single_flight.finish(key));
            ack(round_again(outcomes.into_iter().flat_map(HintOutcome::into_deliveries), context.clock.now())).await;
            return Ok(());
        }
    };
    if settlements.iter().flat_map(|settlement| &settlement.change).any(|change| !change.events.is_empty()) {
        context.events_written.notify_one();
    }
    let refused = settlements.iter().zip(&written).filter(|(_, settled)| matches!(settled, Settled::Refused(_)));
    let put_off: Vec<Settlement> = refused.filter_map(|(settlement, _)| put_off(hints, settlement)).collect();
    let mut replayed = Vec::new();
    let mut verdicts = Vec::new();
    for (outcome, settled) in outcomes.into_iter().zip(written) {
        verdicts.extend(after_write(hints, outcome, settled, &mut replayed, behind));
    }
    if !put_off.is_empty() {
        let _ = store_retry("moving schedules on", stop, || store.settle(&put_off)).await;
    }
    // Before the ack: a result that could not be noted comes again with its delivery.
    if !replayed.is_empty() {
        let note = || store.replay_note(&replayed, context.clock.now());
        let _ = store_retry("noting what a replay did", stop, note).await;
    }
    ack(verdicts).await;
    Ok(())
}

/// Moves the schedule on of a payment whose change cannot be written.
fn put_off(hints: &Hints, refused: &Settlement) -> Option<Settlement> {
    let check = check_after_refusal(&refused.change.as_ref()?.payment, hints.context.clock.now());
    Some(Settlement { check: Some(check), ..Settlement::default() })
}

/// Splits off what would change an order that another one changes: within each part, everything is of an order of its
/// own or changes none.
fn one_of_each_order(outcomes: Vec<HintOutcome>) -> (Vec<HintOutcome>, Vec<HintOutcome>) {
    let mut orders = HashSet::new();
    let is_first = |outcome: &HintOutcome| match &outcome.decided_on {
        Some(decided_on) => orders.insert(decided_on.order.clone()),
        None => true,
    };
    outcomes.into_iter().partition(is_first)
}

/// Returns the verdicts of a written outcome; an outcome whose order moved meanwhile is decided again.
fn after_write(
    hints: &Hints,
    mut outcome: HintOutcome,
    settled: Settled,
    replayed: &mut Vec<ReplayResult>,
    behind: &mut Vec<HintOutcome>,
) -> Vec<(InHand, Verdict)> {
    let count = |word| metrics::counter!("payhook_worker_outcomes_total", "outcome" => word).increment(1);
    match settled {
        Settled::Written => {
            replayed.append(&mut outcome.replayed);
            count(outcome.word);
            outcome.key.iter().for_each(|key| hints.single_flight.finish(key));
            outcome.verdicts
        }
        Settled::Conflict => {
            count("conflict");
            let key = outcome.key.clone().expect("only a change can conflict, and a change has a payment");
            outcome.conflicts += 1;
            if outcome.conflicts < CONFLICTS_MAX {
                debug!(payment = %key, "the order moved meanwhile, deciding again");
                behind.push(outcome);
                return Vec::new();
            }
            warn!(payment = %key, "the order of {key} cannot be written for now; its hints go round the queue");
            hints.single_flight.finish(&key);
            round_again(outcome.into_deliveries(), hints.context.clock.now())
        }
        Settled::Refused(why) => {
            error!("the store refuses a settlement: {why}");
            count("poison");
            let failed = |result: ReplayResult| ReplayResult {
                outcome: Some(ReplayOutcome::Failed),
                detail: why.clone(),
                ..result
            };
            replayed.extend(outcome.replayed.into_iter().map(failed));
            outcome.key.iter().for_each(|key| hints.single_flight.finish(key));
            let died_at = hints.context.clock.now();
            poisoned(outcome.verdicts, &Death { cause: Class::Poison.cause(), detail: why, died_at })
        }
    }
}

/// A value the store cannot keep: a person must look, and the neighbours go on. A look of our own is made again on the
/// payment's schedule, which moves on, and leaves no dead letter each time.
fn poisoned(verdicts: Vec<(InHand, Verdict)>, death: &Death) -> Vec<(InHand, Verdict)> {
    let judged = |(in_hand, verdict): (InHand, Verdict)| {
        let verdict = if goes_round(&in_hand.delivery) { Verdict::DeadLetter(death.clone()) } else { verdict };
        (in_hand, verdict)
    };
    verdicts.into_iter().map(judged).collect()
}
