//! The meaning of the rows of archived notifications, alike for both databases.

use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{About, Notification, Provider, new_id};
use uuid::Uuid;

use crate::Archived;
use crate::columns::{Columns, some, wrong};
use crate::rows::read;
use crate::{due, names};

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
pub(crate) use notification_columns;

/// A notification as it was archived; of one that named no payment, with the payment it was found to be about since.
pub(crate) fn archived(row: &impl Columns) -> sqlx::Result<Archived> {
    let notification = notification(row, names::about(row.text("names")?.as_deref(), read(row, "payment_id")?)?)?;
    Ok(Archived {
        received: some("received", row.int("received"))? as u64,
        last_received_at: row.time("last_received_at")?.unwrap_or(notification.received_at),
        notification,
    })
}

/// The same where it is known already what it is about.
pub(crate) fn notification(row: &impl Columns, about: About) -> sqlx::Result<Notification> {
    let sealed_with = row.int("sealed_with")?.map(u32::try_from).transpose();
    let headers = serde_json::from_value(some("headers", row.json("headers"))?);
    Ok(Notification {
        id: some("id", row.id("id"))?,
        provider: some("provider", read(row, "provider"))?,
        account: some("account", read(row, "account"))?,
        kind: some("kind", row.text("kind"))?,
        about,
        idempotency_key: some("idempotency_key", row.text("idempotency_key"))?,
        received_at: some("received_at", row.time("received_at"))?,
        signed_at: row.time("signed_at")?,
        verified_by: some("verified_by", row.text("verified_by"))?,
        signed_path: some("signed_path", row.text("signed_path"))?,
        signed_id: row.id("signed_id")?,
        headers: headers.map_err(|error| wrong("headers", error))?,
        body: some("body", row.bytes("body"))?,
        sealed_with: sealed_with.map_err(|error| wrong("sealed_with", error))?,
    })
}

/// The providers whose notifications a filter takes: an index that begins with the provider is used for all of them, too.
pub(crate) fn providers(only: Option<Provider>) -> Vec<&'static str> {
    only.map_or_else(due::providers, |only| vec![only.as_str()])
}

/// The lowest id what was received at `since` or later can have: ids sort by time, and have an index, which the time has not.
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
