use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::watermarks;
use crate::clocks;
use crate::columns::micros;

/// Brings checks forward where the clock went back since it was last looked at, in this process or an earlier one: they would be late by
/// as much.
pub(super) async fn bring_forward(on: &mut SqliteConnection, now: Timestamp) -> sqlx::Result<()> {
    let latest = watermarks::get(on, clocks::LATEST).await?;
    if clocks::is_recent(latest, now) {
        return Ok(());
    }
    // Any time counts as later than the last one: this clock may go back.
    watermarks::set(on, clocks::LATEST, now, Timestamp::MIN).await?;
    let Some(latest) = latest.filter(|latest| *latest > now) else { return Ok(()) };
    for table in [
        "update payments set next_check_at = max(?1, next_check_at - (?2 - ?1)) \
         where finished = 0 and next_check_at > ?1 and next_check_at < ?3",
        "update authorizations set next_check_at = max(?1, next_check_at - (?2 - ?1)) \
         where next_check_at > ?1 and next_check_at < ?3",
    ] {
        sqlx::query(table)
            .bind(micros(now))
            .bind(micros(latest))
            .bind(micros(clocks::later(latest, clocks::UNFINISHED_WAIT_MAX)))
            .execute(&mut *on)
            .await?;
    }
    Ok(())
}
