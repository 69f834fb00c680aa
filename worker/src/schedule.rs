//! Says when a payment is asked about again, and when a delivery is tried again. Every `next_check_at` and every
//! [`PaymentCheck`] of the worker comes from here; so does an authorization's next check, from the delays.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::Protocol;
use payhook_schema::{Payment, Provider};
use payhook_store::PaymentCheck;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Looks on the last, hourly row of a provider's table before a payment is asked about once a day: 25 hours, past the
/// last resend of any provider. No table ends: unknown stays unknown and is asked daily.
const HOURLY_LOOKS: usize = 25;

/// After a payment's own expiry the provider needs a moment to say so.
const AFTER_EXPIRY: Duration = seconds(120);

/// The times at which a finished payment is asked about again, counted from when it became final: a cancel, or a refund
/// in the provider's dashboard, may never be notified. Within the time in which its method takes a refund: which method
/// that was is not stored, so the longest counts, a year, and all of these are within it.
const LATE: [SignedDuration; 5] = [hours(25), hours(7 * 24), hours(30 * 24), hours(90 * 24), hours(180 * 24)];
/// A payment that took no money has the first two: the provider may say after all that it is paid.
const LATE_UNPAID: usize = 2;

const fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

fn late(payment: &Payment) -> &'static [SignedDuration] {
    if payment.state.took_money() { &LATE } else { &LATE[..LATE_UNPAID] }
}

/// Since when a payment is final. A clock that was ahead when that was written does not put its checks off.
fn final_since(payment: &Payment, now: Timestamp) -> Timestamp {
    payment.final_at.unwrap_or(payment.created_at).min(now)
}

/// Returns the time of a finished payment's next check; `None` after the last of its late checks. However often it is
/// asked about in between, the times stay.
pub(crate) fn late_check(payment: &Payment, now: Timestamp) -> Option<Timestamp> {
    let since = final_since(payment, now);
    late(payment).iter().filter_map(|after| since.checked_add(*after).ok()).find(|at| *at > now)
}

/// Returns the next check of a finished payment that could not be asked about: no sooner than planned, and after a
/// quarter of its age or a day. An outage must not make rare checks hourly ones, nor lose the last one. Given up at
/// twice the age of the last one.
pub(crate) fn late_check_again(payment: &Payment, now: Timestamp) -> Option<Timestamp> {
    let since = final_since(payment, now);
    let wait = (now.duration_since(since) / 4).max(hours(24));
    let last = *late(payment).last().expect("there are late checks") * 2;
    let again = now.checked_add(wait).ok().filter(|at| at.duration_since(since) <= last);
    let again = late_check(payment, now).into_iter().chain(again).min();
    again.map(|again| payment.next_check_at.map_or(again, |planned| planned.max(again)))
}

/// A hint that comes to nothing is made up for by the sweep after this long.
const AFTER_HINT: SignedDuration = SignedDuration::from_mins(2);
/// The time before a payment that the store refuses to finish is looked at again.
const AFTER_REFUSAL: SignedDuration = SignedDuration::from_hours(1);

/// The next look at a payment, unless it is final by then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextCheck {
    pub(crate) at: Timestamp,
    pub(crate) checks: i32,
}

/// A check that only moves a payment's next look.
fn check(payment: &Payment, next_check_at: Option<Timestamp>) -> PaymentCheck {
    PaymentCheck { key: payment.key.clone(), next_check_at, checks: payment.checks, asked: None }
}

/// Returns true if an answer about a payment is still awaited: it is not finished, or a look at it was asked for.
fn is_watched(payment: &Payment) -> bool {
    payment.is_unfinished() || payment.next_check_at.is_some()
}

/// Makes a payment due that a hint was just published for: should the hint come to nothing, the sweep finds it.
pub(crate) fn check_after_hint(payment: &Payment, now: Timestamp) -> PaymentCheck {
    check(payment, Some(now + AFTER_HINT))
}

/// Makes a payment due after `wait`: its look was put off before it was begun.
pub(crate) fn check_after_wait(payment: &Payment, wait: Duration, now: Timestamp) -> PaymentCheck {
    check(payment, Some(now.checked_add(wait).unwrap_or(now)))
}

/// Has an unfinished payment asked about once more when its repeats have rested: a provider may send again because
/// something happened since.
pub(crate) fn check_after_repeat(payment: &Payment, until: Timestamp) -> Option<PaymentCheck> {
    let next = payment.next_check_at.map_or(until, |next| next.min(until));
    payment.is_unfinished().then(|| check(payment, Some(next)))
}

/// Returns the schedule of a payment whose change cannot be written. A payment that would be finished is not, as far as
/// the store knows.
pub(crate) fn check_after_refusal(payment: &Payment, now: Timestamp) -> PaymentCheck {
    let planned = payment.next_check_at.filter(|_| payment.is_unfinished());
    check(payment, planned.or_else(|| now.checked_add(AFTER_REFUSAL).ok()))
}

/// The times at which to try again what did not work: a delivery through the queue's delays, a payment through its
/// provider's checks.
#[derive(Debug, Clone)]
pub struct Schedule {
    retry_delays: Vec<Duration>,
}

impl Schedule {
    /// `retry_delays` in rising order, at least one.
    pub fn new(retry_delays: Vec<Duration>) -> Self {
        Self { retry_delays }
    }

    /// Returns the wait of a delivery after its `attempt`-th try failed; `None` when the schedule is used up.
    pub fn retry_after(&self, attempt: u32) -> Option<Duration> {
        self.retry_delays.get(usize::try_from(attempt).ok()?.checked_sub(1)?).copied()
    }

    /// A wait on the queue that needs no more than `longest`, on a broker whose queues let nothing past their head: the
    /// next delay is not longer than that, or the wait is cut to the longest delay within it.
    pub(crate) fn wait_within(&self, wait: Duration, longest: Duration) -> Duration {
        match self.retry_delays.iter().find(|delay| **delay >= wait) {
            Some(delay) if *delay <= longest => wait,
            _ => self.longest_within(wait.min(longest)).unwrap_or(wait),
        }
    }

    /// The longest delay that is not longer than `wait`.
    pub(crate) fn longest_within(&self, wait: Duration) -> Option<Duration> {
        self.retry_delays.iter().copied().filter(|delay| *delay <= wait).max()
    }

    /// Returns the next look at a payment that was answered about. A notification has it watched closely again; a look
    /// of our own goes on down the table.
    pub(crate) fn after_answer(
        &self,
        payment: &Payment,
        notified: bool,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> NextCheck {
        let checks = if notified { 0 } else { payment.checks };
        let at = self.next_check(payment.key.provider, checks, expires_at, now);
        NextCheck { at, checks: checks.saturating_add(1) }
    }

    /// Returns the check of a payment whose account may be asked again after `wait`, if an answer about it is awaited.
    ///
    /// A notification has it due then, however long its hint rests. A payment without a notification keeps its own
    /// schedule: an outage must not make daily looks hourly ones.
    pub(crate) fn check_after_pause(
        &self,
        payment: &Payment,
        notified: bool,
        wait: Duration,
        now: Timestamp,
    ) -> Option<PaymentCheck> {
        let again = now.checked_add(wait).unwrap_or(now);
        let next = if notified { Some(again) } else { self.check_again(payment, again, now) };
        (notified || is_watched(payment)).then(|| check(payment, next))
    }

    /// Returns the check of a payment that was asked about in vain, not before `at_least` from now, if an answer about
    /// it is awaited. A payment without a check gets none by this, and keeps a check that was set since it was
    /// read.
    ///
    /// `is_the_payments`: the failure says something about the payment. An outage does not: it ages no payment past
    /// hourly looks.
    pub(crate) fn check_after_failure(
        &self,
        payment: &Payment,
        is_the_payments: bool,
        at_least: Duration,
        now: Timestamp,
    ) -> Option<PaymentCheck> {
        let next = self.check_again(payment, now.checked_add(at_least).unwrap_or(now), now);
        let aged = payment.checks.saturating_add(1);
        let checks =
            if is_the_payments { aged } else { aged.min(Self::hourly(payment.key.provider)).max(payment.checks) };
        is_watched(payment).then(|| PaymentCheck { checks, ..check(payment, next) })
    }

    /// Returns the next look at a payment that could not be asked about: at an unfinished one by its table, and not
    /// before `at_least`.
    fn check_again(&self, payment: &Payment, at_least: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match payment.is_unfinished() {
            true => Some(self.next_check(payment.key.provider, payment.checks, None, now).max(at_least)),
            false => late_check_again(payment, now),
        }
    }

    /// Returns the number of looks that bring a payment to its table's hourly row.
    pub(crate) fn hourly(provider: Provider) -> i32 {
        Protocol::of(provider).checks.len() as i32 - 1
    }

    /// Returns the time of an unfinished payment's next look, after `checks` looks since something was last new.
    pub fn next_check(
        &self,
        provider: Provider,
        checks: i32,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Timestamp {
        let table = Protocol::of(provider).checks;
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
    use payhook_provider::Protocol;
    use payhook_schema::{PaymentState, RefundTerms};

    use super::*;
    use crate::money::decide::tests::order;

    fn at(hour: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + hours(hour)
    }

    /// Final since hour 0.
    fn finished(state: PaymentState) -> Payment {
        Payment { state, final_at: Some(at(0)), next_check_at: None, ..order(&["P1"]).payments.remove(0) }
    }

    /// The hours at which it is asked about until nobody asks any more.
    fn followed(payment: &Payment, next: fn(&Payment, Timestamp) -> Option<Timestamp>) -> Vec<i64> {
        let mut payment = payment.clone();
        let checks = std::iter::from_fn(|| {
            let last = payment.next_check_at.unwrap_or(at(0));
            payment.next_check_at = next(&payment, last);
            payment.next_check_at
        });
        checks.map(|at| at.as_second() / 3600).collect()
    }

    #[test]
    fn a_paid_payment_is_asked_about_five_times_more_and_one_without_money_twice() {
        for state in [PaymentState::Paid, PaymentState::PartlyRefunded, PaymentState::Refunded] {
            assert_eq!(followed(&finished(state), late_check), [25, 168, 720, 2160, 4320], "{state}");
        }
        for state in [PaymentState::Failed, PaymentState::Expired, PaymentState::Cancelled] {
            assert_eq!(followed(&finished(state), late_check), [25, 168], "{state}");
        }
    }

    #[test]
    fn a_look_in_between_does_not_move_the_late_checks() {
        let paid = finished(PaymentState::Paid);
        for (hour, next) in [(0, 25), (24, 25), (25, 168), (26, 168), (167, 168), (500, 720), (719, 720)] {
            assert_eq!(late_check(&paid, at(hour)), Some(at(next)), "{hour}");
        }
        assert_eq!(late_check(&paid, at(4320)), None);
        let from_the_future = Payment { final_at: Some(at(9_000_000)), ..paid };
        assert_eq!(late_check(&from_the_future, at(1)), Some(at(26)));
    }

    #[test]
    fn a_late_check_without_an_answer_is_put_off_ever_longer_and_given_up_in_the_end() {
        let paid = finished(PaymentState::Paid);
        assert_eq!(late_check_again(&paid, at(25)), Some(at(49)), "after a day");
        assert_eq!(late_check_again(&paid, at(160)), Some(at(168)), "no later than the next one");
        assert_eq!(late_check_again(&paid, at(4320)), Some(at(5400)), "the last one is not lost");
        let planned = Payment { next_check_at: Some(at(168)), ..paid.clone() };
        assert_eq!(late_check_again(&planned, at(30)), Some(at(168)), "somebody else's failure brings it no nearer");
        let checks = followed(&finished(PaymentState::Paid), late_check_again);
        assert!(checks.len() < 40 && checks.last().is_some_and(|last| *last <= 2 * 4320), "{checks:?}");
        assert!(checks.windows(2).all(|pair| pair[1] - pair[0] >= 24 || LATE.contains(&hours(pair[1]))), "{checks:?}");
    }

    #[test]
    fn every_late_check_is_within_the_refund_window_of_every_method() {
        let methods = Provider::ALL.iter().flat_map(|provider| Protocol::methods(*provider));
        let windows = methods.filter_map(|method| match method.refund {
            RefundTerms::Within { days, .. } => Some(hours(i64::from(days) * 24)),
            RefundTerms::No | RefundTerms::Unknown => None,
        });
        for window in windows {
            assert!(LATE.iter().all(|after| *after <= window), "{window:?}");
        }
    }

    #[test]
    fn a_delivery_is_tried_once_per_delay_and_once_more() {
        let schedule = Schedule::new(vec![seconds(1), seconds(5)]);
        let waits: Vec<_> = (1..=3).map(|attempt| schedule.retry_after(attempt)).collect();
        assert_eq!(waits, [Some(seconds(1)), Some(seconds(5)), None]);
    }

    #[test]
    fn a_wait_on_the_queue_is_not_stretched_beyond_its_limit() {
        let schedule = Schedule::new([1, 5, 30, 120, 600, 3600, 21_600].map(seconds).to_vec());
        let within = |wait| schedule.wait_within(seconds(wait), seconds(600)).as_secs();
        assert_eq!([3, 62, 600].map(within), [3, 62, 600]);
        assert_eq!([602, 3602].map(within), [600, 600], "not behind those that wait for hours");
        let coarse = Schedule::new([1, 5, 3600].map(seconds).to_vec());
        assert_eq!(coarse.wait_within(seconds(60), seconds(600)), seconds(5));
        assert_eq!(schedule.longest_within(seconds(599)), Some(seconds(120)));
        assert_eq!(schedule.longest_within(Duration::ZERO), None);
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
    fn a_payment_is_asked_about_right_after_it_should_have_expired() {
        let schedule = Schedule::new(vec![seconds(1)]);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(schedule.next_check(Provider::Omise, 3, Some(at(600)), at(0)), at(720));
        assert_eq!(schedule.next_check(Provider::Omise, 3, Some(at(600)), at(720)), at(720 + 3600));
    }
}
