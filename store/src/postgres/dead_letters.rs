use sqlx::PgConnection;

use crate::columns::pg_time;
use crate::dead_letters::{Kept, archived};
use crate::{DeadLetter, DeadLetterFilter, rows};

/// Letters and their notifications in one statement.
const KEEP: &str = "
with archived as (
    insert into notifications (id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at,
        verified_by, signed_path, headers, body, names, sealed_with)
    select id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at, verified_by, signed_path,
        headers::jsonb, body, names, sealed_with
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
        $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::text[], $14::bigint[])
        as n (id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at, verified_by,
            signed_path, headers, body, names, sealed_with)
    on conflict (id) do nothing
)
insert into dead_letters (id, cause, detail, provider, account, payment_id, attempts, first_failed_at, last_failed_at,
    bytes, notification_id)
select * from unnest($15::uuid[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::bigint[],
    $22::timestamptz[], $23::timestamptz[], $24::bytea[], $25::uuid[])
on conflict (id) do nothing";

pub(super) async fn keep(on: &mut PgConnection, letters: &[DeadLetter]) -> sqlx::Result<()> {
    let archived = archived(letters);
    let kept: Vec<Kept<'_>> = letters.iter().map(Kept::of).collect();
    macro_rules! bind {
        ($query:expr, $rows:expr, |$row:ident| $($column:expr),+ $(,)?) => {
            $query$(.bind($rows.iter().map(|$row| $column).collect::<Vec<_>>()))+
        };
    }
    let query = bind!(
        sqlx::query(KEEP),
        archived,
        |row| row.id,
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
    );
    let query = bind!(
        query,
        kept,
        |row| row.id,
        row.cause,
        &*row.detail,
        row.provider,
        row.account,
        row.payment_id,
        row.attempts,
        pg_time(row.first_failed_at.0),
        pg_time(row.last_failed_at.0),
        row.bytes,
        row.notification_id,
    );
    query.execute(on).await?;
    Ok(())
}

pub(super) async fn list(on: &mut PgConnection, filter: &DeadLetterFilter) -> sqlx::Result<Vec<DeadLetter>> {
    let DeadLetterFilter { ids, cause, provider, account, since, before, limit } = filter;
    let rows = sqlx::query(
        "select d.id, d.cause, d.detail, d.provider, d.account, d.payment_id, p.order_id, d.attempts, \
            d.first_failed_at, d.last_failed_at, d.bytes \
         from dead_letters d \
         left join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
         where (cardinality($1::uuid[]) = 0 or d.id = any($1)) and ($2::text is null or d.cause = $2) \
            and ($3::text is null or d.provider = $3) and ($4::text is null or d.account = $4) \
            and d.last_failed_at >= coalesce($5::timestamptz, '-infinity') \
            and (d.last_failed_at, d.id) < (case when $6::uuid is null then timestamptz 'infinity' \
                else (select b.last_failed_at from dead_letters b where b.id = $6) end, \
                coalesce($6, '00000000-0000-0000-0000-000000000000')) \
         order by d.last_failed_at desc, d.id desc limit $7",
    )
    .bind(ids)
    .bind(cause.map(payhook_schema::DeadCause::as_str))
    .bind(provider.map(payhook_schema::Provider::as_str))
    .bind(account.as_ref().map(payhook_schema::AccountName::as_str))
    .bind(since.map(pg_time))
    .bind(before)
    .bind(i64::from(*limit))
    .fetch_all(on)
    .await?;
    rows.iter().map(rows::dead_letter).collect()
}
