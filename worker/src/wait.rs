//! Every wait of the worker that grows or has a limit: backoffs, rests on the queue, and how long a delivery may be
//! held. Waits between two rounds of a chore are in the chore.

use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{Backoff, jittered, jittered_fully};

use crate::Schedule;

/// The time that deliveries are held for the store before they go round the queue.
pub(crate) const STORE_WAITS_WITHIN: Duration = Duration::from_mins(5);
/// The time that a hint goes round the queue while the store is away.
pub(crate) const WITHOUT_STORE: Duration = Duration::from_secs(30);

/// Between two tries of an operation on the store that does not answer.
pub(crate) fn store_waits() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
}

/// Between two consumptions of the queue. After a consumption that broke early, each wait is longer than the last:
/// every break counts against the deliveries it held.
pub(crate) fn intake_waits() -> Backoff {
    Backoff::new(Duration::from_millis(200), INTAKE_WAIT_MAX)
}
pub(crate) const INTAKE_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long acking is tried. Together with the wait for the store it stays within RabbitMQ's half hour for an ack. It
/// is long because giving back counts: a broker in alarm takes no retries for hours, and a hint must not become poison
/// for that. A delivery that is given back is not taken again before the broker confirms publishes.
pub(crate) const ACK_WITHIN: Duration = Duration::from_mins(20);

/// Between two tries to ack.
pub(crate) fn ack_waits() -> Backoff {
    Backoff::new(Duration::from_millis(500), Duration::from_secs(10))
}

/// The hints that wait for one account come back within this time of each other.
pub(crate) const SPREAD: Duration = Duration::from_secs(2);
/// The shortest rest of a hint that waits for its turn within a budget. It rests for this part of the time it has
/// waited, up to the longest: a burst of any size costs each hint a few rounds, and a budget is never left unused for
/// longer.
const CROWDED_MIN: Duration = Duration::from_secs(1);
const CROWDED_PART: u32 = 8;
const CROWDED_MAX: Duration = Duration::from_secs(30);
/// Hints that do not probe rest for this part of the time their account has been in trouble, up to the longest rest. An
/// outage of any length then costs each hint a few rounds through the queue and one more every ten minutes, and delays
/// it by an eighth at most.
const TROUBLE_PART: u32 = 8;
const REST_MAX: Duration = Duration::from_mins(10);

/// The reason why an account is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Its provider does not answer, or is in trouble.
    Unreachable,
    /// Its provider asks us to slow down.
    Throttled,
    /// It is asked as often as it may be, and many wait for their turn already.
    Crowded,
    /// Its provider does not accept our keys, or we do not know the provider's: a person must look.
    Misconfigured,
}

impl Pause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "the provider does not answer",
            Self::Throttled => "the provider asks us to slow down",
            Self::Crowded => "the account is asked as often as it may be",
            Self::Misconfigured => "our keys and the provider's do not match",
        }
    }
}

/// The wait of a hint whose account may not be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HintWait {
    /// The time until the account may be asked again.
    pub(crate) after: Duration,
    pub(crate) why: Pause,
    /// The time the trouble has lasted.
    pub(crate) lasted: Duration,
    /// True if this payment's timeline does not say yet that it waits.
    pub(crate) first: bool,
}

impl HintWait {
    /// Too many of its account are in hand, or no share of its budget is this worker's.
    pub(crate) fn crowded() -> Self {
        Self { after: CROWDED_MIN, why: Pause::Crowded, lasted: Duration::ZERO, first: false }
    }

    /// Returns the rest of hints that need not be there when the account may be asked again: the longer the trouble,
    /// the rarer their turn.
    pub(crate) fn rest(&self) -> Duration {
        (self.lasted / TROUBLE_PART).min(REST_MAX)
    }

    /// Returns the wait on the queue of a hint that has waited since `since`.
    pub(crate) fn on_queue(&self, schedule: &Schedule, since: Timestamp, now: Timestamp) -> Duration {
        let rest = match self.why {
            Pause::Crowded => {
                let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                (waited / CROWDED_PART).min(CROWDED_MAX)
            }
            Pause::Unreachable | Pause::Throttled | Pause::Misconfigured => self.rest(),
        };
        let rest = schedule.longest_within(rest).unwrap_or_default();
        let after = self.after.saturating_add(jittered_fully(SPREAD)).max(jittered(rest));
        schedule.wait_within(after, REST_MAX)
    }
}
