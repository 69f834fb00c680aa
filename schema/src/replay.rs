//! Decides when a replay goes on, stops, and is done.

use crate::{ReplayOutcome, ReplayState};

/// Fewer results than this say nothing about a share.
const SHARE_RESULTS_MIN: u64 = 10;

/// The share of items that may fail is one in this many. An outage or a wrong key fails far more, and an item that was
/// a dead letter once becomes one again now and then.
const SHARE_FAILED_ONE_IN: u64 = 5;

/// A request of an operator to a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    Pause,
    Resume,
    Cancel,
}

/// The counts of a replay, and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayProgress {
    pub state: ReplayState,
    pub plan: bool,
    /// The number of items that go first.
    pub canary: u32,
    pub total: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub failed: u64,
    /// The reason why it stopped by itself.
    pub detail: Option<String>,
    pub forgiven: Forgiven,
}

/// The counts when a stopped replay was resumed; failures are counted from there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Forgiven {
    pub done: u64,
    pub failed: u64,
    pub canary: u64,
}

/// The state of the items that go first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CanaryCounts {
    pub unfinished: u64,
    pub failed: u64,
}

impl ReplayProgress {
    pub fn done(&self) -> u64 {
        self.changed + self.unchanged + self.failed
    }

    /// Does what an operator requests, if it fits the state; returns whether it did.
    pub fn steer(&mut self, steer: Steer, canary: CanaryCounts) -> bool {
        match (steer, self.state) {
            (Steer::Pause, ReplayState::Running) => self.state = ReplayState::Paused,
            (Steer::Resume, ReplayState::Paused) => self.state = ReplayState::Running,
            (Steer::Resume, ReplayState::Stopped) => {
                self.state = ReplayState::Running;
                self.detail = None;
                self.forgiven = Forgiven { done: self.done(), failed: self.failed, canary: canary.failed };
            }
            (Steer::Cancel, ReplayState::Running | ReplayState::Paused | ReplayState::Stopped) => {
                self.state = ReplayState::Cancelled;
            }
            (Steer::Pause | Steer::Resume | Steer::Cancel, _) => return false,
        }
        true
    }

    /// The place of the last item that may be handed out now: nothing overtakes the canary.
    pub fn open_to(&self, canary: CanaryCounts) -> i64 {
        match canary {
            // A plan does nothing that could go wrong, and all of its answers are wanted.
            _ if self.plan => i64::MAX,
            CanaryCounts { unfinished: 0, failed } if failed <= self.forgiven.canary => i64::MAX,
            _ => i64::from(self.canary),
        }
    }

    /// Counts results, and moves the state as they require.
    pub fn count(&mut self, outcomes: &[ReplayOutcome], canary: CanaryCounts) {
        for outcome in outcomes {
            match outcome {
                ReplayOutcome::Changed => self.changed += 1,
                ReplayOutcome::Unchanged => self.unchanged += 1,
                ReplayOutcome::Failed => self.failed += 1,
            }
        }
        match self.state {
            ReplayState::Done | ReplayState::Cancelled => {}
            ReplayState::Running | ReplayState::Paused | ReplayState::Stopped if self.done() >= self.total => {
                self.state = ReplayState::Done;
                self.detail = None;
            }
            // A plan is a question: whatever its answers are, all of them are wanted.
            ReplayState::Running | ReplayState::Paused | ReplayState::Stopped if self.plan => {}
            // A paused one, too: resumed without a word, it would go on as if nothing had failed. A stopped one, for
            // its report to count what was still out when it stopped.
            ReplayState::Running | ReplayState::Paused | ReplayState::Stopped => {
                if let Some(why) = self.too_much_failed(canary) {
                    self.state = ReplayState::Stopped;
                    self.detail = Some(why);
                }
            }
        }
    }

    fn too_much_failed(&self, canary: CanaryCounts) -> Option<String> {
        let of_canary = canary.failed.saturating_sub(self.forgiven.canary);
        if of_canary > 0 {
            let first = self.total.min(self.canary.into());
            return Some(format!("{of_canary} of the {first} that went first failed; nothing else was tried"));
        }
        let done = self.done().saturating_sub(self.forgiven.done);
        let failed = self.failed.saturating_sub(self.forgiven.failed);
        let too_much = done >= SHARE_RESULTS_MIN && failed * SHARE_FAILED_ONE_IN > done;
        too_much.then(|| format!("{failed} of {done} failed: more than one in {SHARE_FAILED_ONE_IN}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplayOutcome::{Changed, Failed, Unchanged};

    fn progress(total: u64, canary: u32) -> ReplayProgress {
        ReplayProgress {
            state: ReplayState::Running,
            plan: false,
            canary,
            total,
            changed: 0,
            unchanged: 0,
            failed: 0,
            detail: None,
            forgiven: Forgiven::default(),
        }
    }

    const NONE: CanaryCounts = CanaryCounts { unfinished: 0, failed: 0 };

    #[test]
    fn a_fifth_may_fail_and_more_stops() {
        let mut replay = progress(100, 0);
        replay.count(&[Failed; 9], NONE);
        assert_eq!(replay.state, ReplayState::Running, "nine say nothing");
        replay.count(&[Unchanged; 36], NONE);
        assert_eq!(replay.state, ReplayState::Running, "a fifth");
        replay.count(&[Failed], NONE);
        assert_eq!(replay.state, ReplayState::Stopped);
        assert_eq!(replay.detail.as_deref(), Some("10 of 46 failed: more than one in 5"));
        assert!(!replay.steer(Steer::Pause, NONE) && replay.steer(Steer::Resume, NONE));
        assert_eq!((replay.state, &replay.detail), (ReplayState::Running, &None));
        replay.count(&[Failed; 9], NONE);
        assert_eq!(replay.state, ReplayState::Running, "counted anew");
        replay.count(&[Changed], NONE);
        assert_eq!(replay.detail.as_deref(), Some("9 of 10 failed: more than one in 5"));
        replay.count(&[Failed; 44], NONE);
        assert_eq!((replay.state, replay.done()), (ReplayState::Done, 100), "there is nothing left to stop");
    }

    #[test]
    fn a_failed_canary_stops_a_paused_replay_too_and_is_forgiven_once() {
        let mut replay = progress(9, 3);
        let failed = |failed, unfinished| CanaryCounts { unfinished, failed };
        assert!(replay.steer(Steer::Pause, NONE));
        replay.count(&[Failed], failed(1, 2));
        assert_eq!(replay.state, ReplayState::Stopped);
        assert_eq!(replay.detail.as_deref(), Some("1 of the 3 that went first failed; nothing else was tried"));
        replay.count(&[Failed], failed(2, 1));
        assert_eq!(replay.detail.as_deref(), Some("2 of the 3 that went first failed; nothing else was tried"));
        assert_eq!(replay.open_to(failed(2, 1)), 3);
        assert!(replay.steer(Steer::Resume, failed(2, 1)));
        assert_eq!((replay.open_to(failed(2, 1)), replay.open_to(failed(2, 0))), (3, i64::MAX));
        replay.count(&[Failed], failed(3, 0));
        assert_eq!(replay.state, ReplayState::Stopped, "the next one is another");
    }

    #[test]
    fn a_plan_asks_about_the_rest_whatever_its_canary_says() {
        let mut replay = progress(9, 3);
        replay.plan = true;
        let failed = CanaryCounts { unfinished: 0, failed: 3 };
        replay.count(&[Failed; 3], failed);
        assert_eq!((replay.state, replay.open_to(failed)), (ReplayState::Running, i64::MAX));
    }

    #[test]
    fn a_cancelled_replay_stays_so_whatever_comes() {
        let mut replay = progress(1, 1);
        assert!(replay.steer(Steer::Cancel, NONE));
        replay.count(&[Failed], CanaryCounts { unfinished: 0, failed: 1 });
        assert_eq!((replay.state, replay.failed), (ReplayState::Cancelled, 1));
        for steer in [Steer::Pause, Steer::Resume, Steer::Cancel] {
            assert!(!replay.steer(steer, NONE));
        }
    }
}
