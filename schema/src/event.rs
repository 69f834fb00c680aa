//! Defines the events for fulfilment, as CloudEvents.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::words::words;
use crate::{
    AccountName, AuthorizationId, Currency, DisputeId, Hold, Order, OrderId, OrderState, PaymentId, PaymentKey,
    Provider, RefundId, Wallet, content_id,
};

words! {
    /// The type of an event for fulfilment. The routing key on `payhook.events` is the type without `payhook.`.
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
        /// A refund did not happen: the money is still the merchant's.
        RefundFailed = "payhook.refund.failed.v1",
        /// A customer disputes a payment; the order's state and amounts stay.
        DisputeOpened = "payhook.dispute.opened.v1",
        DisputeClosed = "payhook.dispute.closed.v1",
        AuthorizationGranted = "payhook.authorization.granted.v1",
        AuthorizationCancelled = "payhook.authorization.cancelled.v1",
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
    /// The order's id, or the authorization's.
    pub subject: String,
    /// The time when payhook learned it.
    pub time: Timestamp,
    pub datacontenttype: String,
    pub data: EventData,
}

/// The data of an event: of an order or of an authorization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventData {
    Order(OrderEvent),
    Authorization(AuthorizationEvent),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvent {
    pub order_id: OrderId,
    /// Per order, from 1, without gaps.
    pub version: i64,
    /// The order's state with this event, and before the change that made it. Events of the first versions lack both.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<OrderState>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous_state: Option<OrderState>,
    /// The registered amount, in the currency's smallest unit; below 2^53, so that every JSON reader has it exactly.
    pub amount_minor: i64,
    pub currency: Currency,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    pub provider: Provider,
    pub account: AccountName,
    pub payment_id: PaymentId,
    /// The time when it happened, by the provider's clock; the time when we asked, if the provider does not say.
    pub occurred_at: Timestamp,
    /// The hold's reason, or the provider's word for why a payment or refund failed, or for a dispute.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Of `refund.failed`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refund_id: Option<RefundId>,
    /// Of `dispute.opened` and `dispute.closed`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dispute_id: Option<DisputeId>,
    /// Every objection that is open with this event, oldest first; left out while there is none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub holds: Vec<Hold>,
}

impl OrderEvent {
    /// An order as it is now, in the words of one of its payments. `occurred_at` by the provider's clock.
    pub fn of(order: &Order, payment: &PaymentKey, occurred_at: Timestamp) -> Self {
        Self {
            order_id: order.id.clone(),
            version: order.version,
            state: Some(order.state),
            previous_state: None,
            amount_minor: order.amount.amount_minor,
            currency: order.amount.currency,
            captured_minor: order.captured_minor,
            refunded_minor: order.refunded_minor,
            provider: payment.provider,
            account: payment.account.clone(),
            payment_id: payment.id.clone(),
            occurred_at,
            reason: None,
            refund_id: None,
            dispute_id: None,
            holds: order.holds.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationEvent {
    pub authorization_id: AuthorizationId,
    /// Per authorization, from 1, without gaps.
    pub version: i64,
    pub provider: Provider,
    pub account: AccountName,
    pub customer_belongs_to: Wallet,
    pub occurred_at: Timestamp,
    /// The customer's words, where the wallet passes them on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

impl Event {
    /// An event about an order, whose id is made of the fact alone, so that a store restored from yesterday would make
    /// it again.
    pub fn of_order(event_type: EventType, data: OrderEvent, time: Timestamp) -> Self {
        let fact = (event_type, &data.order_id, data.version, data.provider, &data.account, &data.payment_id);
        let amounts = (data.captured_minor, data.refunded_minor, &data.reason);
        let id = match (&data.refund_id, &data.dispute_id) {
            (None, None) => fact_id(&(fact, amounts)),
            named => fact_id(&(fact, amounts, named)),
        };
        Self::new(id, event_type, data.order_id.to_string(), EventData::Order(data), time)
    }

    /// An event about an authorization; its id is made of the fact alone, too.
    pub fn of_authorization(event_type: EventType, data: AuthorizationEvent, time: Timestamp) -> Self {
        let fact = (event_type, &data.authorization_id, data.version, data.provider, &data.account);
        let subject = data.authorization_id.to_string();
        Self::new(fact_id(&fact), event_type, subject, EventData::Authorization(data), time)
    }

    fn new(id: Uuid, event_type: EventType, subject: String, data: EventData, time: Timestamp) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id,
            event_type,
            source: "/payhook".to_owned(),
            subject,
            time,
            datacontenttype: "application/json".to_owned(),
            data,
        }
    }

    /// Per order or authorization, from 1, without gaps.
    pub fn version(&self) -> i64 {
        match &self.data {
            EventData::Order(data) => data.version,
            EventData::Authorization(data) => data.version,
        }
    }

    /// Returns the data of an event about an order; `None` for other events.
    pub fn order(&self) -> Option<&OrderEvent> {
        match &self.data {
            EventData::Order(data) => Some(data),
            EventData::Authorization(_) => None,
        }
    }
}

/// The id of what makes the fact this fact and no other.
fn fact_id(fact: &impl Serialize) -> Uuid {
    content_id(&serde_json::to_vec(fact).expect("plain data always serialises"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_fact_has_the_same_id_and_another_has_another() {
        let now = Timestamp::UNIX_EPOCH;
        let data = OrderEvent {
            order_id: OrderId::new("A-1").unwrap(),
            version: 1,
            state: Some(OrderState::Paid),
            previous_state: Some(OrderState::Pending),
            amount_minor: 12_000,
            currency: Currency::new("THB").unwrap(),
            captured_minor: 12_000,
            refunded_minor: 0,
            provider: Provider::Antom,
            account: AccountName::new("shop").unwrap(),
            payment_id: PaymentId::new("PR-1").unwrap(),
            occurred_at: now,
            reason: None,
            refund_id: None,
            dispute_id: None,
            holds: Vec::new(),
        };
        let event = Event::of_order(EventType::OrderPaid, data.clone(), now);
        let later =
            Event::of_order(EventType::OrderPaid, OrderEvent { occurred_at: Timestamp::MAX, ..data.clone() }, now);
        assert_eq!(event.id, later.id);
        let next = Event::of_order(EventType::OrderPaid, OrderEvent { version: 2, ..data.clone() }, now);
        assert_ne!(event.id, next.id);
        let of_refund = |id| OrderEvent { refund_id: RefundId::new(id).ok(), ..data.clone() };
        let refunds = ["RF-1", "RF-2"].map(|id| Event::of_order(EventType::RefundFailed, of_refund(id), now).id);
        assert_ne!(refunds[0], refunds[1]);
        assert_eq!(event.event_type.routing_key(), "order.paid.v1");
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["type"], "payhook.order.paid.v1");
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }

    #[test]
    fn an_events_id_is_the_same_as_in_the_first_version() {
        let data = OrderEvent {
            order_id: OrderId::new("A-1").unwrap(),
            version: 1,
            state: None,
            previous_state: None,
            amount_minor: 1,
            currency: Currency::new("THB").unwrap(),
            captured_minor: 1,
            refunded_minor: 0,
            provider: Provider::Omise,
            account: AccountName::new("shop").unwrap(),
            payment_id: PaymentId::new("chrg_test_1").unwrap(),
            occurred_at: Timestamp::UNIX_EPOCH,
            reason: None,
            refund_id: None,
            dispute_id: None,
            holds: Vec::new(),
        };
        let event = Event::of_order(EventType::OrderPaid, data, Timestamp::UNIX_EPOCH);
        assert_eq!(event.id.to_string(), "5d761749-dd4b-8187-b45d-1cdb895f2369");
    }

    #[test]
    fn an_event_about_an_authorization_is_read_back() {
        let data = AuthorizationEvent {
            authorization_id: AuthorizationId::new("AU-1").unwrap(),
            version: 1,
            provider: Provider::Antom,
            account: AccountName::new("shop").unwrap(),
            customer_belongs_to: Wallet::new("KPLUS").unwrap(),
            occurred_at: Timestamp::UNIX_EPOCH,
            reason: None,
        };
        let event = Event::of_authorization(EventType::AuthorizationGranted, data, Timestamp::UNIX_EPOCH);
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!((json["subject"].as_str(), json["data"]["version"].as_i64()), (Some("AU-1"), Some(1)));
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
}
