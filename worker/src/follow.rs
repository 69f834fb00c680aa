use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::{Account, EventsPage};
use payhook_schema::{AccountName, Because, Envelope, PaymentKey, Provider};
use payhook_store::Found;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::patience::{chain, jittered};
use crate::worker::Context;

/// One account's list is followed by one worker at a time; one that died is replaced after this long.
const LEASE_FOR: Duration = Duration::from_mins(2);
/// Each look begins this long before the last one's end: an event may become visible after its time.
const OVERLAP: SignedDuration = SignedDuration::from_mins(15);
/// Where nothing was followed yet, the last day is looked through: an outage of ours is seldom longer, and the sweep asks about every
/// payment that is not final anyway.
const AT_FIRST: SignedDuration = SignedDuration::from_hours(24);
/// An answer asked for this long after an event has seen what the event is about: the list tells times in whole seconds.
const SEEN_AFTER: SignedDuration = SignedDuration::from_secs(2);
/// Refunds and disputes of what is paid are found by nobody else: there, what the clocks of the two of us may differ is allowed for.
const SURELY_SEEN_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// Pages of one look; the next look goes on from where this one ended.
const PAGES: u32 = 50;

/// What is new about a charge.
#[derive(Clone, Copy)]
struct News {
    /// When something happened to it last.
    at: Timestamp,
    /// An answer asked for from then on has seen all of it.
    seen_by: Timestamp,
}

/// Reads Omise's own list of events, which no lost webhook shortens: a charge of ours that something happened to since it was last asked
/// about becomes a hint like any other.
pub(crate) async fn follow(context: Arc<Context>, holder: Uuid, stop: CancellationToken) {
    let Some(every) = context.options.follow_every else { return stop.cancelled().await };
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(jittered(every)) => {}
        }
        for account in context.accounts.all() {
            if account.provider() != Provider::Omise || stop.is_cancelled() {
                continue;
            }
            if let Err(why) = look(&context, account.clone(), holder).await {
                warn!(account = %account.name(), "cannot follow the events of omise account `{}`: {why}", account.name());
            }
        }
    }
}

/// One look at one account's events, from where the last one ended.
async fn look(context: &Context, account: Arc<Account>, holder: Uuid) -> Result<(), String> {
    let name = format!("follow:{}/{}", account.provider(), account.name());
    let now = context.clock.now();
    let store = |error: payhook_store::StoreError| chain(&error);
    if !context.store.lease_take(&name, holder, now, LEASE_FOR).await.map_err(store)? {
        return Ok(());
    }
    if context.breakers.is_open(account.provider(), account.name()) {
        return Ok(());
    }
    let seen_to = context.store.watermark_get(&name).await.map_err(store)?;
    let from = seen_to.map_or(now - AT_FIRST, |seen_to| seen_to - OVERLAP);
    let (latest, whole) = read(context, &account, from, now).await?;
    let hints = hints(context, account.name(), &latest).await?;
    debug!(account = %account.name(), charges = latest.len(), hints, "followed omise's events");
    metrics::counter!("payhook_follow_hints_total").increment(hints);
    // What was read is hinted at: only now is it behind us.
    let to = if whole { Some(now) } else { latest.values().map(|news| news.at).max() };
    match to {
        Some(to) => context.store.watermark_set(&name, to).await.map_err(store),
        None => Ok(()),
    }
}

/// When something happened last to each charge in the list between `from` and `to`, and whether that is the whole list.
async fn read(
    context: &Context,
    account: &Arc<Account>,
    from: Timestamp,
    to: Timestamp,
) -> Result<(BTreeMap<PaymentKey, News>, bool), String> {
    let mut latest: BTreeMap<PaymentKey, News> = BTreeMap::new();
    let mut offset = 0;
    for _ in 0..PAGES {
        let asking = context.turn(account.clone()).await;
        let page: EventsPage = asking.events(from, to, offset).await.map_err(|error| error.to_string())?;
        let (read, total) = (page.entries(), page.total);
        if page.unread > 0 {
            warn!(account = %account.name(), unread = page.unread, "omise lists events that cannot be read; they are passed over");
        }
        for event in page.events {
            let Some(id) = event.charge else { continue };
            let key = PaymentKey { provider: account.provider(), account: account.name().clone(), id };
            let overlay = event.kind.starts_with("refund.") || event.kind.starts_with("dispute.");
            let seen_by = event.created_at + if overlay { SURELY_SEEN_AFTER } else { SEEN_AFTER };
            let news = News { at: event.created_at, seen_by };
            let known = latest.entry(key).or_insert(news);
            *known = News { at: known.at.max(news.at), seen_by: known.seen_by.max(news.seen_by) };
        }
        offset += read;
        if read == 0 || offset >= total {
            return Ok((latest, true));
        }
    }
    Ok((latest, false))
}

/// Hints at the charges of ours that were not asked about since; how many.
async fn hints(context: &Context, account: &AccountName, latest: &BTreeMap<PaymentKey, News>) -> Result<u64, String> {
    let mut hints = 0;
    let keys: Vec<PaymentKey> = latest.keys().cloned().collect();
    for keys in keys.chunks(100) {
        let found = context.store.payments_find(keys).await.map_err(|error| chain(&error))?;
        for (key, found) in keys.iter().zip(found) {
            // Other shops may share the account: their charges are none of our business.
            let Found::Order(order) = found else { continue };
            let asked_at = order.payment(key).and_then(|payment| payment.asked_at);
            let is_news = asked_at.is_none_or(|asked_at| asked_at < latest[key].seen_by);
            if !is_news {
                continue;
            }
            let envelope = Envelope::ask(key.clone(), Because::Feed, context.clock.now());
            context.queue.publish(&envelope).await.map_err(|error| format!("{account}: {}", chain(&error)))?;
            hints += 1;
        }
    }
    Ok(hints)
}
