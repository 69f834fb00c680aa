use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::words::words;
use crate::{AccountName, Currency, OrderId, PaymentId, Provider, content_id};

words! {
    /// What we tell fulfilment. The routing key on `payhook.events` is the type without `payhook.`.
    pub enum EventType ("event type") {
        OrderAuthorized = "payhook.order.authorized.v1",
        OrderPaid = "payhook.order.paid.v1",
        /// Each growth of the refunded amount.
        OrderRefunded = "payhook.order.refunded.v1",
        OrderHeld = "payhook.order.held.v1",
        OrderReleased = "payhook.order.released.v1",
        /// The three below: an attempt ended without money; the order may still be paid by another.
        PaymentFailed = "payhook.payment.failed.v1",
        PaymentExpired = "payhook.payment.expired.v1",
        PaymentCancelled = "payhook.payment.cancelled.v1",
    }
}

impl EventType {
    /// `payhook.order.paid.v1` travels under `order.paid.v1`.
    pub fn routing_key(self) -> &'static str {
        self.as_str().strip_prefix("payhook.").expect("every event type starts with the program's name")
    }
}

/// A CloudEvents 1.0 event in structured mode; the field order is the order on the wire.
///
/// A consumer drops what it has seen, by `id` or by `data.version`; ignores fields it does not know; and acknowledges
/// types it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub specversion: String,
    /// The same fact has the same id for ever.
    pub id: Uuid,
    #[serde(rename = "type")]
    pub event_type: EventType,
    pub source: String,
    /// The order's id.
    pub subject: OrderId,
    /// When payhook learned it.
    pub time: Timestamp,
    pub datacontenttype: String,
    pub data: EventData,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventData {
    pub order_id: OrderId,
    /// Per order, from 1, without gaps.
    pub version: i64,
    /// What was registered, in the currency's smallest unit; below 2^53, so that every JSON reader has it exactly.
    pub amount_minor: i64,
    pub currency: Currency,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    pub provider: Provider,
    pub account: AccountName,
    pub payment_id: PaymentId,
    /// When it happened by the provider's clock; when we asked, if the provider does not say.
    pub occurred_at: Timestamp,
    /// The hold's reason, or the provider's word for why a payment failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

impl Event {
    /// An event about `data`, whose id is made of the fact alone, so that a store restored from yesterday would make it again.
    pub fn new(event_type: EventType, data: EventData, time: Timestamp) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: fact_id(event_type, &data),
            event_type,
            source: "/payhook".to_owned(),
            subject: data.order_id.clone(),
            time,
            datacontenttype: "application/json".to_owned(),
            data,
        }
    }
}

/// The id of what makes the fact this fact and no other.
fn fact_id(event_type: EventType, data: &EventData) -> Uuid {
    let fact = (event_type, &data.order_id, data.version, data.provider, &data.account, &data.payment_id);
    let amounts = (data.captured_minor, data.refunded_minor, &data.reason);
    content_id(&serde_json::to_vec(&(fact, amounts)).expect("plain data always serialises"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_fact_has_the_same_id_and_another_has_another() {
        let now = Timestamp::UNIX_EPOCH;
        let data = EventData {
            order_id: OrderId::new("A-1").unwrap(),
            version: 1,
            amount_minor: 12_000,
            currency: Currency::new("THB").unwrap(),
            captured_minor: 12_000,
            refunded_minor: 0,
            provider: Provider::Antom,
            account: AccountName::new("shop").unwrap(),
            payment_id: PaymentId::new("PR-1").unwrap(),
            occurred_at: now,
            reason: None,
        };
        let event = Event::new(EventType::OrderPaid, data.clone(), now);
        let later = Event::new(EventType::OrderPaid, EventData { occurred_at: Timestamp::MAX, ..data.clone() }, now);
        assert_eq!(event.id, later.id);
        let next = Event::new(EventType::OrderPaid, EventData { version: 2, ..data }, now);
        assert_ne!(event.id, next.id);
        assert_eq!(event.event_type.routing_key(), "order.paid.v1");
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["type"], "payhook.order.paid.v1");
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
}
