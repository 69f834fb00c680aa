use std::collections::HashMap;
use std::sync::Arc;

use payhook_queue::{Death, Delivery, Verdict};
use payhook_schema::DeadCause;
use payhook_store::{Settled, Settlement};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::flights::{Generation, InHand};
use crate::outcome::Outcome;
use crate::patience::{Stopped, chain, patiently};
use crate::worker::Context;

/// Settlements written in one transaction: past some thirty the database gains little and a conflict costs more.
const BATCH: usize = 32;

/// Writes what flights come to, as many as are ready in one transaction, and settles their deliveries after the commit.
pub(crate) async fn writer(context: Arc<Context>, ready: Arc<Mutex<mpsc::Receiver<Outcome>>>, stop: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let taken = ready.lock().await.recv_many(&mut batch, BATCH).await;
        if taken == 0 {
            return;
        }
        let mut outcomes = std::mem::take(&mut batch);
        let settlements: Vec<Settlement> =
            outcomes.iter_mut().map(|outcome| std::mem::take(&mut outcome.settlement)).collect();
        metrics::histogram!("payhook_worker_batch_settlements").record(settlements.len() as f64);
        match patiently("writing settlements", &stop, || context.store.settle(&settlements)).await {
            Ok(written) => {
                if settlements.iter().flat_map(|it| &it.change).any(|change| !change.events.is_empty()) {
                    context.events_written.notify_one();
                }
                let verdicts = outcomes.into_iter().zip(written).flat_map(|it| land(&context, it.0, it.1)).collect();
                settle(verdicts).await;
            }
            Err(Stopped) => return,
        }
    }
}

/// What a written outcome settles; what was not written starts again.
fn land(context: &Context, outcome: Outcome, settled: Settled) -> Vec<(InHand, Verdict)> {
    match settled {
        Settled::Written => {
            metrics::counter!("payhook_worker_outcomes_total", "outcome" => outcome.word).increment(1);
            if let Some(key) = &outcome.key {
                context.flights.land(key);
            }
            outcome.verdicts
        }
        Settled::Conflict => {
            metrics::counter!("payhook_worker_outcomes_total", "outcome" => "conflict").increment(1);
            let key = outcome.key.expect("only a change can conflict, and a change has a payment");
            debug!(payment = %key, "the order moved meanwhile, asking again");
            let passengers = outcome.verdicts.into_iter().map(|(passenger, _)| passenger).collect();
            context.flights.return_to_gate(&key, passengers);
            Vec::new()
        }
        Settled::Refused(why) => {
            error!("the store refuses a settlement: {why}");
            poisoned(context, outcome, &why)
        }
    }
}

/// A value the store cannot keep: a person must look, and the neighbours go on.
fn poisoned(context: &Context, outcome: Outcome, why: &str) -> Vec<(InHand, Verdict)> {
    metrics::counter!("payhook_worker_outcomes_total", "outcome" => "poison").increment(1);
    if let Some(key) = &outcome.key {
        context.flights.land(key);
    }
    let death = Death { cause: DeadCause::Poison, detail: why.to_owned(), died_at: context.clock.now() };
    outcome.verdicts.into_iter().map(|(passenger, _)| (passenger, Verdict::DeadLetter(death.clone()))).collect()
}

/// Settles deliveries where they came from. A consumption that cannot settle is over: what it held comes back.
pub(crate) async fn settle(verdicts: Vec<(InHand, Verdict)>) {
    type Settling = (Arc<Generation>, Vec<(Delivery, Verdict)>);
    let mut by_generation: HashMap<usize, Settling> = HashMap::new();
    for (InHand { delivery, unsettled, _token }, verdict) in verdicts {
        let from = unsettled.settling();
        let group = by_generation.entry(Arc::as_ptr(&from).addr()).or_insert_with(|| (from.clone(), Vec::new()));
        group.1.push((delivery, verdict));
    }
    for (generation, settled) in by_generation.into_values() {
        match generation.settler.settle(settled).await {
            Ok(0) => {}
            Ok(gone) => {
                metrics::counter!("payhook_worker_deliveries_gone_total").increment(gone as u64);
                debug!(gone, "deliveries were no longer ours; they come again and change nothing");
            }
            Err(error) => {
                warn!(error = %chain(&error), "cannot settle deliveries; they come again and change nothing");
                generation.broken.cancel();
            }
        }
    }
}
