//! Follows a provider's own list of events, where it has one, which no lost webhook shortens: a charge of ours that
//! something happened to since it was last asked about becomes a hint like any other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::{Account, EventsPage};
use payhook_schema::{AccountName, Because, Envelope, Payment, PaymentKey, jittered};
use payhook_store::{Found, Settlement, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::ask::failure::NotAsked;
use crate::ask::gate::{ProviderGate, Who};
use crate::chores::sweep;
use crate::context::Context;
use crate::error_chain::chain;
use crate::schedule::check_after_hint;

/// An account's list is followed by one worker at a time. A worker that died is replaced after this long.
const LEASE_FOR: Duration = Duration::from_mins(2);
/// Each look begins this long before the last one's end: an event may become visible after its time.
const OVERLAP: SignedDuration = SignedDuration::from_mins(15);
/// If nothing was followed yet, the last day is looked through: an outage of ours is seldom longer, and the sweep asks
/// about every payment that is not final anyway.
const AT_FIRST: SignedDuration = SignedDuration::from_hours(24);
/// An answer asked for this long after an event has seen what the event is about: the list tells times in whole
/// seconds.
const SEEN_AFTER: SignedDuration = SignedDuration::from_secs(2);
/// Refunds and disputes of what is paid are found by nobody else: there, what the clocks of the two of us may differ is
/// allowed for.
const SURELY_SEEN_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// Pages of one look; the next look goes on from where this one ended.
const PAGES: u32 = 200;
/// With more hints waiting than this, none are added: but for every fifth look, which is follow's own share.
const HINTS_MAX: u32 = 100;
const LOOKS_LEFT_OUT: u32 = 4;

/// Looks at the list of each account in turn, until `stop`.
pub(crate) async fn follow(context: Arc<Context>, gate: Arc<ProviderGate>, holder: Uuid, stop: CancellationToken) {
    let Some(every) = context.options.follow_every else { return stop.cancelled().await };
    let mut left_out = 0;
    while !stop.is_cancelled() {
        if stop.run_until_cancelled(tokio::time::sleep(jittered(every))).await.is_none() {
            return;
        }
        // While hints wait, more of them would only push live notifications further back; what is not read now is read
        // another time.
        if left_out < LOOKS_LEFT_OUT && sweep::more_wait(&context, HINTS_MAX).await == Some(true) {
            left_out += 1;
            continue;
        }
        left_out = 0;
        for account in context.accounts.all() {
            if !account.provider().profile().lists_events || stop.is_cancelled() {
                continue;
            }
            if let Err(why) = look(&context, &gate, account.clone(), holder).await {
                let (provider, name) = (account.provider(), account.name());
                warn!(account = %name, "cannot follow the events of {provider} account `{name}`: {why}");
            }
        }
    }
}

/// Looks at one account's events, from where the last look ended.
async fn look(context: &Context, gate: &ProviderGate, account: Arc<Account>, holder: Uuid) -> Result<(), String> {
    let name = format!("follow:{}/{}", account.provider(), account.name());
    let now = context.clock.now();
    let store = |error: StoreError| chain(&error);
    if !context.store.lease_take(&name, holder, now, LEASE_FOR).await.map_err(store)? {
        return Ok(());
    }
    let seen_to = context.store.watermark_get(&name).await.map_err(store)?;
    let ahead = seen_to.filter(|seen_to| *seen_to > now + OVERLAP);
    if let Some(ahead) = ahead {
        warn!(account = %account.name(), "{}'s events were followed until {ahead}, which is yet to come: a clock was wrong; looking through the last day", account.provider());
    }
    // A clock that was ahead must not hide what came, and comes, until then.
    let from = seen_to.filter(|_| ahead.is_none()).map_or(now - AT_FIRST, |seen_to| seen_to.min(now) - OVERLAP);
    let EventsRead { seen_by, whole, last_at } = read(gate, &account, from, now).await?;
    let hints = hints(context, account.name(), &seen_by).await?;
    debug!(account = %account.name(), charges = seen_by.len(), hints, "followed {}'s events", account.provider());
    metrics::counter!("payhook_follow_hints_total").increment(hints);
    // Hints for all events read are on the queue: only now may the watermark move. Of a list too long for one look, the
    // next look begins where this one ended.
    let to = if whole { now } else { last_at.map_or(now, |at| at + OVERLAP) };
    if !whole {
        warn!(account = %account.name(), "{} account `{}` has more events than one look reads; the next goes on", account.provider(), account.name());
    }
    context.store.watermark_set(&name, to, now + OVERLAP).await.map_err(store)
}

/// A part of the list.
struct EventsRead {
    /// Each charge it names, and from when on an answer asked for has seen all that is new about it.
    seen_by: BTreeMap<PaymentKey, Timestamp>,
    whole: bool,
    /// The time of its last event of any kind.
    last_at: Option<Timestamp>,
}

/// Reads the list between `from` and `to`, as far as one look goes.
async fn read(
    gate: &ProviderGate,
    account: &Arc<Account>,
    from: Timestamp,
    to: Timestamp,
) -> Result<EventsRead, String> {
    let mut read = EventsRead { seen_by: BTreeMap::new(), whole: false, last_at: None };
    let mut offset = 0;
    for _ in 0..PAGES {
        let asking = gate.enter(account.provider(), account.name(), Who::Chore).await;
        let asking = asking.map_err(|not_asked| match not_asked {
            NotAsked::Failed(failure) => failure.detail,
            NotAsked::Wait(wait) => wait.why.as_str().to_owned(),
        })?;
        let page: EventsPage = asking.events(from, to, offset).await.map_err(|error| error.to_string())?;
        let (entries, total) = (page.entries(), page.total);
        if page.unread > 0 {
            warn!(account = %account.name(), unread = page.unread, "{} lists events that cannot be read; they are passed over", account.provider());
        }
        for event in page.events {
            read.last_at = read.last_at.max(Some(event.created_at));
            let Some(id) = event.charge else { continue };
            let key = PaymentKey { provider: account.provider(), account: account.name().clone(), id };
            let overlay = event.kind.starts_with("refund.") || event.kind.starts_with("dispute.");
            let seen_by = event.created_at + if overlay { SURELY_SEEN_AFTER } else { SEEN_AFTER };
            let known = read.seen_by.entry(key).or_insert(seen_by);
            *known = (*known).max(seen_by);
        }
        offset += entries;
        if entries == 0 || offset >= total {
            read.whole = true;
            break;
        }
    }
    Ok(read)
}

/// Hints at the charges of ours that were not asked about since; how many. Each is due until it is answered, should its
/// hint come to nothing.
async fn hints(
    context: &Context,
    account: &AccountName,
    seen_by: &BTreeMap<PaymentKey, Timestamp>,
) -> Result<u64, String> {
    let mut hints = 0;
    let keys: Vec<PaymentKey> = seen_by.keys().cloned().collect();
    let store = |error: StoreError| format!("{account}: {}", chain(&error));
    for keys in keys.chunks(100) {
        let found = context.store.payments_find(keys).await.map_err(store)?;
        let now = context.clock.now();
        // Other shops may share the account: their charges are none of our business.
        let orders = keys.iter().zip(&found).filter_map(|(key, found)| match found {
            Found::Order(order) => Some((key, order.payment(key)?)),
            Found::OtherAccount(_) | Found::Unknown => None,
        });
        // An answer that was asked for at a time yet to come was asked for by a wrong clock: it has seen nothing for
        // sure.
        let is_news = |key: &PaymentKey, payment: &Payment| {
            payment.asked_at.is_none_or(|asked_at| asked_at < seen_by[key] || asked_at > now)
        };
        let news: Vec<(&PaymentKey, &Payment)> = orders.filter(|(key, payment)| is_news(key, payment)).collect();
        let due: Vec<Settlement> = news
            .iter()
            .map(|(_, payment)| Settlement { check: Some(check_after_hint(payment, now)), ..Settlement::default() })
            .collect();
        context.store.settle(&due).await.map_err(store)?;
        for (key, _) in news {
            let envelope = Envelope::ask(key.clone(), Because::Feed, now);
            context.queue.publish(&envelope).await.map_err(|error| format!("{account}: {}", chain(&error)))?;
            hints += 1;
        }
    }
    Ok(hints)
}
