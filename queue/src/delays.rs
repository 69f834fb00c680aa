//! The delays that a retry can wait, and the names of their queues.

use std::time::Duration;

use crate::QueueError;

/// The steps a retry can wait, ascending and without repeats.
#[derive(Debug, Clone)]
pub(crate) struct Delays(Vec<Duration>);

impl Delays {
    /// `Misconfigured` when there is none, or one of nothing: a retry must have somewhere to wait.
    pub(crate) fn new(delays: &[Duration], address: &str) -> Result<Self, QueueError> {
        let mut sorted = delays.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.first().is_none_or(Duration::is_zero) {
            let what = "a retry needs at least one delay, and none of zero";
            return Err(QueueError::misconfigured(address, what));
        }
        Ok(Self(sorted))
    }

    /// Returns the delay and the wait of a retry that is wished for `after`.
    pub(crate) fn wait(&self, after: Duration) -> RetryWait {
        let longest = *self.0.last().expect("never empty");
        let delay = self.0.iter().copied().find(|delay| *delay >= after).unwrap_or(longest);
        RetryWait { delay, hidden: after.min(delay) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Duration> {
        self.0.iter().copied()
    }
}

/// The wait of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryWait {
    /// The smallest delay of at least what was wished for; the longest when there is none. It names the queue.
    pub(crate) delay: Duration,
    /// The time it is hidden at least: the wish, but no more than the longest delay.
    pub(crate) hidden: Duration,
}

/// Writes a delay as it is in a queue's name: its largest exact unit, `1s`, `2m`, `1h`; milliseconds where it has a
/// fraction of a second, which only the embedded queue takes.
pub(crate) fn delay_name(delay: Duration) -> String {
    let seconds = delay.as_secs();
    if delay.subsec_nanos() != 0 {
        format!("{}ms", delay.as_millis())
    } else if seconds.is_multiple_of(3600) {
        format!("{}h", seconds / 3600)
    } else if seconds.is_multiple_of(60) {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_named_by_its_largest_exact_unit() {
        let named = [1, 5, 30, 90, 120, 600, 3600, 21_600, 86_400].map(|s| delay_name(Duration::from_secs(s)));
        assert_eq!(named, ["1s", "5s", "30s", "90s", "2m", "10m", "1h", "6h", "24h"]);
        assert_eq!(delay_name(Duration::from_millis(250)), "250ms");
    }

    #[test]
    fn a_wish_waits_in_the_next_delay_and_the_longest_is_the_most() {
        let [short, long] = [1, 5].map(Duration::from_secs);
        let delays = Delays::new(&[long, short, long], "here").unwrap();
        let wait = |delay, hidden| RetryWait { delay, hidden };
        assert_eq!(delays.wait(Duration::ZERO), wait(short, Duration::ZERO));
        assert_eq!(delays.wait(short), wait(short, short));
        let between = Duration::from_millis(1001);
        assert_eq!(delays.wait(between), wait(long, between));
        assert_eq!(delays.wait(Duration::from_secs(61)), wait(long, long));
        assert!(Delays::new(&[], "here").is_err());
        assert!(Delays::new(&[Duration::ZERO], "here").is_err());
    }
}
