//! Limits what refused requests cost: log lines, and after that answers 429.

use std::sync::Mutex;

use jiff::Timestamp;

/// Counts refusals per second. Past the limit a forgery is answered 429 and counted instead of logged; a genuine
/// notification is never counted, so a flood of forgeries cannot shut the door on it.
pub(crate) struct Flood {
    per_second_max: u32,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    second: i64,
    refused: u32,
    /// Refusals of the last window nobody has reported.
    unreported: u32,
}

/// The decision about one more refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Log it; before it, `missed` others were not.
    Tell { missed: u32 },
    /// Say nothing, and answer a forgery 429.
    Silence,
}

impl Flood {
    pub(crate) fn new(per_second_max: u32) -> Self {
        Self { per_second_max, window: Mutex::default() }
    }

    pub(crate) fn refused(&self, now: Timestamp) -> Verdict {
        let mut window = self.window.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if window.second != now.as_second() {
            let silenced = window.refused.saturating_sub(self.per_second_max);
            *window = Window { second: now.as_second(), refused: 0, unreported: window.unreported + silenced };
        }
        window.refused = window.refused.saturating_add(1);
        match window.refused <= self.per_second_max {
            true => Verdict::Tell { missed: std::mem::take(&mut window.unreported) },
            false => Verdict::Silence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_a_second_with_how_many_were_silenced() {
        let (first, second) = (Timestamp::from_second(10).unwrap(), Timestamp::from_second(11).unwrap());
        let flood = Flood::new(2);
        assert_eq!(flood.refused(first), Verdict::Tell { missed: 0 });
        assert_eq!(flood.refused(first), Verdict::Tell { missed: 0 });
        for _ in 0..5 {
            assert_eq!(flood.refused(first), Verdict::Silence);
        }
        assert_eq!(flood.refused(second), Verdict::Tell { missed: 5 });
        assert_eq!(flood.refused(second), Verdict::Tell { missed: 0 });
    }
}
