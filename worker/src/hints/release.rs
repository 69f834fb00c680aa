//! Takes a release off the queue, decides on what is stored, and writes it if that still stands.
//!
//! The message only points to a release in the store, which the console wrote together with its audit entry.

use std::sync::Arc;

use payhook_schema::Hint;
use payhook_store::{Settled, Settlement};
use tracing::{info, warn};
use uuid::Uuid;

use crate::ask::failure::Unfinished;
use crate::context::Context;
use crate::hints::Hints;
use crate::hints::delivery::InHand;
use crate::hints::outcome::{Group, HintOutcome};
use crate::money::decide::Decided;
use crate::money::release::{ReleaseStep, step};

pub(crate) async fn deal_with(hints: Arc<Hints>, in_hand: InHand) {
    let Ok(Hint::Release { id, .. }) = in_hand.delivery.envelope.as_ref().map(|envelope| &envelope.hint) else {
        return;
    };
    match release(&hints.context, *id).await {
        Ok(decided) => hints.write(HintOutcome::done(in_hand, decided.as_str())).await,
        Err(why) => hints.not_finished(Group::one(in_hand), why).await,
    }
}

/// Decides on what is stored and writes it if that still stands, else again.
async fn release(context: &Context, id: Uuid) -> Result<Decided, Unfinished> {
    let store = &context.store;
    let release = context.store_retry("reading a release", || store.release_get(id)).await?;
    let missing = || Unfinished::Poison(format!("the store has no release {id}: nobody asked for it at the console"));
    let release = release.ok_or_else(missing)?;
    let order_id = &release.order;
    loop {
        let order = context.store_retry("looking an order up", || store.order_get(order_id)).await?;
        let Some(order) = order.filter(|order| !order.payments.is_empty()) else { return Ok(Decided::Unchanged) };
        let sent = context.store_retry("reading an order's events", || store.events_of(order_id)).await?;
        let (change, timeline, decided) = match step(&order, &release, &sent, context.clock.now()) {
            ReleaseStep::Done => return Ok(Decided::Unchanged),
            ReleaseStep::TooLate(entry) => (None, vec![entry], Some(Decided::Refused)),
            ReleaseStep::Record(change, entry) => (Some(change), vec![entry], None),
            ReleaseStep::Release(change, timeline) => (Some(change), timeline, Some(Decided::Applied)),
        };
        let settlement = [Settlement { order: Some(order_id.clone()), timeline, change, ..Settlement::default() }];
        let settled = context.store_retry("releasing an order", || store.settle(&settlement)).await?;
        match settled.into_iter().next() {
            Some(Settled::Written) => {
                context.events_written.notify_one();
                if let Some(decided) = decided {
                    info!(order.id = %order_id, "release of order {order_id} by {}: {}", release.who, decided.as_str());
                    return Ok(decided);
                }
            }
            Some(Settled::Refused(why)) => {
                warn!(order.id = %order_id, "cannot release order {order_id}: {why}");
                return Err(Unfinished::Poison(why));
            }
            // The order moved meanwhile, and may not be released any more.
            Some(Settled::Conflict) | None => {}
        }
    }
}
