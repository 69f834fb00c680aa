//! Archives notifications, each once; repeats are counted. The statements differ: PostgreSQL takes arrays, one for each
//! column, and SQLite JSON, which is cheaper in each.

use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Postgres, SqliteConnection};

use crate::db::Conn;
use crate::db::value::{bind_columns, json, pg_time};
use crate::settling::batch::NotificationRow;

/// Archives notifications. A repeat of the same signed bytes is counted with its first copy, if it `counts`.
pub(crate) async fn archive(on: &mut Conn<'_>, rows: &[NotificationRow<'_>], counts: bool) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    match on {
        Conn::Postgres(on) => bind_came(sqlx::query(ARCHIVE), rows).bind(counts).execute(&mut **on).await.map(drop),
        Conn::Sqlite(on) => in_sqlite(on, rows, counts).await,
    }
}

/// Archives what `came`: each once. A repeat of the same signed bytes is counted with its first copy, if it `counts`,
/// and linked.
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
pub(crate) use archive_came;

const ARCHIVE: &str = concat!(
    "with came as (select *, $17::boolean as counts from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], \
        $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::text[], \
        $14::bigint[], $15::uuid[], $16::text[]) \
        as n (id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at, verified_by, \
        signed_path, headers, body, names, sealed_with, signed_id, link)),",
    archive_came!(),
    " select 1"
);

/// Binds the columns of `came` that describe a notification.
pub(crate) fn bind_came<'q>(
    query: Query<'q, Postgres, PgArguments>,
    rows: &'q [NotificationRow<'_>],
) -> Query<'q, Postgres, PgArguments> {
    bind_columns!(
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

/// Each once; what was archived as the same signed bytes is counted there, if it counts.
const ARCHIVE_JSON: &str = "
insert into notifications (id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at, verified_by,
    signed_path, signed_id, headers, names, sealed_with, body)
select value ->> 'id', value ->> 'provider', value ->> 'account', value ->> 'kind', value ->> 'payment_id',
    value ->> 'idempotency_key', value ->> 'received_at', value ->> 'signed_at', value ->> 'verified_by',
    value ->> 'signed_path', value ->> 'signed_id', value ->> 'headers', value ->> 'names', value ->> 'sealed_with',
    -- Of no bytes at all, `substr` makes null.
    coalesce(substr($2, value ->> 'body_from', value ->> 'body_bytes'), x'')
from jsonb_each($1) where true order by key
on conflict (id) do nothing
on conflict (signed_id) where signed_id is not null do update
set received = notifications.received + 1,
    last_received_at = max(coalesce(notifications.last_received_at, 0), excluded.received_at)
where $3 and notifications.id <> excluded.id";

/// Bodies travel beside the JSON, end to end in one blob.
async fn in_sqlite(to: &mut SqliteConnection, rows: &[NotificationRow<'_>], counts: bool) -> sqlx::Result<()> {
    #[derive(Serialize)]
    struct PlacedBody<'a> {
        #[serde(flatten)]
        row: &'a NotificationRow<'a>,
        /// Counted from 1, as SQL does.
        body_from: usize,
        body_bytes: usize,
    }
    let mut bodies = Vec::with_capacity(rows.iter().map(|row| row.body.len()).sum());
    let mut placed = Vec::with_capacity(rows.len());
    for row in rows {
        placed.push(PlacedBody { row, body_from: bodies.len() + 1, body_bytes: row.body.len() });
        bodies.extend_from_slice(row.body);
    }
    sqlx::query(ARCHIVE_JSON).bind(json(&placed)).bind(bodies).bind(counts).execute(to).await?;
    Ok(())
}
