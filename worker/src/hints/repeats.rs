//! Deals with requests that come again as the same signed bytes, where they cannot share an answer.

use std::collections::HashMap;

use payhook_queue::Verdict;
use payhook_schema::{DeadLetterState, Notification, content_id};
use payhook_store::Settlement;
use uuid::Uuid;

use crate::hints::Hints;
use crate::hints::delivery::{InHand, notification};
use crate::hints::outcome::{Group, HintOutcome};

pub(crate) const ASKED_BEFORE: &str = "asked about before";

impl Hints {
    /// Deals with the repeat of a notification whose payment was looked for immediately before. It is counted where
    /// that one is archived.
    pub(crate) async fn count_repeat(&self, in_hand: InHand) {
        let signed = notification(&in_hand.delivery).and_then(|repeat| repeat.signed_id);
        let signed = Vec::from_iter(signed);
        let known = || self.context.store.notifications_known(&signed);
        let is_archived = self
            .context
            .store_retry("looking for a repeat", known)
            .await
            .is_ok_and(|known| known.iter().all(Option::is_some));
        let mut outcome = HintOutcome::unchanged(Group::one(in_hand), None, "repeated", ASKED_BEFORE);
        if !is_archived {
            // Archived first, it would stand for the one that is tried again.
            outcome.settlement = Settlement::default();
        }
        self.write(outcome).await;
    }

    /// Hands an outcome to the writers.
    pub(crate) async fn write(&self, mut outcome: HintOutcome) {
        self.spare_repeats(&mut outcome).await;
        // The writers end only after everything in hand was acked or given up.
        let _ = self.to_writers.send(outcome).await;
    }

    /// Has a repeat that could not be finished go no round of its own: the notification that it repeats is on its way,
    /// or was settled. If that notification died and was not replayed, the repeat dies, too, which raises the dead
    /// letter.
    async fn spare_repeats(&self, outcome: &mut HintOutcome) {
        let tried_again = outcome.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Retry { .. }));
        let mut firsts: Vec<&Notification> =
            tried_again.filter_map(|(in_hand, _)| notification(&in_hand.delivery)).collect();
        // As the store has it: of several at once, the one that was received first stands for all.
        firsts.sort_by_key(|repeat| (repeat.received_at, repeat.id));
        let mut carriers: HashMap<Uuid, Uuid> = HashMap::new();
        for repeat in firsts {
            carriers.extend(
                repeat.signed_id.filter(|signed| !carriers.contains_key(signed)).map(|signed| (signed, repeat.id)),
            );
        }
        if carriers.is_empty() {
            return;
        }
        // Hints for which nothing is written wait for their turn, and one of them keeps it: its question was not asked
        // yet.
        if !outcome.settlement.notifications.is_empty() {
            let signed: Vec<Uuid> = carriers.keys().copied().collect();
            let known = || self.context.store.notifications_known(&signed);
            // Unknown, they go round.
            let Ok(known) = self.context.store_retry("looking for repeats", known).await else { return };
            carriers.extend(signed.iter().copied().zip(known).filter_map(|(signed, id)| Some((signed, id?))));
        }
        let mut letters: HashMap<Uuid, bool> = HashMap::new();
        for (in_hand, verdict) in &mut outcome.verdicts {
            let Some(repeat) = notification(&in_hand.delivery).filter(|_| matches!(verdict, Verdict::Retry { .. }))
            else {
                continue;
            };
            if repeat.signed_id.and_then(|signed| carriers.get(&signed)).is_none_or(|carrier| *carrier == repeat.id) {
                continue;
            }
            let id = letter_id(repeat);
            let is_dead = match letters.get(&id) {
                Some(is_dead) => *is_dead,
                None if outcome.death.is_none() => false,
                None => {
                    let get = || self.context.store.dead_letter_get(id);
                    let Ok(letter) = self.context.store_retry("looking for a dead letter", get).await else { return };
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
