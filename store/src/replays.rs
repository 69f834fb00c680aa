//! Decides when a replay goes on, stops and is done, and reads its rows, alike for both databases.

use std::collections::HashSet;
use std::time::Duration;

use payhook_schema::{AccountName, PaymentId, Provider, ReplayOutcome, ReplayState, content_id};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::batch::Micros;
use crate::columns::{Columns, some, wrong};
use crate::dead_letters::without_nul;
use crate::rows::{payment_key, read};
use crate::{NewReplay, Replay, ReplayItem, ReplayResult, Steer};

/// An item that could not be tried is not handed out again sooner: its account is left alone for longer than that.
pub(crate) const UNTRIED_AGAIN: Duration = Duration::from_secs(2);

/// Fewer results than this say nothing about a share.
const SHARE_RESULTS_MIN: u64 = 10;

/// The share of items that may fail is one in this many. An outage or a wrong key fails far more, and an item that was
/// a dead letter once becomes one again now and then.
const SHARE_FAILED_ONE_IN: u64 = 5;

/// The columns of a replay `r`, as [`Kept::of`] reads them.
macro_rules! replay_columns {
    () => {
        "r.id, r.state, cast(cast(r.plan as integer) as bigint) as plan, r.rate_per_s, r.canary, r.who, r.reason, r.detail, \
         r.total, r.changed, r.unchanged, r.failed, r.forgiven_done, r.forgiven_failed, r.forgiven_canary, \
         r.created_at, r.updated_at"
    };
}
pub(crate) use replay_columns;

/// The columns of an item `i` of a replay `r`, as [`item`] reads them.
macro_rules! item_columns {
    () => {
        "i.n, i.id, i.replay_id, cast(cast(r.plan as integer) as bigint) as plan, r.rate_per_s, i.dead_letter_id, \
         i.notification_id, i.provider, i.account, i.payment_id, i.state, i.detail"
    };
}
pub(crate) use item_columns;

/// A replay, and what of its failures was forgiven.
pub(crate) struct Kept {
    pub(crate) replay: Replay,
    pub(crate) forgiven: Forgiven,
}

/// The counts when a stopped replay was resumed; failures are counted from there.
#[derive(Default, Clone, Copy)]
pub(crate) struct Forgiven {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) canary: u64,
}

/// The state of the items that go first.
#[derive(Default, Clone, Copy)]
pub(crate) struct Canary {
    pub(crate) unfinished: u64,
    pub(crate) failed: u64,
}

impl Kept {
    pub(crate) fn of(row: &impl Columns) -> sqlx::Result<Self> {
        let count = |name: &str| Ok::<_, sqlx::Error>(some(name, row.int(name))? as u64);
        let small = |name: &str| u32::try_from(some(name, row.int(name))?).map_err(|error| wrong(name, error));
        let (changed, unchanged, failed) = (count("changed")?, count("unchanged")?, count("failed")?);
        let replay = Replay {
            id: some("id", row.id("id"))?,
            state: some("state", read(row, "state"))?,
            plan: some("plan", row.int("plan"))? == 1,
            rate_per_s: small("rate_per_s")?,
            canary: small("canary")?,
            who: some("who", row.text("who"))?,
            reason: some("reason", row.text("reason"))?,
            detail: row.text("detail")?,
            total: count("total")?,
            done: changed + unchanged + failed,
            changed,
            unchanged,
            failed,
            created_at: some("created_at", row.time("created_at"))?,
            updated_at: some("updated_at", row.time("updated_at"))?,
        };
        let forgiven = Forgiven {
            done: count("forgiven_done")?,
            failed: count("forgiven_failed")?,
            canary: count("forgiven_canary")?,
        };
        Ok(Self { replay, forgiven })
    }

    /// Does as an operator says, where it fits; says whether it did.
    pub(crate) fn steer(&mut self, steer: Steer, canary: Canary) -> bool {
        let state = &mut self.replay.state;
        match (steer, *state) {
            (Steer::Pause, ReplayState::Running) => *state = ReplayState::Paused,
            (Steer::Resume, ReplayState::Paused) => *state = ReplayState::Running,
            (Steer::Resume, ReplayState::Stopped) => {
                *state = ReplayState::Running;
                self.replay.detail = None;
                self.forgiven = Forgiven { done: self.replay.done, failed: self.replay.failed, canary: canary.failed };
            }
            (Steer::Cancel, ReplayState::Running | ReplayState::Paused | ReplayState::Stopped) => {
                *state = ReplayState::Cancelled;
            }
            (Steer::Pause | Steer::Resume | Steer::Cancel, _) => return false,
        }
        true
    }

    /// The last item that may be handed out now: nothing overtakes the canary.
    pub(crate) fn open_to(&self, canary: Canary) -> i64 {
        match canary {
            // A plan does nothing that could go wrong, and all of its answers are wanted.
            _ if self.replay.plan => i64::MAX,
            Canary { unfinished: 0, failed } if failed <= self.forgiven.canary => i64::MAX,
            _ => i64::from(self.replay.canary),
        }
    }

    /// Counts results, and finds out where the replay stands with them.
    pub(crate) fn count(&mut self, outcomes: &[ReplayOutcome], canary: Canary) {
        let replay = &mut self.replay;
        for outcome in outcomes {
            match outcome {
                ReplayOutcome::Changed => replay.changed += 1,
                ReplayOutcome::Unchanged => replay.unchanged += 1,
                ReplayOutcome::Failed => replay.failed += 1,
            }
        }
        replay.done += outcomes.len() as u64;
        match replay.state {
            ReplayState::Running | ReplayState::Paused | ReplayState::Stopped if replay.done >= replay.total => {
                replay.state = ReplayState::Done;
                replay.detail = None;
            }
            ReplayState::Done | ReplayState::Cancelled => {}
            // A paused one, too: resumed without a word, it would go on as if nothing had failed. A stopped one, for its report to count
            // what was still out when it stopped.
            // A plan is a question: whatever its answers are, all of them are wanted.
            ReplayState::Running | ReplayState::Paused | ReplayState::Stopped if replay.plan => {}
            ReplayState::Running | ReplayState::Paused | ReplayState::Stopped => {
                if let Some(why) = self.too_much_failed(canary) {
                    self.replay.state = ReplayState::Stopped;
                    self.replay.detail = Some(why);
                }
            }
        }
    }

    fn too_much_failed(&self, canary: Canary) -> Option<String> {
        let of_canary = canary.failed.saturating_sub(self.forgiven.canary);
        if of_canary > 0 {
            let first = self.replay.total.min(self.replay.canary.into());
            return Some(format!("{of_canary} of the {first} that went first failed; nothing else was tried"));
        }
        let done = self.replay.done.saturating_sub(self.forgiven.done);
        let failed = self.replay.failed.saturating_sub(self.forgiven.failed);
        let too_much = done >= SHARE_RESULTS_MIN && failed * SHARE_FAILED_ONE_IN > done;
        too_much.then(|| format!("{failed} of {done} failed: more than one in {SHARE_FAILED_ONE_IN}"))
    }
}

pub(crate) fn replay(row: &impl Columns) -> sqlx::Result<Replay> {
    Ok(Kept::of(row)?.replay)
}

pub(crate) fn item(row: &impl Columns) -> sqlx::Result<ReplayItem> {
    let state = some("state", row.text("state"))?;
    Ok(ReplayItem {
        n: some("n", row.int("n"))?,
        id: some("id", row.id("id"))?,
        replay: some("replay_id", row.id("replay_id"))?,
        plan: some("plan", row.int("plan"))? == 1,
        rate_per_s: u32::try_from(some("rate_per_s", row.int("rate_per_s"))?)
            .map_err(|error| wrong("rate_per_s", error))?,
        dead_letter: row.id("dead_letter_id")?,
        notification: row.id("notification_id")?,
        payment: payment_key(row)?,
        // Waiting and out are no outcomes.
        outcome: state.parse().ok(),
        detail: row.text("detail")?,
    })
}

pub(crate) fn canary(row: &impl Columns) -> sqlx::Result<Canary> {
    Ok(Canary {
        unfinished: some("unfinished", row.int("unfinished"))? as u64,
        failed: some("failed", row.int("failed"))? as u64,
    })
}

/// An item as it is first written.
#[derive(Serialize)]
pub(crate) struct ItemRow {
    pub(crate) n: i64,
    pub(crate) id: Uuid,
    pub(crate) dead_letter_id: Option<Uuid>,
    pub(crate) letter_failed_at: Option<Micros>,
    pub(crate) notification_id: Option<Uuid>,
    pub(crate) provider: Option<Provider>,
    pub(crate) account: Option<AccountName>,
    pub(crate) payment_id: Option<PaymentId>,
}

/// The items of a replay, of the rows it would take, and whether its limit leaves some out.
pub(crate) fn item_rows(new: &NewReplay, rows: &[impl Columns]) -> sqlx::Result<(Vec<ItemRow>, bool)> {
    let taken = rows.len().min(new.limit as usize);
    let mut items = Vec::with_capacity(taken);
    for (n, row) in (1..).zip(&rows[..taken]) {
        let payment = payment_key(row)?;
        items.push(ItemRow {
            n,
            id: item_id(new.id, n),
            dead_letter_id: row.id("dead_letter_id")?,
            letter_failed_at: row.time("letter_failed_at")?.map(Micros),
            notification_id: row.id("notification_id")?,
            provider: payment.as_ref().map(|key| key.provider),
            account: payment.as_ref().map(|key| key.account.clone()),
            payment_id: payment.map(|key| key.id),
        });
    }
    Ok((items, rows.len() > taken))
}

/// Made of its place, so that the same item has the same id for ever and nothing random is needed.
fn item_id(replay: Uuid, n: i64) -> Uuid {
    content_id(&[replay.as_bytes().as_slice(), &n.to_be_bytes()].concat())
}

/// A result as it is noted.
#[derive(Serialize)]
pub(crate) struct NotedRow {
    pub(crate) id: Uuid,
    pub(crate) state: &'static str,
    pub(crate) detail: String,
}

/// The results to be noted: of several of one item, the first.
pub(crate) fn noted_rows(results: &[ReplayResult]) -> Vec<NotedRow> {
    let mut seen = HashSet::new();
    let first = results.iter().filter(|result| seen.insert(result.item));
    first
        .map(|result| NotedRow {
            id: result.item,
            state: result.outcome.map_or("waiting", ReplayOutcome::as_str),
            detail: without_nul(&result.detail).into_owned(),
        })
        .collect()
}

/// The outcomes among the `(replay, item, state)` that were noted, of one replay.
pub(crate) fn outcomes(noted: &[(Uuid, Uuid, String)], replay: Uuid) -> Vec<ReplayOutcome> {
    noted.iter().filter(|(of, ..)| *of == replay).filter_map(|(_, _, state)| state.parse().ok()).collect()
}

/// Reads what [`outcomes`] takes.
pub(crate) fn noted(row: &impl Columns) -> sqlx::Result<(Uuid, Uuid, String)> {
    let (replay, item) = (some("replay_id", row.id("replay_id"))?, some("id", row.id("id"))?);
    Ok((replay, item, some("state", row.text("state"))?))
}

/// Returns the timeline's text and detail for an item that is handed out.
pub(crate) fn told(replay: &Replay) -> (String, Value) {
    let Replay { id, who, reason, .. } = replay;
    (format!("replayed by {who}: {reason}"), json!({ "who": who, "reason": reason, "replay_id": id }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use payhook_schema::ReplayOutcome::{Changed, Failed, Unchanged};

    use super::*;

    fn kept(total: u64, canary: u32) -> Kept {
        let replay = Replay {
            id: Uuid::nil(),
            state: ReplayState::Running,
            plan: false,
            rate_per_s: 1,
            canary,
            who: String::new(),
            reason: String::new(),
            detail: None,
            total,
            done: 0,
            changed: 0,
            unchanged: 0,
            failed: 0,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        Kept { replay, forgiven: Forgiven::default() }
    }

    const NONE: Canary = Canary { unfinished: 0, failed: 0 };

    #[test]
    fn a_fifth_may_fail_and_more_stops() {
        let mut kept = kept(100, 0);
        kept.count(&[Failed; 9], NONE);
        assert_eq!(kept.replay.state, ReplayState::Running, "nine say nothing");
        kept.count(&[Unchanged; 36], NONE);
        assert_eq!(kept.replay.state, ReplayState::Running, "a fifth");
        kept.count(&[Failed], NONE);
        assert_eq!(kept.replay.state, ReplayState::Stopped);
        assert_eq!(kept.replay.detail.as_deref(), Some("10 of 46 failed: more than one in 5"));
        assert!(!kept.steer(Steer::Pause, NONE) && kept.steer(Steer::Resume, NONE));
        assert_eq!((kept.replay.state, &kept.replay.detail), (ReplayState::Running, &None));
        kept.count(&[Failed; 9], NONE);
        assert_eq!(kept.replay.state, ReplayState::Running, "counted anew");
        kept.count(&[Changed], NONE);
        assert_eq!(kept.replay.detail.as_deref(), Some("9 of 10 failed: more than one in 5"));
        kept.count(&[Failed; 44], NONE);
        assert_eq!((kept.replay.state, kept.replay.done), (ReplayState::Done, 100), "there is nothing left to stop");
    }

    #[test]
    fn a_failed_canary_stops_a_paused_replay_too_and_is_forgiven_once() {
        let mut kept = kept(9, 3);
        let failed = |failed, unfinished| Canary { unfinished, failed };
        assert!(kept.steer(Steer::Pause, NONE));
        kept.count(&[Failed], failed(1, 2));
        assert_eq!(kept.replay.state, ReplayState::Stopped);
        assert_eq!(kept.replay.detail.as_deref(), Some("1 of the 3 that went first failed; nothing else was tried"));
        kept.count(&[Failed], failed(2, 1));
        assert_eq!(kept.replay.detail.as_deref(), Some("2 of the 3 that went first failed; nothing else was tried"));
        assert_eq!(kept.open_to(failed(2, 1)), 3);
        assert!(kept.steer(Steer::Resume, failed(2, 1)));
        assert_eq!((kept.open_to(failed(2, 1)), kept.open_to(failed(2, 0))), (3, i64::MAX));
        kept.count(&[Failed], failed(3, 0));
        assert_eq!(kept.replay.state, ReplayState::Stopped, "the next one is another");
    }

    #[test]
    fn a_plan_asks_about_the_rest_whatever_its_canary_says() {
        let mut kept = kept(9, 3);
        kept.replay.plan = true;
        let failed = Canary { unfinished: 0, failed: 3 };
        kept.count(&[Failed; 3], failed);
        assert_eq!((kept.replay.state, kept.open_to(failed)), (ReplayState::Running, i64::MAX));
    }

    #[test]
    fn a_cancelled_replay_stays_so_whatever_comes() {
        let mut kept = kept(1, 1);
        assert!(kept.steer(Steer::Cancel, NONE));
        kept.count(&[Failed], Canary { unfinished: 0, failed: 1 });
        assert_eq!((kept.replay.state, kept.replay.failed), (ReplayState::Cancelled, 1));
        for steer in [Steer::Pause, Steer::Resume, Steer::Cancel] {
            assert!(!kept.steer(steer, NONE));
        }
    }

    #[test]
    fn no_two_items_have_one_id() {
        let replays = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let ids: HashSet<_> = replays.iter().flat_map(|&replay| (1..=500).map(move |n| item_id(replay, n))).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
