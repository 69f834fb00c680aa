use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{NewOrder, Order, OrderId, OrderState, PaymentKey, PaymentState};
use sqlx::{Connection, PgConnection};

use super::clock;
use super::refunds::{self, of_payment};
use crate::columns::pg_time;
use crate::due::{self, Part};
use crate::register::{self, FIRST_CHECK_AFTER};
use crate::rows::{self, order_columns};
use crate::timeline::{self, From};
use crate::{AccountLimit, Found, OrderFilter, Registered, TimelineEntry, TimelinePage, TimelinePlace, clocks};

/// `payments` as three columns, as `unnest` takes them.
fn key_columns<'a>(keys: impl Iterator<Item = &'a PaymentKey>) -> (Vec<&'a str>, Vec<&'a str>, Vec<&'a str>) {
    let (mut providers, mut accounts, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        providers.push(key.provider.as_str());
        accounts.push(key.account.as_str());
        ids.push(key.id.as_str());
    }
    (providers, accounts, ids)
}

pub(super) async fn register(on: &mut PgConnection, new: &NewOrder, now: Timestamp) -> sqlx::Result<Registered> {
    let mut transaction = on.begin().await?;
    let created = sqlx::query(
        "insert into orders (id, amount_minor, currency, state, captured_minor, refunded_minor, version, revision, \
            created_at, updated_at) \
         values ($1, $2, $3, $4, 0, 0, 0, 1, $5, $5) on conflict (id) do nothing",
    )
    .bind(new.id.as_str())
    .bind(new.amount.amount_minor)
    .bind(new.amount.currency.as_str())
    .bind(OrderState::Pending.as_str())
    .bind(pg_time(now))
    .execute(&mut *transaction)
    .await?
    .rows_affected()
        == 1;
    // Whoever else writes this order, another registration or a settlement, waits here for the other.
    sqlx::query("select 1 from orders where id = $1 for update")
        .bind(new.id.as_str())
        .execute(&mut *transaction)
        .await?;
    let before = some_order(&mut transaction, &new.id).await?;
    if before.amount != new.amount {
        return Ok(Registered::AmountDiffers { registered: before.amount });
    }

    let added: Vec<PaymentKey> = register::missing(&before, new);
    if let Some(refused) = register::too_many(&before, &added) {
        return Ok(refused);
    }
    let wanted: BTreeSet<&PaymentKey> = added.iter().collect();
    let position: HashMap<&PaymentKey, i32> = added.iter().zip(before.payments.len() as i32 + 1..).collect();
    // Sorted, so that two orders that want the same payments wait for each other and do not deadlock.
    let (providers, accounts, ids) = key_columns(wanted.iter().copied());
    let positions: Vec<i32> = wanted.iter().map(|&key| position[key]).collect();
    let linked = sqlx::query(
        "insert into payments (provider, account, id, order_id, position, state, captured_minor, refunded_minor, \
            currency, next_check_at, checks, created_at) \
         select provider, account, id, $5, position, $6, 0, 0, $7, \
            case when exists (select 1 from notifications n where n.provider = k.provider and n.payment_id = k.id \
                and n.account = k.account) then $9 else $8 end, 0, $9 \
         from unnest($1::text[], $2::text[], $3::text[], $4::integer[]) as k (provider, account, id, position) \
         on conflict (provider, id, account) do nothing",
    )
    .bind(providers)
    .bind(accounts)
    .bind(ids)
    .bind(positions)
    .bind(new.id.as_str())
    .bind(PaymentState::Awaiting.as_str())
    .bind(new.amount.currency.as_str())
    .bind(pg_time(now + FIRST_CHECK_AFTER))
    .bind(pg_time(now))
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    if linked < added.len() as u64 {
        let taken = taken(&mut transaction, &added, &new.id).await?;
        return Ok(taken);
    }
    let order = some_order(&mut transaction, &new.id).await?;
    let parked = register::parked(&order, &added, now);
    let known = refunds::known(&mut transaction, &new.refunds).await?;
    if let Some(refused) = register::refund_refused(&order, new, &known) {
        return Ok(refused);
    }
    let announced = register::announced(new, &known);
    for refund in &announced {
        if !refunds::announce(&mut transaction, refund, now).await? {
            // Registered for another order while we looked: now it is known.
            let known = refunds::known(&mut transaction, &new.refunds).await?;
            return register::refund_refused(&order, new, &known).ok_or(sqlx::Error::RowNotFound);
        }
    }
    if !created && added.is_empty() && announced.is_empty() {
        return Ok(Registered::Order { order, created, parked });
    }
    tell(&mut transaction, &new.id, &register::entry(created, new, &added, &announced, now)).await?;
    if !created {
        sqlx::query("update orders set revision = revision + 1, updated_at = $2 where id = $1")
            .bind(new.id.as_str())
            .bind(pg_time(now))
            .execute(&mut *transaction)
            .await?;
    }
    // What was read before is the order but for what was just written.
    let order = if created && announced.is_empty() { order } else { some_order(&mut transaction, &new.id).await? };
    transaction.commit().await?;
    Ok(Registered::Order { order, created, parked })
}

/// The first of `wanted` that belongs to another order.
async fn taken(on: &mut PgConnection, wanted: &[PaymentKey], order: &OrderId) -> sqlx::Result<Registered> {
    let found = find(on, wanted).await?;
    register::taken(wanted, found, order).ok_or(sqlx::Error::RowNotFound)
}

async fn tell(on: &mut PgConnection, order: &OrderId, entry: &TimelineEntry) -> sqlx::Result<()> {
    sqlx::query("insert into timeline (order_id, at, kind, text, detail) values ($1, $2, $3, $4, $5)")
        .bind(order.as_str())
        .bind(pg_time(entry.at))
        .bind(entry.kind.as_str())
        .bind(&entry.text)
        .bind(&entry.detail)
        .execute(on)
        .await?;
    Ok(())
}

async fn some_order(on: &mut PgConnection, id: &OrderId) -> sqlx::Result<Order> {
    get(on, id).await?.ok_or(sqlx::Error::RowNotFound)
}

pub(super) async fn get(on: &mut PgConnection, id: &OrderId) -> sqlx::Result<Option<Order>> {
    let rows = sqlx::query(concat!(
        "select ",
        order_columns!(),
        ", ",
        of_payment!(),
        " from orders o left join payments p on p.order_id = o.id where o.id = $1 order by p.position"
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
            " and (o.created_at, o.id) < (case when $2::text is null then timestamptz 'infinity' \
                else (select b.created_at from orders b where b.id = $2) end, coalesce($2, '')) \
              and (($3::text is null and $4::text is null) or exists (select 1 from payments f where f.order_id = o.id \
                and ($3 is null or f.provider = $3) and ($4 is null or f.account = $4))) \
              order by o.created_at desc, o.id desc limit $5) select ",
            order_columns!(),
            ", ",
            of_payment!(),
            " from page o left join payments p on p.order_id = o.id \
              order by o.created_at desc, o.id desc, p.position"
        )
    };
}

pub(super) async fn list(on: &mut PgConnection, filter: &OrderFilter) -> sqlx::Result<Vec<Order>> {
    let OrderFilter { state, provider, account, before, limit } = filter;
    let sql = if state.is_some() { list!("o.state = $1") } else { list!("$1::text is null") };
    let rows = sqlx::query(sql)
        .bind(state.map(OrderState::as_str))
        .bind(before.as_ref().map(OrderId::as_str))
        .bind(provider.map(payhook_schema::Provider::as_str))
        .bind(account.as_ref().map(payhook_schema::AccountName::as_str))
        .bind(i64::from(*limit))
        .fetch_all(on)
        .await?;
    rows::orders(&rows)
}

/// Finds all keys in one query. For an unknown key, another of our accounts with the same payment id is looked at.
const FIND: &str = concat!(
    "select k.ord, (f.account = k.account)::int::bigint as exact, ",
    order_columns!(),
    ", ",
    of_payment!(),
    " from unnest($1::text[], $2::text[], $3::text[]) with ordinality as k (provider, account, id, ord) \
      cross join lateral (select f.order_id, f.account from payments f where f.provider = k.provider and f.id = k.id \
        order by (f.account = k.account) desc, f.account limit 1) f \
      join orders o on o.id = f.order_id join payments p on p.order_id = o.id order by k.ord, p.position"
);

pub(super) async fn find(on: &mut PgConnection, keys: &[PaymentKey]) -> sqlx::Result<Vec<Found>> {
    let (providers, accounts, ids) = key_columns(keys.iter());
    let rows = sqlx::query(FIND).bind(providers).bind(accounts).bind(ids).fetch_all(on).await?;
    rows::found(&rows, keys.len())
}

pub(super) async fn timeline(
    on: &mut PgConnection,
    id: &OrderId,
    after: Option<TimelinePlace>,
    limit: u32,
) -> sqlx::Result<TimelinePage> {
    let (from, rows) = (From::after(after), i64::from(limit) + 1);
    // One snapshot for all three, so that no settlement is seen by half.
    let mut transaction = on.begin().await?;
    sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *transaction).await?;
    let written = sqlx::query(
        "select n, at, kind, provider, account, payment_id, text, detail from timeline \
         where order_id = $1 and (at, n) > ($2, $3) order by at, n limit $4",
    )
    .bind(id.as_str())
    .bind(pg_time(from.written.0))
    .bind(from.written.1)
    .bind(rows)
    .fetch_all(&mut *transaction)
    .await?;
    let notifications = sqlx::query(
        "select * from (select n.id, n.provider, n.account, n.payment_id, n.kind, n.idempotency_key, n.received_at, \
            n.verified_by, n.received, n.last_received_at, \
            cast(octet_length(n.body) as bigint) as body_bytes, \
            row_number() over (partition by n.provider, n.account, n.idempotency_key order by n.received_at, n.id) as nth \
         from notifications n \
         join payments p on n.provider = p.provider and n.payment_id = p.id and n.account = p.account \
         where p.order_id = $1) n \
         where (received_at, id) > ($2, $3) order by received_at, id limit $4",
    )
    .bind(id.as_str())
    .bind(pg_time(from.notification.0))
    .bind(from.notification.1)
    .bind(rows)
    .fetch_all(&mut *transaction)
    .await?;
    let published = sqlx::query(
        "select body, seq, published_at from events \
         where order_id = $1 and (published_at, version) > ($2, $3) order by published_at, version limit $4",
    )
    .bind(id.as_str())
    .bind(pg_time(from.published.0))
    .bind(from.published.1)
    .bind(rows)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    timeline::page(&notifications, &written, &published, limit)
}

pub(super) async fn due(
    on: &mut PgConnection,
    now: Timestamp,
    hold_for: Duration,
    limit: u32,
    at_most: &[AccountLimit],
) -> sqlx::Result<Vec<PaymentKey>> {
    clock::bring_forward(on, now).await?;
    set_right(on, now, hold_for).await?;
    let accounts = due::accounts!("not finished", "select unnest($1::text[])");
    let accounts = sqlx::query(accounts).bind(due::providers()).fetch_all(&mut *on).await?;
    let (mut parts, mut rows) = (Part::all(&accounts, now, at_most)?, Vec::new());
    while !parts.is_empty() && rows.len() < limit as usize {
        let left = limit - rows.len() as u32;
        for part in Part::divide(std::mem::take(&mut parts), left) {
            if rows.len() >= limit as usize {
                break;
            }
            let taken = sqlx::query(
                "update payments p set next_check_at = $2 from \
                    (select provider, id, account, next_check_at from payments \
                     where provider = $4 and account = $5 and not finished and next_check_at <= $1 \
                     order by next_check_at limit $3 for update skip locked) d \
                 where p.provider = d.provider and p.id = d.id and p.account = d.account \
                 returning p.provider, p.account, p.id as payment_id, d.next_check_at as due_at",
            )
            .bind(pg_time(now))
            .bind(pg_time(now + hold_for))
            .bind(i64::from(part.quota))
            .bind(part.provider.as_str())
            .bind(part.account.as_str())
            .fetch_all(&mut *on)
            .await?;
            parts.extend(part.after(taken.len()));
            rows.extend(taken);
        }
    }
    rows::due(&rows)
}

pub(super) async fn due_late(
    on: &mut PgConnection,
    now: Timestamp,
    hold_for: Duration,
    limit: u32,
) -> sqlx::Result<Vec<PaymentKey>> {
    let rows = sqlx::query(
        "update payments p set next_check_at = $2 from \
            (select provider, id, account, next_check_at from payments where next_check_at <= $1 and finished \
             order by next_check_at limit $3 for update skip locked) d \
         where p.provider = d.provider and p.id = d.id and p.account = d.account \
         returning p.provider, p.account, p.id as payment_id, d.next_check_at as due_at",
    )
    .bind(pg_time(now))
    .bind(pg_time(now + hold_for))
    .bind(i64::from(limit))
    .fetch_all(on)
    .await?;
    rows::due(&rows)
}

/// Has unfinished payments checked now whose schedule no right clock wrote: registered or asked about at a time that is yet to come, or due later than
/// any schedule says. Both are looked up in an index and hardly ever there.
async fn set_right(on: &mut PgConnection, now: Timestamp, hold_for: Duration) -> sqlx::Result<()> {
    sqlx::query(
        "update payments set next_check_at = $1, asked_at = $1 \
         where state in ('awaiting', 'authorized') and next_check_at > $1 and asked_at > $2",
    )
    .bind(pg_time(now))
    .bind(pg_time(clocks::longest(now, hold_for)))
    .execute(&mut *on)
    .await?;
    sqlx::query(
        "update payments set next_check_at = $1, created_at = $1 \
         where state in ('awaiting', 'authorized') and asked_at is null and next_check_at > $1 and created_at > $2",
    )
    .bind(pg_time(now))
    .bind(pg_time(clocks::longest(now, hold_for)))
    .execute(&mut *on)
    .await?;
    sqlx::query(
        "update payments set next_check_at = $1 where state in ('awaiting', 'authorized') and next_check_at > $2",
    )
    .bind(pg_time(now))
    .bind(pg_time(now + clocks::UNFINISHED_WAIT_MAX))
    .execute(on)
    .await?;
    Ok(())
}

pub(super) async fn refresh(on: &mut PgConnection, id: &OrderId, at: Timestamp) -> sqlx::Result<bool> {
    let row = sqlx::query(
        "with refreshed as (update payments set next_check_at = $2 where order_id = $1) \
         select 1 from orders where id = $1",
    )
    .bind(id.as_str())
    .bind(pg_time(at))
    .fetch_optional(on)
    .await?;
    Ok(row.is_some())
}
