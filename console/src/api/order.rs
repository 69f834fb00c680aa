//! Orders: their registration, their release, and how they are shown.

use jiff::Timestamp;
use payhook_schema::{
    AccountName, Currency, Dispute, DisputeId, DisputeState, Hold, Order, OrderId, OrderState, Payment, PaymentId,
    PaymentState, Provider, Refund, RefundId, RefundState,
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

/// An order as the API shows it.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderView {
    pub order_id: OrderId,
    pub state: OrderState,
    pub amount_minor: i64,
    pub currency: Currency,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    pub version: i64,
    /// Every open objection, oldest first.
    pub holds: Vec<Hold>,
    /// The first of them: programs of earlier versions read this.
    pub hold: Option<Hold>,
    pub payments: Vec<PaymentView>,
    pub refunds: Vec<RefundView>,
    pub disputes: Vec<DisputeView>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PaymentView {
    pub provider: Provider,
    pub account: AccountName,
    pub id: PaymentId,
    pub state: PaymentState,
    pub currency: Currency,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    pub asked_at: Option<Timestamp>,
    pub next_check_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct RefundView {
    pub id: RefundId,
    pub provider: Provider,
    pub account: AccountName,
    pub payment_id: PaymentId,
    pub state: RefundState,
    /// Null, as the currency is, until the provider says.
    pub amount_minor: Option<i64>,
    pub currency: Option<Currency>,
    pub voided: bool,
    pub reason: Option<String>,
    pub occurred_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct DisputeView {
    pub id: DisputeId,
    pub provider: Provider,
    pub account: AccountName,
    pub payment_id: PaymentId,
    pub state: DisputeState,
    pub amount_minor: Option<i64>,
    pub currency: Option<Currency>,
    pub reason: Option<String>,
    pub answer_by: Option<Timestamp>,
    pub occurred_at: Option<Timestamp>,
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        let payments = || order.payments.iter();
        Self {
            refunds: payments().flat_map(|it| it.refunds.iter().map(|refund| refund_view(it, refund))).collect(),
            disputes: payments().flat_map(|it| it.disputes.iter().map(|dispute| dispute_view(it, dispute))).collect(),
            payments: payments().map(PaymentView::from).collect(),
            order_id: order.id,
            state: order.state,
            amount_minor: order.amount.amount_minor,
            currency: order.amount.currency,
            captured_minor: order.captured_minor,
            refunded_minor: order.refunded_minor,
            version: order.version,
            hold: order.holds.first().cloned(),
            holds: order.holds,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

impl From<&Payment> for PaymentView {
    fn from(payment: &Payment) -> Self {
        Self {
            provider: payment.key.provider,
            account: payment.key.account.clone(),
            id: payment.key.id.clone(),
            state: payment.state,
            currency: payment.currency,
            captured_minor: payment.captured_minor,
            refunded_minor: payment.refunded_minor,
            reason: payment.reason.clone(),
            provider_reference: payment.provider_reference.clone(),
            asked_at: payment.asked_at,
            next_check_at: payment.next_check_at,
        }
    }
}

fn refund_view(payment: &Payment, refund: &Refund) -> RefundView {
    RefundView {
        id: refund.id.clone(),
        provider: payment.key.provider,
        account: payment.key.account.clone(),
        payment_id: payment.key.id.clone(),
        state: refund.state,
        amount_minor: refund.amount.map(|amount| amount.amount_minor),
        currency: refund.amount.map(|amount| amount.currency),
        voided: refund.voided,
        reason: refund.reason.clone(),
        occurred_at: refund.occurred_at,
    }
}

fn dispute_view(payment: &Payment, dispute: &Dispute) -> DisputeView {
    DisputeView {
        id: dispute.id.clone(),
        provider: payment.key.provider,
        account: payment.key.account.clone(),
        payment_id: payment.key.id.clone(),
        state: dispute.state,
        amount_minor: dispute.amount.map(|amount| amount.amount_minor),
        currency: dispute.amount.map(|amount| amount.currency),
        reason: dispute.reason.clone(),
        answer_by: dispute.answer_by,
        occurred_at: dispute.occurred_at,
    }
}
