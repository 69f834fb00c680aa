//! Hands out the items of replays: one runner at a time, by a lease; each replay at its own rate, and at a trickle
//! while live traffic leaves no room. The items wait in the store, which is the lane of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use payhook_provider::AskError;
use payhook_schema::{About, Envelope, Hint, Notification, PaymentKey, ReplayOutcome, TimelineKind};
use payhook_store::{Found, Replay, ReplayItem, ReplayResult, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use crate::ask::failure::NotAsked;
use crate::ask::gate::{ProviderGate, Who};
use crate::chores::lease::Lease;
use crate::chores::sweep;
use crate::context::Context;
use crate::error_chain::chain;
use crate::hints::refunds::named_elsewhere;
use crate::money::decide::{Decided, Question, decide};
use crate::schedule::NextCheck;

/// The intervals at which items are handed out, and looked for while there are none.
const TICK: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(1);
/// A hint has this long to be settled before it is handed out again. Twice is harmless, and little waits on the queue
/// while items are handed out; a runner that died between the claim and the publish is made up for as soon.
const HOLD_FOR: Duration = Duration::from_secs(20);
/// With more than this waiting on the live queue, a replay's own share is one item at a time.
const LIVE_MAX: u32 = 50;
/// After that item, and after items that could not be tried: their account is left alone, or the queue is away.
const AFTER_WAITING: Duration = Duration::from_secs(2);
/// Items of one tick, whatever the rate.
const AT_ONCE: u32 = 100;

/// Runs until `stop`.
pub(crate) async fn replay(context: Arc<Context>, gate: Arc<ProviderGate>, holder: Uuid, stop: CancellationToken) {
    // What a runner that died had handed out is handed out again when its claim runs out.
    let (mut lease, mut paces) = (Lease::new("replay", holder), HashMap::new());
    while !stop.is_cancelled() {
        let wait = match lease.is_mine(&context).await {
            true => round(&context, &gate, &mut paces).await.unwrap_or_else(|error| {
                warn!(error = %chain(&error), "cannot hand out the items of replays, trying again");
                IDLE
            }),
            false => IDLE,
        };
        stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
    lease.release(&context).await;
}

/// The pace of one replay, and the time from which it goes on.
struct ReplayPace {
    /// Items it may hand out by now.
    allowance: f64,
    counted_at: Instant,
    /// Items that could not be tried are not tried again before this.
    not_before: Instant,
}

impl ReplayPace {
    fn new() -> Self {
        let now = Instant::now();
        Self { allowance: 0.0, counted_at: now, not_before: now }
    }

    /// Returns the number of items that may be handed out now.
    fn due(&mut self, rate_per_s: u32) -> u32 {
        let (now, rate) = (Instant::now(), f64::from(rate_per_s));
        self.allowance = (self.allowance + (now - self.counted_at).as_secs_f64() * rate).min(rate.max(1.0));
        self.counted_at = now;
        if now < self.not_before { 0 } else { (self.allowance as u32).min(AT_ONCE) }
    }
}

/// Goes once over all replays that run, and returns the time until the next round.
async fn round(
    context: &Context,
    gate: &ProviderGate,
    paces: &mut HashMap<Uuid, ReplayPace>,
) -> Result<Duration, StoreError> {
    let running = context.store.replay_running().await?;
    paces.retain(|id, _| running.iter().any(|replay| replay.id == *id));
    if running.is_empty() {
        return Ok(IDLE);
    }
    for Replay { id, rate_per_s, .. } in running {
        let pace = paces.entry(id).or_insert_with(ReplayPace::new);
        let due = pace.due(rate_per_s);
        if due == 0 {
            continue;
        }
        let (due, rests) = match sweep::more_wait(context, LIVE_MAX).await {
            Some(false) => (due, false),
            Some(true) => (1, true),
            // A queue that cannot say so is not bothered further.
            None => continue,
        };
        let handed = hand_out(context, gate, id, due).await?;
        pace.allowance -= f64::from(handed.items);
        if handed.waiting || rests {
            pace.not_before = Instant::now() + AFTER_WAITING;
        }
    }
    Ok(TICK)
}

/// The number of items handed out, and whether some of them could not be tried.
struct Handed {
    items: u32,
    waiting: bool,
}

/// Hands out up to `limit` items of one replay.
async fn hand_out(context: &Context, gate: &ProviderGate, replay: Uuid, limit: u32) -> Result<Handed, StoreError> {
    let items = context.store.replay_claim(replay, context.clock.now(), HOLD_FOR, limit).await?;
    let handed = items.len() as u32;
    let results: Vec<ReplayResult> =
        join_all(items.into_iter().map(|item| take(context, gate, item))).await.into_iter().flatten().collect();
    if !results.is_empty() {
        context.store.replay_note(&results, context.clock.now()).await?;
    }
    metrics::counter!("payhook_replay_items_total").increment(u64::from(handed));
    Ok(Handed { items: handed, waiting: results.iter().any(|result| result.outcome.is_none()) })
}

/// Plans an item here, or sends a hint for it. Returns `None` if its result comes from the worker that settles the
/// hint.
async fn take(context: &Context, gate: &ProviderGate, item: ReplayItem) -> Option<ReplayResult> {
    let taken = if item.plan { plan(context, gate, &item).await.map(Some) } else { hint(context, gate, &item).await };
    let (outcome, detail) = match taken {
        Ok(planned) => planned.map(|(outcome, detail)| (Some(outcome), detail))?,
        Err(NotReplayed::Failed(why)) => (Some(ReplayOutcome::Failed), why),
        Err(NotReplayed::Waits(why)) => (None, why),
    };
    Some(ReplayResult { item: item.id, outcome, detail })
}

/// The reason why an item was not replayed.
enum NotReplayed {
    /// The item failed for good.
    Failed(String),
    /// It waits again: nothing was tried.
    Waits(String),
}

impl From<StoreError> for NotReplayed {
    fn from(error: StoreError) -> Self {
        Self::Waits(chain(&error))
    }
}

type Planned = (ReplayOutcome, String);

/// Sends the hint that an item makes, like any other.
async fn hint(context: &Context, gate: &ProviderGate, item: &ReplayItem) -> Result<Option<Planned>, NotReplayed> {
    let left_alone =
        |key: &&PaymentKey| gate.breakers.left_alone(key.provider, &key.account, None, Instant::now()).is_some();
    if let Some(key) = item.payment.as_ref().filter(left_alone) {
        return Err(NotReplayed::Waits(format!("{} account `{}` is left alone for now", key.provider, key.account)));
    }
    let envelope = envelope(context, item).await?;
    context.queue.publish(&envelope).await.map_err(|error| NotReplayed::Waits(chain(&error)))?;
    Ok(None)
}

/// Returns the envelope of an item's hint. It carries the notification where there is one, because that may say what no
/// inquiry does: the archive's, and otherwise the one in the dead letter's own bytes, which was never proven or never
/// archived.
async fn envelope(context: &Context, item: &ReplayItem) -> Result<Envelope, NotReplayed> {
    let store = &context.store;
    if let Some(id) = item.notification
        && let Some(archived) = store.notification_get(id).await?
    {
        return Ok(Envelope::again(archived.notification, item.id));
    }
    let letter = match item.dead_letter {
        Some(id) => store.dead_letter_get(id).await?,
        None => None,
    };
    let bytes = letter.map(|letter| Envelope::decode(&letter.bytes));
    let why = match (bytes, &item.payment) {
        (Some(Ok(died)), _) => return Ok(Envelope { id: item.id, replay: Some(item.id), ..died }),
        (_, Some(payment)) => return Ok(Envelope::ask_again(payment.clone(), item.id)),
        // Without its cause: serde's own words quote what was in it.
        (Some(Err(error)), None) => format!("this version cannot read its bytes: {error}"),
        (None, None) => "it names no payment and holds no notification: nothing can be hinted at".to_owned(),
    };
    Err(NotReplayed::Failed(why))
}

/// Returns the payment an item is about, as this version reads it.
async fn payment(context: &Context, item: &ReplayItem) -> Result<Option<PaymentKey>, NotReplayed> {
    if item.payment.is_some() {
        return Ok(item.payment.clone());
    }
    let Hint::Notification(notification) = envelope(context, item).await?.hint else { return Ok(None) };
    match context.genuine(&notification).await {
        Ok(Notification { about: About::Unreadable(why), .. }) => {
            Err(NotReplayed::Failed(format!("this version cannot read it: {why}")))
        }
        Ok(genuine) => Ok(genuine.payment()),
        Err(doubt) => Err(NotReplayed::Failed(doubt.failure().detail)),
    }
}

/// Asks the provider, compares, and returns what replaying an item would change; writes nothing.
async fn plan(context: &Context, gate: &ProviderGate, item: &ReplayItem) -> Result<Planned, NotReplayed> {
    let Some(key) = payment(context, item).await? else {
        let why = "it names no payment by its id: what it would change shows only when it is replayed";
        return Ok((ReplayOutcome::Unchanged, why.to_owned()));
    };
    let found = context.store.payments_find(std::slice::from_ref(&key)).await?;
    let Some(Found::Order(order)) = found.into_iter().next() else {
        return Err(NotReplayed::Failed(format!("no order is registered with payment {key}")));
    };
    let now = context.clock.now();
    let asking = gate.enter(key.provider, &key.account, Who::Chore).await.map_err(|not_asked| match not_asked {
        NotAsked::Failed(failure) => NotReplayed::Failed(failure.detail),
        NotAsked::Wait(wait) => NotReplayed::Waits(wait.why.as_str().to_owned()),
    })?;
    let answer = asking.whole(&key, order.payment(&key), &[]).await.map_err(|error| match error {
        AskError::Throttled { .. } | AskError::Unavailable { .. } => NotReplayed::Waits(error.to_string()),
        _ => NotReplayed::Failed(error.to_string()),
    })?;
    let facts = answer.facts_without(&named_elsewhere(&key, &answer));
    let next = NextCheck { at: now, checks: 0 };
    let decision =
        decide(&Question { order: &order, key: &key, facts: &facts, foreign: &[], elsewhere: &[], next, now });
    let moves: Vec<&str> = decision
        .timeline
        .iter()
        .filter(|entry| entry.kind != TimelineKind::Inquiry)
        .map(|entry| entry.text.as_str())
        .collect();
    let result = |outcome, otherwise: &str| {
        let text = if moves.is_empty() { otherwise.to_owned() } else { moves.join("; ") };
        (outcome, format!("order {} ({}): {text}", order.id, order.state))
    };
    // A comparison reports every difference, not only changes: a provider that reports less than the store differs.
    let compares = item.dead_letter.is_none() && item.notification.is_none();
    Ok(match decision.outcome {
        Decided::Applied | Decided::Revived | Decided::Held => result(ReplayOutcome::Changed, "would change"),
        Decided::Refused if compares => result(ReplayOutcome::Changed, &facts.answer),
        Decided::Unchanged | Decided::Refused | Decided::OtherAccounts => {
            result(ReplayOutcome::Unchanged, &facts.answer)
        }
    })
}
