use jiff::Timestamp;
use payhook_schema::{
    Dispute, DisputeId, DisputeState, Event, EventType, Order, OrderEvent, OrderState, Payment, PaymentState, Refund,
    RefundId, RefundState, distinct,
};

/// What was before an answer, as far as fulfilment cares.
pub(crate) struct Before<'a> {
    pub(crate) state: OrderState,
    refunded_minor: i64,
    payment: &'a Payment,
}

impl<'a> Before<'a> {
    pub(crate) fn of(order: &Order, payment: &'a Payment) -> Self {
        Self { state: order.state, refunded_minor: order.refunded_minor, payment }
    }
}

/// One thing to tell, before it has its version.
struct Fact {
    event_type: EventType,
    reason: Option<String>,
    refund_id: Option<RefundId>,
    dispute_id: Option<DisputeId>,
    occurred_at: Option<Timestamp>,
}

impl From<EventType> for Fact {
    fn from(event_type: EventType) -> Self {
        Self { event_type, reason: None, refund_id: None, dispute_id: None, occurred_at: None }
    }
}

/// What fulfilment is told of a change: each thing once, with the order's next versions.
///
/// `occurred_at` is when the payment became what it is; refunds and disputes have their own times.
pub(crate) fn announce(
    order: &mut Order,
    before: &Before<'_>,
    payment: &Payment,
    occurred_at: Timestamp,
    now: Timestamp,
) -> Vec<Event> {
    let facts = attempt_ended(before, payment)
        .into_iter()
        .chain(order_moved(order, before, payment))
        .chain(refunds_failed(before, payment))
        .chain(disputes_moved(before, payment));
    facts
        .collect::<Vec<_>>()
        .into_iter()
        .map(|fact| {
            order.version += 1;
            // A payment first seen when some of it had gone back was paid all the same, before that.
            let is_paid = fact.event_type == EventType::OrderPaid;
            let refunded_minor = if is_paid { before.refunded_minor } else { order.refunded_minor };
            let data = OrderEvent {
                refunded_minor,
                reason: fact.reason,
                refund_id: fact.refund_id,
                dispute_id: fact.dispute_id,
                ..OrderEvent::of(order, &payment.key, fact.occurred_at.unwrap_or(occurred_at))
            };
            Event::of_order(fact.event_type, data, now)
        })
        .collect()
}

/// An attempt ended without money.
fn attempt_ended(before: &Before<'_>, payment: &Payment) -> Option<Fact> {
    if payment.state == before.payment.state {
        return None;
    }
    match payment.state {
        PaymentState::Failed => Some(Fact { reason: payment.reason.clone(), ..EventType::PaymentFailed.into() }),
        PaymentState::Expired => Some(EventType::PaymentExpired.into()),
        PaymentState::Cancelled => Some(EventType::PaymentCancelled.into()),
        _ => None,
    }
}

/// The order's own state and money. A held order says only that it is: nothing may be shipped or booked on it.
fn order_moved(order: &Order, before: &Before<'_>, payment: &Payment) -> Vec<Fact> {
    if order.state == OrderState::Held {
        let reason = order.hold.as_ref().map(|hold| hold.reason.to_string());
        let held = Fact { reason, ..EventType::OrderHeld.into() };
        return if before.state == OrderState::Held { Vec::new() } else { vec![held] };
    }
    let authorized = order.state == OrderState::Authorized && before.state != OrderState::Authorized;
    let paid = payment.state.took_money() && !before.payment.state.took_money();
    let refunded = order.refunded_minor > before.refunded_minor;
    let all =
        [(authorized, EventType::OrderAuthorized), (paid, EventType::OrderPaid), (refunded, EventType::OrderRefunded)];
    let told = all.into_iter().filter(|(happened, _)| *happened).map(|(_, event_type)| match event_type {
        EventType::OrderRefunded => Fact { occurred_at: refunded_at(before, payment), ..event_type.into() },
        _ => event_type.into(),
    });
    told.collect()
}

/// When the last of the refunds that are new was made; when we asked, where the provider does not say.
fn refunded_at(before: &Before<'_>, payment: &Payment) -> Option<Timestamp> {
    let made = |refund: &&Refund| refund.state == RefundState::Succeeded;
    let known = |refund: &Refund| before.payment.refunds.iter().filter(made).any(|known| known.is_same(refund));
    let new = distinct(&payment.refunds).filter(made).filter(|refund| !known(refund));
    new.filter_map(|refund| refund.occurred_at).max().or(payment.asked_at)
}

fn refunds_failed(before: &Before<'_>, payment: &Payment) -> Vec<Fact> {
    let failed = distinct(&payment.refunds).filter(|refund| refund.state == RefundState::Failed);
    let known = |id: &RefundId| {
        before.payment.refunds.iter().any(|refund| refund.id == *id && refund.state == RefundState::Failed)
    };
    failed
        .filter(|refund| !known(&refund.id))
        .map(|refund| Fact {
            reason: refund.reason.clone(),
            refund_id: Some(refund.id.clone()),
            occurred_at: refund.occurred_at,
            ..EventType::RefundFailed.into()
        })
        .collect()
}

/// A dispute first seen when it was over had been opened all the same. One that ended for nobody and was judged after all is told again.
fn disputes_moved(before: &Before<'_>, payment: &Payment) -> Vec<Fact> {
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
fn of_dispute(event_type: EventType, dispute: &Dispute, outcome: Option<DisputeState>) -> Fact {
    Fact {
        reason: outcome.map(|outcome| outcome.to_string()),
        dispute_id: Some(dispute.id.clone()),
        occurred_at: dispute.occurred_at,
        ..event_type.into()
    }
}
