//! What a registration and a refresh mean, alike for both databases.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{NewOrder, Order, OrderId, PaymentKey, TimelineKind};
use serde_json::json;

use crate::{Found, Registered, TimelineEntry};

/// When a newly registered payment is first asked about on the schedule. Most customers have paid within a minute, and
/// their notification came long before: whoever is asked about then is likely one whose notification was lost.
pub(crate) const FIRST_CHECK_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// The payments of `new` that `order` does not have yet, each once, in the order they were given.
pub(crate) fn missing(order: &Order, new: &NewOrder) -> Vec<PaymentKey> {
    let mut seen: HashSet<&PaymentKey> = order.payments.iter().map(|payment| &payment.key).collect();
    new.payments.iter().filter(|&key| seen.insert(key)).cloned().collect()
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

/// Those of `added` that were due at once, because their notifications were there before them.
pub(crate) fn parked(order: &Order, added: &[PaymentKey], now: Timestamp) -> Vec<PaymentKey> {
    let due = |key: &&PaymentKey| {
        order.payment(key).and_then(|payment| payment.next_check_at).is_some_and(|at| at < now + FIRST_CHECK_AFTER)
    };
    added.iter().filter(due).cloned().collect()
}

/// What the timeline says of it.
pub(crate) fn entry(created: bool, new: &NewOrder, added: &[PaymentKey], now: Timestamp) -> TimelineEntry {
    let payments = match added.len() {
        0 => "no payment yet".to_owned(),
        1 => "1 payment".to_owned(),
        more => format!("{more} payments"),
    };
    let text = if created { format!("registered: {}, {payments}", new.amount) } else { format!("{payments} added") };
    TimelineEntry {
        at: now,
        kind: TimelineKind::Registered,
        payment: None,
        text,
        detail: json!({ "amount_minor": new.amount.amount_minor, "currency": new.amount.currency, "payments": added }),
    }
}
