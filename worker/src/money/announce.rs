//! Makes every event: what a change of an order means to fulfilment, and what a change of an authorization means.

use jiff::Timestamp;
use payhook_schema::{
    Authorization, AuthorizationEvent, AuthorizationState, Dispute, DisputeId, DisputeState, Event, EventType, Hold,
    Order, OrderEvent, OrderState, Payment, PaymentKey, PaymentState, Refund, RefundId, RefundState, distinct,
};
use payhook_store::OrderEvents;

/// The state of an order's money as fulfilment knows it, from the events it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeenByFulfilment {
    Nothing,
    Authorized,
    Paid,
    /// Paid, and all of it went back since.
    Refunded,
}

impl SeenByFulfilment {
    /// Fulfilment has seen what an order is, unless the order is held.
    fn of(state: OrderState) -> Self {
        match state {
            OrderState::Pending | OrderState::Held => Self::Nothing,
            OrderState::Authorized => Self::Authorized,
            OrderState::Paid | OrderState::PartlyRefunded => Self::Paid,
            OrderState::Refunded => Self::Refunded,
        }
    }

    /// Reads what fulfilment has seen from an order's events, in version order, and from what is noted of those that
    /// were deleted.
    pub(crate) fn of_events(OrderEvents { deleted, events }: &OrderEvents) -> Self {
        let before = deleted.map_or(Self::Nothing, |before| Self::of(before.state));
        events.iter().fold(before, |seen, event| match (event.event_type, event.order()) {
            (EventType::OrderAuthorized, _) => Self::Authorized,
            (EventType::OrderPaid, _) => Self::Paid,
            (EventType::OrderRefunded, Some(data)) => match data.state {
                Some(state) => Self::of(state),
                // Events of the first versions do not name the state.
                None if data.refunded_minor >= data.captured_minor => Self::Refunded,
                None => Self::Paid,
            },
            _ => seen,
        })
    }
}

/// The changes of an order's money since fulfilment last heard of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MoneyMoved {
    /// The order's state now.
    pub(crate) state: OrderState,
    /// More was captured than fulfilment heard of.
    pub(crate) captured: bool,
    /// More went back than fulfilment heard of.
    pub(crate) refunded: bool,
    /// A release says the amounts itself: money that went back of a payment the order did not need is no refund of the
    /// order.
    pub(crate) by_release: bool,
}

/// Lists the events that bring fulfilment from what it has seen to what is true.
///
/// An order is paid once, unless all of its money went back in between and it was paid again. The table in
/// ARCHITECTURE.md is drawn from this and tested to be equal.
pub(crate) fn order_events(seen: SeenByFulfilment, moved: MoneyMoved) -> Vec<EventType> {
    use EventType::{OrderAuthorized, OrderPaid, OrderRefunded};
    let MoneyMoved { state, captured, refunded, by_release } = moved;
    let paid = match seen {
        SeenByFulfilment::Nothing | SeenByFulfilment::Authorized => true,
        SeenByFulfilment::Paid => false,
        SeenByFulfilment::Refunded => state != OrderState::Refunded || captured,
    };
    let events = match state {
        OrderState::Pending | OrderState::Held => return Vec::new(),
        OrderState::Authorized => [(refunded, OrderRefunded), (seen != SeenByFulfilment::Authorized, OrderAuthorized)],
        OrderState::Paid => [(paid, OrderPaid), (refunded && !by_release, OrderRefunded)],
        OrderState::PartlyRefunded => [(paid, OrderPaid), (refunded, OrderRefunded)],
        // Also where the order's own currency has nothing to show for this: money in another one came and went back.
        OrderState::Refunded => [(paid, OrderPaid), (refunded || seen != SeenByFulfilment::Refunded, OrderRefunded)],
    };
    events.into_iter().filter(|(happened, _)| *happened).map(|(_, event_type)| event_type).collect()
}

/// The order before a change, as far as fulfilment cares.
pub(crate) struct Before<'a> {
    pub(crate) state: OrderState,
    captured_minor: i64,
    refunded_minor: i64,
    payment: &'a Payment,
}

impl<'a> Before<'a> {
    pub(crate) fn of(order: &Order, payment: &'a Payment) -> Self {
        let Order { state, captured_minor, refunded_minor, .. } = *order;
        Self { state, captured_minor, refunded_minor, payment }
    }
}

/// An event before it has its version.
struct EventFact {
    event_type: EventType,
    reason: Option<String>,
    refund_id: Option<RefundId>,
    dispute_id: Option<DisputeId>,
    occurred_at: Option<Timestamp>,
    /// The open objections, if not all objections of the change are open with this event yet.
    holds: Option<Vec<Hold>>,
}

impl From<EventType> for EventFact {
    fn from(event_type: EventType) -> Self {
        Self { event_type, reason: None, refund_id: None, dispute_id: None, occurred_at: None, holds: None }
    }
}

/// Makes the events of a change by an answer, with the order's next versions. `raised` are the objections that are new.
///
/// `occurred_at` is when the payment became what it is; refunds and disputes have their own times.
pub(crate) fn announce(
    order: &mut Order,
    before: &Before<'_>,
    payment: &Payment,
    raised: &[Hold],
    occurred_at: Timestamp,
    now: Timestamp,
) -> Vec<Event> {
    let facts: Vec<EventFact> = attempt_ended(before, payment)
        .into_iter()
        .chain(objected(order, raised))
        .chain(order_moved(order, before, payment))
        .chain(refunds_failed(before, payment))
        .chain(disputes_moved(before, payment))
        .collect();
    let event = |fact| versioned(order, before.state, before.refunded_minor, &payment.key, fact, occurred_at, now);
    facts.into_iter().map(event).collect()
}

/// Makes the events of a release, with the order's next versions: `released`, and what fulfilment missed while the
/// order was held.
///
/// `order` is the order as it is from now on, `lifted` are the objections that it was held for, `sent` its events so
/// far.
pub(crate) fn announce_release(order: &mut Order, lifted: &[Hold], sent: &OrderEvents, now: Timestamp) -> Vec<Event> {
    // Other events name the amounts of a held order, which nobody may book.
    let books = |event_type| {
        use EventType::{OrderAuthorized, OrderPaid, OrderRefunded, OrderReleased};
        matches!(event_type, OrderAuthorized | OrderPaid | OrderRefunded | OrderReleased)
    };
    let booked = || sent.events.iter().filter(|event| books(event.event_type)).filter_map(Event::order);
    let captured = booked().map(|data| data.captured_minor);
    let captured_before = captured.chain(sent.deleted.map(|before| before.captured_minor)).max().unwrap_or(0);
    let refunded = booked().map(|data| data.refunded_minor);
    let refunded_before = refunded.chain(sent.deleted.map(|before| before.refunded_minor)).max().unwrap_or(0);
    let moved = MoneyMoved {
        state: order.state,
        captured: order.captured_minor > captured_before,
        refunded: order.refunded_minor > refunded_before,
        by_release: true,
    };
    let reason = lifted.first().map(|hold| hold.reason.to_string());
    let mut events = Vec::new();
    let released = EventFact { reason, ..EventType::OrderReleased.into() };
    let missed = order_events(SeenByFulfilment::of_events(sent), moved).into_iter().map(EventFact::from);
    for fact in std::iter::once(released).chain(missed) {
        let payment = named_by(order, fact.event_type).clone();
        events.push(versioned(order, OrderState::Held, refunded_before, &payment, fact, now, now));
    }
    events
}

/// Gives an event the order's next version.
fn versioned(
    order: &mut Order,
    previous_state: OrderState,
    refunded_before: i64,
    payment: &PaymentKey,
    fact: EventFact,
    occurred_at: Timestamp,
    now: Timestamp,
) -> Event {
    order.version += 1;
    let data = OrderEvent::of(order, payment, fact.occurred_at.unwrap_or(occurred_at));
    let data = OrderEvent {
        // A payment first seen when some of it had gone back was paid all the same, before that.
        refunded_minor: if fact.event_type == EventType::OrderPaid { refunded_before } else { data.refunded_minor },
        previous_state: Some(previous_state),
        reason: fact.reason,
        refund_id: fact.refund_id,
        dispute_id: fact.dispute_id,
        holds: fact.holds.unwrap_or(data.holds),
        ..data
    };
    Event::of_order(fact.event_type, data, now)
}

/// Returns the payment that an event of a release names: the one that pays the order, or the one whose money went back.
fn named_by(order: &Order, event_type: EventType) -> &PaymentKey {
    let payments = || order.payments.iter();
    let pays =
        || payments().find(|payment| payment.state.took_money() && payment.refunded_minor < payment.captured_minor);
    let took_money = || payments().find(|payment| payment.state.took_money());
    let refunded = || payments().rfind(|payment| payment.refunded_minor > 0);
    let named = match event_type {
        EventType::OrderRefunded => refunded().or_else(took_money),
        _ => pays().or_else(took_money),
    };
    &named.or_else(|| payments().next()).expect("an order that is held has a payment").key
}

/// An attempt ended without money.
fn attempt_ended(before: &Before<'_>, payment: &Payment) -> Option<EventFact> {
    if payment.state == before.payment.state {
        return None;
    }
    match payment.state {
        PaymentState::Failed => Some(EventFact { reason: payment.reason.clone(), ..EventType::PaymentFailed.into() }),
        PaymentState::Expired => Some(EventType::PaymentExpired.into()),
        PaymentState::Cancelled => Some(EventType::PaymentCancelled.into()),
        _ => None,
    }
}

/// Each new objection, with all that were open by then.
fn objected(order: &Order, raised: &[Hold]) -> Vec<EventFact> {
    let open_before = order.holds.len() - raised.len();
    let fact = |(index, hold): (usize, &Hold)| EventFact {
        reason: Some(hold.reason.to_string()),
        holds: Some(order.holds[..=open_before + index].to_vec()),
        ..EventType::OrderHeld.into()
    };
    raised.iter().enumerate().map(fact).collect()
}

/// The order's own state and money. A held order's objections say all: nothing may be shipped or booked on it.
fn order_moved(order: &Order, before: &Before<'_>, payment: &Payment) -> Vec<EventFact> {
    if order.state == OrderState::Held {
        return Vec::new();
    }
    let moved = MoneyMoved {
        state: order.state,
        captured: order.captured_minor > before.captured_minor,
        refunded: order.refunded_minor > before.refunded_minor,
        by_release: false,
    };
    let fact = |event_type| match event_type {
        EventType::OrderRefunded => EventFact { occurred_at: refunded_at(before, payment), ..event_type.into() },
        _ => event_type.into(),
    };
    order_events(SeenByFulfilment::of(before.state), moved).into_iter().map(fact).collect()
}

/// Returns the time when the last of the new refunds was made; the time when we asked, where the provider does not say.
fn refunded_at(before: &Before<'_>, payment: &Payment) -> Option<Timestamp> {
    let succeeded = |refund: &&Refund| refund.state == RefundState::Succeeded;
    let known = |refund: &Refund| before.payment.refunds.iter().filter(succeeded).any(|known| known.is_same(refund));
    let new = distinct(&payment.refunds).filter(succeeded).filter(|refund| !known(refund));
    new.filter_map(|refund| refund.occurred_at).max().or(payment.asked_at)
}

fn refunds_failed(before: &Before<'_>, payment: &Payment) -> Vec<EventFact> {
    let failed = distinct(&payment.refunds).filter(|refund| refund.state == RefundState::Failed);
    let known = |id: &RefundId| {
        before.payment.refunds.iter().any(|refund| refund.id == *id && refund.state == RefundState::Failed)
    };
    failed
        .filter(|refund| !known(&refund.id))
        .map(|refund| EventFact {
            reason: refund.reason.clone(),
            refund_id: Some(refund.id.clone()),
            occurred_at: refund.occurred_at,
            ..EventType::RefundFailed.into()
        })
        .collect()
}

/// Lists the events of the disputes that changed. A dispute first seen when it was over had been opened all the same. A
/// dispute that ended for neither side and was judged after all has its event again.
fn disputes_moved(before: &Before<'_>, payment: &Payment) -> Vec<EventFact> {
    let mut facts = Vec::new();
    for dispute in &payment.disputes {
        let known = before.payment.disputes.iter().find(|known| known.id == dispute.id);
        if known.is_none() {
            facts.push(of_dispute(EventType::DisputeOpened, dispute, None));
        }
        let was = known.map_or(DisputeState::Open, |known| known.state);
        if dispute.state.is_over() && (!was.is_over() || was != dispute.state) {
            facts.push(of_dispute(EventType::DisputeClosed, dispute, Some(dispute.state)));
        }
    }
    facts
}

/// A closed dispute says for whom, an open one only that it is: the same whichever notification came first.
fn of_dispute(event_type: EventType, dispute: &Dispute, outcome: Option<DisputeState>) -> EventFact {
    EventFact {
        reason: outcome.map(|outcome| outcome.to_string()),
        dispute_id: Some(dispute.id.clone()),
        occurred_at: dispute.occurred_at,
        ..event_type.into()
    }
}

/// Returns the events that tell the merchant's programs of a change: that the customer agreed, and that it is over.
/// Each once, unless it goes on after all.
pub(crate) fn announce_authorization(was: &Authorization, next: &mut Authorization, now: Timestamp) -> Vec<Event> {
    let cancelled = next.state == AuthorizationState::Cancelled;
    let over = was.state == AuthorizationState::Cancelled;
    let granted = was.state == AuthorizationState::Awaiting || (over && !cancelled);
    let types = [(granted, EventType::AuthorizationGranted), (cancelled, EventType::AuthorizationCancelled)];
    let mut events = Vec::new();
    for (_, event_type) in types.into_iter().filter(|(happened, _)| *happened) {
        next.version += 1;
        let data = AuthorizationEvent {
            authorization_id: next.id.clone(),
            version: next.version,
            provider: Authorization::PROVIDER,
            account: next.account.clone(),
            customer_belongs_to: next.wallet.clone(),
            occurred_at: now,
            reason: next.reason.clone().filter(|_| event_type == EventType::AuthorizationCancelled),
        };
        events.push(Event::of_authorization(event_type, data, now));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(seen: SeenByFulfilment, state: OrderState, captured: bool, refunded: bool) -> String {
        let events = |by_release| order_events(seen, MoneyMoved { state, captured, refunded, by_release });
        let words = |events: &[EventType]| match events {
            [] => "-".to_owned(),
            _ => events.iter().map(|event| event.routing_key().trim_end_matches(".v1")).collect::<Vec<_>>().join(", "),
        };
        match (events(false), events(true)) {
            (answer, release) if answer == release => words(&answer),
            (answer, release) => format!("{}; with a release {}", words(&answer), words(&release)),
        }
    }

    fn drawn() -> String {
        let seen = [
            ("nothing", SeenByFulfilment::Nothing),
            ("`order.authorized`", SeenByFulfilment::Authorized),
            ("`order.paid`", SeenByFulfilment::Paid),
            ("all of it refunded", SeenByFulfilment::Refunded),
        ];
        let mut table =
            "| fulfilment saw | true now | events | if more went back meanwhile |\n|---|---|---|---|\n".to_owned();
        for (saw, seen) in seen {
            for &state in OrderState::ALL.iter().filter(|state| **state != OrderState::Held) {
                let (same, back) = (cell(seen, state, false, false), cell(seen, state, false, true));
                table += &format!("| {saw} | `{state}` | {same} | {back} |\n");
            }
        }
        let again = cell(SeenByFulfilment::Refunded, OrderState::Refunded, true, true);
        table + &format!("| all of it refunded | `refunded`, paid again in between | - | {again} |\n")
    }

    #[test]
    fn the_architectures_table_is_the_codes() {
        let table = drawn();
        let document = include_str!("../../../ARCHITECTURE.md");
        assert!(document.contains(&table), "write this into ARCHITECTURE.md:\n{table}");
    }
}
