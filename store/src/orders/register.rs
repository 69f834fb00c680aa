//! Registers orders, and adds payments and refunds to them.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use payhook_schema::{
    AccountName, FIRST_CHECK_AFTER, NewOrder, NewRefund, Order, OrderId, OrderState, PAYMENTS_MAX, PaymentKey,
    PaymentState, Provider, RefundId, TimelineKind,
};
use serde::Serialize;
use serde_json::json;

use super::{Found, Registered, find, refunds, sql};
use crate::TimelineEntry;
use crate::db::Conn;
use crate::db::value::json as to_json;

pub(super) async fn register(on: &mut Conn<'_>, new: &NewOrder, now: Timestamp) -> sqlx::Result<Registered> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    let created = on
        .query(
            "insert into orders (id, amount_minor, currency, state, captured_minor, refunded_minor, version, revision, \
                created_at, updated_at) \
             values ($1, $2, $3, $4, 0, 0, 0, 1, $5, $5) on conflict (id) do nothing",
        )
        .bind(&new.id)
        .bind(new.amount.amount_minor)
        .bind(new.amount.currency.as_str())
        .bind(OrderState::Pending.as_str())
        .bind(now)
        .execute()
        .await?
        == 1;
    // Another registration or a settlement of this order waits here, or is waited for.
    if on.has_other_writers() {
        on.query("select 1 from orders where id = $1 for update").bind(&new.id).execute().await?;
    }
    let before = some_order(on, &new.id).await?;
    if before.amount != new.amount {
        return Ok(Registered::AmountDiffers { registered: before.amount });
    }

    let added = missing(&before, new);
    if let Some(refused) = too_many(&before, &added) {
        return Ok(refused);
    }
    if insert_payments(on, &before, new, &added, now).await? < added.len() as u64 {
        let found = find::find(on, &added).await?;
        return taken(&added, found, &new.id).ok_or(sqlx::Error::RowNotFound);
    }
    let order = some_order(on, &new.id).await?;
    let parked = parked(&order, &added, now);
    let known = refunds::known(on, &new.refunds).await?;
    if let Some(refused) = refund_refused(&order, new, &known) {
        return Ok(refused);
    }
    let announced = announced(new, &known);
    for refund in &announced {
        if !refunds::announce(on, refund, now).await? {
            // Registered for another order since it was looked up: now it is known.
            let known = refunds::known(on, &new.refunds).await?;
            return refund_refused(&order, new, &known).ok_or(sqlx::Error::RowNotFound);
        }
    }
    if !created && added.is_empty() && announced.is_empty() {
        return Ok(Registered::Order { order, created, parked });
    }
    enter(on, &new.id, &entry(created, new, &added, &announced, now)).await?;
    if !created {
        on.query("update orders set revision = revision + 1, updated_at = $2 where id = $1")
            .bind(&new.id)
            .bind(now)
            .execute()
            .await?;
    }
    // The order that was read before lacks only the rows that were just written.
    let order = if created && announced.is_empty() { order } else { some_order(on, &new.id).await? };
    unit.commit().await?;
    Ok(Registered::Order { order, created, parked })
}

/// Inserts the payments that are not registered yet, and returns how many.
async fn insert_payments(
    on: &mut Conn<'_>,
    order: &Order,
    new: &NewOrder,
    added: &[PaymentKey],
    now: Timestamp,
) -> sqlx::Result<u64> {
    #[derive(Serialize)]
    struct PlacedPayment<'a> {
        #[serde(flatten)]
        key: &'a PaymentKey,
        place: usize,
    }
    let places = order.payments.len() + 1..;
    let mut rows: Vec<PlacedPayment<'_>> =
        added.iter().zip(places).map(|(key, place)| PlacedPayment { key, place }).collect();
    // Two orders that want the same payments wait for each other and do not deadlock.
    rows.sort_by_key(|row| row.key);
    let inserted = on.query(
        "insert into payments (provider, account, id, order_id, position, state, captured_minor, refunded_minor, \
            currency, next_check_at, checks, created_at) \
         select provider, account, id, $2, place, $3, 0, 0, $4, \
            case when exists (select 1 from notifications n where n.provider = k.provider and n.payment_id = k.id \
                and n.account = k.account) then $6 else $5 end, 0, $6 \
         from jsonb_to_recordset($1::jsonb) as k (provider text, account text, id text, place integer) where true \
         on conflict (provider, id, account) do nothing",
    );
    inserted
        .bind(to_json(&rows))
        .bind(&new.id)
        .bind(PaymentState::Awaiting.as_str())
        .bind(new.amount.currency.as_str())
        .bind(now + FIRST_CHECK_AFTER)
        .bind(now)
        .execute()
        .await
}

async fn enter(on: &mut Conn<'_>, order: &OrderId, entry: &TimelineEntry) -> sqlx::Result<()> {
    on.query("insert into timeline (order_id, at, kind, text, detail) values ($1, $2, $3, $4, $5::jsonb)")
        .bind(order)
        .bind(entry.at)
        .bind(entry.kind.as_str())
        .bind(&entry.text)
        .bind(to_json(&entry.detail))
        .execute()
        .await?;
    Ok(())
}

async fn some_order(on: &mut Conn<'_>, id: &OrderId) -> sqlx::Result<Order> {
    sql::get(on, id).await?.ok_or(sqlx::Error::RowNotFound)
}

/// The payments of `new` that `order` does not have yet, each once, in the order they were given.
fn missing(order: &Order, new: &NewOrder) -> Vec<PaymentKey> {
    let mut seen: HashSet<&PaymentKey> = order.payments.iter().map(|payment| &payment.key).collect();
    new.payments.iter().filter(|&key| seen.insert(key)).cloned().collect()
}

/// Returns the refusal of `added` if the order would have too many payments with them.
fn too_many(order: &Order, added: &[PaymentKey]) -> Option<Registered> {
    let (registered, added) = (order.payments.len(), added.len());
    (added > 0 && registered + added > PAYMENTS_MAX).then_some(Registered::TooManyPayments { registered, added })
}

/// The first of `wanted` that `found` says belongs to another order than `order`.
fn taken(wanted: &[PaymentKey], found: Vec<Found>, order: &OrderId) -> Option<Registered> {
    wanted.iter().zip(found).find_map(|(payment, found)| match found {
        Found::Order(owner) if owner.id != *order => {
            Some(Registered::PaymentTaken { payment: payment.clone(), order: owner.id })
        }
        Found::Order(_) | Found::OtherAccount(_) | Found::Unknown => None,
    })
}

/// Returns the refusal of one of `new`'s refunds, if any: it is of no payment of the order, or of another payment than
/// `new` says. `known` has the refunds that are registered, and for each last the payment it is of now.
fn refund_refused(order: &Order, new: &NewOrder, known: &[NewRefund]) -> Option<Registered> {
    let mut owners: HashMap<(Provider, &AccountName, &RefundId), &PaymentKey> = HashMap::new();
    for NewRefund { payment, id } in known {
        owners.insert((payment.provider, &payment.account, id), payment);
    }
    new.refunds.iter().find_map(|NewRefund { payment, id }| {
        if order.payment(payment).is_none() {
            return Some(Registered::RefundOfNoPayment { refund: id.clone(), payment: payment.clone() });
        }
        let owner = *owners.entry((payment.provider, &payment.account, id)).or_insert(payment);
        let taken = || Registered::RefundTaken { refund: id.clone(), payment: owner.clone() };
        // Announced for this payment, it may have moved to the one that its provider named.
        let refund = NewRefund { payment: payment.clone(), id: id.clone() };
        (owner != payment && !known.contains(&refund)).then(taken)
    })
}

/// The refunds of `new` that are not `known` yet, each once, in the order they were given.
fn announced<'a>(new: &'a NewOrder, known: &[NewRefund]) -> Vec<&'a NewRefund> {
    let mut announced: Vec<&NewRefund> = Vec::new();
    for refund in &new.refunds {
        if !known.contains(refund) && !announced.contains(&refund) {
            announced.push(refund);
        }
    }
    announced
}

/// Returns the payments of `added` that were due at once: their notifications were there before them.
fn parked(order: &Order, added: &[PaymentKey], now: Timestamp) -> Vec<PaymentKey> {
    let due = |key: &&PaymentKey| {
        order.payment(key).and_then(|payment| payment.next_check_at).is_some_and(|at| at < now + FIRST_CHECK_AFTER)
    };
    added.iter().filter(due).cloned().collect()
}

/// Returns the timeline entry of a registration.
fn entry(
    created: bool,
    new: &NewOrder,
    added: &[PaymentKey],
    announced: &[&NewRefund],
    now: Timestamp,
) -> TimelineEntry {
    let payments = match (added.len(), created) {
        (0, true) => Some("no payment yet".to_owned()),
        (0, false) => None,
        (1, _) => Some("1 payment".to_owned()),
        (more, _) => Some(format!("{more} payments")),
    };
    let refunds = match announced.len() {
        0 => None,
        1 => Some("1 refund".to_owned()),
        more => Some(format!("{more} refunds")),
    };
    let what = payments.into_iter().chain(refunds).collect::<Vec<_>>().join(", ");
    let text = if created { format!("registered: {}, {what}", new.amount) } else { format!("{what} added") };
    let mut detail =
        json!({ "amount_minor": new.amount.amount_minor, "currency": new.amount.currency, "payments": added });
    if !announced.is_empty() {
        let refunds = announced.iter().map(|refund| json!({ "payment": refund.payment, "id": refund.id }));
        detail["refunds"] = refunds.collect();
    }
    TimelineEntry { at: now, kind: TimelineKind::Registered, payment: None, text, detail }
}
