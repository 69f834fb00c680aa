//! Requests that come again as the same signed bytes. A provider sends again when it was not answered, and an attacker sends a
//! captured request without end: a repeat may have its question asked anew, and costs no more than a count otherwise.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use payhook_queue::{Delivery, Verdict};
use payhook_schema::{DeadLetterState, Notification, Order, PaymentKey, ReplayOutcome, content_id};
use payhook_store::{PaymentCheck, Settlement};
use uuid::Uuid;

use crate::flights::InHand;
use crate::outcome::{Outcome, acked, archived, goes_round, notification};
use crate::worker::Context;

/// Repeats of the same signed bytes are asked about once in this time, by each worker.
const REST: SignedDuration = SignedDuration::from_secs(10);

/// The signed bytes for which this worker asked lately: when, and on behalf of which notification.
#[derive(Default)]
pub(crate) struct AskedLately(Mutex<Asked>);

/// Two spans of at least [`REST`]: the older one is dropped whole, so that nothing is searched for what rested.
#[derive(Default)]
struct Asked {
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
        asked.lately.extend(notifications.filter_map(|it| Some((it.signed_id?, (now, it.id)))));
    }

    /// Returns until when nothing is asked for a delivery, if it is the first try of a repeat of what was asked for lately. A later try is
    /// of one that found no answer, and rests by its schedule. A hint that only went round, untried, is still at its first.
    pub(crate) fn rests(&self, delivery: &Delivery, now: Timestamp) -> Option<Timestamp> {
        let it = notification(delivery).filter(|_| goes_round(delivery) && delivery.attempt <= 1)?;
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = it.signed_id?;
        let (at, by) = *asked.lately.get(&signed).or_else(|| asked.before.get(&signed))?;
        rests_until(at, now).filter(|_| by != it.id)
    }
}

fn rests_until(asked_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let until = asked_at.checked_add(REST).ok()?;
    (asked_at <= now && now < until).then_some(until)
}

impl Outcome {
    /// All of these were asked about immediately before: they are counted. A payment that is not finished is asked about once more when
    /// they have rested, for a provider may send again because something happened since.
    pub(crate) fn repeated(order: &Order, key: PaymentKey, passengers: Vec<InHand>, until: Timestamp) -> Self {
        let check = order.payment(&key).filter(|payment| payment.is_unfinished()).map(|payment| PaymentCheck {
            key: key.clone(),
            next_check_at: Some(payment.next_check_at.map_or(until, |next| next.min(until))),
            checks: payment.checks,
            asked: None,
        });
        let settlement = Settlement { about: Some(key.clone()), check, ..archived(&passengers) };
        Self::new(Some(key), settlement, acked(passengers), "repeated", UNCHANGED)
    }
}

const UNCHANGED: (Option<ReplayOutcome>, &str) = (Some(ReplayOutcome::Unchanged), "asked about before");

impl Context {
    /// Deals with the repeat of a notification whose payment was looked for immediately before. It is counted where that one is archived.
    pub(crate) async fn repeated(&self, in_hand: InHand) {
        let signed = notification(&in_hand.delivery).and_then(|it| it.signed_id);
        let signed = Vec::from_iter(signed);
        let known = || self.store.notifications_known(&signed);
        let is_archived =
            self.patiently("looking for a repeat", known).await.is_ok_and(|known| known.iter().all(Option::is_some));
        let in_hand = vec![in_hand];
        // Archived first, it would stand for the one that is tried again.
        let settlement = if is_archived { archived(&in_hand) } else { Settlement::default() };
        self.write(Outcome::new(None, settlement, acked(in_hand), "repeated", UNCHANGED)).await;
    }

    /// Has a repeat that could not be settled go no round of its own: the notification that it repeats is on its way,
    /// or was settled. If that notification died and was not replayed, the repeat dies, too, which raises the dead
    /// letter.
    pub(crate) async fn spare_repeats(&self, outcome: &mut Outcome) {
        let tried_again = outcome.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Retry { .. }));
        let mut firsts: Vec<&Notification> =
            tried_again.filter_map(|(in_hand, _)| notification(&in_hand.delivery)).collect();
        // As the store has it: of several at once, the one that was received first stands for all.
        firsts.sort_by_key(|it| (it.received_at, it.id));
        let mut carriers: HashMap<Uuid, Uuid> = HashMap::new();
        for it in firsts {
            carriers.extend(it.signed_id.filter(|signed| !carriers.contains_key(signed)).map(|signed| (signed, it.id)));
        }
        if carriers.is_empty() {
            return;
        }
        // Those that nothing is written for wait for their turn, and one of them keeps it: its question was not asked yet.
        if !outcome.settlement.notifications.is_empty() {
            let signed: Vec<Uuid> = carriers.keys().copied().collect();
            let known = || self.store.notifications_known(&signed);
            // Unknown, they go round.
            let Ok(known) = self.patiently("looking for repeats", known).await else { return };
            carriers.extend(signed.iter().copied().zip(known).filter_map(|(signed, id)| Some((signed, id?))));
        }
        let mut letters: HashMap<Uuid, bool> = HashMap::new();
        for (in_hand, verdict) in &mut outcome.verdicts {
            let Some(it) = notification(&in_hand.delivery).filter(|_| matches!(verdict, Verdict::Retry { .. })) else {
                continue;
            };
            if it.signed_id.and_then(|signed| carriers.get(&signed)).is_none_or(|carrier| *carrier == it.id) {
                continue;
            }
            let id = letter_id(it);
            let is_dead = match letters.get(&id) {
                Some(is_dead) => *is_dead,
                None if outcome.death.is_none() => false,
                None => {
                    let get = || self.store.dead_letter_get(id);
                    let Ok(letter) = self.patiently("looking for a dead letter", get).await else { return };
                    letter.is_some_and(|letter| letter.state != DeadLetterState::Replayed)
                }
            };
            letters.insert(id, is_dead);
            *verdict = match outcome.death.as_ref().filter(|_| is_dead) {
                Some(death) => Verdict::DeadLetter(death.clone()),
                None => Verdict::Ack,
            };
        }
    }
}

/// The id of the dead letter of a notification that is proven: one for all that tell the same fact.
pub(crate) fn letter_id(notification: &Notification) -> Uuid {
    let Notification { provider, account, idempotency_key, .. } = notification;
    content_id(format!("dead letter of {provider} {account} {idempotency_key}").as_bytes())
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
