//! Ids in the providers' forms.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

/// Makes the providers' ids out of the clock and a count: the same story has the same ids, and a restarted simulator
/// has others.
#[derive(Default)]
pub(crate) struct Ids(AtomicU64);

impl Ids {
    fn count(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Like `evnt_test_5xuy4w91xqz7d1w9u0t`.
    pub(crate) fn omise(&self, prefix: &str, now: Timestamp) -> String {
        omise_id(prefix, now, self.count())
    }

    /// Like `202406011940108001001880000000001`.
    pub(crate) fn antom(&self, now: Timestamp) -> String {
        antom_id(now, self.count())
    }
}

/// 19 characters after the prefix, as Omise has: nine of the time, ten that tell apart what happens at one time.
pub(crate) fn omise_id(prefix: &str, now: Timestamp, count: u64) -> String {
    let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
    format!("{prefix}_test_{:0>9}{:0>10}", base36(milliseconds), base36(count % 36_u64.pow(10)))
}

/// 33 digits that begin with the day, as Antom has.
pub(crate) fn antom_id(now: Timestamp, count: u64) -> String {
    let of_day = now.as_millisecond().rem_euclid(24 * 3600 * 1000);
    format!("{}1940108001{of_day:08}{:07}", now.strftime("%Y%m%d"), count % 10_000_000)
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).expect("below 36"));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}
