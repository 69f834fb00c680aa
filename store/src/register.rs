//! The meaning of a registration, alike for both databases.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{
    AccountName, NewOrder, NewRefund, Order, OrderId, PAYMENTS_MAX, PaymentKey, Provider, RefundId, TimelineKind,
};
use serde_json::json;

use crate::{Found, Registered, TimelineEntry};

/// The time until a newly registered payment is first asked about on the schedule. Most customers have paid within a
/// minute, and their notification came long before: a payment that is asked about then is likely one whose notification
/// was lost.
pub(crate) const FIRST_CHECK_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// The payments of `new` that `order` does not have yet, each once, in the order they were given.
pub(crate) fn missing(order: &Order, new: &NewOrder) -> Vec<PaymentKey> {
    let mut seen: HashSet<&PaymentKey> = order.payments.iter().map(|payment| &payment.key).collect();
    new.payments.iter().filter(|&key| seen.insert(key)).cloned().collect()
}

/// Returns the refusal of `added` if the order would have too many payments with them.
pub(crate) fn too_many(order: &Order, added: &[PaymentKey]) -> Option<Registered> {
    let (registered, added) = (order.payments.len(), added.len());
    (added > 0 && registered + added > PAYMENTS_MAX).then_some(Registered::TooManyPayments { registered, added })
}

/// The first of `wanted` that `found` says belongs to another order than `order`.
pub(crate) fn taken(wanted: &[PaymentKey], found: Vec<Found>, order: &OrderId) -> Option<Registered> {
    wanted.iter().zip(found).find_map(|(payment, found)| match found {
        Found::Order(owner) if owner.id != *order => {
            Some(Registered::PaymentTaken { payment: payment.clone(), order: owner.id })
        }
        Found::Order(_) | Found::OtherAccount(_) | Found::Unknown => None,
    })
}

/// Returns the refusal of one of `new`'s refunds, if any: it is of no payment of the order, or of another payment than
/// said. `known` says whose the refunds are that are there already, and last whose each is now.
pub(crate) fn refund_refused(order: &Order, new: &NewOrder, known: &[NewRefund]) -> Option<Registered> {
    let mut owners: HashMap<(Provider, &AccountName, &RefundId), &PaymentKey> = HashMap::new();
    for NewRefund { payment, id } in known {
        owners.insert((payment.provider, &payment.account, id), payment);
    }
    new.refunds.iter().find_map(|NewRefund { payment, id }| {
        if order.payment(payment).is_none() {
            return Some(Registered::RefundOfNoPayment { refund: id.clone(), payment: payment.clone() });
        }
        let owner = *owners.entry((payment.provider, &payment.account, id)).or_insert(payment);
        let taken = || Registered::RefundTaken { refund: id.clone(), payment: owner.clone() };
        // Announced for this payment, it may have moved to the one that its provider named.
        let refund = NewRefund { payment: payment.clone(), id: id.clone() };
        (owner != payment && !known.contains(&refund)).then(taken)
    })
}

/// The refunds of `new` that are not `known` yet, each once, in the order they were given.
pub(crate) fn announced<'a>(new: &'a NewOrder, known: &[NewRefund]) -> Vec<&'a NewRefund> {
    let mut announced: Vec<&NewRefund> = Vec::new();
    for refund in &new.refunds {
        if !known.contains(refund) && !announced.contains(&refund) {
            announced.push(refund);
        }
    }
    announced
}

/// Those of `added` that were due at once, because their notifications were there before them.
pub(crate) fn parked(order: &Order, added: &[PaymentKey], now: Timestamp) -> Vec<PaymentKey> {
    let due = |key: &&PaymentKey| {
        order.payment(key).and_then(|payment| payment.next_check_at).is_some_and(|at| at < now + FIRST_CHECK_AFTER)
    };
    added.iter().filter(due).cloned().collect()
}

/// Returns the timeline entry of a registration.
pub(crate) fn entry(
    created: bool,
    new: &NewOrder,
    added: &[PaymentKey],
    announced: &[&NewRefund],
    now: Timestamp,
) -> TimelineEntry {
    let payments = match (added.len(), created) {
        (0, true) => Some("no payment yet".to_owned()),
        (0, false) => None,
        (1, _) => Some("1 payment".to_owned()),
        (more, _) => Some(format!("{more} payments")),
    };
    let refunds = match announced.len() {
        0 => None,
        1 => Some("1 refund".to_owned()),
        more => Some(format!("{more} refunds")),
    };
    let what = payments.into_iter().chain(refunds).collect::<Vec<_>>().join(", ");
    let text = if created { format!("registered: {}, {what}", new.amount) } else { format!("{what} added") };
    let mut detail =
        json!({ "amount_minor": new.amount.amount_minor, "currency": new.amount.currency, "payments": added });
    if !announced.is_empty() {
        let refunds = announced.iter().map(|refund| json!({ "payment": refund.payment, "id": refund.id }));
        detail["refunds"] = refunds.collect();
    }
    TimelineEntry { at: now, kind: TimelineKind::Registered, payment: None, text, detail }
}
