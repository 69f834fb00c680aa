use jiff::Timestamp;
use sqlx::PgConnection;

use crate::columns::{Columns, some};

/// The database's time, read before the statement that uses it: a lease ends a round trip sooner than it might.
pub(super) async fn now(on: &mut PgConnection) -> sqlx::Result<Timestamp> {
    let row = sqlx::query("select clock_timestamp() as now").fetch_one(on).await?;
    some("now", row.time("now"))
}
