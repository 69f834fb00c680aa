//! Limits what refused requests cost: log lines, and after that answers 429.

use std::sync::Mutex;

use jiff::Timestamp;

/// Counts refusals per second. Past the limit a forgery is answered 429 and counted instead of logged; a genuine
/// notification is never counted, so a flood of forgeries does not keep it out.
pub(crate) struct Flood {
    per_second_max: u32,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    second: i64,
    refused: u32,
    /// Refusals of earlier windows that no line has counted yet.
    unreported: u32,
}

/// The treatment of one more refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RefusalLog {
    /// Log it; before it, `missed` others were not.
    Write { missed: u32 },
    /// Log nothing, and answer a forgery 429.
    Skip,
}

impl Flood {
    pub(crate) fn new(per_second_max: u32) -> Self {
        Self { per_second_max, window: Mutex::default() }
    }

    pub(crate) fn refused(&self, now: Timestamp) -> RefusalLog {
        let mut window = self.window.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if window.second != now.as_second() {
            let skipped = window.refused.saturating_sub(self.per_second_max);
            *window = Window { second: now.as_second(), refused: 0, unreported: window.unreported + skipped };
        }
        window.refused = window.refused.saturating_add(1);
        match window.refused <= self.per_second_max {
            true => RefusalLog::Write { missed: std::mem::take(&mut window.unreported) },
            false => RefusalLog::Skip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_once_a_second_with_the_number_left_out() {
        let (first, second) = (Timestamp::from_second(10).unwrap(), Timestamp::from_second(11).unwrap());
        let flood = Flood::new(2);
        assert_eq!(flood.refused(first), RefusalLog::Write { missed: 0 });
        assert_eq!(flood.refused(first), RefusalLog::Write { missed: 0 });
        for _ in 0..5 {
            assert_eq!(flood.refused(first), RefusalLog::Skip);
        }
        assert_eq!(flood.refused(second), RefusalLog::Write { missed: 5 });
        assert_eq!(flood.refused(second), RefusalLog::Write { missed: 0 });
    }
}
