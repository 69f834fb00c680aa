use payhook_schema::{DeadCause, DeadLetterState, Provider, TimelineKind};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Connection, PgConnection, Postgres};
use uuid::Uuid;

use super::bind::bind;
use super::notifications::archive;
use super::replays::{self, taken_by_nobody};
use crate::columns::{Columns, pg_time, some};
use crate::dead_letters::{self, Kept, archived, kept, without_nul};
use crate::{Act, DeadLetter, DeadLetterFilter, DeadLetterGroup, rows};

/// Opens a letter that died again: what was done about the death before hides nothing. A redelivery is no newer.
const KEEP: &str = "
insert into dead_letters (id, cause, detail, provider, account, payment_id, attempts, first_failed_at, last_failed_at,
    bytes, notification_id)
select id, cause, detail, provider, account, payment_id, attempts, first_failed_at, last_failed_at, bytes,
    -- As a repeat, it is archived under another id.
    coalesce((select n.id from notifications n where n.signed_id = l.signed_id), l.notification_id)
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[],
    $9::timestamptz[], $10::bytea[], $11::uuid[], $12::uuid[])
    as l (id, cause, detail, provider, account, payment_id, attempts, first_failed_at, last_failed_at, bytes,
        notification_id, signed_id)
on conflict (id) do update
set cause = excluded.cause, detail = excluded.detail, last_failed_at = excluded.last_failed_at, state = 'open',
    attempts = least(dead_letters.attempts + excluded.attempts, 4294967295)
where dead_letters.last_failed_at < excluded.last_failed_at";

pub(super) async fn keep(on: &mut PgConnection, letters: &[DeadLetter]) -> sqlx::Result<()> {
    let mut transaction = on.begin().await?;
    archive(&mut transaction, &archived(letters), false).await?;
    let kept = kept(letters);
    let query = bind!(
        sqlx::query(KEEP),
        kept,
        |row: Kept<'_>| row.id,
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
        row.signed_id,
    );
    query.execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Letters `d` with the order their payment is of, where it is registered. A filter is the first seven parameters.
macro_rules! filtered {
    ($select:expr, $tail:expr) => {
        concat!(
            "select ",
            $select,
            " from dead_letters d \
              left join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
              left join orders o on o.id = p.order_id \
              where (cardinality($1::uuid[]) = 0 or d.id = any($1)) and ($2::text is null or d.cause = $2) \
                and ($3::text is null or d.provider = $3) and ($4::text is null or d.account = $4) \
                and ($5::text is null or d.state = $5) and d.last_failed_at >= coalesce($6::timestamptz, '-infinity') \
                and (d.last_failed_at, d.id) < (case when $7::uuid is null then timestamptz 'infinity' \
                    else (select b.last_failed_at from dead_letters b where b.id = $7) end, \
                    coalesce($7, '00000000-0000-0000-0000-000000000000')) ",
            $tail
        )
    };
}
pub(super) use filtered;

/// Binds what [`filtered`] takes.
pub(super) fn by<'q>(
    query: Query<'q, Postgres, PgArguments>,
    filter: &DeadLetterFilter,
) -> Query<'q, Postgres, PgArguments> {
    let DeadLetterFilter { ids, cause, provider, account, state, since, before, limit: _ } = filter;
    query
        .bind(ids.clone())
        .bind(cause.map(DeadCause::as_str))
        .bind(provider.map(Provider::as_str))
        .bind(account.as_ref().map(ToString::to_string))
        .bind(state.map(DeadLetterState::as_str))
        .bind(since.map(pg_time))
        .bind(*before)
}

/// A letter but for its bytes.
macro_rules! letter_columns {
    () => {
        "d.id, d.cause, d.detail, d.provider, d.account, d.payment_id, p.order_id, d.attempts, d.first_failed_at, \
         d.last_failed_at, d.notification_id, d.state, d.note, o.state as now_state, o.amount_minor as now_amount_minor, \
         o.currency as now_currency, "
    };
}

pub(super) async fn list(on: &mut PgConnection, filter: &DeadLetterFilter) -> sqlx::Result<Vec<DeadLetter>> {
    let sql = filtered!(
        concat!(letter_columns!(), "''::bytea as bytes"),
        "order by d.last_failed_at desc, d.id desc limit $8"
    );
    let rows = by(sqlx::query(sql), filter).bind(i64::from(filter.limit)).fetch_all(on).await?;
    rows.iter().map(rows::dead_letter).collect()
}

pub(super) async fn get(on: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<DeadLetter>> {
    let row = sqlx::query(concat!(
        "select ",
        letter_columns!(),
        "d.bytes from dead_letters d \
          left join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
          left join orders o on o.id = p.order_id where d.id = $1"
    ))
    .bind(id)
    .fetch_optional(on)
    .await?;
    row.as_ref().map(rows::dead_letter).transpose()
}

pub(super) async fn groups(on: &mut PgConnection, filter: &DeadLetterFilter) -> sqlx::Result<Vec<DeadLetterGroup>> {
    let sql = filtered!(
        "d.cause, d.provider, d.account, o.state as now_state, o.amount_minor as now_amount_minor, \
         o.currency as now_currency, count(*) as letters, min(d.first_failed_at) as first_failed_at, \
         max(d.last_failed_at) as last_failed_at",
        "and d.state = 'open' group by d.cause, d.provider, d.account, o.id"
    );
    dead_letters::groups(&by(sqlx::query(sql), filter).fetch_all(on).await?)
}

pub(super) async fn discard(on: &mut PgConnection, filter: &DeadLetterFilter, act: &Act) -> sqlx::Result<u64> {
    let mut transaction = on.begin().await?;
    // Nobody begins a replay of what is being discarded.
    replays::lock(&mut transaction).await?;
    let sql = filtered!(
        "d.id",
        concat!(
            "and d.state = 'open' and ",
            taken_by_nobody!("i.dead_letter_id = d.id"),
            " order by d.last_failed_at desc, d.id desc limit $8 for update of d"
        )
    );
    let chosen = by(sqlx::query(sql), filter).bind(i64::from(filter.limit)).fetch_all(&mut *transaction).await?;
    let chosen: Vec<Uuid> = chosen.iter().map(|row| some("id", row.id("id"))).collect::<sqlx::Result<_>>()?;
    sqlx::query(
        "insert into timeline (order_id, at, kind, provider, account, payment_id, text, detail) \
         select p.order_id, $2, $3, d.provider, d.account, d.payment_id, $4, \
            jsonb_build_object('who', $5::text, 'reason', $6::text, 'dead_letter_id', d.id) \
         from dead_letters d \
         join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
         where d.id = any($1) order by d.last_failed_at, d.id",
    )
    .bind(&chosen)
    .bind(pg_time(act.at))
    .bind(TimelineKind::Operator.as_str())
    .bind(dead_letters::discarded_by(act))
    .bind(without_nul(&act.who))
    .bind(without_nul(&act.reason))
    .execute(&mut *transaction)
    .await?;
    sqlx::query("update dead_letters set state = 'discarded', closed_at = $2 where id = any($1)")
        .bind(&chosen)
        .bind(pg_time(act.at))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(chosen.len() as u64)
}

pub(super) async fn note(on: &mut PgConnection, filter: &DeadLetterFilter, note: &str) -> sqlx::Result<u64> {
    let sql = concat!(
        "update dead_letters set note = nullif($9, '') where id in (",
        filtered!("d.id", "order by d.last_failed_at desc, d.id desc limit $8"),
        ")"
    );
    let noted = by(sqlx::query(sql), filter).bind(i64::from(filter.limit)).bind(without_nul(note)).execute(on).await?;
    Ok(noted.rows_affected())
}
