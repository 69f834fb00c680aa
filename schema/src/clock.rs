//! Tells the time and makes ids. Time comes in through [`Clock`], so that tests and simulations can stop it.

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The source of the time: a parameter, so that tests decide what now is.
///
/// Answers in whole microseconds, the finest step both stores keep: a time read back equals the time written.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// A clock that always answers `at`.
    pub fn stopped(at: Timestamp) -> Self {
        Self::new(move || at)
    }

    /// The machine's clock. The one place that reads it.
    #[expect(clippy::disallowed_methods, reason = "the one home of the clock: everything else takes a `Clock`")]
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    pub fn now(&self) -> Timestamp {
        let now = (self.0)();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// The id of exactly these bytes, for ever: the first 16 bytes of their SHA-256, as a UUID of version 8.
pub fn content_id(bytes: &[u8]) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let (first, _) = digest.split_first_chunk::<16>().expect("a digest has 32 bytes");
    Uuid::new_v8(*first)
}

/// The end of the times that are stored: far beyond any deadline, and far from where adding to a time fails.
const TIMES_END: Timestamp = Timestamp::constant(221_845_392_000, 0);

/// `at`, if both databases keep it and every machine can reckon with it: from 1970 until the year 9000.
pub fn keepable_time(at: Timestamp) -> Option<Timestamp> {
    (Timestamp::UNIX_EPOCH..TIMES_END).contains(&at).then_some(at)
}

/// A new id that sorts by `now`: UUID version 7.
pub fn new_id(now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_clock_shows_are_not_keepable() {
        let keepable = |text: &str| keepable_time(text.parse().unwrap()).is_some();
        assert!(
            keepable("1970-01-01T00:00:00Z") && keepable("2026-11-28T00:00:00Z") && keepable("8999-12-31T23:59:59Z")
        );
        assert!(!keepable("-009998-01-01T00:00:00Z") && !keepable("1969-12-31T23:59:59Z"));
        assert!(!keepable("9000-01-01T00:00:00Z") && !keepable("9999-12-30T00:00:00Z"));
    }
}
