//! Remembers for which signed bytes a provider was asked lately. A provider sends again when it was not answered, and
//! an attacker sends a captured request without end: a repeat may have its question asked anew, and costs no more than
//! a count otherwise.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use payhook_queue::Delivery;
use payhook_schema::Notification;
use uuid::Uuid;

use crate::hints::delivery::{goes_round, notification};

/// Repeats of the same signed bytes are asked about once in this time, by each worker.
const REST: SignedDuration = SignedDuration::from_secs(10);

/// The signed bytes for which this worker asked lately: when, and on behalf of which notification.
#[derive(Default)]
pub(crate) struct AskedLately(Mutex<AskedSpans>);

/// Two spans of at least [`REST`]: the older one is dropped whole, so that nothing is searched for what rested.
#[derive(Default)]
struct AskedSpans {
    began: Timestamp,
    lately: HashMap<Uuid, (Timestamp, Uuid)>,
    before: HashMap<Uuid, (Timestamp, Uuid)>,
}

impl AskedLately {
    /// Notes that a provider is asked now on behalf of these.
    pub(crate) fn note<'a>(&self, notifications: impl Iterator<Item = &'a Notification>, now: Timestamp) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rests_until(asked.began, now).is_none() {
            (asked.began, asked.before) = (now, std::mem::take(&mut asked.lately));
        }
        asked.lately.extend(notifications.filter_map(|asked_for| Some((asked_for.signed_id?, (now, asked_for.id)))));
    }

    /// Returns until when nothing is asked for a delivery, if it is the first try of a repeat of what was asked for
    /// lately. A later try is of one that found no answer, and rests by its schedule. A hint that only went round,
    /// untried, is still at its first.
    pub(crate) fn rests(&self, delivery: &Delivery, now: Timestamp) -> Option<Timestamp> {
        let repeat = notification(delivery).filter(|_| goes_round(delivery) && delivery.attempt <= 1)?;
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = repeat.signed_id?;
        let (at, by) = *asked.lately.get(&signed).or_else(|| asked.before.get(&signed))?;
        rests_until(at, now).filter(|_| by != repeat.id)
    }
}

fn rests_until(asked_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let until = asked_at.checked_add(REST).ok()?;
    (asked_at <= now && now < until).then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_rests_for_a_while_whatever_the_clock_does() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(rests_until(at(100), at(100)), Some(at(110)));
        assert_eq!(rests_until(at(100), at(109)), Some(at(110)));
        assert_eq!(rests_until(at(100), at(110)), None);
        assert_eq!(rests_until(at(100), at(99)), None, "the clock was set back");
    }
}
