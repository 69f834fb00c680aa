use payhook_schema::{AccountName, Notification, PaymentId, Provider};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use crate::NotificationFilter;
use crate::columns::pg_time;
use crate::notifications::{archived, first_id, notification_columns};

/// Notifications `n` of a filter, which is the first eight parameters: one of three statements, each with what narrows it most, so that
/// a few are not looked for among all.
macro_rules! filtered {
    ($filter:expr, $select:expr, $tail:expr) => {
        if !$filter.ids.is_empty() {
            $crate::postgres::notifications::filtered!(@ "n.id = any($1)", $select, $tail)
        } else if $filter.payment.is_some() {
            $crate::postgres::notifications::filtered!(
                @ "n.provider = any(case when $3::text is null then array['antom', 'omise'] else array[$3::text] end) \
                    and n.payment_id = $5",
                $select,
                $tail
            )
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
              and ($3::text is null or n.provider = $3) and ($4::text is null or n.account = $4) \
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
        .bind(provider.map(Provider::as_str))
        .bind(account.as_ref().map(AccountName::to_string))
        .bind(payment.as_ref().map(PaymentId::to_string))
        .bind(since.map_or(Uuid::nil(), first_id))
        .bind(since.map(pg_time))
        .bind(*before)
}

/// Without bodies: a listing shows none.
pub(super) async fn list(on: &mut PgConnection, filter: &NotificationFilter) -> sqlx::Result<Vec<Notification>> {
    let sql = filtered!(filter, concat!(notification_columns!(), ", ''::bytea as body"), "order by n.id desc limit $9");
    let rows = by(sqlx::query(sql), filter).bind(i64::from(filter.limit)).fetch_all(on).await?;
    rows.iter().map(archived).collect()
}

pub(super) async fn get(on: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Notification>> {
    let sql = concat!("select ", notification_columns!(), ", n.body from notifications n where n.id = $1");
    sqlx::query(sql).bind(id).fetch_optional(on).await?.as_ref().map(archived).transpose()
}
