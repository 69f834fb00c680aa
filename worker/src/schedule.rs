use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::Provider;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// How long after the n-th look at an unfinished payment the next one follows.
///
/// Antom resends for 24 h 22 min and closes an Auto Debit payment after a minute: dense at first, past the last resend in the
/// end (`reference/antom.md` 6.6). Omise promises no resend at all and may fail an abandoned charge a day late
/// (`reference/omise.md` 5.5). Neither table ends: unknown stays unknown and is asked daily.
const ANTOM: &[Duration] = &[
    seconds(2),
    seconds(4),
    seconds(8),
    seconds(16),
    seconds(32),
    seconds(60),
    seconds(300),
    seconds(900),
    seconds(HOUR),
];
const OMISE: &[Duration] = &[seconds(60), seconds(240), seconds(600), seconds(HOUR)];

/// Looks on the table's last, hourly row before a payment is asked about once a day: 25 hours.
const HOURLY_LOOKS: usize = 25;

/// After a payment's own expiry the provider needs a moment to say so.
const AFTER_EXPIRY: Duration = seconds(120);

/// When to try what did not work: a delivery through the queue's delays, a payment through its provider's checks.
#[derive(Debug, Clone)]
pub struct Schedule {
    retry_delays: Vec<Duration>,
}

impl Schedule {
    /// `retry_delays` in rising order, at least one.
    pub fn new(retry_delays: Vec<Duration>) -> Self {
        Self { retry_delays }
    }

    /// How long a delivery waits after its `attempt`-th try failed; `None` when the schedule is used up.
    pub fn retry_after(&self, attempt: u32) -> Option<Duration> {
        self.retry_delays.get(usize::try_from(attempt).ok()?.checked_sub(1)?).copied()
    }

    /// How many looks bring a payment to its table's hourly row.
    pub(crate) fn hourly(provider: Provider) -> i32 {
        match provider {
            Provider::Antom => ANTOM.len() as i32 - 1,
            Provider::Omise => OMISE.len() as i32 - 1,
        }
    }

    /// When an unfinished payment is looked at again, after `checks` looks since something was last new.
    pub fn next_check(
        &self,
        provider: Provider,
        checks: i32,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Timestamp {
        let table = match provider {
            Provider::Antom => ANTOM,
            Provider::Omise => OMISE,
        };
        let looks = usize::try_from(checks).unwrap_or(0);
        let wait = match table.get(looks) {
            Some(wait) => *wait,
            None if looks < table.len() + HOURLY_LOOKS => seconds(HOUR),
            None => seconds(DAY),
        };
        let by_table = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let by_expiry = expires_at.and_then(|expiry| expiry.checked_add(AFTER_EXPIRY).ok()).filter(|at| *at > now);
        by_expiry.map_or(by_table, |expiry| expiry.min(by_table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_tried_once_per_delay_and_once_more() {
        let schedule = Schedule::new(vec![seconds(1), seconds(5)]);
        let waits: Vec<_> = (1..=3).map(|attempt| schedule.retry_after(attempt)).collect();
        assert_eq!(waits, [Some(seconds(1)), Some(seconds(5)), None]);
    }

    #[test]
    fn an_unfinished_payment_is_asked_about_for_ever_ever_less_often() {
        let schedule = Schedule::new(vec![seconds(1)]);
        for &provider in Provider::ALL {
            let (mut now, mut last) = (Timestamp::UNIX_EPOCH, seconds(0));
            for checks in 0..60 {
                let next = schedule.next_check(provider, checks, None, now);
                let wait = Duration::try_from(next.duration_since(now)).unwrap();
                assert!(wait >= last, "{provider} {checks}");
                (now, last) = (next, wait);
            }
            assert_eq!(last, seconds(DAY));
            assert!(now > Timestamp::from_second(25 * 3600).unwrap(), "past the last resend");
        }
    }

    #[test]
    fn a_payment_is_looked_at_right_after_it_should_have_expired() {
        let schedule = Schedule::new(vec![seconds(1)]);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(schedule.next_check(Provider::Omise, 3, Some(at(600)), at(0)), at(720));
        assert_eq!(schedule.next_check(Provider::Omise, 3, Some(at(600)), at(720)), at(720 + 3600));
    }
}
