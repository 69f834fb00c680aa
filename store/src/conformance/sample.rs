//! Orders, notifications and settlements to try promises on.

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{
    About, AccountName, Currency, Event, EventData, EventType, Money, NewOrder, Notification, Order, OrderEvent,
    OrderId, OrderState, PaymentId, PaymentKey, PaymentState, Provider, TimelineKind,
};
use uuid::Uuid;

use crate::{Change, Registered, Settlement, Store, TimelineEntry};

/// The `seconds`th second of the test, and not a whole one.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_microsecond(1_767_225_600_000_001).unwrap() + SignedDuration::from_secs(seconds)
}

pub(crate) fn uuid(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0193_9b5e_0000_7000, 0x8000_0000_0000_0000 | number)
}

pub(crate) fn order_id(id: &str) -> OrderId {
    OrderId::new(id).unwrap()
}

pub(crate) fn key_of(provider: Provider, account: &str, id: &str) -> PaymentKey {
    PaymentKey { provider, account: AccountName::new(account).unwrap(), id: PaymentId::new(id).unwrap() }
}

pub(crate) fn key(id: &str) -> PaymentKey {
    key_of(Provider::Omise, "shop", id)
}

pub(crate) fn thb(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::new("THB").unwrap())
}

pub(crate) fn new_order(id: &str, payments: &[&str]) -> NewOrder {
    NewOrder {
        id: order_id(id),
        amount: thb(12_000),
        payments: payments.iter().map(|id| key(id)).collect(),
        refunds: Vec::new(),
    }
}

/// Registers `new` and returns the order.
pub(crate) async fn registered(store: &dyn Store, new: &NewOrder, now: Timestamp) -> Order {
    match store.order_register(new, now).await.unwrap() {
        Registered::Order { order, .. } => order,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn read(store: &dyn Store, id: &OrderId) -> Order {
    store.order_get(id).await.unwrap().unwrap()
}

pub(crate) fn notification(number: u64, payment: Option<&PaymentKey>, now: Timestamp) -> Notification {
    Notification {
        id: uuid(number),
        provider: payment.map_or(Provider::Omise, |key| key.provider),
        account: payment.map_or(AccountName::new("shop").unwrap(), |key| key.account.clone()),
        kind: "charge.complete".to_owned(),
        about: payment.map_or(About::Other, |key| About::Payment(key.id.clone())),
        idempotency_key: format!("evnt_{number}"),
        received_at: now,
        signed_at: Some(now),
        verified_by: "secret 1".to_owned(),
        signed_path: "/omise/shop".to_owned(),
        signed_id: Some(Uuid::from_u128(u128::from(number))),
        headers: vec![("omise-signature".to_owned(), "00\"ff\\".to_owned())],
        body: b"{\n\xe0\xb8\x84\xff\0}\n".to_vec(),
        sealed_with: None,
    }
}

pub(crate) fn entry(text: &str, payment: Option<PaymentKey>, now: Timestamp) -> TimelineEntry {
    TimelineEntry::new(now, TimelineKind::Inquiry, payment, text)
}

/// A settlement that takes `captured_minor` for the payment `key` of `order`, with one event and one timeline entry.
pub(crate) fn capture(order: &Order, key: &PaymentKey, captured_minor: i64, now: Timestamp) -> Settlement {
    let mut order = order.clone();
    let payment = order.payments.iter_mut().find(|payment| payment.key == *key).unwrap();
    payment.state = PaymentState::Paid;
    payment.captured_minor = captured_minor;
    payment.asked_at = Some(now);
    payment.next_check_at = None;
    let payment = payment.clone();
    order.state = OrderState::Paid;
    order.captured_minor = order.payments.iter().map(|payment| payment.captured_minor).sum();
    order.version += 1;
    order.updated_at = now;
    let events = vec![event(&order, key, EventType::OrderPaid, now)];
    Settlement {
        notifications: Vec::new(),
        about: None,
        order: Some(order.id.clone()),
        timeline: vec![entry("awaiting -> paid", Some(key.clone()), now)],
        check: None,
        change: Some(Change { order, payment, events }),
    }
}

/// The event of `order` as it now is.
pub(crate) fn event(order: &Order, key: &PaymentKey, event_type: EventType, now: Timestamp) -> Event {
    let data = OrderEvent::of(order, key, now);
    Event::of_order(event_type, data, now)
}

/// Returns what `event` says about its order, so that a test can change it.
pub(crate) fn order_event(event: &mut Event) -> &mut OrderEvent {
    match &mut event.data {
        EventData::Order(data) => data,
        EventData::Authorization(_) => panic!("it is about an authorization"),
    }
}
