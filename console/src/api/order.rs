//! Orders: their registration, their release, and how they are shown.

use jiff::Timestamp;
use payhook_schema::{
    AccountName, Currency, Dispute, DisputeId, DisputeState, Hold, Order, OrderId, OrderState, Payment, PaymentId,
    PaymentKey, PaymentState, Provider, Refund, RefundId, RefundState,
};
use serde::{Deserialize, Serialize};

use super::TimelineView;

/// Registers an order, or adds payments and refunds to one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRegistration {
    pub amount_minor: i64,
    pub currency: Currency,
    #[serde(default)]
    pub payments: Vec<PaymentRegistration>,
    #[serde(default)]
    pub refunds: Vec<RefundRegistration>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentRegistration {
    pub provider: Provider,
    pub account: AccountName,
    pub id: PaymentId,
    /// The method it will be paid by, as the provider spells it: its limits are checked before the customer meets them.
    pub method: Option<String>,
}

/// A refund of Antom's, before it is asked for: its notification names no payment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundRegistration {
    pub provider: Provider,
    pub account: AccountName,
    pub payment_id: PaymentId,
    pub id: RefundId,
}

/// Releases a held order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The version of the order that the operator read; required.
    pub version: Option<i64>,
    #[serde(default)]
    pub reason: String,
    /// Payments whose money went back although the provider does not say so.
    #[serde(default)]
    pub returned: Vec<ReturnedPayment>,
}

/// Names a payment of the order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReturnedPayment {
    pub provider: Provider,
    pub account: AccountName,
    pub id: PaymentId,
}

/// The parameters of the list of orders.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderQuery {
    pub state: Option<OrderState>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub before: Option<OrderId>,
    pub limit: Option<u32>,
}

/// The parameters of an order's timeline.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineQuery {
    /// A place, as `next` of the page before has it.
    pub after: Option<String>,
    pub limit: Option<u32>,
}

/// Orders, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderPage {
    pub orders: Vec<OrderView>,
    /// Goes into `before` to read on; null on the last page.
    pub next: Option<OrderId>,
}

/// Entries of an order's timeline, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderTimeline {
    pub order_id: OrderId,
    pub timeline: Vec<TimelineView>,
    /// Goes into `after` to read on; null on the last page.
    pub next: Option<String>,
}

view! {
    /// An order as the API shows it.
    pub struct OrderView of (order: Order) {
        order_id: OrderId = order.id,
        state: OrderState = order.state,
        amount_minor: i64 = order.amount.amount_minor,
        currency: Currency = order.amount.currency,
        captured_minor: i64 = order.captured_minor,
        refunded_minor: i64 = order.refunded_minor,
        version: i64 = order.version,
        /// Every open objection, oldest first.
        holds: Vec<Hold> = order.holds.clone(),
        /// The first of them: programs of earlier versions read this.
        hold: Option<Hold> = order.holds.first().cloned(),
        payments: Vec<PaymentView> = order.payments.iter().map(PaymentView::of).collect(),
        refunds: Vec<RefundView> = each(&order.payments, |payment| &payment.refunds, RefundView::of),
        disputes: Vec<DisputeView> = each(&order.payments, |payment| &payment.disputes, DisputeView::of),
        created_at: Timestamp = order.created_at,
        updated_at: Timestamp = order.updated_at,
    }
}

fn each<T, V>(payments: &[Payment], of: impl Fn(&Payment) -> &Vec<T>, view: impl Fn(&Payment, &T) -> V) -> Vec<V> {
    payments.iter().flat_map(|payment| of(payment).iter().map(|it| view(payment, it))).collect()
}

view! {
    /// A payment of an order.
    pub struct PaymentView of (payment: &Payment) {
        #[serde(flatten)]
        key: PaymentKey = payment.key.clone(),
        state: PaymentState = payment.state,
        currency: Currency = payment.currency,
        captured_minor: i64 = payment.captured_minor,
        refunded_minor: i64 = payment.refunded_minor,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String> = payment.reason.clone(),
        #[serde(skip_serializing_if = "Option::is_none")]
        provider_reference: Option<String> = payment.provider_reference.clone(),
        asked_at: Option<Timestamp> = payment.asked_at,
        next_check_at: Option<Timestamp> = payment.next_check_at,
    }
}

view! {
    /// A refund of one of an order's payments.
    pub struct RefundView of (payment: &Payment, refund: &Refund) {
        id: RefundId = refund.id.clone(),
        provider: Provider = payment.key.provider,
        account: AccountName = payment.key.account.clone(),
        payment_id: PaymentId = payment.key.id.clone(),
        state: RefundState = refund.state,
        /// Null, as the currency is, until the provider says.
        amount_minor: Option<i64> = refund.amount.map(|amount| amount.amount_minor),
        currency: Option<Currency> = refund.amount.map(|amount| amount.currency),
        voided: bool = refund.voided,
        reason: Option<String> = refund.reason.clone(),
        occurred_at: Option<Timestamp> = refund.occurred_at,
    }
}

view! {
    /// A dispute of one of an order's payments.
    pub struct DisputeView of (payment: &Payment, dispute: &Dispute) {
        id: DisputeId = dispute.id.clone(),
        provider: Provider = payment.key.provider,
        account: AccountName = payment.key.account.clone(),
        payment_id: PaymentId = payment.key.id.clone(),
        state: DisputeState = dispute.state,
        amount_minor: Option<i64> = dispute.amount.map(|amount| amount.amount_minor),
        currency: Option<Currency> = dispute.amount.map(|amount| amount.currency),
        reason: Option<String> = dispute.reason.clone(),
        answer_by: Option<Timestamp> = dispute.answer_by,
        occurred_at: Option<Timestamp> = dispute.occurred_at,
    }
}
