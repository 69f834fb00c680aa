//! Finds what nobody notified us of: payments and authorizations whose check is due become hints like any other.

use std::sync::Arc;
use std::time::Duration;

use payhook_schema::{Because, Envelope, jittered};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::ask::gate::ProviderGate;
use crate::context::Context;
use crate::error_chain::chain;

/// The interval at which the store is asked which payments are due.
const EVERY: Duration = Duration::from_secs(1);
/// The time a due payment is left to the hint that was made for it before another is.
const LEFT_TO_HINT: Duration = Duration::from_mins(2);
/// Hints of one round, and how many may wait before another: what is left is due again in a second.
const ROUND: u32 = 100;
/// The share that is the sweep's own, however many wait.
const SMALL_ROUND: u32 = 10;
const SMALL_EVERY: Duration = Duration::from_secs(5);

/// Late checks of one round, of payments that are finished: 800,000 a day and worker. They are taken where live work
/// leaves room: as long as no more hints than these wait on the queue, and a quarter of the worker's questions is more
/// than it has in hand. A million that are due at once wait, and keep nobody waiting.
const LATE_ROUND: u32 = 10;

/// Sweeps until `stop`. An authorization is due with a code to exchange or a token to refresh.
pub(crate) async fn sweep(context: Arc<Context>, gate: Arc<ProviderGate>, stop: CancellationToken) {
    let (mut busy, mut swept_at) = (false, Instant::now());
    loop {
        if stop.run_until_cancelled(tokio::time::sleep(jittered(EVERY))).await.is_none() {
            return;
        }
        // While the last rounds' hints still wait, more of them would only push live notifications further back: but
        // for a few, since what waits may be there for hours.
        let round = match busy && more_wait(&context, ROUND).await == Some(true) {
            true if swept_at.elapsed() < SMALL_EVERY => continue,
            true => SMALL_ROUND,
            false => ROUND,
        };
        swept_at = Instant::now();
        let now = context.clock.now();
        // One account's trouble, however many of its payments are due, takes no room from the others.
        let at_most = gate.breakers.worth_a_hint(swept_at);
        let due = match context.store.payments_due(now, LEFT_TO_HINT, round, &at_most).await {
            Ok(due) => due,
            Err(error) => {
                warn!(error = %chain(&error), "cannot sweep, trying again");
                continue;
            }
        };
        let tended = match context.store.authorizations_due(now, LEFT_TO_HINT, round).await {
            Ok(tended) => tended,
            Err(error) => {
                warn!(error = %chain(&error), "cannot sweep authorizations, trying again");
                Vec::new()
            }
        };
        let late = match due.len() < ROUND as usize && leaves_room(&context).await {
            true => context.store.payments_due_late(now, LEFT_TO_HINT, LATE_ROUND).await.unwrap_or_else(|error| {
                warn!(error = %chain(&error), "cannot sweep late checks, trying again");
                Vec::new()
            }),
            false => Vec::new(),
        };
        busy = !due.is_empty() || !tended.is_empty();
        let asks = due.into_iter().chain(late).map(|payment| Envelope::ask(payment, Because::Sweep, now));
        let tends = tended.into_iter().map(|id| Envelope::tend(id, Because::Sweep, now));
        for envelope in asks.chain(tends) {
            // Not published, it stays due: held for a while, then found again.
            if let Err(error) = context.queue.publish(&envelope).await {
                warn!(error = %chain(&error), "cannot hint at what is due, trying again later");
                break;
            }
            metrics::counter!("payhook_sweep_hints_total").increment(1);
        }
    }
}

/// Returns true if live work leaves room for late checks. A queue that cannot say so is not bothered further.
async fn leaves_room(context: &Context) -> bool {
    context.in_hand.len() <= context.options.concurrency / 4 && more_wait(context, LATE_ROUND).await == Some(false)
}

/// Returns true if more than `so_many` hints wait to be taken, ours and the providers'; `None` if the queue cannot say.
pub(crate) async fn more_wait(context: &Context, so_many: u32) -> Option<bool> {
    let waiting = context.queue.waiting(so_many.saturating_add(1)).await.ok()?;
    Some(waiting > so_many)
}
