use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::columns::{Columns, micros, some};

pub(super) async fn get(on: &mut SqliteConnection, name: &str) -> sqlx::Result<Option<Timestamp>> {
    let row = sqlx::query("select at from watermarks where name = ?1").bind(name).fetch_optional(on).await?;
    row.map(|row| some("at", row.time("at"))).transpose()
}

pub(super) async fn set(on: &mut SqliteConnection, name: &str, at: Timestamp, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query(
        "insert into watermarks (name, at) values (?1, ?2) \
         on conflict (name) do update set at = excluded.at where watermarks.at < excluded.at or watermarks.at > ?3",
    )
    .bind(name)
    .bind(micros(at))
    .bind(micros(now))
    .execute(on)
    .await?;
    Ok(())
}
