//! Shares the providers' budgets between the workers: shows this worker to the others, and takes, renews and gives up
//! its shares.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use payhook_schema::jittered;
use payhook_store::StoreError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::ask::budget::{Budget, RENEW_EVERY, SHARE_FOR, TAKE_EVERY, WORKERS};
use crate::ask::gate::ProviderGate;
use crate::context::Context;
use crate::error_chain::chain;

fn budgets(context: &Context, gate: &ProviderGate) -> Vec<Arc<Budget>> {
    gate.budgets.all(&context.accounts.all())
}

/// Runs until the worker ends.
pub(crate) async fn share(context: Arc<Context>, gate: Arc<ProviderGate>, holder: Uuid, stop: CancellationToken) {
    if gate.budgets.alone {
        metrics::gauge!("payhook_workers").set(1.0);
        return stop.cancelled().await;
    }
    let mut known = 0;
    while !stop.is_cancelled() {
        let began = Instant::now();
        match renew(&context, &gate, holder).await {
            Ok(workers) => {
                if known != workers {
                    info!(workers, "the providers' budgets are shared by {workers} workers");
                }
                known = workers;
                metrics::gauge!("payhook_workers").set(f64::from(workers));
            }
            Err(error) => {
                warn!(error = %chain(&error), "cannot renew the shares of the providers' budgets, trying again");
                for budget in budgets(&context, &gate) {
                    budget.not_renewed(Instant::now());
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(began + jittered(RENEW_EVERY)) => {}
            () = async {
                gate.budgets.due.notified().await;
                tokio::time::sleep_until(began + TAKE_EVERY).await;
            } => {}
        }
    }
}

/// Shows this worker, counts all of them, and takes and gives up shares accordingly; how many workers there are.
async fn renew(context: &Context, gate: &ProviderGate, holder: Uuid) -> Result<u32, StoreError> {
    let (store, now) = (&context.store, context.clock.now());
    let me = format!("{WORKERS}{holder}");
    let mut workers: BTreeSet<String> = store.leases_held(WORKERS, now).await?.into_iter().collect();
    workers.insert(me.clone());
    let rank = workers.iter().position(|name| *name == me).unwrap_or(0) as u32;
    let count = workers.len() as u32;

    let budgets = budgets(context, gate);
    let began = Instant::now();
    let mut names = vec![me];
    names.extend(budgets.iter().flat_map(|budget| budget.plan(count, rank, began)));
    let ours: HashSet<String> = store.leases_take(&names, holder, now, SHARE_FOR).await?.into_iter().collect();
    for budget in &budgets {
        budget.renewed(&ours, began, Instant::now());
        for name in budget.given_up() {
            store.lease_release(&name, holder).await?;
        }
    }
    Ok(count)
}

/// Gives up everything: to be called when this worker asks nobody any more.
pub(crate) async fn give_up(context: &Context, gate: &ProviderGate, holder: Uuid) {
    if gate.budgets.alone {
        return;
    }
    let held = budgets(context, gate).into_iter().flat_map(|budget| budget.leases());
    for name in held.chain([format!("{WORKERS}{holder}")]) {
        if context.store.lease_release(&name, holder).await.is_err() {
            // They run out by themselves.
            return;
        }
    }
}
