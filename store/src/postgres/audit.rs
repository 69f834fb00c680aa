use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::audit::{self, KEYS_USED_NOTIFICATIONS};
use crate::batch::json;
use crate::columns::pg_time;
use crate::dead_letters::without_nul;
use crate::{AuditEntry, KeyUse, Release};

/// An entry that is there already was asked for again because its answer was lost.
pub(super) async fn write(on: &mut PgConnection, entry: &AuditEntry) -> sqlx::Result<()> {
    sqlx::query(
        "insert into audit (id, at, who, role, action, subject, count, reason) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing",
    )
    .bind(entry.id)
    .bind(pg_time(entry.at))
    .bind(without_nul(&entry.who))
    .bind(without_nul(&entry.role))
    .bind(without_nul(&entry.action))
    .bind(without_nul(&entry.subject))
    .bind(audit::count(entry.count))
    .bind(entry.reason.as_deref().map(without_nul))
    .execute(on)
    .await?;
    Ok(())
}

pub(super) async fn release_write(on: &mut PgConnection, release: &Release, audit: &AuditEntry) -> sqlx::Result<()> {
    let mut transaction = on.begin().await?;
    write(&mut transaction, audit).await?;
    sqlx::query("insert into releases (id, order_id, body) values ($1, $2, $3::jsonb) on conflict (id) do nothing")
        .bind(release.id)
        .bind(release.order.as_str())
        .bind(json(release))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

pub(super) async fn release_get(on: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Release>> {
    let row = sqlx::query("select body from releases where id = $1").bind(id).fetch_optional(on).await?;
    row.as_ref().map(audit::release).transpose()
}

pub(super) async fn list(on: &mut PgConnection, before: Option<Uuid>, limit: u32) -> sqlx::Result<Vec<AuditEntry>> {
    let rows = sqlx::query(
        "select id, at, who, role, action, subject, count, reason from audit \
         where id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff') order by id desc limit $2",
    )
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(on)
    .await?;
    rows.iter().map(audit::entry).collect()
}

pub(super) async fn keys_used(on: &mut PgConnection) -> sqlx::Result<Vec<KeyUse>> {
    let rows = sqlx::query(
        "select provider, account, verified_by, max(received_at) as last_at \
         from (select provider, account, verified_by, received_at from notifications order by id desc limit $1) newest \
         group by provider, account, verified_by order by provider, account, verified_by collate \"C\"",
    )
    .bind(KEYS_USED_NOTIFICATIONS)
    .fetch_all(on)
    .await?;
    rows.iter().map(audit::key_use).collect()
}
