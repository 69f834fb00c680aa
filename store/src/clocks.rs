//! Deadlines that no right clock wrote.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

#[cfg(feature = "conformance")]
pub(crate) mod promises;

/// The longest a call may have waited for its turn after it read the clock: the deadline of one that came before it is
/// that much later.
const TURN: Duration = Duration::from_secs(5);

/// The longest an unfinished payment waits for its next check is a day.
pub(crate) const UNFINISHED_WAIT_MAX: Duration = Duration::from_hours(25);

/// The watermark with the time of the store's clock when it was last read.
pub(crate) const LATEST: &str = "clock";
/// It is written this often. A clock that went back by less goes unnoticed, and deadlines are late by as much at most.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// Returns true if the clock was at `latest` within the last seconds, and did not go back since.
pub(crate) fn is_recent(latest: Option<Timestamp>, now: Timestamp) -> bool {
    latest.is_some_and(|latest| now.duration_since(latest).abs() < LOOK_EVERY)
}

/// `at`, so much later.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The latest deadline that a lease or claim of `hold_for` can have at `now`. A later one was written by a clock that
/// was ahead, or before the clock went back, and holds nobody up.
pub(crate) fn longest(now: Timestamp, hold_for: Duration) -> Timestamp {
    later(now, hold_for.saturating_add(TURN))
}
