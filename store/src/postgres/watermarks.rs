use jiff::Timestamp;
use sqlx::PgConnection;

use crate::columns::{Columns, pg_time, some};

pub(super) async fn get(on: &mut PgConnection, name: &str) -> sqlx::Result<Option<Timestamp>> {
    let row = sqlx::query("select at from watermarks where name = $1").bind(name).fetch_optional(on).await?;
    row.map(|row| some("at", row.time("at"))).transpose()
}

pub(super) async fn set(on: &mut PgConnection, name: &str, at: Timestamp, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query(
        "insert into watermarks (name, at) values ($1, $2) \
         on conflict (name) do update set at = excluded.at where watermarks.at < excluded.at or watermarks.at > $3",
    )
    .bind(name)
    .bind(pg_time(at))
    .bind(pg_time(now))
    .execute(on)
    .await?;
    Ok(())
}
