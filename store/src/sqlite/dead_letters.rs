use payhook_schema::{AccountName, DeadCause, Provider};
use sqlx::SqliteConnection;

use super::settle::archive;
use crate::batch::json;
use crate::columns::micros;
use crate::dead_letters::{Kept, archived};
use crate::{DeadLetter, DeadLetterFilter, rows};

pub(super) async fn keep(on: &mut SqliteConnection, letters: &[DeadLetter]) -> sqlx::Result<()> {
    archive(on, &archived(letters)).await?;
    for letter in letters {
        let row = Kept::of(letter);
        sqlx::query(
            "insert into dead_letters (id, cause, detail, provider, account, payment_id, attempts, first_failed_at, \
                last_failed_at, bytes, notification_id) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) on conflict (id) do nothing",
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
        .execute(&mut *on)
        .await?;
    }
    Ok(())
}

pub(super) async fn list(on: &mut SqliteConnection, filter: &DeadLetterFilter) -> sqlx::Result<Vec<DeadLetter>> {
    let DeadLetterFilter { ids, cause, provider, account, since, before, limit } = filter;
    let rows = sqlx::query(
        "select d.id, d.cause, d.detail, d.provider, d.account, d.payment_id, p.order_id, d.attempts, \
            d.first_failed_at, d.last_failed_at, d.bytes \
         from dead_letters d \
         left join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
         where (json_array_length(?1) = 0 or d.id in (select value from json_each(?1))) \
            and (?2 is null or d.cause = ?2) and (?3 is null or d.provider = ?3) and (?4 is null or d.account = ?4) \
            and d.last_failed_at >= coalesce(?5, -9223372036854775808) \
            and (d.last_failed_at, d.id) < (case when ?6 is null then 9223372036854775807 \
                else (select b.last_failed_at from dead_letters b where b.id = ?6) end, coalesce(?6, '')) \
         order by d.last_failed_at desc, d.id desc limit ?7",
    )
    .bind(json(&ids))
    .bind(cause.map(DeadCause::as_str))
    .bind(provider.map(Provider::as_str))
    .bind(account.as_ref().map(AccountName::as_str))
    .bind(since.map(micros))
    .bind(before.map(|id| id.to_string()))
    .bind(i64::from(*limit))
    .fetch_all(on)
    .await?;
    rows.iter().map(rows::dead_letter).collect()
}
