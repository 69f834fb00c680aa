//! Refunds and disputes as rows, alike for both databases.

use jiff::Timestamp;
use payhook_schema::{
    Currency, Dispute, DisputeId, DisputeState, Money, NewRefund, Payment, PaymentId, PaymentKey, Refund, RefundId,
    RefundState, TimelineKind,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::batch::Micros;
use crate::columns::{Columns, some, wrong};
use crate::rows::{payment_key, read};
use crate::{PaymentName, TimelineEntry};

#[derive(Serialize)]
pub(crate) struct RefundRow<'a> {
    /// The `ord` of the change it came with.
    pub(crate) guard: i64,
    pub(crate) provider: &'static str,
    pub(crate) account: &'a str,
    pub(crate) payment_id: &'a str,
    pub(crate) id: &'a str,
    pub(crate) provider_reference: Option<&'a str>,
    pub(crate) state: &'static str,
    pub(crate) amount_minor: Option<i64>,
    pub(crate) currency: Option<&'a str>,
    pub(crate) voided: bool,
    pub(crate) reason: Option<&'a str>,
    pub(crate) occurred_at: Option<Micros>,
}

#[derive(Serialize)]
pub(crate) struct DisputeRow<'a> {
    pub(crate) guard: i64,
    pub(crate) provider: &'static str,
    pub(crate) account: &'a str,
    pub(crate) payment_id: &'a str,
    pub(crate) id: &'a str,
    pub(crate) state: &'static str,
    pub(crate) amount_minor: Option<i64>,
    pub(crate) currency: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) answer_by: Option<Micros>,
    pub(crate) occurred_at: Option<Micros>,
}

impl<'a> RefundRow<'a> {
    pub(crate) fn of(guard: i64, payment: &'a PaymentKey, refund: &'a Refund) -> Self {
        Self {
            guard,
            provider: payment.provider.as_str(),
            account: payment.account.as_str(),
            payment_id: payment.id.as_str(),
            id: refund.id.as_str(),
            provider_reference: refund.provider_reference.as_deref(),
            state: refund.state.as_str(),
            amount_minor: refund.amount.map(|amount| amount.amount_minor),
            currency: refund.amount.as_ref().map(|amount| amount.currency.as_str()),
            voided: refund.voided,
            reason: refund.reason.as_deref(),
            occurred_at: refund.occurred_at.map(Micros),
        }
    }
}

impl<'a> DisputeRow<'a> {
    pub(crate) fn of(guard: i64, payment: &'a PaymentKey, dispute: &'a Dispute) -> Self {
        Self {
            guard,
            provider: payment.provider.as_str(),
            account: payment.account.as_str(),
            payment_id: payment.id.as_str(),
            id: dispute.id.as_str(),
            state: dispute.state.as_str(),
            amount_minor: dispute.amount.map(|amount| amount.amount_minor),
            currency: dispute.amount.as_ref().map(|amount| amount.currency.as_str()),
            reason: dispute.reason.as_deref(),
            answer_by: dispute.answer_by.map(Micros),
            occurred_at: dispute.occurred_at.map(Micros),
        }
    }
}

/// The texts of a payment's refunds and disputes that are anything a provider says.
pub(crate) fn texts(payment: &Payment) -> impl Iterator<Item = &String> {
    let refunds = payment.refunds.iter().flat_map(|refund| [&refund.provider_reference, &refund.reason]);
    refunds.chain(payment.disputes.iter().map(|dispute| &dispute.reason)).flatten()
}

/// True if the payment $3 of an account is registered.
pub(crate) const IS_REGISTERED: &str = "select 1 from payments where provider = $1 and account = $2 and id = $3";

/// Moves the refund $3 from the payment $5 to $4, if it is in state $6.
pub(crate) const MOVE: &str = "update refunds set payment_id = $4, announced_for = coalesce(announced_for, payment_id) \
    where provider = $1 and id = $3 and account = $2 and payment_id = $5 and state = $6";

/// Has the payment $3, of which a refund is expected, be asked about at $4.
pub(crate) const DUE: &str = "update payments \
    set next_check_at = $4, checks = 0, has_refunds_or_disputes = true, finished = false \
    where provider = $1 and id = $3 and account = $2";

/// Links the notifications that name $4 to the payment $3.
pub(crate) const LINK: &str = "update notifications set payment_id = $3 \
    where provider = $1 and account = $2 and names = $4 and payment_id is null";

/// Notes the text $6 in the timeline of the payment $3.
pub(crate) const NOTE: &str = "insert into timeline (order_id, at, kind, provider, account, payment_id, text) \
    select order_id, $4, $5, provider, account, id, $6 from payments where provider = $1 and account = $2 and id = $3";

/// The name under which the payment of `refund` is looked up.
pub(crate) fn name(NewRefund { payment, id }: &NewRefund) -> PaymentName {
    PaymentName::Refund { provider: payment.provider, account: payment.account.clone(), id: id.clone() }
}

/// A known refund, as it was announced where that was for another payment, and as it is.
pub(crate) fn known(row: &impl Columns) -> sqlx::Result<Vec<NewRefund>> {
    let payment = some("payment_id", payment_key(row))?;
    let announced = read::<PaymentId>(row, "announced_for")?.map(|id| PaymentKey { id, ..payment.clone() });
    let id: RefundId = some("id", read(row, "id"))?;
    Ok(announced.into_iter().chain([payment]).map(|payment| NewRefund { payment, id: id.clone() }).collect())
}

/// Returns the timeline entries for a refund that is another payment's than was announced: one for each payment it
/// concerns.
pub(crate) fn assigned(
    refund: &NewRefund,
    from: Option<&PaymentKey>,
    now: Timestamp,
) -> Vec<(PaymentKey, TimelineEntry)> {
    let NewRefund { payment: to, id } = refund;
    let announced = from.map_or(String::new(), |from| format!(", and not of {from}, for which it was announced"));
    let text = format!("{} says that refund {id} is of {to}{announced}", to.provider);
    let entry = |of: &PaymentKey| {
        (of.clone(), TimelineEntry::new(now, TimelineKind::Transition, Some(of.clone()), text.clone()))
    };
    [Some(to), from].into_iter().flatten().map(entry).collect()
}

/// A refund, as the database makes it JSON beside its payment's row.
#[derive(Deserialize)]
struct RefundRead {
    id: RefundId,
    provider_reference: Option<String>,
    state: RefundState,
    amount_minor: Option<i64>,
    currency: Option<Currency>,
    voided: bool,
    reason: Option<String>,
    occurred_at: Option<i64>,
}

#[derive(Deserialize)]
struct DisputeRead {
    id: DisputeId,
    state: DisputeState,
    amount_minor: Option<i64>,
    currency: Option<Currency>,
    reason: Option<String>,
    answer_by: Option<i64>,
    occurred_at: Option<i64>,
}

/// The refunds in `refunds`; none where it is null.
pub(crate) fn refunds(row: &impl Columns) -> sqlx::Result<Vec<Refund>> {
    let read = |read: RefundRead| {
        Ok(Refund {
            id: read.id,
            provider_reference: read.provider_reference,
            state: read.state,
            amount: money(read.amount_minor, read.currency),
            voided: read.voided,
            reason: read.reason,
            occurred_at: time("refunds", read.occurred_at)?,
        })
    };
    list(row, "refunds", read)
}

/// The disputes in `disputes`; none where it is null.
pub(crate) fn disputes(row: &impl Columns) -> sqlx::Result<Vec<Dispute>> {
    let read = |read: DisputeRead| {
        Ok(Dispute {
            id: read.id,
            state: read.state,
            amount: money(read.amount_minor, read.currency),
            reason: read.reason,
            answer_by: time("disputes", read.answer_by)?,
            occurred_at: time("disputes", read.occurred_at)?,
        })
    };
    list(row, "disputes", read)
}

fn list<T: DeserializeOwned, U>(
    row: &impl Columns,
    column: &str,
    read: impl Fn(T) -> sqlx::Result<U>,
) -> sqlx::Result<Vec<U>> {
    let Some(value) = row.json(column)? else { return Ok(Vec::new()) };
    let rows: Vec<T> = serde_json::from_value(value).map_err(|error| wrong(column, error))?;
    rows.into_iter().map(read).collect()
}

fn money(amount_minor: Option<i64>, currency: Option<Currency>) -> Option<Money> {
    amount_minor.zip(currency).map(|(amount_minor, currency)| Money::new(amount_minor, currency))
}

fn time(column: &str, micros: Option<i64>) -> sqlx::Result<Option<Timestamp>> {
    micros.map(|micros| Timestamp::from_microsecond(micros).map_err(|error| wrong(column, error))).transpose()
}
