use jiff::Timestamp;
use payhook_schema::{
    AccountName, Currency, DeadCause, DeadLetterState, Envelope, Hint, Money, OrderId, OrderState, PaymentId, Provider,
};
use payhook_store::{DeadLetter, DeadLetterGroup};
use serde::Serialize;
use uuid::Uuid;

use super::{NotificationView, sha256_hex};

/// A dead letter as lists show it.
#[derive(Serialize)]
pub(crate) struct DeadLetterView {
    id: Uuid,
    cause: DeadCause,
    provider: Option<Provider>,
    account: Option<AccountName>,
    payment_id: Option<PaymentId>,
    order_id: Option<OrderId>,
    /// The order's now, not when it failed.
    order_state: Option<OrderState>,
    notification_id: Option<Uuid>,
    attempts: u32,
    first_failed_at: Timestamp,
    last_failed_at: Timestamp,
    detail: String,
    note: Option<String>,
    state: DeadLetterState,
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
            order_state: letter.order_now.map(|(state, _)| state),
            notification_id: letter.notification_id,
            attempts: letter.attempts,
            first_failed_at: letter.first_failed_at,
            last_failed_at: letter.last_failed_at,
            detail: letter.detail,
            note: letter.note,
            state: letter.state,
        }
    }
}

/// A dead letter with everything that is known about it but a body.
#[derive(Serialize)]
pub(crate) struct DeadLetterWhole {
    #[serde(flatten)]
    letter: DeadLetterView,
    order_amount: Option<MoneyView>,
    envelope: EnvelopeView,
}

#[derive(Serialize)]
struct EnvelopeView {
    bytes: usize,
    sha256: String,
    /// `notification`, `ask`, `tend` or `release`; null where the bytes are no envelope.
    hint: Option<&'static str>,
    /// The notification inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<NotificationView>,
}

impl DeadLetterWhole {
    pub(crate) fn of(letter: DeadLetter) -> Self {
        Self {
            order_amount: letter.order_now.map(|(_, amount)| amount.into()),
            envelope: EnvelopeView::of(&letter.bytes),
            letter: letter.into(),
        }
    }
}

impl EnvelopeView {
    fn of(bytes: &[u8]) -> Self {
        let view = Self { bytes: bytes.len(), sha256: sha256_hex(bytes), hint: None, notification: None };
        match Envelope::decode(bytes).map(|envelope| envelope.hint) {
            Ok(Hint::Notification(notification)) => {
                Self { hint: Some("notification"), notification: Some(NotificationView::of(&notification)), ..view }
            }
            Ok(Hint::Ask { .. }) => Self { hint: Some("ask"), ..view },
            Ok(Hint::Tend { .. }) => Self { hint: Some("tend"), ..view },
            Ok(Hint::Release { .. }) => Self { hint: Some("release"), ..view },
            // Why not is the letter's own detail.
            Err(_) => view,
        }
    }
}

/// Dead letters of one kind, with the money that waits for them.
#[derive(Serialize)]
pub(crate) struct DeadLetterGroupView {
    cause: DeadCause,
    provider: Option<Provider>,
    account: Option<AccountName>,
    count: u64,
    first_failed_at: Timestamp,
    last_failed_at: Timestamp,
    at_stake: Vec<MoneyView>,
    paid_meanwhile: u64,
}

impl From<DeadLetterGroup> for DeadLetterGroupView {
    fn from(group: DeadLetterGroup) -> Self {
        Self {
            cause: group.cause,
            provider: group.provider,
            account: group.account,
            count: group.count,
            first_failed_at: group.first_failed_at,
            last_failed_at: group.last_failed_at,
            at_stake: group.at_stake.into_iter().map(MoneyView::from).collect(),
            paid_meanwhile: group.paid_meanwhile,
        }
    }
}

#[derive(Serialize)]
struct MoneyView {
    amount_minor: i64,
    currency: Currency,
}

impl From<Money> for MoneyView {
    fn from(Money { amount_minor, currency }: Money) -> Self {
        Self { amount_minor, currency }
    }
}
