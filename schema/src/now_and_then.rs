//! Limits how often a line is logged.

use std::time::{Duration, Instant};

/// Lets a line of the log through now and then, with the number of those it held back: an attack must show, and must
/// not fill the disk.
#[derive(Debug)]
pub struct NowAndThen {
    every: Duration,
    last: Option<Instant>,
    missed: u64,
}

impl NowAndThen {
    pub const fn new(every: Duration) -> Self {
        Self { every, last: None, missed: 0 }
    }

    /// Returns how many lines were held back since the last one, if a line may be written now.
    pub fn due(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last < self.every) {
            self.missed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_line_says_how_many_were_held_back() {
        let mut hourly = NowAndThen::new(Duration::from_hours(1));
        assert_eq!([hourly.due(), hourly.due(), hourly.due()], [Some(0), None, None]);
        hourly.every = Duration::ZERO;
        assert_eq!([hourly.due(), hourly.due()], [Some(2), Some(0)]);
    }
}
