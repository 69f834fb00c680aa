//! Turns settlements into rows, and a batch into waves in which no two touch the same thing.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use payhook_schema::{
    About, Dispute, Event, EventData, Hold, Notification, Order, OrderId, Payment, PaymentId, PaymentKey, Refund,
};
use serde::{Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use super::{Change, PaymentCheck, Settlement};
use crate::TimelineEntry;
use crate::db::value::{json, micros};
use crate::notifications::names;

/// Groups the settlements at `wanted` so that, done one wave after the other, the outcome is as if each were done alone
/// and in order: within a wave no two touch the same order, payment or notification, and nothing overtakes what it
/// shares one with.
pub(crate) fn waves(settlements: &[Settlement], wanted: &[usize]) -> Vec<Vec<usize>> {
    #[derive(PartialEq, Eq, Hash)]
    enum Touched<'a> {
        Order(&'a OrderId),
        Payment(&'a PaymentKey),
        Notification(Uuid),
    }
    let mut next_free: HashMap<Touched<'_>, usize> = HashMap::new();
    // Entries of one timeline are written in the order of their settlements: those that move no order can share a wave.
    let mut last_entry: HashMap<&OrderId, usize> = HashMap::new();
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for &index in wanted {
        let Settlement { notifications, about: _, order, timeline: _, check, change } = &settlements[index];
        let moved = change.iter().map(|change| Touched::Order(&change.order.id));
        let paid = change.iter().map(|change| Touched::Payment(&change.payment.key));
        let checked = check.iter().map(|check| Touched::Payment(&check.key));
        let archived = notifications.iter().map(|sent| Touched::Notification(sent.signed_id.unwrap_or(sent.id)));
        let touched: Vec<_> = moved.chain(paid).chain(checked).chain(archived).collect();
        let free = touched.iter().filter_map(|touched| next_free.get(touched)).copied();
        let moves = change.as_ref().map(|change| &change.order.id);
        let of = [order.as_ref(), moves].into_iter().flatten();
        let after = of.clone().filter_map(|id| Some(last_entry.get(id)? + usize::from(moves == Some(id))));
        let after_move = order.iter().filter_map(|id| next_free.get(&Touched::Order(id))).copied();
        let wave = free.chain(after).chain(after_move).max().unwrap_or(0);
        next_free.extend(touched.into_iter().map(|touched| (touched, wave + 1)));
        last_entry.extend(of.map(|id| (id, wave)));
        if wave == waves.len() {
            waves.push(Vec::new());
        }
        waves[wave].push(index);
    }
    waves
}

/// Returns the reason why a settlement can never be written, if there is one: alike for both databases, and before
/// either sees it.
pub(crate) fn unkeepable(settlement: &Settlement) -> Option<String> {
    let Settlement { notifications, about: _, order: _, timeline, check: _, change } = settlement;
    let nul = notifications.iter().any(|notification| !keepable(notification))
        || timeline.iter().any(entry_has_nul)
        || change.as_ref().is_some_and(change_has_nul);
    if nul {
        return Some("a text has a NUL character in it".to_owned());
    }
    change.as_ref().and_then(wrong_change)
}

/// Returns true if every text of `notification` can be stored. Its body can be anything.
pub(crate) fn keepable(notification: &Notification) -> bool {
    let Notification { kind, about, idempotency_key, verified_by, signed_path, headers, .. } = notification;
    let reference = match about {
        About::Reference(reference) => Some(reference),
        About::Payment(_) | About::Refund { .. } | About::Authorization(_) | About::Other | About::Unreadable(_) => {
            None
        }
    };
    let texts = [kind, idempotency_key, verified_by, signed_path].into_iter().chain(reference);
    !texts.chain(headers.iter().flat_map(|(name, value)| [name, value])).any(|text| has_nul(text))
}

pub(crate) fn entry_has_nul(entry: &TimelineEntry) -> bool {
    has_nul(&entry.text) || value_has_nul(&entry.detail)
}

pub(crate) fn event_has_nul(event: &Event) -> bool {
    let reason = match &event.data {
        EventData::Order(data) => &data.reason,
        EventData::Authorization(data) => &data.reason,
    };
    let texts = [&event.specversion, &event.source, &event.subject, &event.datacontenttype];
    texts.into_iter().chain(reason).any(|text| has_nul(text))
}

pub(crate) fn has_nul(text: &str) -> bool {
    text.as_bytes().contains(&0)
}

/// Replaces NUL characters, which no database stores in a text.
pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

fn value_has_nul(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => has_nul(text),
        Value::Array(values) => values.iter().any(value_has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| has_nul(name) || value_has_nul(value)),
    }
}

fn change_has_nul(change: &Change) -> bool {
    let Change { order, payment, events } = change;
    let optional = [&payment.reason, &payment.provider_reference].into_iter().flatten();
    let details = order.holds.iter().chain(&order.released).map(|hold| &hold.detail);
    optional.chain(details).chain(texts(payment)).any(|text| has_nul(text)) || events.iter().any(event_has_nul)
}

/// Returns how a change contradicts itself, if it does, whatever the store holds.
fn wrong_change(Change { order, payment, events }: &Change) -> Option<String> {
    if order.payment(&payment.key).is_none() {
        return Some(format!("payment {} is not of order {}", payment.key, order.id));
    }
    let first = order.version - events.len() as i64 + 1;
    for (event, version) in events.iter().zip(first..) {
        if event.order().is_none_or(|data| data.order_id != order.id) || event.version() != version {
            let (of, at) = (&event.subject, event.version());
            return Some(format!("event {at} of {of} is not event {version} of order {}", order.id));
        }
    }
    None
}

/// A time, as microseconds in JSON.
#[derive(Clone, Copy)]
pub(crate) struct Micros(pub(crate) Timestamp);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(micros(self.0))
    }
}

/// The rows of some settlements, by table. A row with a `guard` is written only if the order of the change with that
/// `ord` was.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    pub(crate) changes: Vec<ChangeRow<'a>>,
    pub(crate) checks: Vec<CheckRow<'a>>,
    pub(crate) notifications: Vec<NotificationRow<'a>>,
    pub(crate) refunds: Vec<RefundRow<'a>>,
    pub(crate) disputes: Vec<DisputeRow<'a>>,
    pub(crate) timeline: Vec<TimelineRow<'a>>,
    pub(crate) events: Vec<EventRow<'a>>,
}

#[derive(Serialize)]
pub(crate) struct ChangeRow<'a> {
    pub(crate) ord: i64,
    pub(crate) order_id: &'a str,
    pub(crate) revision: i64,
    pub(crate) state: &'static str,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
    pub(crate) version: i64,
    pub(crate) events: i64,
    pub(crate) holds: Option<String>,
    pub(crate) released: Option<String>,
    pub(crate) updated_at: Micros,
    pub(crate) provider: &'static str,
    pub(crate) account: &'a str,
    pub(crate) payment_id: &'a str,
    pub(crate) payment_state: &'static str,
    pub(crate) payment_captured: i64,
    pub(crate) payment_refunded: i64,
    pub(crate) payment_currency: &'a str,
    pub(crate) provider_reference: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) asked_at: Option<Micros>,
    pub(crate) next_check_at: Option<Micros>,
    pub(crate) checks: i32,
    pub(crate) final_at: Option<Micros>,
    pub(crate) finished: bool,
}

#[derive(Serialize)]
pub(crate) struct CheckRow<'a> {
    pub(crate) guard: Option<i64>,
    pub(crate) provider: &'static str,
    pub(crate) account: &'a str,
    pub(crate) payment_id: &'a str,
    pub(crate) next_check_at: Option<Micros>,
    pub(crate) checks: i32,
    pub(crate) asked_at: Option<Micros>,
    pub(crate) asked_before: Option<Micros>,
}

#[derive(Serialize)]
pub(crate) struct NotificationRow<'a> {
    pub(crate) guard: Option<i64>,
    pub(crate) id: Uuid,
    pub(crate) provider: &'static str,
    pub(crate) account: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) payment_id: Option<&'a str>,
    pub(crate) idempotency_key: &'a str,
    pub(crate) received_at: Micros,
    pub(crate) signed_at: Option<Micros>,
    pub(crate) verified_by: &'a str,
    pub(crate) signed_path: &'a str,
    pub(crate) signed_id: Option<Uuid>,
    /// The payment it turned out to be about, where it names none: it is that one's from now on, also where it was
    /// archived before.
    pub(crate) link: Option<&'a str>,
    /// JSON.
    pub(crate) headers: String,
    pub(crate) names: Option<String>,
    pub(crate) sealed_with: Option<i64>,
    /// Bytes travel beside the JSON, not in it.
    #[serde(skip)]
    pub(crate) body: &'a [u8],
}

#[derive(Serialize)]
pub(crate) struct TimelineRow<'a> {
    pub(crate) guard: Option<i64>,
    pub(crate) order_id: &'a str,
    pub(crate) at: Micros,
    pub(crate) kind: &'static str,
    pub(crate) provider: Option<&'static str>,
    pub(crate) account: Option<&'a str>,
    pub(crate) payment_id: Option<&'a str>,
    pub(crate) text: &'a str,
    /// JSON.
    pub(crate) detail: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct EventRow<'a> {
    pub(crate) guard: i64,
    pub(crate) id: Uuid,
    pub(crate) order_id: &'a str,
    pub(crate) version: i64,
    #[serde(rename = "type")]
    pub(crate) event_type: &'static str,
    pub(crate) time: Micros,
    /// JSON.
    pub(crate) body: String,
}

impl<'a> Batch<'a> {
    /// The rows of the settlements at `wave`; a change's `ord` is its settlement's index.
    pub(crate) fn of(settlements: &'a [Settlement], wave: &[usize]) -> Self {
        let mut batch = Self::default();
        for &index in wave {
            let Settlement { notifications, about, order, timeline, check, change } = &settlements[index];
            let ord = index as i64;
            let guard = change.is_some().then_some(ord);
            let about = about.as_ref();
            batch.notifications.extend(notifications.iter().map(|sent| NotificationRow::of(guard, sent, about)));
            if let Some(order) = order {
                batch.timeline.extend(timeline.iter().map(|entry| TimelineRow::of(guard, order, entry)));
            }
            let mut check = check.as_ref();
            if let Some(change) = change {
                // Both at once for one payment: the schedule of the check is the payment's. One row can be updated only
                // once by one statement.
                let same = check.take_if(|check| check.key == change.payment.key);
                batch.changes.push(ChangeRow::of(ord, change, same));
                let Change { order, payment, events } = change;
                batch.events.extend(events.iter().map(|event| EventRow::of(ord, order, event)));
                batch.refunds.extend(payment.refunds.iter().map(|refund| RefundRow::of(ord, &payment.key, refund)));
                batch
                    .disputes
                    .extend(payment.disputes.iter().map(|dispute| DisputeRow::of(ord, &payment.key, dispute)));
            }
            batch.checks.extend(check.map(|check| CheckRow::of(guard, check)));
        }
        // A repeat is counted if it was received after the last one: oldest first.
        batch.notifications = each_once(batch.notifications);
        // Two batches that meet take their locks in the same order, as far as the planner allows.
        batch.changes.sort_by_key(|row| row.order_id);
        batch
    }
}

impl<'a> ChangeRow<'a> {
    fn of(ord: i64, Change { order, payment, events }: &'a Change, check: Option<&PaymentCheck>) -> Self {
        let (next_check_at, checks) =
            check.map_or((payment.next_check_at, payment.checks), |check| (check.next_check_at, check.checks));
        Self {
            ord,
            order_id: order.id.as_str(),
            revision: order.revision,
            state: order.state.as_str(),
            captured: order.captured_minor,
            refunded: order.refunded_minor,
            version: order.version,
            events: events.len() as i64,
            holds: some_holds(&order.holds),
            released: some_holds(&order.released),
            updated_at: Micros(order.updated_at),
            provider: payment.key.provider.as_str(),
            account: payment.key.account.as_str(),
            payment_id: payment.key.id.as_str(),
            payment_state: payment.state.as_str(),
            payment_captured: payment.captured_minor,
            payment_refunded: payment.refunded_minor,
            payment_currency: payment.currency.as_str(),
            provider_reference: payment.provider_reference.as_deref(),
            reason: payment.reason.as_deref(),
            asked_at: payment.asked_at.map(Micros),
            next_check_at: next_check_at.map(Micros),
            checks,
            final_at: payment.final_at.map(Micros),
            finished: !payment.is_unfinished(),
        }
    }
}

impl<'a> CheckRow<'a> {
    fn of(guard: Option<i64>, check: &'a PaymentCheck) -> Self {
        Self {
            guard,
            provider: check.key.provider.as_str(),
            account: check.key.account.as_str(),
            payment_id: check.key.id.as_str(),
            next_check_at: check.next_check_at.map(Micros),
            checks: check.checks,
            asked_at: check.asked.map(|asked| Micros(asked.at)),
            asked_before: check.asked.and_then(|asked| asked.before).map(Micros),
        }
    }
}

impl<'a> NotificationRow<'a> {
    pub(crate) fn of(guard: Option<i64>, notification: &'a Notification, about: Option<&'a PaymentKey>) -> Self {
        Self {
            guard,
            id: notification.id,
            provider: notification.provider.as_str(),
            account: notification.account.as_str(),
            kind: &notification.kind,
            payment_id: names::payment_of(notification, about).map(PaymentId::as_str),
            idempotency_key: &notification.idempotency_key,
            received_at: Micros(notification.received_at),
            signed_at: notification.signed_at.map(Micros),
            verified_by: &notification.verified_by,
            signed_path: &notification.signed_path,
            signed_id: notification.signed_id,
            link: names::linked(notification, about).map(PaymentId::as_str),
            headers: json(&notification.headers),
            names: names::name_of(&notification.about),
            sealed_with: notification.sealed_with.map(i64::from),
            body: &notification.body,
        }
    }
}

/// Each notification once, the one that was received first at the beginning.
pub(crate) fn each_once(mut rows: Vec<NotificationRow<'_>>) -> Vec<NotificationRow<'_>> {
    let mut ids = HashSet::with_capacity(rows.len());
    rows.retain(|row| ids.insert(row.id));
    rows.sort_by_key(|row| (row.received_at.0, row.id));
    rows
}

impl<'a> TimelineRow<'a> {
    pub(crate) fn of(guard: Option<i64>, order: &'a OrderId, entry: &'a TimelineEntry) -> Self {
        Self {
            guard,
            order_id: order.as_str(),
            at: Micros(entry.at),
            kind: entry.kind.as_str(),
            provider: entry.payment.as_ref().map(|payment| payment.provider.as_str()),
            account: entry.payment.as_ref().map(|payment| payment.account.as_str()),
            payment_id: entry.payment.as_ref().map(|payment| payment.id.as_str()),
            text: &entry.text,
            detail: (!entry.detail.is_null()).then(|| json(&entry.detail)),
        }
    }
}

impl<'a> EventRow<'a> {
    fn of(guard: i64, order: &'a Order, event: &Event) -> Self {
        Self {
            guard,
            id: event.id,
            order_id: order.id.as_str(),
            version: event.version(),
            event_type: event.event_type.as_str(),
            time: Micros(event.time),
            body: json(event),
        }
    }
}

/// Objections as one column: nearly every order has none, and then the column is null.
fn some_holds(holds: &[Hold]) -> Option<String> {
    (!holds.is_empty()).then(|| json(&holds))
}

#[derive(Serialize)]
pub(crate) struct RefundRow<'a> {
    /// The `ord` of the change it came with.
    pub(crate) guard: i64,
    pub(crate) provider: &'static str,
    pub(crate) account: &'a str,
    pub(crate) payment_id: &'a str,
    pub(crate) id: &'a str,
    pub(crate) provider_reference: Option<&'a str>,
    pub(crate) state: &'static str,
    pub(crate) amount_minor: Option<i64>,
    pub(crate) currency: Option<&'a str>,
    pub(crate) voided: bool,
    pub(crate) reason: Option<&'a str>,
    pub(crate) occurred_at: Option<Micros>,
}

#[derive(Serialize)]
pub(crate) struct DisputeRow<'a> {
    pub(crate) guard: i64,
    pub(crate) provider: &'static str,
    pub(crate) account: &'a str,
    pub(crate) payment_id: &'a str,
    pub(crate) id: &'a str,
    pub(crate) state: &'static str,
    pub(crate) amount_minor: Option<i64>,
    pub(crate) currency: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) answer_by: Option<Micros>,
    pub(crate) occurred_at: Option<Micros>,
}

impl<'a> RefundRow<'a> {
    pub(crate) fn of(guard: i64, payment: &'a PaymentKey, refund: &'a Refund) -> Self {
        Self {
            guard,
            provider: payment.provider.as_str(),
            account: payment.account.as_str(),
            payment_id: payment.id.as_str(),
            id: refund.id.as_str(),
            provider_reference: refund.provider_reference.as_deref(),
            state: refund.state.as_str(),
            amount_minor: refund.amount.map(|amount| amount.amount_minor),
            currency: refund.amount.as_ref().map(|amount| amount.currency.as_str()),
            voided: refund.voided,
            reason: refund.reason.as_deref(),
            occurred_at: refund.occurred_at.map(Micros),
        }
    }
}

impl<'a> DisputeRow<'a> {
    pub(crate) fn of(guard: i64, payment: &'a PaymentKey, dispute: &'a Dispute) -> Self {
        Self {
            guard,
            provider: payment.provider.as_str(),
            account: payment.account.as_str(),
            payment_id: payment.id.as_str(),
            id: dispute.id.as_str(),
            state: dispute.state.as_str(),
            amount_minor: dispute.amount.map(|amount| amount.amount_minor),
            currency: dispute.amount.as_ref().map(|amount| amount.currency.as_str()),
            reason: dispute.reason.as_deref(),
            answer_by: dispute.answer_by.map(Micros),
            occurred_at: dispute.occurred_at.map(Micros),
        }
    }
}

/// The texts of a payment's refunds and disputes that are anything a provider says.
fn texts(payment: &Payment) -> impl Iterator<Item = &String> {
    let refunds = payment.refunds.iter().flat_map(|refund| [&refund.provider_reference, &refund.reason]);
    refunds.chain(payment.disputes.iter().map(|dispute| &dispute.reason)).flatten()
}

#[cfg(test)]
mod tests {
    use payhook_schema::{AccountName, OrderState, PaymentState, Provider, TimelineKind};

    use super::*;

    fn key(n: usize) -> PaymentKey {
        let id = PaymentId::new(format!("p{n}")).unwrap();
        PaymentKey { provider: Provider::Antom, account: AccountName::new("shop").unwrap(), id }
    }

    /// The answer about a payment of the one order, which changes nothing.
    fn unchanged(n: usize) -> Settlement {
        let at = Timestamp::UNIX_EPOCH;
        Settlement {
            order: Some(OrderId::new("A-1").unwrap()),
            timeline: vec![TimelineEntry::new(at, TimelineKind::Inquiry, Some(key(n)), "asked")],
            check: Some(PaymentCheck { key: key(n), next_check_at: None, checks: 1, asked: None }),
            ..Settlement::default()
        }
    }

    fn changed(n: usize) -> Settlement {
        let at = Timestamp::UNIX_EPOCH;
        let amount: payhook_schema::Money = "1.00 THB".parse().unwrap();
        let payment = Payment {
            key: key(n),
            state: PaymentState::Failed,
            captured_minor: 0,
            refunded_minor: 0,
            currency: amount.currency,
            provider_reference: None,
            reason: None,
            asked_at: None,
            final_at: None,
            next_check_at: None,
            checks: 0,
            refunds: Vec::new(),
            disputes: Vec::new(),
            created_at: at,
        };
        let order = Order {
            id: OrderId::new("A-1").unwrap(),
            amount,
            state: OrderState::Pending,
            captured_minor: 0,
            refunded_minor: 0,
            version: 0,
            holds: Vec::new(),
            released: Vec::new(),
            revision: 1,
            created_at: at,
            updated_at: at,
            payments: vec![payment.clone()],
        };
        let change = Change { order, payment, events: Vec::new() };
        Settlement { check: None, change: Some(change), ..unchanged(n) }
    }

    #[test]
    fn answers_that_change_nothing_share_a_wave_and_nothing_overtakes_a_change() {
        let all = |count| (0..count).collect::<Vec<_>>();
        let thirty: Vec<_> = (0..30).map(unchanged).collect();
        assert_eq!(waves(&thirty, &all(30)), [all(30)]);
        let mixed = [unchanged(0), unchanged(1), changed(2), unchanged(3), changed(4), unchanged(5), unchanged(6)];
        assert_eq!(waves(&mixed, &all(7)), [vec![0, 1], vec![2], vec![3], vec![4], vec![5, 6]]);
        assert_eq!(waves(&[unchanged(0), unchanged(0)], &all(2)), [vec![0], vec![1]], "one payment");
    }
}
