mod dead_letter;
mod notification;
mod replay;

use jiff::Timestamp;
use payhook_schema::{
    AccountName, Authorization, AuthorizationId, AuthorizationState, Currency, Dispute, DisputeId, DisputeState, Hold,
    Order, OrderId, OrderState, Payment, PaymentId, PaymentState, Provider, Refund, RefundId, RefundState,
    TimelineKind, Wallet,
};
use payhook_store::TimelineEntry;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub(crate) use self::dead_letter::{DeadLetterGroupView, DeadLetterView, DeadLetterWhole};
pub(crate) use self::notification::{NotificationView, NotificationWhole};
pub(crate) use self::replay::{ReplayItemView, ReplayView};

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
    /// Every open objection, oldest first.
    holds: Vec<Hold>,
    /// The first of them: programs of earlier versions read this.
    hold: Option<Hold>,
    payments: Vec<PaymentView>,
    refunds: Vec<RefundView>,
    disputes: Vec<DisputeView>,
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

#[derive(Serialize)]
struct RefundView {
    id: RefundId,
    provider: Provider,
    account: AccountName,
    payment_id: PaymentId,
    state: RefundState,
    /// Null, as the currency is, until the provider told.
    amount_minor: Option<i64>,
    currency: Option<Currency>,
    voided: bool,
    reason: Option<String>,
    occurred_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct DisputeView {
    id: DisputeId,
    provider: Provider,
    account: AccountName,
    payment_id: PaymentId,
    state: DisputeState,
    amount_minor: Option<i64>,
    currency: Option<Currency>,
    reason: Option<String>,
    answer_by: Option<Timestamp>,
    occurred_at: Option<Timestamp>,
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

/// An authorization as the API shows it: no token, no digest of one, no code.
#[derive(Serialize)]
pub(crate) struct AuthorizationView {
    authorization_id: AuthorizationId,
    provider: Provider,
    account: AccountName,
    customer_belongs_to: Wallet,
    state: AuthorizationState,
    version: i64,
    expires_at: Option<Timestamp>,
    refresh_expires_at: Option<Timestamp>,
    reason: Option<String>,
    next_check_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl AuthorizationView {
    pub(crate) fn of(authorization: &Authorization) -> Self {
        let token = authorization.token.as_ref();
        Self {
            authorization_id: authorization.id.clone(),
            provider: Authorization::PROVIDER,
            account: authorization.account.clone(),
            customer_belongs_to: authorization.wallet.clone(),
            state: authorization.state,
            version: authorization.version,
            expires_at: token.and_then(|token| token.expires_at),
            refresh_expires_at: token.and_then(|token| token.refresh_expires_at),
            reason: authorization.reason.clone(),
            next_check_at: authorization.next_check_at,
            created_at: authorization.created_at,
            updated_at: authorization.updated_at,
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

/// To tell whether two are the same bytes without showing either.
fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
