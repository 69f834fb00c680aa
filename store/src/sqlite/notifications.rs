use payhook_schema::{AccountName, PaymentId};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::batch::json;
use crate::columns::{Columns, micros};
use crate::notifications::{archived, first_id, notification_columns, providers};
use crate::{Archived, NotificationFilter};

/// Notifications `n` of a filter, which is the first eight parameters: one of three statements, each with what narrows it most, so that
/// a few are not looked for among all.
macro_rules! filtered {
    ($filter:expr, $select:expr, $tail:expr) => {
        if !$filter.ids.is_empty() {
            $crate::sqlite::notifications::filtered!(@ "n.id in (select value from json_each(?1))", $select, $tail)
        } else if $filter.payment.is_some() {
            $crate::sqlite::notifications::filtered!(@ "n.payment_id = ?5", $select, $tail)
        } else {
            $crate::sqlite::notifications::filtered!(@ "true", $select, $tail)
        }
    };
    (@ $narrow:literal, $select:expr, $tail:expr) => {
        concat!(
            "select ",
            $select,
            " from notifications n where ",
            $narrow,
            " and (json_array_length(?1) = 0 or n.id in (select value from json_each(?1))) and (?2 is null or n.kind = ?2) \
              and n.provider in (select value from json_each(?3)) and (?4 is null or n.account = ?4) \
              and (?5 is null or n.payment_id = ?5) and n.id >= ?6 \
              and n.received_at >= coalesce(?7, -9223372036854775808) \
              and n.id < coalesce(?8, 'ffffffff-ffff-ffff-ffff-ffffffffffff') ",
            $tail
        )
    };
}
pub(super) use filtered;

/// Binds what [`filtered`] takes.
pub(super) fn by<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    filter: &NotificationFilter,
) -> Query<'q, Sqlite, SqliteArguments> {
    let NotificationFilter { ids, kind, provider, account, payment, since, before, limit: _ } = filter;
    query
        .bind(json(ids))
        .bind(kind.clone())
        .bind(json(&providers(*provider)))
        .bind(account.as_ref().map(AccountName::to_string))
        .bind(payment.as_ref().map(PaymentId::to_string))
        .bind(since.map_or(Uuid::nil().to_string(), |since| first_id(since).to_string()))
        .bind(since.map(micros))
        .bind(before.map(|id| id.to_string()))
}

/// For each, the id of the notification that was archived as these signed bytes.
pub(super) async fn known(on: &mut SqliteConnection, signed: &[Uuid]) -> sqlx::Result<Vec<Option<Uuid>>> {
    let sql = "select n.id from json_each(?1) k left join notifications n on n.signed_id = k.value order by k.key";
    sqlx::query(sql).bind(json(&signed)).fetch_all(on).await?.iter().map(|row| row.id("id")).collect()
}

/// Without bodies: a listing shows none.
pub(super) async fn list(on: &mut SqliteConnection, filter: &NotificationFilter) -> sqlx::Result<Vec<Archived>> {
    let sql = filtered!(filter, concat!(notification_columns!(), ", x'' as body"), "order by n.id desc limit ?9");
    let rows = by(sqlx::query(sql), filter).bind(i64::from(filter.limit)).fetch_all(on).await?;
    rows.iter().map(archived).collect()
}

pub(super) async fn get(on: &mut SqliteConnection, id: Uuid) -> sqlx::Result<Option<Archived>> {
    let sql = concat!("select ", notification_columns!(), ", n.body from notifications n where n.id = ?1");
    sqlx::query(sql).bind(id.to_string()).fetch_optional(on).await?.as_ref().map(archived).transpose()
}
