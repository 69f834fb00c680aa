//! Stores the audit log: every act with its caller, releases of held orders, and the use of keys.

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{AccountName, Hold, OrderId, PaymentKey, Provider};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreError;
use crate::db::row::Row;
use crate::db::value::json;
use crate::db::{Backend, Conn, read, write};
use crate::settling::batch::without_nul;

#[cfg(feature = "conformance")]
pub(crate) mod promises;

/// Writes and reads who did what.
///
/// - `the_keys_that_verified_last_are_listed`
/// - `an_audit_entry_is_stored_and_listed_newest_first`
/// - `a_release_is_written_with_its_audit_entry`
#[async_trait]
pub trait Audit: Send + Sync + 'static {
    /// Writes down who did what. A caller that does something that must be audited writes first and does it then. An
    /// entry with a known id changes nothing, and a NUL character in it becomes U+FFFD.
    async fn audit_write(&self, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Newest first; only entries older than `before`, if given.
    async fn audit_list(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<AuditEntry>, StoreError>;

    /// Writes a release and its audit entry, both or neither. A release with a known id changes nothing.
    async fn release_write(&self, release: &Release, audit: &AuditEntry) -> Result<(), StoreError>;

    async fn release_get(&self, id: Uuid) -> Result<Option<Release>, StoreError>;

    /// Returns which of our keys verified notifications last, and when: of the newest ten thousand in the archive, one
    /// entry for each account and key, by provider, account and key.
    async fn keys_used(&self) -> Result<Vec<KeyUse>, StoreError>;
}

/// A key of ours, and the time when it last verified a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    pub provider: Provider,
    pub account: AccountName,
    /// As [`Notification::verified_by`](payhook_schema::Notification::verified_by) has it: `keyVersion 1`, `secret
    /// 3fa1c2d4`.
    pub verified_by: String,
    pub last_at: Timestamp,
}

/// An entry of the audit log: who did what, to what, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Sorts by time.
    pub id: Uuid,
    pub at: Timestamp,
    /// The caller's name in the configuration; `console` for the one token without a name, `local` where none is asked
    /// for.
    pub who: String,
    pub role: String,
    /// `token.read`, `keys.rotate`, `order.release`, `dead_letter.replay`, ….
    pub action: String,
    /// The subject of the action: an id, or a filter in words.
    pub subject: String,
    /// The number of things it was done to.
    pub count: u64,
    pub reason: Option<String>,
}

/// A person's decision to let a held order go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub id: Uuid,
    pub order: OrderId,
    /// The version of the order that the operator saw. At another version nothing is released.
    pub version: i64,
    /// The objections that were open at that version.
    pub holds: Vec<Hold>,
    /// Payments whose money went back without the provider saying so.
    pub returned: Vec<PaymentKey>,
    pub who: String,
    pub reason: String,
    pub at: Timestamp,
}

/// The newest notifications that tell which keys are in use: a day or less of a busy shop, and read in no time.
const KEYS_USED_NOTIFICATIONS: i64 = 10_000;

#[async_trait]
impl<B: Backend> Audit for B {
    async fn audit_write(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        write!(self, |on| insert(on, entry))
    }

    async fn audit_list(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        read!(self, |on| list(on, before, limit))
    }

    async fn release_write(&self, release: &Release, audit: &AuditEntry) -> Result<(), StoreError> {
        write!(self, |on| insert_release(on, release, audit))
    }

    async fn release_get(&self, id: Uuid) -> Result<Option<Release>, StoreError> {
        read!(self, |on| get_release(on, id))
    }

    async fn keys_used(&self) -> Result<Vec<KeyUse>, StoreError> {
        read!(self, |on| keys_used(on))
    }
}

/// An entry that is there already was asked for again because its answer was lost.
async fn insert(on: &mut Conn<'_>, entry: &AuditEntry) -> sqlx::Result<()> {
    on.query(
        "insert into audit (id, at, who, role, action, subject, count, reason) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing",
    )
    .bind(entry.id)
    .bind(entry.at)
    .bind(without_nul(&entry.who))
    .bind(without_nul(&entry.role))
    .bind(without_nul(&entry.action))
    .bind(without_nul(&entry.subject))
    // No action counts more things than that.
    .bind(i64::try_from(entry.count).unwrap_or(i64::MAX))
    .bind(entry.reason.as_deref().map(without_nul))
    .execute()
    .await?;
    Ok(())
}

async fn list(on: &mut Conn<'_>, before: Option<Uuid>, limit: u32) -> sqlx::Result<Vec<AuditEntry>> {
    let entry = |row: &Row| {
        Ok(AuditEntry {
            id: row.get("id")?,
            at: row.get("at")?,
            who: row.get("who")?,
            role: row.get("role")?,
            action: row.get("action")?,
            subject: row.get("subject")?,
            count: row.get("count")?,
            reason: row.opt("reason")?,
        })
    };
    let rows = on.query(
        "select id, at, who, role, action, subject, count, reason from audit \
         where id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff') order by id desc limit $2",
    );
    rows.bind(before).bind(limit).all().await?.iter().map(entry).collect()
}

async fn insert_release(on: &mut Conn<'_>, release: &Release, audit: &AuditEntry) -> sqlx::Result<()> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    insert(on, audit).await?;
    on.query("insert into releases (id, order_id, body) values ($1, $2, $3::jsonb) on conflict (id) do nothing")
        .bind(release.id)
        .bind(&release.order)
        .bind(json(release))
        .execute()
        .await?;
    unit.commit().await
}

async fn get_release(on: &mut Conn<'_>, id: Uuid) -> sqlx::Result<Option<Release>> {
    let row = on.query("select body from releases where id = $1").bind(id).optional().await?;
    row.map(|row| row.some_json("body")).transpose()
}

async fn keys_used(on: &mut Conn<'_>) -> sqlx::Result<Vec<KeyUse>> {
    let key_use = |row: &Row| {
        Ok(KeyUse {
            provider: row.get("provider")?,
            account: row.get("account")?,
            verified_by: row.get("verified_by")?,
            last_at: row.get("last_at")?,
        })
    };
    let rows = on.query(
        "select provider, account, verified_by, max(received_at) as last_at \
         from (select provider, account, verified_by, received_at from notifications order by id desc limit $1) newest \
         group by provider, account, verified_by order by provider, account, verified_by collate \"C\"",
    );
    rows.bind(KEYS_USED_NOTIFICATIONS).all().await?.iter().map(key_use).collect()
}
