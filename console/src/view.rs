use jiff::Timestamp;
use payhook_schema::{
    AccountName, Currency, DeadCause, Hold, Order, OrderId, OrderState, Payment, PaymentId, PaymentState, Provider,
    TimelineKind,
};
use payhook_store::{DeadLetter, TimelineEntry};
use serde::Serialize;
use uuid::Uuid;

/// An order as the API shows it.
#[derive(Serialize)]
pub(crate) struct OrderView {
    order_id: OrderId,
    state: OrderState,
    amount_minor: i64,
    currency: Currency,
    captured_minor: i64,
    refunded_minor: i64,
    version: i64,
    hold: Option<Hold>,
    payments: Vec<PaymentView>,
    refunds: Vec<RefundView>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct PaymentView {
    provider: Provider,
    account: AccountName,
    id: PaymentId,
    state: PaymentState,
    currency: Currency,
    captured_minor: i64,
    refunded_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_reference: Option<String>,
    asked_at: Option<Timestamp>,
    next_check_at: Option<Timestamp>,
}

/// What went back of one payment. Both providers tell the sum with the payment.
#[derive(Serialize)]
struct RefundView {
    provider: Provider,
    account: AccountName,
    payment_id: PaymentId,
    amount_minor: i64,
    currency: Currency,
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        let refunded = order.payments.iter().filter(|payment| payment.refunded_minor > 0);
        Self {
            refunds: refunded.map(RefundView::from).collect(),
            payments: order.payments.iter().map(PaymentView::from).collect(),
            order_id: order.id,
            state: order.state,
            amount_minor: order.amount.amount_minor,
            currency: order.amount.currency,
            captured_minor: order.captured_minor,
            refunded_minor: order.refunded_minor,
            version: order.version,
            hold: order.hold,
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

impl From<&Payment> for RefundView {
    fn from(payment: &Payment) -> Self {
        Self {
            provider: payment.key.provider,
            account: payment.key.account.clone(),
            payment_id: payment.key.id.clone(),
            amount_minor: payment.refunded_minor,
            currency: payment.currency,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct TimelineView {
    at: Timestamp,
    kind: TimelineKind,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<String>,
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    detail: serde_json::Value,
}

impl From<TimelineEntry> for TimelineView {
    fn from(entry: TimelineEntry) -> Self {
        Self {
            at: entry.at,
            kind: entry.kind,
            text: entry.text,
            payment: entry.payment.map(|key| key.to_string()),
            detail: entry.detail,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct DeadLetterView {
    id: Uuid,
    cause: DeadCause,
    provider: Option<Provider>,
    account: Option<AccountName>,
    payment_id: Option<PaymentId>,
    order_id: Option<OrderId>,
    attempts: u32,
    first_failed_at: Timestamp,
    last_failed_at: Timestamp,
    detail: String,
    state: &'static str,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            cause: letter.cause,
            provider: letter.provider,
            account: letter.account,
            payment_id: letter.payment.map(|key| key.id),
            order_id: letter.order,
            attempts: letter.attempts,
            first_failed_at: letter.first_failed_at,
            last_failed_at: letter.last_failed_at,
            detail: letter.detail,
            state: "open",
        }
    }
}
