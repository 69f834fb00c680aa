use payhook_schema::{AccountName, PaymentId};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use super::bind::bind;
use crate::batch::NotificationRow;
use crate::columns::{Columns, pg_time};
use crate::notifications::{archived, first_id, notification_columns, providers};
use crate::{Archived, NotificationFilter};

/// Archives what `came`: each once. Those that were archived as the same signed bytes before are counted there, if it `counts`, and linked.
macro_rules! archive_came {
    () => {
        "
counted as (
    update notifications k
    set received = k.received + r.more, last_received_at = greatest(k.last_received_at, r.last_received_at),
        payment_id = coalesce(k.payment_id, r.link)
    from (select a.id, max(c.link) as link, count(*) filter (where c.id <> a.id and c.counts) as more,
            max(c.received_at) filter (where c.id <> a.id and c.counts) as last_received_at
        from came c
        join notifications a on a.id = coalesce((select n.id from notifications n where n.signed_id = c.signed_id), c.id)
        group by a.id) r
    where k.id = r.id and (r.more > 0 or (k.payment_id is null and r.link is not null))
),
firsts as (
    select came.*, case when counts then count(*) over same else 1 end as received, max(received_at) over same as last_received_at,
        row_number() over (same order by received_at, id) as nth
    from came window same as (partition by coalesce(signed_id, id))
),
archived as (
    insert into notifications (id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at,
        verified_by, signed_path, headers, body, names, sealed_with, signed_id, received, last_received_at)
    select id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at, verified_by, signed_path,
        headers::jsonb, body, names, sealed_with, signed_id, received, case when received > 1 then last_received_at end
    from firsts where nth = 1
    on conflict do nothing
)"
    };
}
pub(super) use archive_came;

/// Archives notifications, as [`archive_came`] does.
pub(super) async fn archive(on: &mut PgConnection, rows: &[NotificationRow<'_>], counts: bool) -> sqlx::Result<()> {
    const ARCHIVE: &str = concat!(
        "with came as (select *, $17::boolean as counts from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], \
            $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::text[], \
            $14::bigint[], $15::uuid[], $16::text[]) \
            as n (id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at, verified_by, \
            signed_path, headers, body, names, sealed_with, signed_id, link)),",
        archive_came!(),
        " select 1"
    );
    if rows.is_empty() {
        return Ok(());
    }
    bind_came(sqlx::query(ARCHIVE), rows).bind(counts).execute(on).await?;
    Ok(())
}

/// Binds the columns of `came` that describe a notification.
pub(super) fn bind_came<'q>(
    query: Query<'q, Postgres, PgArguments>,
    rows: &'q [NotificationRow<'_>],
) -> Query<'q, Postgres, PgArguments> {
    bind!(
        query,
        rows,
        |row: NotificationRow<'_>| row.id,
        row.provider,
        row.account,
        row.kind,
        row.payment_id,
        row.idempotency_key,
        pg_time(row.received_at.0),
        row.signed_at.map(|at| pg_time(at.0)),
        row.verified_by,
        row.signed_path,
        row.headers.as_str(),
        row.body,
        row.names.as_deref(),
        row.sealed_with,
        row.signed_id,
        row.link,
    )
}

/// Notifications `n` of a filter, which is the first eight parameters: one of three statements, each with what narrows it most, so that
/// a few are not looked for among all.
macro_rules! filtered {
    ($filter:expr, $select:expr, $tail:expr) => {
        if !$filter.ids.is_empty() {
            $crate::postgres::notifications::filtered!(@ "n.id = any($1)", $select, $tail)
        } else if $filter.payment.is_some() {
            $crate::postgres::notifications::filtered!(@ "n.payment_id = $5", $select, $tail)
        } else {
            $crate::postgres::notifications::filtered!(@ "true", $select, $tail)
        }
    };
    (@ $narrow:literal, $select:expr, $tail:expr) => {
        concat!(
            "select ",
            $select,
            " from notifications n where ",
            $narrow,
            " and (cardinality($1::uuid[]) = 0 or n.id = any($1)) and ($2::text is null or n.kind = $2) \
              and n.provider = any($3::text[]) and ($4::text is null or n.account = $4) \
              and ($5::text is null or n.payment_id = $5) and n.id >= $6::uuid \
              and n.received_at >= coalesce($7::timestamptz, '-infinity') \
              and n.id < coalesce($8::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') ",
            $tail
        )
    };
}
pub(super) use filtered;

/// Binds what [`filtered`] takes.
pub(super) fn by<'q>(
    query: Query<'q, Postgres, PgArguments>,
    filter: &NotificationFilter,
) -> Query<'q, Postgres, PgArguments> {
    let NotificationFilter { ids, kind, provider, account, payment, since, before, limit: _ } = filter;
    query
        .bind(ids.clone())
        .bind(kind.clone())
        .bind(providers(*provider))
        .bind(account.as_ref().map(AccountName::to_string))
        .bind(payment.as_ref().map(PaymentId::to_string))
        .bind(since.map_or(Uuid::nil(), first_id))
        .bind(since.map(pg_time))
        .bind(*before)
}

/// For each, the id of the notification that was archived as these signed bytes.
pub(super) async fn known(on: &mut PgConnection, signed: &[Uuid]) -> sqlx::Result<Vec<Option<Uuid>>> {
    let sql = "select n.id from unnest($1::uuid[]) with ordinality as k (signed_id, ord) \
               left join notifications n on n.signed_id = k.signed_id order by ord";
    sqlx::query(sql).bind(signed).fetch_all(on).await?.iter().map(|row| row.id("id")).collect()
}

/// Without bodies: a listing shows none.
pub(super) async fn list(on: &mut PgConnection, filter: &NotificationFilter) -> sqlx::Result<Vec<Archived>> {
    let sql = filtered!(filter, concat!(notification_columns!(), ", ''::bytea as body"), "order by n.id desc limit $9");
    let rows = by(sqlx::query(sql), filter).bind(i64::from(filter.limit)).fetch_all(on).await?;
    rows.iter().map(archived).collect()
}

pub(super) async fn get(on: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Archived>> {
    let sql = concat!("select ", notification_columns!(), ", n.body from notifications n where n.id = $1");
    sqlx::query(sql).bind(id).fetch_optional(on).await?.as_ref().map(archived).transpose()
}
