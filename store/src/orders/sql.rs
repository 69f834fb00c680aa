//! Reads and lists orders, and their timelines.

use jiff::Timestamp;
use payhook_schema::{Order, OrderId, OrderState};

use super::OrderFilter;
use super::rows::{self, order_columns};
use crate::db::Conn;
use crate::timeline::merge::{self, From};
use crate::{TimelinePage, TimelinePlace};

pub(super) async fn get(on: &mut Conn<'_>, id: &OrderId) -> sqlx::Result<Option<Order>> {
    let sql = concat!(
        "select ",
        order_columns!(),
        " from orders o left join payments p on p.order_id = o.id where o.id = $1 order by p.position"
    );
    Ok(rows::orders(&on.query(sql).bind(id).all().await?)?.pop())
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
            " from page o left join payments p on p.order_id = o.id \
              order by o.created_at desc, o.id desc, p.position"
        )
    };
}

pub(super) async fn list(on: &mut Conn<'_>, filter: &OrderFilter) -> sqlx::Result<Vec<Order>> {
    let OrderFilter { state, provider, account, before, limit } = filter;
    let sql = if state.is_some() { list!("o.state = $1") } else { list!("$1::text is null") };
    let rows = on.query(sql).bind(state.map(OrderState::as_str)).bind(before.as_ref()).bind(*provider);
    rows::orders(&rows.bind(account.as_ref()).bind(*limit).all().await?)
}

pub(super) async fn timeline(
    on: &mut Conn<'_>,
    id: &OrderId,
    after: Option<TimelinePlace>,
    limit: u32,
) -> sqlx::Result<TimelinePage> {
    let (from, rows) = (From::after(after), i64::from(limit) + 1);
    // One snapshot for all three, so that no settlement is seen by half.
    let mut unit = on.begin_snapshot().await?;
    let on = &mut unit.connection();
    let written = on.query(
        "select n, at, kind, provider, account, payment_id, text, detail from timeline \
         where order_id = $1 and (at, n) > ($2, $3) order by at, n limit $4",
    );
    let written = written.bind(id).bind(from.written.0).bind(from.written.1).bind(rows).all().await?;
    let notifications = on.query(
        "select * from (select n.id, n.provider, n.account, n.payment_id, n.kind, n.idempotency_key, n.received_at, \
            n.verified_by, n.received, n.last_received_at, cast(octet_length(n.body) as bigint) as body_bytes, \
            row_number() over (partition by n.provider, n.account, n.idempotency_key order by n.received_at, n.id) as nth \
         from payments p \
         inner join notifications n on n.provider = p.provider and n.payment_id = p.id and n.account = p.account \
         where p.order_id = $1) n \
         where (received_at, id) > ($2, $3) order by received_at, id limit $4",
    );
    let notifications =
        notifications.bind(id).bind(from.notification.0).bind(from.notification.1).bind(rows).all().await?;
    let published = on.query(
        "select body, seq, published_at from events \
         where order_id = $1 and (published_at, version) > ($2, $3) order by published_at, version limit $4",
    );
    let published = published.bind(id).bind(from.published.0).bind(from.published.1).bind(rows).all().await?;
    unit.commit().await?;
    merge::page(&notifications, &written, &published, limit)
}

pub(super) async fn refresh(on: &mut Conn<'_>, id: &OrderId, at: Timestamp) -> sqlx::Result<bool> {
    on.query("update payments set next_check_at = $2 where order_id = $1").bind(id).bind(at).execute().await?;
    Ok(on.query("select 1 from orders where id = $1").bind(id).optional().await?.is_some())
}
