//! Reads orders with their payments, refunds and disputes.

use jiff::Timestamp;
use payhook_schema::{
    Currency, Dispute, DisputeId, DisputeState, Hold, Money, Order, OrderId, Payment, PaymentKey, Refund, RefundId,
    RefundState,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Found;
use crate::db::row::{Row, wrong};

/// The columns of an order `o` joined with its payments `p`, as [`orders`] reads them; sort by order, then `position`.
/// `refunds` and `disputes` are JSON with times in microseconds: null for most payments, which have none.
macro_rules! order_columns {
    () => {
        "o.id as order_id, o.amount_minor, o.currency as order_currency, o.state as order_state, \
         o.captured_minor as order_captured_minor, o.refunded_minor as order_refunded_minor, o.version, o.holds, \
         o.released, o.revision, o.created_at as order_created_at, o.updated_at, p.provider, p.account, \
         p.id as payment_id, p.state as payment_state, p.captured_minor, p.refunded_minor, p.currency, \
         p.provider_reference, p.reason, p.asked_at, p.final_at, p.next_check_at, cast(p.checks as bigint) as checks, p.created_at, \
         case when p.has_refunds_or_disputes then (select json_agg(json_build_object('id', r.id, \
            'provider_reference', r.provider_reference, 'state', r.state, 'amount_minor', r.amount_minor, \
            'currency', r.currency, 'voided', cast(r.voided as integer), 'reason', r.reason, \
            'occurred_at', (extract(epoch from r.occurred_at) * 1000000)::bigint) order by r.n) \
          from refunds r where r.provider = p.provider and r.payment_id = p.id and r.account = p.account) end as refunds, \
         case when p.has_refunds_or_disputes then (select json_agg(json_build_object('id', d.id, 'state', d.state, \
            'amount_minor', d.amount_minor, 'currency', d.currency, 'reason', d.reason, \
            'answer_by', (extract(epoch from d.answer_by) * 1000000)::bigint, \
            'occurred_at', (extract(epoch from d.occurred_at) * 1000000)::bigint) order by d.n) \
          from disputes d where d.provider = p.provider and d.payment_id = p.id and d.account = p.account) end as disputes"
    };
}
pub(crate) use order_columns;

/// Folds rows of orders joined with their payments: one order for each run of rows with its id.
pub(super) fn orders(rows: &[Row]) -> sqlx::Result<Vec<Order>> {
    let mut orders: Vec<Order> = Vec::new();
    for row in rows {
        let id: OrderId = row.get("order_id")?;
        if orders.last().is_none_or(|last| last.id != id) {
            orders.push(order(row, id)?);
        }
        if let (Some(order), Some(key)) = (orders.last_mut(), row.payment_key()?) {
            order.payments.push(payment(row, key)?);
        }
    }
    Ok(orders)
}

fn order(row: &Row, id: OrderId) -> sqlx::Result<Order> {
    Ok(Order {
        id,
        amount: Money::new(row.get("amount_minor")?, row.get("order_currency")?),
        state: row.get("order_state")?,
        captured_minor: row.get("order_captured_minor")?,
        refunded_minor: row.get("order_refunded_minor")?,
        version: row.get("version")?,
        holds: row.json::<Vec<Hold>>("holds")?.unwrap_or_default(),
        released: row.json::<Vec<Hold>>("released")?.unwrap_or_default(),
        revision: row.get("revision")?,
        created_at: row.get("order_created_at")?,
        updated_at: row.get("updated_at")?,
        payments: Vec::new(),
    })
}

fn payment(row: &Row, key: PaymentKey) -> sqlx::Result<Payment> {
    Ok(Payment {
        key,
        state: row.get("payment_state")?,
        captured_minor: row.get("captured_minor")?,
        refunded_minor: row.get("refunded_minor")?,
        currency: row.get("currency")?,
        provider_reference: row.opt("provider_reference")?,
        reason: row.opt("reason")?,
        asked_at: row.opt("asked_at")?,
        final_at: row.opt("final_at")?,
        next_check_at: row.opt("next_check_at")?,
        checks: row.get("checks")?,
        refunds: refunds(row)?,
        disputes: disputes(row)?,
        created_at: row.get("created_at")?,
    })
}

/// For each of `keys` keys, what rows with its `ord` (from 1; rows come sorted by it) say it is.
pub(super) fn found(rows: &[Row], keys: usize) -> sqlx::Result<Vec<Found>> {
    let mut places = Vec::with_capacity(rows.len());
    for row in rows {
        places.push(row.get::<i64>("ord")? as usize);
    }
    let mut found = vec![Found::Unknown; keys];
    let mut rest = rows;
    for of_key in places.chunk_by(|left, right| left == right) {
        let (of_order, after) = rest.split_at(of_key.len());
        rest = after;
        let exact: bool = of_order[0].get("exact")?;
        let order = orders(of_order)?.pop().map(Box::new);
        let Some(order) = order else { continue };
        found[of_key[0] - 1] = if exact { Found::Order(order) } else { Found::OtherAccount(order) };
    }
    Ok(found)
}

/// A refund, as the database makes it JSON beside its payment's row.
#[derive(Deserialize)]
struct RefundRead {
    id: RefundId,
    provider_reference: Option<String>,
    state: RefundState,
    amount_minor: Option<i64>,
    currency: Option<Currency>,
    voided: i64,
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
fn refunds(row: &Row) -> sqlx::Result<Vec<Refund>> {
    let read = |read: RefundRead| {
        Ok(Refund {
            id: read.id,
            provider_reference: read.provider_reference,
            state: read.state,
            amount: money(read.amount_minor, read.currency),
            voided: read.voided != 0,
            reason: read.reason,
            occurred_at: time("refunds", read.occurred_at)?,
        })
    };
    list(row, "refunds", read)
}

/// The disputes in `disputes`; none where it is null.
fn disputes(row: &Row) -> sqlx::Result<Vec<Dispute>> {
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

fn list<T: DeserializeOwned, U>(row: &Row, column: &str, read: impl Fn(T) -> sqlx::Result<U>) -> sqlx::Result<Vec<U>> {
    row.json::<Vec<T>>(column)?.unwrap_or_default().into_iter().map(read).collect()
}

fn money(amount_minor: Option<i64>, currency: Option<Currency>) -> Option<Money> {
    amount_minor.zip(currency).map(|(amount_minor, currency)| Money::new(amount_minor, currency))
}

fn time(column: &str, micros: Option<i64>) -> sqlx::Result<Option<Timestamp>> {
    micros.map(|micros| Timestamp::from_microsecond(micros).map_err(|error| wrong(column, error))).transpose()
}
