//! The time that all processes on one server share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sqlx::postgres::PgPoolOptions;

use crate::db::Conn;

/// A connection that was idle for longer is asked for the time before it is used: a firewall or a restart may have
/// ended it. Below, the answer would cost a busy store a round trip each time.
const IDLE_TRUSTED: Duration = Duration::from_secs(2);

/// The clock that leases, claims and the sweep go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseClock {
    /// The database's, which all workers share: a machine whose clock is wrong keeps nobody from working.
    Database,
    /// Each caller's `now`: for tests that decide what now is.
    Caller,
}

/// The server's time may differ from ours by this much before ours is corrected: a clock that jumps a little at each
/// look helps nobody.
const TOLERATED: SignedDuration = SignedDuration::from_millis(500);

/// The server's time as it was read last, and when. It goes on with the monotonic clock, which nobody can set: all
/// processes that share a server have the same time, also where the clocks of their machines differ.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerClock(Arc<Mutex<Option<(Timestamp, Instant)>>>);

impl ServerClock {
    /// Has every new connection ask for the time first, and one that was idle, so that nothing is written before the
    /// time is known.
    pub(super) fn followed_by(&self, pool: PgPoolOptions) -> PgPoolOptions {
        let (first, again) = (self.clone(), self.clone());
        pool.after_connect(move |connection, _| {
            let clock = first.clone();
            Box::pin(async move { clock.read(&mut Conn::Postgres(connection)).await.map(drop) })
        })
        .before_acquire(move |connection, meta| {
            let clock = again.clone();
            Box::pin(async move {
                if meta.idle_for > IDLE_TRUSTED {
                    clock.read(&mut Conn::Postgres(connection)).await?;
                }
                Ok(true)
            })
        })
    }

    /// Reads the server's time, before the statement that uses it: a lease ends a round trip sooner than it might.
    pub(super) async fn read(&self, on: &mut Conn<'_>) -> sqlx::Result<Timestamp> {
        let before = self.now();
        let read = on.query("select clock_timestamp() as now").one().await?.get("now")?;
        self.correct(before, read);
        Ok(read)
    }

    /// The server's time now; none before it was read first.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let (at, read_at) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        at.checked_add(read_at.elapsed()).ok()
    }

    /// `before` is our time when the server was asked. It read its clock between then and now, however long the answer
    /// took.
    fn correct(&self, before: Option<Timestamp>, read: Timestamp) {
        let agrees = |(before, after): (Timestamp, Timestamp)| {
            before.duration_since(read) <= TOLERATED && read.duration_since(after) <= TOLERATED
        };
        if !before.zip(self.now()).is_some_and(agrees) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((read, Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    #[test]
    fn the_servers_time_is_followed_once_it_is_off_and_not_for_every_answer() {
        let clock = ServerClock::default();
        assert_eq!(clock.now(), None);
        let began: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        clock.correct(None, began);
        let known = || clock.now().unwrap();
        assert!(known() >= began && known() < began + HOUR);
        // An answer that took its time says what was true when it was made.
        clock.correct(Some(began - HOUR), began - HOUR / 2);
        assert!(known() >= began);
        // Another server, whose clock is behind, and one that is ahead.
        clock.correct(Some(known()), began - HOUR);
        assert!(known() < began);
        clock.correct(Some(known()), began + HOUR);
        assert!(known() >= began + HOUR);
    }
}
