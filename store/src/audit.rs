//! Reads the audit log and the use of keys, alike for both databases.

use crate::columns::{Columns, some, wrong};
use crate::rows::read;
use crate::{AuditEntry, KeyUse, Release};

/// The newest notifications that tell which keys are in use: a day or less of a busy shop, and read in no time.
pub(crate) const KEYS_USED_NOTIFICATIONS: i64 = 10_000;

pub(crate) fn entry(row: &impl Columns) -> sqlx::Result<AuditEntry> {
    Ok(AuditEntry {
        id: some("id", row.id("id"))?,
        at: some("at", row.time("at"))?,
        who: some("who", row.text("who"))?,
        role: some("role", row.text("role"))?,
        action: some("action", row.text("action"))?,
        subject: some("subject", row.text("subject"))?,
        count: some("count", row.int("count"))? as u64,
        reason: row.text("reason")?,
    })
}

pub(crate) fn release(row: &impl Columns) -> sqlx::Result<Release> {
    serde_json::from_value(some("body", row.json("body"))?).map_err(|error| wrong("body", error))
}

/// Converts a count for its column. No action counts more than `i64::MAX` things.
pub(crate) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn key_use(row: &impl Columns) -> sqlx::Result<KeyUse> {
    Ok(KeyUse {
        provider: some("provider", read(row, "provider"))?,
        account: some("account", read(row, "account"))?,
        verified_by: some("verified_by", row.text("verified_by"))?,
        last_at: some("last_at", row.time("last_at"))?,
    })
}
