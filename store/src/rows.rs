//! Reads the rows of both databases.

use payhook_schema::{
    AccountName, Currency, Event, Hold, Money, Order, OrderId, OrderState, Payment, PaymentId, PaymentKey,
};

use crate::columns::{Columns, some, wrong};
use crate::{DeadLetter, FeedEvent, Found, refunds};

/// The columns of an order `o` joined with its payments `p`, as [`orders`] reads them; sort by order, then `position`.
/// With them go `refunds` and `disputes`, which each database makes JSON in its own way.
macro_rules! order_columns {
    () => {
        "o.id as order_id, o.amount_minor, o.currency as order_currency, o.state as order_state, \
         o.captured_minor as order_captured_minor, o.refunded_minor as order_refunded_minor, o.version, o.holds, \
         o.released, o.revision, o.created_at as order_created_at, o.updated_at, p.provider, p.account, \
         p.id as payment_id, p.state as payment_state, p.captured_minor, p.refunded_minor, p.currency, \
         p.provider_reference, p.reason, p.asked_at, p.final_at, p.next_check_at, cast(p.checks as bigint) as checks, p.created_at"
    };
}
pub(crate) use order_columns;

/// A word or id, read back from its column.
pub(crate) fn read<T>(row: &impl Columns, name: &str) -> sqlx::Result<Option<T>>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.text(name)?.map(|text| text.parse().map_err(|error| wrong(name, error))).transpose()
}

fn currency(row: &impl Columns, name: &str) -> sqlx::Result<Currency> {
    Currency::new(&some(name, row.text(name))?).map_err(|error| wrong(name, error))
}

/// Folds rows of orders joined with their payments: one order for each run of rows with its id.
pub(crate) fn orders(rows: &[impl Columns]) -> sqlx::Result<Vec<Order>> {
    let mut orders: Vec<Order> = Vec::new();
    for row in rows {
        let id: OrderId = some("order_id", read(row, "order_id"))?;
        if orders.last().is_none_or(|last| last.id != id) {
            orders.push(order(row, id)?);
        }
        if let (Some(order), Some(key)) = (orders.last_mut(), payment_key(row)?) {
            order.payments.push(payment(row, key)?);
        }
    }
    Ok(orders)
}

fn order(row: &impl Columns, id: OrderId) -> sqlx::Result<Order> {
    Ok(Order {
        id,
        amount: Money::new(some("amount_minor", row.int("amount_minor"))?, currency(row, "order_currency")?),
        state: some("order_state", read(row, "order_state"))?,
        captured_minor: some("order_captured_minor", row.int("order_captured_minor"))?,
        refunded_minor: some("order_refunded_minor", row.int("order_refunded_minor"))?,
        version: some("version", row.int("version"))?,
        holds: holds(row, "holds")?,
        released: holds(row, "released")?,
        revision: some("revision", row.int("revision"))?,
        created_at: some("order_created_at", row.time("order_created_at"))?,
        updated_at: some("updated_at", row.time("updated_at"))?,
        payments: Vec::new(),
    })
}

/// The objections in a column; none where it is null.
pub(crate) fn holds(row: &impl Columns, name: &str) -> sqlx::Result<Vec<Hold>> {
    let holds = row.json(name)?.map(|holds| serde_json::from_value(holds).map_err(|error| wrong(name, error)));
    Ok(holds.transpose()?.unwrap_or_default())
}

fn payment(row: &impl Columns, key: PaymentKey) -> sqlx::Result<Payment> {
    Ok(Payment {
        key,
        state: some("payment_state", read(row, "payment_state"))?,
        captured_minor: some("captured_minor", row.int("captured_minor"))?,
        refunded_minor: some("refunded_minor", row.int("refunded_minor"))?,
        currency: currency(row, "currency")?,
        provider_reference: row.text("provider_reference")?,
        reason: row.text("reason")?,
        asked_at: row.time("asked_at")?,
        final_at: row.time("final_at")?,
        next_check_at: row.time("next_check_at")?,
        checks: some("checks", row.int("checks"))? as i32,
        refunds: refunds::refunds(row)?,
        disputes: refunds::disputes(row)?,
        created_at: some("created_at", row.time("created_at"))?,
    })
}

/// The key in `provider`, `account` and `payment_id`; none where there is no payment.
pub(crate) fn payment_key(row: &impl Columns) -> sqlx::Result<Option<PaymentKey>> {
    let Some(id) = read::<PaymentId>(row, "payment_id")? else { return Ok(None) };
    let account: AccountName = some("account", read(row, "account"))?;
    Ok(Some(PaymentKey { provider: some("provider", read(row, "provider"))?, account, id }))
}

/// The order id in `order_id`, if there is one.
pub(crate) fn order_id(row: &impl Columns) -> sqlx::Result<Option<OrderId>> {
    read(row, "order_id")
}

pub(crate) fn feed_event(row: &impl Columns) -> sqlx::Result<FeedEvent> {
    Ok(FeedEvent { seq: some("seq", row.int("seq"))?, event: event(row)? })
}

pub(crate) fn event(row: &impl Columns) -> sqlx::Result<Event> {
    serde_json::from_value(some("body", row.json("body"))?).map_err(|error| wrong("body", error))
}

/// The word of a timeline entry's `kind`.
pub(crate) fn timeline_kind(row: &impl Columns) -> sqlx::Result<payhook_schema::TimelineKind> {
    some("kind", read(row, "kind"))
}

pub(crate) fn dead_letter(row: &impl Columns) -> sqlx::Result<DeadLetter> {
    Ok(DeadLetter {
        id: some("id", row.id("id"))?,
        cause: some("cause", read(row, "cause"))?,
        detail: some("detail", row.text("detail"))?,
        provider: read(row, "provider")?,
        account: read(row, "account")?,
        payment: payment_key(row)?,
        order: order_id(row)?,
        attempts: some("attempts", row.int("attempts"))? as u32,
        first_failed_at: some("first_failed_at", row.time("first_failed_at"))?,
        last_failed_at: some("last_failed_at", row.time("last_failed_at"))?,
        bytes: some("bytes", row.bytes("bytes"))?,
        notification: None,
        notification_id: row.id("notification_id")?,
        state: some("state", read(row, "state"))?,
        note: row.text("note")?,
        order_now: order_now(row)?,
    })
}

/// The state and amount in `now_…`, of the order something is about, if it is registered.
pub(crate) fn order_now(row: &impl Columns) -> sqlx::Result<Option<(OrderState, Money)>> {
    let Some(state) = read(row, "now_state")? else { return Ok(None) };
    let amount_minor = some("now_amount_minor", row.int("now_amount_minor"))?;
    Ok(Some((state, Money::new(amount_minor, currency(row, "now_currency")?))))
}

/// Keys of the payments that were due, the one that waited longest first; the database returns them in any order.
pub(crate) fn due(rows: &[impl Columns]) -> sqlx::Result<Vec<PaymentKey>> {
    let mut due = Vec::with_capacity(rows.len());
    for row in rows {
        due.push((some("due_at", row.time("due_at"))?, some("payment_id", payment_key(row))?));
    }
    due.sort();
    Ok(due.into_iter().map(|(_, key)| key).collect())
}

/// For each of `keys` keys, what rows with its `ord` (from 1; rows come sorted by it) say it is.
pub(crate) fn found<R: Columns>(rows: &[R], keys: usize) -> sqlx::Result<Vec<Found>> {
    let mut places = Vec::with_capacity(rows.len());
    for row in rows {
        places.push(some("ord", row.int("ord"))? as usize);
    }
    let mut found = vec![Found::Unknown; keys];
    let mut rest = rows;
    for of_key in places.chunk_by(|left, right| left == right) {
        let (of_order, after) = rest.split_at(of_key.len());
        rest = after;
        let exact = some("exact", of_order[0].int("exact"))? == 1;
        let order = orders(of_order)?.pop().map(Box::new);
        let Some(order) = order else { continue };
        found[of_key[0] - 1] = if exact { Found::Order(order) } else { Found::OtherAccount(order) };
    }
    Ok(found)
}
