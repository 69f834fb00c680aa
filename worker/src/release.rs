use std::sync::Arc;

use jiff::Timestamp;
use payhook_schema::{Event, EventType, Hint, Order, OrderEvent, OrderId, OrderState, Payment, TimelineKind};
use payhook_store::{Change, Settled, Settlement, TimelineEntry};
use tracing::{info, warn};

use crate::decide::state_of;
use crate::flights::InHand;
use crate::outcome::Making;
use crate::patience::GaveUp;
use crate::worker::Context;
use crate::writer;

/// Lets a held order go on: a person has looked at it.
pub(crate) async fn settle(context: Arc<Context>, in_hand: InHand) {
    let Ok(Hint::Release { order, who, reason }) = in_hand.delivery.envelope.as_ref().map(|it| &it.hint) else {
        return;
    };
    let released = context.release(order, who, reason).await;
    match released {
        Ok(word) => context.write(Making::done(in_hand, word)).await,
        Err(Unreleased::Refused(why)) => context.write(context.making().poison(in_hand, why)).await,
        Err(Unreleased::Store(GaveUp::Stopped)) => {}
        Err(Unreleased::Store(GaveUp::TooLong)) => writer::go_round(&context, vec![in_hand]).await,
    }
}

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
    /// Decides on what is stored and writes it if that still stands, else again.
    async fn release(&self, id: &OrderId, who: &str, reason: &str) -> Result<&'static str, Unreleased> {
        loop {
            let order = self.patiently("looking an order up", || self.store.order_get(id)).await?;
            let Some(order) = order.filter(|order| order.hold.is_some() && !order.payments.is_empty()) else {
                // Released already: a repeat.
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
    let payment = speaking_for(&released);
    let entry = |kind, text| TimelineEntry { at: now, kind, payment: None, text, detail: serde_json::Value::Null };
    let timeline = vec![
        entry(TimelineKind::Operator, format!("released from {hold} by {who}: {reason}")),
        entry(TimelineKind::Transition, format!("order held -> {}", released.state)),
    ];
    let was_told = |wanted| told.iter().any(|event| event.event_type == wanted);
    let refunds_told = told.iter().filter_map(Event::order).map(|data| data.refunded_minor).max().unwrap_or(0);
    let took_money = released.payments.iter().any(|payment| payment.state.took_money());
    let mut types = vec![(EventType::OrderReleased, order.refunded_minor)];
    if released.state == OrderState::Authorized && !was_told(EventType::OrderAuthorized) {
        types.push((EventType::OrderAuthorized, order.refunded_minor));
    }
    if took_money && !was_told(EventType::OrderPaid) {
        types.push((EventType::OrderPaid, refunds_told));
    }
    if order.refunded_minor > refunds_told {
        types.push((EventType::OrderRefunded, order.refunded_minor));
    }
    let mut events = Vec::new();
    for (event_type, refunded_minor) in types {
        released.version += 1;
        let data = OrderEvent {
            order_id: released.id.clone(),
            version: released.version,
            amount_minor: released.amount.amount_minor,
            currency: released.amount.currency,
            captured_minor: released.captured_minor,
            refunded_minor,
            provider: payment.key.provider,
            account: payment.key.account.clone(),
            payment_id: payment.key.id.clone(),
            occurred_at: now,
            reason: (event_type == EventType::OrderReleased).then(|| hold.clone()),
            refund_id: None,
            dispute_id: None,
        };
        events.push(Event::of_order(event_type, data, now));
    }
    (Change { order: released, payment, events }, timeline)
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
        let before = Event::of_order(EventType::OrderPaid, event_data(&order), at(11));
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

    fn event_data(order: &Order) -> OrderEvent {
        OrderEvent {
            order_id: order.id.clone(),
            version: order.version,
            amount_minor: order.amount.amount_minor,
            currency: order.amount.currency,
            captured_minor: order.captured_minor,
            refunded_minor: 0,
            provider: order.payments[0].key.provider,
            account: order.payments[0].key.account.clone(),
            payment_id: order.payments[0].key.id.clone(),
            occurred_at: at(5),
            reason: None,
            refund_id: None,
            dispute_id: None,
        }
    }
}
