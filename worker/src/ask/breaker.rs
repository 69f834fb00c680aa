//! Leaves an account alone while it is in trouble: one breaker for each account, in each worker.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use payhook_provider::AskError;
use payhook_schema::{AccountName, PaymentKey, Provider};
use payhook_store::AccountLimit;
use tokio::time::Instant;

use crate::wait::{HintWait, Pause};

/// This many failures in a row, whatever they were about, say that it is the account and not the payment. Fewer where
/// our keys or questions are refused: that seldom passes by itself.
const FAILURES: u32 = 5;
const REFUSALS: u32 = 3;
/// The time an account is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A wrong key does not mend itself in seconds; a person mends it, and then it should not take long.
const MISCONFIGURED_PAUSE: Duration = Duration::from_secs(30);
/// A probe that never ends is given up after this long: longer than any inquiry.
const PROBE_FOR: Duration = Duration::from_secs(30);
/// Those who wait for a probe look again this soon.
const AFTER_PROBE: Duration = Duration::from_secs(1);

/// The breaker's answer to a question that is about to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Go,
    /// The first question after a pause: how it is answered decides for all that wait.
    Probe,
    Wait(HintWait),
}

/// The effect of an answer on its account's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerTurn {
    Nothing,
    Opened { why: Pause, pause: Duration },
    Closed,
}

/// A breaker for each account of a provider, in one worker: each learns by itself, within a few questions. Its times
/// are of the monotonic clock: setting the machine's clock makes no pause longer.
#[derive(Default)]
pub(crate) struct Breakers(Mutex<HashMap<(Provider, AccountName), Breaker>>);

#[derive(Default)]
struct Breaker {
    failures: u32,
    open: Option<OpenBreaker>,
}

struct OpenBreaker {
    why: Pause,
    since: Instant,
    until: Instant,
    pause: Duration,
    probing_until: Option<Instant>,
    informed: HashSet<PaymentKey>,
}

impl OpenBreaker {
    /// Returns the time left to wait; `None` if the next to ask is the probe.
    fn wait(&self, now: Instant) -> Option<Duration> {
        match self.probing_until {
            _ if now < self.until => Some(self.until.duration_since(now)),
            Some(until) if now < until => Some(AFTER_PROBE),
            _ => None,
        }
    }

    /// Builds the wait of a question that is held back, and remembers that its payment knows.
    fn waiting(&mut self, after: Duration, about: Option<&PaymentKey>, now: Instant) -> HintWait {
        let lasted = now.duration_since(self.since);
        let first = about.is_some_and(|key| self.informed.insert(key.clone()));
        HintWait { after, why: self.why, lasted, first }
    }
}

/// `now`, so much later.
fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}

impl Breakers {
    /// May this account be asked now, about this payment if it is about one?
    pub(crate) fn admit(
        &self,
        provider: Provider,
        account: &AccountName,
        about: Option<&PaymentKey>,
        now: Instant,
    ) -> Admission {
        let mut breakers = self.lock();
        let breaker = breakers.get_mut(&(provider, account.clone()));
        let Some(open) = breaker.and_then(|breaker| breaker.open.as_mut()) else { return Admission::Go };
        let Some(wait) = open.wait(now) else {
            open.probing_until = Some(after(now, PROBE_FOR));
            return Admission::Probe;
        };
        Admission::Wait(open.waiting(wait, about, now))
    }

    /// Returns the wait of an account that is left alone now. The caller does not become its probe.
    pub(crate) fn left_alone(
        &self,
        provider: Provider,
        account: &AccountName,
        about: Option<&PaymentKey>,
        now: Instant,
    ) -> Option<HintWait> {
        let mut breakers = self.lock();
        let open = breakers.get_mut(&(provider, account.clone()))?.open.as_mut()?;
        let after = open.wait(now)?;
        Some(open.waiting(after, about, now))
    }

    /// Returns, for each account in trouble, the number of due payments worth a hint: 0 while it is left alone, and
    /// then 1, for its probe.
    pub(crate) fn worth_a_hint(&self, now: Instant) -> Vec<AccountLimit> {
        let breakers = self.lock();
        let open = breakers.iter().filter_map(|(key, breaker)| Some((key, breaker.open.as_ref()?)));
        open.map(|((provider, account), open)| AccountLimit {
            provider: *provider,
            account: account.clone(),
            limit: u32::from(open.wait(now).is_none()),
        })
        .collect()
    }

    /// Takes note of how an account answered.
    pub(crate) fn note<T>(
        &self,
        provider: Provider,
        account: &AccountName,
        answer: &Result<T, AskError>,
        now: Instant,
    ) -> BreakerTurn {
        let (why, at_least) = match answer {
            Err(AskError::Unavailable { .. }) => (Pause::Unreachable, Duration::ZERO),
            Err(AskError::Throttled { after }) => (Pause::Throttled, after.unwrap_or_default()),
            Err(AskError::Misconfigured { .. }) => (Pause::Misconfigured, MISCONFIGURED_PAUSE),
            // An answer, whatever it says.
            Ok(_) | Err(AskError::NotThere { .. } | AskError::Refused { .. } | AskError::OutsideTables { .. }) => {
                return self.answered(provider, account, now);
            }
        };
        let mut breakers = self.lock();
        let breaker = breakers.entry((provider, account.clone())).or_default();
        breaker.failures = breaker.failures.saturating_add(1);
        let (since, last, informed) = match breaker.open.take() {
            // A failure of a question asked before it opened says nothing new: it only extends the pause.
            Some(mut open) if now < open.until => {
                open.until = open.until.max(after(now, at_least));
                breaker.open = Some(open);
                return BreakerTurn::Nothing;
            }
            Some(open) => (open.since, Some(open.pause), open.informed),
            // One 429 is a word, one failure is not.
            None if why == Pause::Unreachable && breaker.failures < FAILURES => return BreakerTurn::Nothing,
            None if why == Pause::Misconfigured && breaker.failures < REFUSALS => return BreakerTurn::Nothing,
            None => (now, None, HashSet::new()),
        };
        let pause = last.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE)).max(at_least);
        let until = after(now, pause);
        breaker.open = Some(OpenBreaker { why, since, until, pause, probing_until: None, informed });
        BreakerTurn::Opened { why, pause }
    }

    fn answered(&self, provider: Provider, account: &AccountName, now: Instant) -> BreakerTurn {
        let mut breakers = self.lock();
        let Some(breaker) = breakers.get_mut(&(provider, account.clone())) else { return BreakerTurn::Nothing };
        // What was under way when it opened was asked before it did: only what is asked after the pause closes it.
        if breaker.open.as_ref().is_some_and(|open| now < open.until) {
            return BreakerTurn::Nothing;
        }
        breaker.failures = 0;
        match breaker.open.take() {
            Some(_) => BreakerTurn::Closed,
            None => BreakerTurn::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Provider, AccountName), Breaker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use payhook_schema::PaymentId;

    use super::*;

    fn at(second: u64) -> Instant {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        *BEGAN + Duration::from_secs(second)
    }

    fn key(id: &str) -> PaymentKey {
        let account = AccountName::new("shop").unwrap();
        PaymentKey { provider: Provider::Omise, account, id: PaymentId::new(id).unwrap() }
    }

    fn admitted(breakers: &Breakers, key: &PaymentKey, now: Instant) -> Admission {
        breakers.admit(key.provider, &key.account, Some(key), now)
    }

    fn left_alone(breakers: &Breakers, now: Instant) -> Option<HintWait> {
        breakers.left_alone(Provider::Omise, &key("P1").account, None, now)
    }

    fn noted(breakers: &Breakers, answer: &Result<(), AskError>, now: Instant) -> BreakerTurn {
        breakers.note(Provider::Omise, &key("P1").account, answer, now)
    }

    fn down() -> Result<(), AskError> {
        Err(AskError::Unavailable { what: "503".to_owned(), connected: true })
    }

    fn opened() -> Breakers {
        let breakers = Breakers::default();
        for _ in 1..FAILURES {
            assert_eq!(noted(&breakers, &down(), at(0)), BreakerTurn::Nothing);
        }
        let turn = noted(&breakers, &down(), at(0));
        assert_eq!(turn, BreakerTurn::Opened { why: Pause::Unreachable, pause: FIRST_PAUSE });
        breakers
    }

    #[test]
    fn a_few_failures_in_a_row_open_it_and_one_answer_in_between_does_not_let_them() {
        let breakers = Breakers::default();
        for _ in 0..20 {
            for _ in 1..FAILURES {
                noted(&breakers, &down(), at(0));
            }
            noted(&breakers, &Err(AskError::NotThere { code: "not_found".to_owned() }), at(0));
        }
        assert_eq!(admitted(&breakers, &key("P1"), at(0)), Admission::Go);
        opened();
    }

    #[test]
    fn while_it_is_open_everybody_waits_and_each_payment_notes_it_once() {
        let breakers = opened();
        let wait = |first| {
            let (after, lasted) = (FIRST_PAUSE, Duration::ZERO);
            Admission::Wait(HintWait { after, why: Pause::Unreachable, lasted, first })
        };
        assert_eq!(admitted(&breakers, &key("P1"), at(0)), wait(true));
        assert_eq!(admitted(&breakers, &key("P1"), at(0)), wait(false));
        assert_eq!(admitted(&breakers, &key("P2"), at(0)), wait(true));
    }

    #[test]
    fn one_probe_decides_for_all() {
        let breakers = opened();
        assert_eq!(admitted(&breakers, &key("P1"), at(2)), Admission::Probe);
        assert!(matches!(admitted(&breakers, &key("P2"), at(2)), Admission::Wait(HintWait { after: AFTER_PROBE, .. })));
        assert!(left_alone(&breakers, at(2)).is_some());
        assert_eq!(noted(&breakers, &Ok(()), at(3)), BreakerTurn::Closed);
        assert_eq!(left_alone(&breakers, at(3)), None);
        assert_eq!(admitted(&breakers, &key("P2"), at(3)), Admission::Go);
    }

    #[test]
    fn each_probe_that_fails_waits_twice_as_long_up_to_a_minute() {
        let (breakers, mut now) = (opened(), 2);
        for wanted in [4, 8, 16, 32, 60, 60] {
            assert_eq!(admitted(&breakers, &key("P1"), at(now)), Admission::Probe);
            let pause = Duration::from_secs(wanted);
            assert_eq!(noted(&breakers, &down(), at(now)), BreakerTurn::Opened { why: Pause::Unreachable, pause });
            now += wanted;
        }
    }

    #[test]
    fn the_longer_an_outage_the_rarer_a_turn_and_never_rarer_than_every_ten_minutes() {
        let (breakers, mut now) = (opened(), 2);
        // A probe a minute, for a day.
        while now < 24 * 3600 {
            assert_eq!(admitted(&breakers, &key("P1"), at(now)), Admission::Probe);
            noted(&breakers, &down(), at(now));
            let wait = left_alone(&breakers, at(now)).unwrap();
            assert_eq!(wait.rest().as_secs(), (now / 8).min(600), "after {now} s");
            assert!(wait.after <= LONGEST_PAUSE, "and whoever probes need not rest");
            now += 60;
        }
        assert_eq!(admitted(&breakers, &key("P1"), at(now)), Admission::Probe);
        assert_eq!(noted(&breakers, &Ok(()), at(now)), BreakerTurn::Closed);
        assert_eq!(left_alone(&breakers, at(now)), None);
    }

    #[test]
    fn of_an_account_in_trouble_the_sweep_hints_at_nothing_but_a_probe() {
        let breakers = opened();
        let limits = |now| breakers.worth_a_hint(at(now)).iter().map(|limit| limit.limit).collect::<Vec<_>>();
        assert_eq!(limits(1), [0]);
        assert_eq!(limits(2), [1], "nobody has probed yet");
        assert_eq!(admitted(&breakers, &key("P1"), at(2)), Admission::Probe);
        assert_eq!(limits(2), [0]);
        noted(&breakers, &Ok(()), at(3));
        assert_eq!(limits(3), [0; 0]);
    }

    #[test]
    fn an_answer_that_was_under_way_does_not_close_what_a_request_to_slow_down_opened() {
        let breakers = Breakers::default();
        let slow = |seconds| Err(AskError::Throttled { after: Some(Duration::from_secs(seconds)) });
        noted(&breakers, &slow(60), at(0));
        assert_eq!(noted(&breakers, &Ok(()), at(1)), BreakerTurn::Nothing);
        for _ in 0..8 {
            assert_eq!(noted(&breakers, &slow(60), at(1)), BreakerTurn::Nothing);
        }
        assert!(
            matches!(admitted(&breakers, &key("P1"), at(60)), Admission::Wait(_)),
            "the last one said at least until 61"
        );
        assert_eq!(admitted(&breakers, &key("P1"), at(61)), Admission::Probe, "and many at once say no more than one");
    }

    #[test]
    fn a_probe_that_never_ends_gives_way_to_another() {
        let breakers = opened();
        assert_eq!(admitted(&breakers, &key("P1"), at(2)), Admission::Probe);
        assert_eq!(admitted(&breakers, &key("P2"), at(33)), Admission::Probe);
    }

    #[test]
    fn what_was_under_way_when_it_opened_does_not_open_it_wider() {
        let breakers = opened();
        assert_eq!(noted(&breakers, &down(), at(1)), BreakerTurn::Nothing);
        assert_eq!(admitted(&breakers, &key("P1"), at(2)), Admission::Probe);
    }

    #[test]
    fn one_request_to_slow_down_is_obeyed_for_as_long_as_it_says() {
        let breakers = Breakers::default();
        let slow = Err(AskError::Throttled { after: Some(Duration::from_secs(90)) });
        let pause = Duration::from_secs(90);
        assert_eq!(noted(&breakers, &slow, at(0)), BreakerTurn::Opened { why: Pause::Throttled, pause });
        assert!(matches!(admitted(&breakers, &key("P1"), at(89)), Admission::Wait(_)));
        assert_eq!(admitted(&breakers, &key("P1"), at(90)), Admission::Probe);
    }

    #[test]
    fn wrong_keys_pause_the_account_and_no_other_and_one_odd_question_does_not() {
        let breakers = Breakers::default();
        let wrong = Err(AskError::Misconfigured { what: "401".to_owned() });
        for _ in 0..20 {
            assert_eq!(noted(&breakers, &wrong, at(0)), BreakerTurn::Nothing);
            noted(&breakers, &Ok(()), at(0));
        }
        for _ in 1..REFUSALS {
            assert_eq!(noted(&breakers, &wrong, at(0)), BreakerTurn::Nothing);
        }
        assert!(matches!(noted(&breakers, &wrong, at(0)), BreakerTurn::Opened { why: Pause::Misconfigured, .. }));
        let other = PaymentKey { account: AccountName::new("other").unwrap(), ..key("P1") };
        assert_eq!(admitted(&breakers, &other, at(0)), Admission::Go);
        assert!(matches!(
            admitted(&breakers, &key("P1"), at(0)),
            Admission::Wait(HintWait { why: Pause::Misconfigured, .. })
        ));
    }
}
