use std::sync::Arc;

use jiff::Timestamp;
use payhook_schema::{
    Event, EventType, Hint, Hold, Order, OrderEvent, OrderId, OrderState, Payment, PaymentState, TimelineKind,
};
use payhook_store::{Change, Settled, Settlement, TimelineEntry};
use serde_json::json;
use tracing::{info, warn};

use crate::decide::state_of;
use crate::flights::InHand;
use crate::outcome::Making;
use crate::patience::GaveUp;
use crate::worker::Context;
use crate::writer;

/// Lets a held order go on: a person has looked at it.
pub(crate) async fn settle(context: Arc<Context>, in_hand: InHand) {
    let Ok(Hint::Release { order, hold, who, reason }) = in_hand.delivery.envelope.as_ref().map(|it| &it.hint) else {
        return;
    };
    let released = context.release(order, hold, who, reason).await;
    match released {
        Ok(word) => context.write(Making::done(in_hand, word)).await,
        Err(Unreleased::Refused(why)) => context.write(context.making().poison(in_hand, why)).await,
        Err(Unreleased::Store(GaveUp::Stopped)) => {}
        Err(Unreleased::Store(GaveUp::TooLong)) => writer::go_round(&context, vec![in_hand]).await,
    }
}

/// Where the timeline keeps what a person let an order go on with.
const RELEASED: &str = "released";

enum Unreleased {
    Refused(String),
    Store(GaveUp),
}

impl From<GaveUp> for Unreleased {
    fn from(gave_up: GaveUp) -> Self {
        Self::Store(gave_up)
    }
}

impl Context {
    /// Decides, and where that would hold the order, again with what a person let it go on with: only then is that looked up.
    pub(crate) async fn knowing_releases<T>(
        &self,
        order: &Order,
        decide: impl Fn(&[Hold]) -> T,
        holds: impl Fn(&T) -> bool,
    ) -> Result<T, GaveUp> {
        let decided = decide(&[]);
        match order.hold.is_none() && holds(&decided) {
            true => Ok(decide(&self.released_of(&order.id).await?)),
            false => Ok(decided),
        }
    }

    /// What an order was held for before, and let go on with.
    async fn released_of(&self, order: &OrderId) -> Result<Vec<Hold>, GaveUp> {
        let timeline = self.patiently("reading an order's timeline", || self.store.order_timeline(order)).await?;
        let released = timeline.into_iter().filter(|entry| entry.kind == TimelineKind::Operator);
        Ok(released
            .filter_map(|mut entry| serde_json::from_value(entry.detail.get_mut(RELEASED)?.take()).ok())
            .collect())
    }

    /// Decides on what is stored and writes it if that still stands, else again.
    async fn release(&self, id: &OrderId, hold: &Hold, who: &str, reason: &str) -> Result<&'static str, Unreleased> {
        loop {
            let order = self.patiently("looking an order up", || self.store.order_get(id)).await?;
            // Released already, or held for something else since, which nobody has looked at.
            let Some(order) = order.filter(|order| order.hold.as_ref() == Some(hold) && !order.payments.is_empty())
            else {
                info!(order.id = %id, "order {id} is no longer held for what was released; nothing changes");
                return Ok("unchanged");
            };
            let told = self.patiently("reading an order's events", || self.store.events_of(id)).await?;
            let (change, timeline) = release(&order, &told, who, reason, self.clock.now());
            let settlement =
                [Settlement { order: Some(id.clone()), timeline, change: Some(change), ..Settlement::default() }];
            let settled = self.patiently("releasing an order", || self.store.settle(&settlement)).await?;
            match settled.into_iter().next() {
                Some(Settled::Written) => {
                    self.events_written.notify_one();
                    info!(order.id = %id, "order {id} is released by {who}");
                    return Ok("applied");
                }
                Some(Settled::Refused(why)) => {
                    warn!(order.id = %id, "cannot release order {id}: {why}");
                    return Err(Unreleased::Refused(why));
                }
                Some(Settled::Conflict) | None => {}
            }
        }
    }
}

/// What becomes of a held order that is let go on: the state its payments make, and everything fulfilment was not told while it was held.
fn release(order: &Order, told: &[Event], who: &str, reason: &str, now: Timestamp) -> (Change, Vec<TimelineEntry>) {
    let hold = order.hold.as_ref().map_or_else(String::new, |hold| hold.reason.to_string());
    let mut released = Order { hold: None, updated_at: now, ..order.clone() };
    released.state = state_of(&released.payments);
    let entry = |kind, text: String| TimelineEntry::new(now, kind, None, text);
    let operator = entry(TimelineKind::Operator, format!("released from {hold} by {who}: {reason}"));
    let timeline = vec![
        TimelineEntry { detail: json!({ RELEASED: order.hold }), ..operator },
        entry(TimelineKind::Transition, format!("order held -> {}", released.state)),
    ];
    let of_type = |wanted| told.iter().filter(move |event| event.event_type == wanted).filter_map(Event::order);
    let refunds_told = of_type(EventType::OrderRefunded).map(|data| data.refunded_minor).max().unwrap_or(0);
    let unpaid = paid_and_not_told(&released, &of_type(EventType::OrderPaid).collect::<Vec<_>>()).cloned();
    let payment = unpaid.clone().unwrap_or_else(|| speaking_for(&released));
    let mut types = vec![(EventType::OrderReleased, order.refunded_minor)];
    if released.state == OrderState::Authorized && of_type(EventType::OrderAuthorized).next().is_none() {
        types.push((EventType::OrderAuthorized, order.refunded_minor));
    }
    if unpaid.is_some() {
        types.push((EventType::OrderPaid, refunds_told));
    }
    if order.refunded_minor > refunds_told {
        types.push((EventType::OrderRefunded, order.refunded_minor));
    }
    let mut events = Vec::new();
    for (event_type, refunded_minor) in types {
        released.version += 1;
        let data = OrderEvent {
            refunded_minor,
            reason: (event_type == EventType::OrderReleased).then(|| hold.clone()),
            ..OrderEvent::of(&released, &payment.key, now)
        };
        events.push(Event::of_order(event_type, data, now));
    }
    (Change { order: released, payment, events }, timeline)
}

/// The payment that pays the order and that fulfilment was not told of. One that holds money while none that was told of does: two that are
/// paid are one order to ship.
fn paid_and_not_told<'a>(order: &'a Order, told: &[&OrderEvent]) -> Option<&'a Payment> {
    let was_told = |payment: &&Payment| {
        told.iter().any(|data| {
            (data.provider, &data.account, &data.payment_id)
                == (payment.key.provider, &payment.key.account, &payment.key.id)
        })
    };
    let holds = |payment: &&Payment| matches!(payment.state, PaymentState::Paid | PaymentState::PartlyRefunded);
    let mut holding = order.payments.iter().filter(holds);
    let first = holding.next();
    match first {
        Some(first) if !was_told(&first) && !holding.any(|payment| was_told(&payment)) => Some(first),
        // Paid and given back while it was held: it was paid all the same.
        None if told.is_empty() => order.payments.iter().find(|payment| payment.state.took_money()),
        Some(_) | None => None,
    }
}

/// The payment an order's events name: one that took money, if any did.
fn speaking_for(order: &Order) -> Payment {
    let took_money = order.payments.iter().find(|payment| payment.state.took_money());
    took_money.or(order.payments.first()).expect("an order that is held has a payment").clone()
}

#[cfg(test)]
mod tests {
    use payhook_schema::PaymentFacts;

    use super::*;
    use crate::decide::tests::{at, facts, order, paid, thb, told};

    fn released(order: &Order, told: &[Event]) -> (Order, Vec<EventType>) {
        let (change, timeline) = release(order, told, "ann", "checked by hand", at(50));
        assert!(timeline[0].text.contains("ann: checked by hand"));
        assert_eq!(change.order.version - order.version, change.events.len() as i64);
        let types = change.events.iter().map(|event| event.event_type).collect();
        (Order { revision: order.revision + 1, ..change.order }, types)
    }

    #[test]
    fn an_order_held_when_it_was_paid_is_told_as_released_and_paid() {
        let mut order = order(&["P1"]);
        told(&mut order, "P1", &PaymentFacts { amount: Some(thb(11_999)), captured_minor: 11_999, ..paid() });
        let (order, types) = released(&order, &[]);
        assert_eq!(types, [EventType::OrderReleased, EventType::OrderPaid]);
        assert_eq!((order.state, order.hold), (OrderState::Paid, None));
    }

    #[test]
    fn what_was_told_before_the_hold_is_not_told_again() {
        let mut order = order(&["P1", "P2"]);
        told(&mut order, "P1", &paid());
        let before =
            Event::of_order(EventType::OrderPaid, OrderEvent::of(&order, &order.payments[0].key, at(5)), at(11));
        told(&mut order, "P2", &paid());
        let (order, types) = released(&order, &[before]);
        assert_eq!((types, order.state), (vec![EventType::OrderReleased], OrderState::Paid));
    }

    #[test]
    fn a_refund_while_it_was_held_is_told_with_the_release() {
        let mut order = order(&["P1"]);
        told(&mut order, "P1", &PaymentFacts { amount: Some(thb(11_999)), captured_minor: 11_999, ..paid() });
        let partly = facts(payhook_schema::PaymentState::PartlyRefunded, 11_999, 2_000);
        told(&mut order, "P1", &PaymentFacts { amount: Some(thb(11_999)), ..partly });
        let (order, types) = released(&order, &[]);
        assert_eq!(types, [EventType::OrderReleased, EventType::OrderPaid, EventType::OrderRefunded]);
        assert_eq!(order.state, OrderState::PartlyRefunded);
    }

    #[test]
    fn the_refund_an_order_was_held_for_is_told_when_it_is_released() {
        let mut order = order(&["P1"]);
        let mut events = Vec::new();
        for answer in [paid(), facts(payhook_schema::PaymentState::Refunded, 12_000, 15_000)] {
            let next = crate::decide::NextCheck { at: at(100), checks: 1 };
            let decision = crate::decide::decide(&order, &order.payments[0].key.clone(), &answer, next, at(11), &[]);
            events.extend(decision.change.events);
            order = Order { revision: order.revision + 1, ..decision.change.order };
        }
        assert_eq!(order.state, OrderState::Held);
        let (_, types) = released(&order, &events);
        assert_eq!(types, [EventType::OrderReleased, EventType::OrderRefunded]);
    }

    #[test]
    fn a_second_payment_that_pays_after_the_first_went_back_is_told() {
        let mut order = order(&["P1", "P2"]);
        told(&mut order, "P1", &paid());
        let first =
            Event::of_order(EventType::OrderPaid, OrderEvent::of(&order, &order.payments[0].key, at(5)), at(11));
        told(&mut order, "P1", &facts(payhook_schema::PaymentState::Refunded, 12_000, 12_000));
        told(&mut order, "P2", &PaymentFacts { amount: Some(thb(11_999)), captured_minor: 11_999, ..paid() });
        let (_, types) = released(&order, &[first]);
        assert_eq!(types, [EventType::OrderReleased, EventType::OrderPaid, EventType::OrderRefunded]);
    }

    #[test]
    fn a_released_order_is_not_held_again_for_what_was_looked_at() {
        let mut order = order(&["P1"]);
        let short = PaymentFacts { amount: Some(thb(11_999)), captured_minor: 11_999, ..paid() };
        told(&mut order, "P1", &short);
        let (mut order, _) = released(&order, &[]);
        assert_eq!(told(&mut order, "P1", &short).1, []);
        let refunded = facts(payhook_schema::PaymentState::PartlyRefunded, 11_999, 2_000);
        let refunded = PaymentFacts { amount: Some(thb(11_999)), ..refunded };
        assert_eq!(told(&mut order, "P1", &refunded).1, [EventType::OrderRefunded]);
    }
}
