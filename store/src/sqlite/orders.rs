use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{AccountName, NewOrder, Order, OrderId, OrderState, PaymentKey, PaymentState, Provider};
use sqlx::{Connection, SqliteConnection};

use super::clock;
use super::refunds::{self, of_payment};
use crate::batch::json as to_json;
use crate::columns::micros;
use crate::due::{self, Part};
use crate::register::{self, FIRST_CHECK_AFTER};
use crate::rows::{self, order_columns};
use crate::timeline::{self, From};
use crate::{AccountLimit, Found, OrderFilter, Registered, TimelineEntry, TimelinePage, TimelinePlace, clocks};

/// Registers within the caller's transaction, which is to be rolled back unless the answer is an order.
pub(super) async fn register(on: &mut SqliteConnection, new: &NewOrder, now: Timestamp) -> sqlx::Result<Registered> {
    let created = sqlx::query(
        "insert into orders (id, amount_minor, currency, state, captured_minor, refunded_minor, version, revision, \
            created_at, updated_at) \
         values (?1, ?2, ?3, ?4, 0, 0, 0, 1, ?5, ?5) on conflict (id) do nothing",
    )
    .bind(new.id.as_str())
    .bind(new.amount.amount_minor)
    .bind(new.amount.currency.as_str())
    .bind(OrderState::Pending.as_str())
    .bind(micros(now))
    .execute(&mut *on)
    .await?
    .rows_affected()
        == 1;
    let before = some_order(on, &new.id).await?;
    if before.amount != new.amount {
        return Ok(Registered::AmountDiffers { registered: before.amount });
    }

    let added: Vec<PaymentKey> = register::missing(&before, new);
    if let Some(refused) = register::too_many(&before, &added) {
        return Ok(refused);
    }
    let linked = sqlx::query(
        "insert into payments (provider, account, id, order_id, position, state, captured_minor, refunded_minor, \
            currency, next_check_at, checks, created_at) \
         select k.value ->> 'provider', k.value ->> 'account', k.value ->> 'id', ?2, ?3 + k.key + 1, ?4, 0, 0, ?5, \
            case when exists (select 1 from notifications n where n.provider = k.value ->> 'provider' \
                and n.payment_id = k.value ->> 'id' and n.account = k.value ->> 'account') then ?7 else ?6 end, 0, ?7 \
         from json_each(?1) k where true \
         on conflict (provider, id, account) do nothing",
    )
    .bind(to_json(&added))
    .bind(new.id.as_str())
    .bind(before.payments.len() as i64)
    .bind(PaymentState::Awaiting.as_str())
    .bind(new.amount.currency.as_str())
    .bind(micros(now + FIRST_CHECK_AFTER))
    .bind(micros(now))
    .execute(&mut *on)
    .await?
    .rows_affected();
    if linked < added.len() as u64 {
        let found = find(on, &added).await?;
        return register::taken(&added, found, &new.id).ok_or(sqlx::Error::RowNotFound);
    }
    let order = some_order(on, &new.id).await?;
    let parked = register::parked(&order, &added, now);
    let known = refunds::known(on, &new.refunds).await?;
    if let Some(refused) = register::refund_refused(&order, new, &known) {
        return Ok(refused);
    }
    let announced = register::announced(new, &known);
    for refund in &announced {
        refunds::announce(on, refund, now).await?;
    }
    if !created && added.is_empty() && announced.is_empty() {
        return Ok(Registered::Order { order, created, parked });
    }
    tell(on, &new.id, &register::entry(created, new, &added, &announced, now)).await?;
    if !created {
        sqlx::query("update orders set revision = revision + 1, updated_at = ?2 where id = ?1")
            .bind(new.id.as_str())
            .bind(micros(now))
            .execute(&mut *on)
            .await?;
    }
    // What was read before is the order but for what was just written.
    let order = if created && announced.is_empty() { order } else { some_order(on, &new.id).await? };
    Ok(Registered::Order { order, created, parked })
}

async fn tell(on: &mut SqliteConnection, order: &OrderId, entry: &TimelineEntry) -> sqlx::Result<()> {
    sqlx::query("insert into timeline (order_id, at, kind, text, detail) values (?1, ?2, ?3, ?4, ?5)")
        .bind(order.as_str())
        .bind(micros(entry.at))
        .bind(entry.kind.as_str())
        .bind(&entry.text)
        .bind(to_json(&entry.detail))
        .execute(on)
        .await?;
    Ok(())
}

async fn some_order(on: &mut SqliteConnection, id: &OrderId) -> sqlx::Result<Order> {
    get(on, id).await?.ok_or(sqlx::Error::RowNotFound)
}

pub(super) async fn get(on: &mut SqliteConnection, id: &OrderId) -> sqlx::Result<Option<Order>> {
    let rows = sqlx::query(concat!(
        "select ",
        order_columns!(),
        ", ",
        of_payment!(),
        " from orders o left join payments p on p.order_id = o.id where o.id = ?1 order by p.position"
    ))
    .bind(id.as_str())
    .fetch_all(on)
    .await?;
    Ok(rows::orders(&rows)?.pop())
}

/// The list, with or without the condition on the state: with it, its own index has the page at hand.
macro_rules! list {
    ($state:literal) => {
        concat!(
            "with page as (select * from orders o where ",
            $state,
            " and (o.created_at, o.id) < (case when ?2 is null then 9223372036854775807 \
                else (select b.created_at from orders b where b.id = ?2) end, coalesce(?2, '')) \
              and ((?3 is null and ?4 is null) or exists (select 1 from payments f where f.order_id = o.id \
                and (?3 is null or f.provider = ?3) and (?4 is null or f.account = ?4))) \
              order by o.created_at desc, o.id desc limit ?5) select ",
            order_columns!(),
            ", ",
            of_payment!(),
            " from page o left join payments p on p.order_id = o.id \
              order by o.created_at desc, o.id desc, p.position"
        )
    };
}

pub(super) async fn list(on: &mut SqliteConnection, filter: &OrderFilter) -> sqlx::Result<Vec<Order>> {
    let OrderFilter { state, provider, account, before, limit } = filter;
    let sql = if state.is_some() { list!("o.state = ?1") } else { list!("?1 is null") };
    let rows = sqlx::query(sql)
        .bind(state.map(OrderState::as_str))
        .bind(before.as_ref().map(OrderId::as_str))
        .bind(provider.map(Provider::as_str))
        .bind(account.as_ref().map(AccountName::as_str))
        .bind(i64::from(*limit))
        .fetch_all(on)
        .await?;
    rows::orders(&rows)
}

/// Finds all keys in one query. For an unknown key, another of our accounts with the same payment id is looked at.
const FIND: &str = concat!(
    "select k.key + 1 as ord, (f.account = k.value ->> 'account') as exact, ",
    order_columns!(),
    ", ",
    of_payment!(),
    " from json_each(?1) k \
      cross join payments f on f.provider = k.value ->> 'provider' and f.id = k.value ->> 'id' \
        and f.account = coalesce( \
            (select g.account from payments g where g.provider = f.provider and g.id = f.id \
                and g.account = k.value ->> 'account'), \
            (select min(g.account) from payments g where g.provider = f.provider and g.id = f.id)) \
      cross join orders o on o.id = f.order_id cross join payments p on p.order_id = o.id order by k.key, p.position"
);

pub(super) async fn find(on: &mut SqliteConnection, keys: &[PaymentKey]) -> sqlx::Result<Vec<Found>> {
    let rows = sqlx::query(FIND).bind(to_json(&keys)).fetch_all(on).await?;
    rows::found(&rows, keys.len())
}

pub(super) async fn timeline(
    on: &mut SqliteConnection,
    id: &OrderId,
    after: Option<TimelinePlace>,
    limit: u32,
) -> sqlx::Result<TimelinePage> {
    let (from, rows) = (From::after(after), i64::from(limit) + 1);
    // One snapshot for all three, so that no settlement is seen by half.
    let mut transaction = on.begin().await?;
    let written = sqlx::query(
        "select n, at, kind, provider, account, payment_id, text, detail from timeline \
         where order_id = ?1 and (at, n) > (?2, ?3) order by at, n limit ?4",
    )
    .bind(id.as_str())
    .bind(micros(from.written.0))
    .bind(from.written.1)
    .bind(rows)
    .fetch_all(&mut *transaction)
    .await?;
    let notifications = sqlx::query(
        "select * from (select n.id, n.provider, n.account, n.payment_id, n.kind, n.idempotency_key, n.received_at, \
            n.verified_by, n.received, n.last_received_at, \
            length(n.body) as body_bytes, \
            row_number() over (partition by n.provider, n.account, n.idempotency_key order by n.received_at, n.id) as nth \
         from payments p \
         cross join notifications n on n.provider = p.provider and n.payment_id = p.id and n.account = p.account \
         where p.order_id = ?1) n \
         where (received_at, id) > (?2, ?3) order by received_at, id limit ?4",
    )
    .bind(id.as_str())
    .bind(micros(from.notification.0))
    .bind(from.notification.1.to_string())
    .bind(rows)
    .fetch_all(&mut *transaction)
    .await?;
    let published = sqlx::query(
        "select body, seq, published_at from events \
         where order_id = ?1 and (published_at, version) > (?2, ?3) order by published_at, version limit ?4",
    )
    .bind(id.as_str())
    .bind(micros(from.published.0))
    .bind(from.published.1)
    .bind(rows)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    timeline::page(&notifications, &written, &published, limit)
}

pub(super) async fn due(
    on: &mut SqliteConnection,
    now: Timestamp,
    hold_for: Duration,
    limit: u32,
    at_most: &[AccountLimit],
) -> sqlx::Result<Vec<PaymentKey>> {
    clock::bring_forward(on, now).await?;
    set_right(on, now, hold_for).await?;
    let accounts = due::accounts!("finished = 0", "select value from json_each(?1)");
    let accounts = sqlx::query(accounts).bind(to_json(&due::providers())).fetch_all(&mut *on).await?;
    let (mut parts, mut all) = (Part::all(&accounts, now, at_most)?, Vec::new());
    while !parts.is_empty() && all.len() < limit as usize {
        let left = limit - all.len() as u32;
        for part in Part::divide(std::mem::take(&mut parts), left) {
            if all.len() >= limit as usize {
                break;
            }
            let rows = sqlx::query(
                "select provider, account, id as payment_id, next_check_at as due_at from payments \
                 where provider = ?3 and account = ?4 and finished = 0 and next_check_at <= ?1 \
                 order by next_check_at limit ?2",
            )
            .bind(micros(now))
            .bind(i64::from(part.quota))
            .bind(part.provider.as_str())
            .bind(part.account.as_str())
            .fetch_all(&mut *on)
            .await?;
            hold(on, &rows::due(&rows)?, now + hold_for).await?;
            parts.extend(part.after(rows.len()));
            all.extend(rows);
        }
    }
    rows::due(&all)
}

pub(super) async fn due_late(
    on: &mut SqliteConnection,
    now: Timestamp,
    hold_for: Duration,
    limit: u32,
) -> sqlx::Result<Vec<PaymentKey>> {
    let rows = sqlx::query(
        "select provider, account, id as payment_id, next_check_at as due_at from payments \
         where next_check_at <= ?1 and finished = 1 order by next_check_at limit ?2",
    )
    .bind(micros(now))
    .bind(i64::from(limit))
    .fetch_all(&mut *on)
    .await?;
    let due = rows::due(&rows)?;
    hold(on, &due, now + hold_for).await?;
    Ok(due)
}

/// Leaves due payments to the hints that are made for them.
async fn hold(on: &mut SqliteConnection, due: &[PaymentKey], until: Timestamp) -> sqlx::Result<()> {
    sqlx::query(
        "update payments as p set next_check_at = ?2 from json_each(?1) k \
         where p.provider = k.value ->> 'provider' and p.id = k.value ->> 'id' and p.account = k.value ->> 'account'",
    )
    .bind(to_json(&due))
    .bind(micros(until))
    .execute(on)
    .await?;
    Ok(())
}

/// Has unfinished payments checked now whose schedule no right clock wrote: registered or asked about at a time that is yet to come, or due later than
/// any schedule says. Both are looked up in an index and hardly ever there.
async fn set_right(on: &mut SqliteConnection, now: Timestamp, hold_for: Duration) -> sqlx::Result<()> {
    sqlx::query(
        "update payments set next_check_at = ?1, asked_at = ?1 \
         where state in ('awaiting', 'authorized') and next_check_at > ?1 and asked_at > ?2",
    )
    .bind(micros(now))
    .bind(micros(clocks::longest(now, hold_for)))
    .execute(&mut *on)
    .await?;
    sqlx::query(
        "update payments set next_check_at = ?1, created_at = ?1 \
         where state in ('awaiting', 'authorized') and asked_at is null and next_check_at > ?1 and created_at > ?2",
    )
    .bind(micros(now))
    .bind(micros(clocks::longest(now, hold_for)))
    .execute(&mut *on)
    .await?;
    sqlx::query(
        "update payments set next_check_at = ?1 where state in ('awaiting', 'authorized') and next_check_at > ?2",
    )
    .bind(micros(now))
    .bind(micros(now + clocks::UNFINISHED_WAIT_MAX))
    .execute(on)
    .await?;
    Ok(())
}

pub(super) async fn refresh(on: &mut SqliteConnection, id: &OrderId, at: Timestamp) -> sqlx::Result<bool> {
    sqlx::query("update payments set next_check_at = ?2 where order_id = ?1")
        .bind(id.as_str())
        .bind(micros(at))
        .execute(&mut *on)
        .await?;
    let row = sqlx::query("select 1 from orders where id = ?1").bind(id.as_str()).fetch_optional(on).await?;
    Ok(row.is_some())
}
