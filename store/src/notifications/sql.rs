//! Lists and reads the archive.

use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{About, Notification, Provider, new_id};
use uuid::Uuid;

use super::{Archived, NotificationFilter, names};
use crate::db::row::Row;
use crate::db::{Conn, Query};

/// The longest time by which a notification's id may be earlier than its receipt. Both are of one reading of the clock;
/// a day is for clocks that were set.
const ID_BEFORE_RECEIPT: Duration = Duration::from_hours(24);

/// The columns of a notification but for its body, as [`archived`] reads them.
macro_rules! notification_columns {
    () => {
        "n.id, n.provider, n.account, n.kind, n.payment_id, n.names, n.idempotency_key, n.received_at, n.signed_at, \
         n.verified_by, n.signed_path, n.signed_id, n.headers, n.sealed_with, n.received, n.last_received_at"
    };
}

/// Notifications `n` of a filter, which is the first eight parameters: one of three statements, each with what narrows
/// it most, so that a few are not sought among all.
macro_rules! filtered {
    ($filter:expr, $select:expr, $tail:expr) => {
        if !$filter.ids.is_empty() {
            $crate::notifications::sql::filtered!(@ "n.id = any($1)", $select, $tail)
        } else if $filter.payment.is_some() {
            $crate::notifications::sql::filtered!(@ "n.payment_id = $5", $select, $tail)
        } else {
            $crate::notifications::sql::filtered!(@ "true", $select, $tail)
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
              and n.received_at >= coalesce($7::timestamptz, timestamptz '-infinity') \
              and n.id < coalesce($8::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') ",
            $tail
        )
    };
}
pub(crate) use filtered;

/// Binds what [`filtered`] takes.
pub(crate) fn by<'c>(query: Query<'c>, filter: &NotificationFilter) -> Query<'c> {
    let NotificationFilter { ids, kind, provider, account, payment, since, before, limit: _ } = filter;
    query
        .bind(ids.as_slice())
        .bind(kind.as_deref())
        .bind(providers(*provider))
        .bind(account.as_ref())
        .bind(payment.as_ref())
        .bind(since.map_or(Uuid::nil(), first_id))
        .bind(*since)
        .bind(*before)
}

/// For each, the id of the notification that was archived as these signed bytes.
pub(super) async fn known(on: &mut Conn<'_>, signed: &[Uuid]) -> sqlx::Result<Vec<Option<Uuid>>> {
    let sql = "select n.id from unnest($1::uuid[]) with ordinality as k (signed_id, ord) \
               left join notifications n on n.signed_id = k.signed_id order by ord";
    on.query(sql).bind(signed).all().await?.iter().map(|row| row.opt("id")).collect()
}

/// Without bodies: a listing shows none.
pub(super) async fn list(on: &mut Conn<'_>, filter: &NotificationFilter) -> sqlx::Result<Vec<Archived>> {
    let sql = filtered!(filter, concat!(notification_columns!(), ", ''::bytea as body"), "order by n.id desc limit $9");
    by(on.query(sql), filter).bind(filter.limit).all().await?.iter().map(archived).collect()
}

pub(super) async fn get(on: &mut Conn<'_>, id: Uuid) -> sqlx::Result<Option<Archived>> {
    let sql = concat!("select ", notification_columns!(), ", n.body from notifications n where n.id = $1");
    on.query(sql).bind(id).optional().await?.as_ref().map(archived).transpose()
}

/// A notification as it was archived; of one that named no payment, with the payment it was found to be about since.
fn archived(row: &Row) -> sqlx::Result<Archived> {
    let name: Option<String> = row.opt("names")?;
    let notification = notification(row, names::about(name.as_deref(), row.opt("payment_id")?)?)?;
    Ok(Archived {
        received: row.get("received")?,
        last_received_at: row.opt("last_received_at")?.unwrap_or(notification.received_at),
        notification,
    })
}

/// The same where it is known already what it is about.
pub(crate) fn notification(row: &Row, about: About) -> sqlx::Result<Notification> {
    Ok(Notification {
        id: row.get("id")?,
        provider: row.get("provider")?,
        account: row.get("account")?,
        kind: row.get("kind")?,
        about,
        idempotency_key: row.get("idempotency_key")?,
        received_at: row.get("received_at")?,
        signed_at: row.opt("signed_at")?,
        verified_by: row.get("verified_by")?,
        signed_path: row.get("signed_path")?,
        signed_id: row.opt("signed_id")?,
        headers: row.some_json("headers")?,
        body: row.get("body")?,
        sealed_with: row.opt("sealed_with")?,
    })
}

/// The providers whose notifications a filter takes: an index that begins with the provider is used for all of them,
/// too.
fn providers(only: Option<Provider>) -> Vec<&'static str> {
    only.map_or_else(all_providers, |only| vec![only.as_str()])
}

pub(crate) fn all_providers() -> Vec<&'static str> {
    Provider::ALL.iter().map(|provider| provider.as_str()).collect()
}

/// The lowest id what was received at `since` or later can have: ids sort by time, and have an index, which the time
/// has not.
pub(crate) fn first_id(since: Timestamp) -> Uuid {
    let at = since.checked_sub(ID_BEFORE_RECEIPT).unwrap_or(Timestamp::UNIX_EPOCH);
    let [first @ .., _, _, _, _, _, _, _, _, _, _] = new_id(at).into_bytes();
    let mut lowest = [0; 16];
    lowest[..6].copy_from_slice(&first);
    Uuid::from_bytes(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_made_on_receipt_is_below_the_first() {
        let received: Timestamp = "2026-11-21T06:00:00Z".parse().unwrap();
        for set_back_by in [Duration::ZERO, Duration::from_hours(23)] {
            let id = new_id(received.checked_sub(set_back_by).unwrap());
            assert!(first_id(received) <= id && first_id(received).to_string() <= id.to_string());
        }
        assert!(first_id(received) > new_id(received.checked_sub(Duration::from_hours(25)).unwrap()));
        assert_eq!(first_id(Timestamp::MIN), Uuid::nil());
    }
}
