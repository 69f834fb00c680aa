//! Deadlines that no right clock wrote, alike for both databases.

use std::time::Duration;

use jiff::Timestamp;

/// How long a call may have waited for its turn after it read the clock: the deadline of one that came before it is that much later.
const TURN: Duration = Duration::from_secs(5);

/// The longest an unfinished payment waits for its next check is a day.
pub(crate) const UNFINISHED_WAIT_MAX: Duration = Duration::from_hours(25);

/// The latest deadline that a lease or claim of `hold_for` can have at `now`. A later one was written by a clock that was ahead, or before
/// the clock went back, and holds nobody up.
pub(crate) fn longest(now: Timestamp, hold_for: Duration) -> Timestamp {
    now.checked_add(hold_for.saturating_add(TURN)).unwrap_or(Timestamp::MAX)
}
