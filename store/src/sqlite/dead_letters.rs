use payhook_schema::{DeadCause, DeadLetterState, Provider, TimelineKind};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection};
use uuid::Uuid;

use super::replays::taken_by_nobody;
use super::settle::archive;
use crate::batch::json;
use crate::columns::{Columns, micros, some};
use crate::dead_letters::{self, archived, kept, without_nul};
use crate::{Act, DeadLetter, DeadLetterFilter, DeadLetterGroup, rows};

/// Keeps letters, and opens one that died before and died again: what was done about the death before hides nothing. A
/// redelivery is no newer. As a repeat, its notification is archived under another id.
pub(super) async fn keep(on: &mut SqliteConnection, letters: &[DeadLetter]) -> sqlx::Result<()> {
    archive(on, &archived(letters), false).await?;
    for row in kept(letters) {
        sqlx::query(
            "insert into dead_letters (id, cause, detail, provider, account, payment_id, attempts, first_failed_at, \
                last_failed_at, bytes, notification_id) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
                coalesce((select n.id from notifications n where n.signed_id = ?12), ?11)) \
             on conflict (id) do update \
             set cause = excluded.cause, detail = excluded.detail, last_failed_at = excluded.last_failed_at, \
                state = 'open', attempts = min(dead_letters.attempts + excluded.attempts, 4294967295) \
             where dead_letters.last_failed_at < excluded.last_failed_at",
        )
        .bind(row.id.to_string())
        .bind(row.cause)
        .bind(&*row.detail)
        .bind(row.provider)
        .bind(row.account)
        .bind(row.payment_id)
        .bind(row.attempts)
        .bind(micros(row.first_failed_at.0))
        .bind(micros(row.last_failed_at.0))
        .bind(row.bytes)
        .bind(row.notification_id.map(|id| id.to_string()))
        .bind(row.signed_id.map(|id| id.to_string()))
        .execute(&mut *on)
        .await?;
    }
    Ok(())
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
              where (json_array_length(?1) = 0 or d.id in (select value from json_each(?1))) and (?2 is null or d.cause = ?2) \
                and (?3 is null or d.provider = ?3) and (?4 is null or d.account = ?4) \
                and (?5 is null or d.state = ?5) and d.last_failed_at >= coalesce(?6, -9223372036854775808) \
                and (d.last_failed_at, d.id) < (case when ?7 is null then 9223372036854775807 \
                    else (select b.last_failed_at from dead_letters b where b.id = ?7) end, \
                    coalesce(?7, '')) ",
            $tail
        )
    };
}
pub(super) use filtered;

/// Binds what [`filtered`] takes.
pub(super) fn by<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    filter: &DeadLetterFilter,
) -> Query<'q, Sqlite, SqliteArguments> {
    let DeadLetterFilter { ids, cause, provider, account, state, since, before, limit: _ } = filter;
    query
        .bind(json(ids))
        .bind(cause.map(DeadCause::as_str))
        .bind(provider.map(Provider::as_str))
        .bind(account.as_ref().map(ToString::to_string))
        .bind(state.map(DeadLetterState::as_str))
        .bind(since.map(micros))
        .bind(before.map(|id| id.to_string()))
}

/// A letter but for its bytes.
macro_rules! letter_columns {
    () => {
        "d.id, d.cause, d.detail, d.provider, d.account, d.payment_id, p.order_id, d.attempts, d.first_failed_at, \
         d.last_failed_at, d.notification_id, d.state, d.note, o.state as now_state, o.amount_minor as now_amount_minor, \
         o.currency as now_currency, "
    };
}

pub(super) async fn list(on: &mut SqliteConnection, filter: &DeadLetterFilter) -> sqlx::Result<Vec<DeadLetter>> {
    let sql =
        filtered!(concat!(letter_columns!(), "x'' as bytes"), "order by d.last_failed_at desc, d.id desc limit ?8");
    let rows = by(sqlx::query(sql), filter).bind(i64::from(filter.limit)).fetch_all(on).await?;
    rows.iter().map(rows::dead_letter).collect()
}

pub(super) async fn get(on: &mut SqliteConnection, id: Uuid) -> sqlx::Result<Option<DeadLetter>> {
    let row = sqlx::query(concat!(
        "select ",
        letter_columns!(),
        "d.bytes from dead_letters d \
          left join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
          left join orders o on o.id = p.order_id where d.id = ?1"
    ))
    .bind(id.to_string())
    .fetch_optional(on)
    .await?;
    row.as_ref().map(rows::dead_letter).transpose()
}

pub(super) async fn groups(on: &mut SqliteConnection, filter: &DeadLetterFilter) -> sqlx::Result<Vec<DeadLetterGroup>> {
    let sql = filtered!(
        "d.cause, d.provider, d.account, o.state as now_state, o.amount_minor as now_amount_minor, \
         o.currency as now_currency, count(*) as letters, min(d.first_failed_at) as first_failed_at, \
         max(d.last_failed_at) as last_failed_at",
        "and d.state = 'open' group by d.cause, d.provider, d.account, o.id"
    );
    dead_letters::groups(&by(sqlx::query(sql), filter).fetch_all(on).await?)
}

/// Within the caller's transaction: there is one writer, so nobody begins a replay of what is being discarded.
pub(super) async fn discard(on: &mut SqliteConnection, filter: &DeadLetterFilter, act: &Act) -> sqlx::Result<u64> {
    let sql = filtered!(
        "d.id",
        concat!(
            "and d.state = 'open' and ",
            taken_by_nobody!("i.dead_letter_id = d.id"),
            " order by d.last_failed_at desc, d.id desc limit ?8"
        )
    );
    let chosen = by(sqlx::query(sql), filter).bind(i64::from(filter.limit)).fetch_all(&mut *on).await?;
    let chosen: Vec<Uuid> = chosen.iter().map(|row| some("id", row.id("id"))).collect::<sqlx::Result<_>>()?;
    sqlx::query(
        "insert into timeline (order_id, at, kind, provider, account, payment_id, text, detail) \
         select p.order_id, ?2, ?3, d.provider, d.account, d.payment_id, ?4, \
            json_object('who', ?5, 'reason', ?6, 'dead_letter_id', d.id) \
         from dead_letters d \
         join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
         where d.id in (select value from json_each(?1)) order by d.last_failed_at, d.id",
    )
    .bind(json(&chosen))
    .bind(micros(act.at))
    .bind(TimelineKind::Operator.as_str())
    .bind(dead_letters::discarded_by(act))
    .bind(without_nul(&act.who))
    .bind(without_nul(&act.reason))
    .execute(&mut *on)
    .await?;
    sqlx::query(
        "update dead_letters set state = 'discarded', closed_at = ?2 where id in (select value from json_each(?1))",
    )
    .bind(json(&chosen))
    .bind(micros(act.at))
    .execute(on)
    .await?;
    Ok(chosen.len() as u64)
}

pub(super) async fn note(on: &mut SqliteConnection, filter: &DeadLetterFilter, note: &str) -> sqlx::Result<u64> {
    let sql = concat!(
        "update dead_letters set note = nullif(?9, '') where id in (",
        filtered!("d.id", "order by d.last_failed_at desc, d.id desc limit ?8"),
        ")"
    );
    let noted = by(sqlx::query(sql), filter).bind(i64::from(filter.limit)).bind(without_nul(note)).execute(on).await?;
    Ok(noted.rows_affected())
}
