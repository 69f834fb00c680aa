//! Holds an order and lets it go on. The one place where the holds of an order change, and with them its state.

use jiff::Timestamp;
use payhook_schema::{Hold, Order, OrderState, Payment, PaymentState, TimelineKind};
use payhook_store::TimelineEntry;

use crate::money::guard::NewObjection;

/// Opens each objection that is neither open nor released yet, and returns the new ones. None replaces another.
///
/// `entry` makes the lines of the timeline about it.
pub(crate) fn raise(
    order: &mut Order,
    objections: Vec<NewObjection>,
    now: Timestamp,
    timeline: &mut Vec<TimelineEntry>,
    entry: impl Fn(TimelineKind, String) -> TimelineEntry,
) -> Vec<Hold> {
    let mut raised = Vec::new();
    for (reason, detail) in objections {
        let hold = Hold { reason, detail, since: now };
        let is_in = |holds: &[Hold]| holds.iter().any(|known| known.is_same(&hold));
        if is_in(&order.holds) {
            continue;
        }
        if is_in(&order.released) {
            let text = format!("{reason}: {}: released before, the order goes on", hold.detail);
            timeline.push(entry(TimelineKind::Refusal, text));
            continue;
        }
        timeline.push(entry(TimelineKind::Transition, format!("order held: {reason}: {}", hold.detail)));
        order.holds.push(hold.clone());
        raised.push(hold);
    }
    raised
}

/// Releases every open objection. The order is what its payments make it again.
pub(crate) fn lift(order: &mut Order) {
    let lifted = std::mem::take(&mut order.holds);
    order.released.extend(lifted);
    order.state = state_of(order);
}

/// Replaces one payment of the order, sums up its money again, and lets its state follow.
pub(crate) fn book(order: &mut Order, payment: &Payment) {
    for slot in &mut order.payments {
        if slot.key == payment.key {
            slot.clone_from(payment);
        }
    }
    let counted = order.payments.iter().filter(|payment| payment.currency == order.amount.currency);
    let sums = counted.fold((0, 0), |(captured, refunded): (i64, i64), payment| {
        (captured.saturating_add(payment.captured_minor), refunded.saturating_add(payment.refunded_minor))
    });
    (order.captured_minor, order.refunded_minor) = sums;
    order.state = state_of(order);
}

/// An order with open objections is held. Any other is what its payments make it: one of them may fail and the next one
/// pay.
fn state_of(order: &Order) -> OrderState {
    let any = |state| order.payments.iter().any(|payment| payment.state == state);
    if !order.holds.is_empty() {
        OrderState::Held
    } else if any(PaymentState::PartlyRefunded) {
        OrderState::PartlyRefunded
    } else if any(PaymentState::Paid) {
        OrderState::Paid
    } else if any(PaymentState::Authorized) {
        OrderState::Authorized
    } else if any(PaymentState::Refunded) {
        OrderState::Refunded
    } else {
        OrderState::Pending
    }
}
