//! The outcomes of hints. An outcome is what one transaction writes for deliveries that were dealt with together, and
//! how each of them leaves the queue after it. Each constructor is named by the state that it leads to, and takes the
//! deliveries with their subject first.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::dispute_in;
use payhook_queue::{Death, Delivery, Verdict};
use payhook_schema::{
    About, Notification, Order, OrderId, Payment, PaymentKey, RefundId, ReplayOutcome, TimelineKind, jittered_fully,
};
use payhook_store::{PaymentCheck, ReplayResult, Settlement, TimelineEntry};

use crate::Schedule;
use crate::ask::asking::{AnswerAboutPayment, refund_named};
use crate::ask::failure::{Class, HintFailure};
use crate::hints::delivery::{InHand, goes_round, notification, notifications, replay_item};
use crate::money::decide::{Decided, Decision, only_asked};
use crate::schedule::check_after_wait;
use crate::store_retry::GaveUp;
use crate::wait::{HintWait, Pause, SPREAD, WITHOUT_STORE};

/// Deliveries that are dealt with together, and what they are about as far as that is known.
pub(crate) struct Group<'a> {
    pub(crate) order: Option<&'a Order>,
    pub(crate) key: Option<PaymentKey>,
    pub(crate) deliveries: Vec<InHand>,
}

impl<'a> Group<'a> {
    /// One delivery whose payment is not known, or that is about none.
    pub(crate) fn one(in_hand: InHand) -> Self {
        Self { order: None, key: None, deliveries: vec![in_hand] }
    }

    pub(crate) fn payment(&self) -> Option<&'a Payment> {
        self.order?.payment(self.key.as_ref()?)
    }

    /// Returns true if a notification is among them, and not only looks of our own.
    pub(crate) fn is_notified(&self) -> bool {
        notifications(&self.deliveries).next().is_some()
    }

    /// Builds a settlement that names their subject, and archives all their notifications.
    fn settlement(&self, timeline: Option<TimelineEntry>, check: Option<PaymentCheck>) -> Settlement {
        Settlement {
            notifications: notifications(&self.deliveries).cloned().collect(),
            about: self.key.clone(),
            order: self.order.map(|order| order.id.clone()),
            timeline: Vec::from_iter(timeline),
            check,
            change: None,
        }
    }

    /// Archives their notifications, and writes nothing else.
    fn archived(&self) -> Settlement {
        Settlement { about: None, order: None, ..self.settlement(None, None) }
    }
}

pub(crate) struct HintOutcome {
    pub(crate) key: Option<PaymentKey>,
    pub(crate) settlement: Settlement,
    pub(crate) verdicts: Vec<(InHand, Verdict)>,
    /// The name of the state, for metrics.
    pub(crate) word: &'static str,
    /// The results of the items of replays among them.
    pub(crate) replayed: Vec<ReplayResult>,
    /// The answer that a change was decided on.
    pub(crate) decided_on: Option<DecidedOn>,
    /// The death of those of its deliveries that are not tried again, where it is a failure.
    pub(crate) death: Option<Death>,
    /// The number of times the order had moved when it was to be written.
    pub(crate) conflicts: u32,
}

/// An answer of the provider. If its order moves before the decision is written, the answer is decided on again: hints
/// that came after the question wait for the next one.
pub(crate) struct DecidedOn {
    pub(crate) order: OrderId,
    pub(crate) answer: AnswerAboutPayment,
}

impl HintOutcome {
    /// `replay`: the result of each item of a replay among the deliveries; `None`, if it could not be tried.
    fn new(
        key: Option<PaymentKey>,
        settlement: Settlement,
        verdicts: Vec<(InHand, Verdict)>,
        word: &'static str,
        (outcome, detail): (Option<ReplayOutcome>, &str),
    ) -> Self {
        let items = verdicts.iter().filter_map(|(in_hand, _)| replay_item(&in_hand.delivery));
        let replayed = items.map(|item| ReplayResult { item, outcome, detail: detail.to_owned() }).collect();
        Self { key, settlement, verdicts, word, replayed, decided_on: None, death: None, conflicts: 0 }
    }

    pub(crate) fn into_deliveries(self) -> impl Iterator<Item = InHand> {
        self.verdicts.into_iter().map(|(in_hand, _)| in_hand)
    }

    fn acked(group: Group<'_>, settlement: Settlement, word: &'static str, replay: (ReplayOutcome, &str)) -> Self {
        let verdicts = group.deliveries.into_iter().map(|in_hand| (in_hand, Verdict::Ack)).collect();
        Self::new(group.key, settlement, verdicts, word, (Some(replay.0), replay.1))
    }

    /// Archived, and nothing changes but perhaps the next look at the payment.
    pub(crate) fn unchanged(group: Group<'_>, check: Option<PaymentCheck>, word: &'static str, detail: &str) -> Self {
        let settlement = Settlement { about: group.key.clone(), check, ..group.archived() };
        Self::acked(group, settlement, word, (ReplayOutcome::Unchanged, detail))
    }

    /// Written already: only the queue is still to hear of it, and a replay.
    pub(crate) fn done(in_hand: InHand, word: &'static str) -> Self {
        let replay = match word == Decided::Applied.as_str() {
            true => ReplayOutcome::Changed,
            false => ReplayOutcome::Unchanged,
        };
        Self::acked(Group::one(in_hand), Settlement::default(), word, (replay, word))
    }

    /// Decided: a change, or a check where nothing changes but when the payment was asked about.
    fn decided(group: Group<'_>, decision: Decision) -> Self {
        let Decision { change, timeline, outcome } = decision;
        if let Some(key) = &group.key {
            log(&change.order, key, outcome);
        }
        let (check, change) = match group.order.and_then(|order| only_asked(order, &change)) {
            _ if outcome == Decided::OtherAccounts => (None, None),
            Some(check) => (Some(check), None),
            None => (None, Some(change)),
        };
        let settlement = Settlement { timeline, change, ..group.settlement(None, check) };
        let replay = match outcome {
            Decided::Applied | Decided::Revived | Decided::Held => (ReplayOutcome::Changed, outcome.as_str()),
            Decided::Unchanged | Decided::Refused => (ReplayOutcome::Unchanged, outcome.as_str()),
            Decided::OtherAccounts => (ReplayOutcome::Unchanged, "registered under another account"),
        };
        Self::acked(group, settlement, outcome.as_str(), replay)
    }
}

/// Makes the outcomes that depend on the schedule.
#[derive(Clone, Copy)]
pub(crate) struct Outcomes<'a> {
    pub(crate) schedule: &'a Schedule,
    pub(crate) now: Timestamp,
}

impl Outcomes<'_> {
    /// Never finished, whatever happens: its bytes are for a person.
    pub(crate) fn poison(self, group: Group<'_>, why: String) -> HintOutcome {
        let death = self.death(&HintFailure { class: Class::Poison, detail: why });
        // An item of a replay came from a dead letter or the archive, which has it still.
        let verdicts = judge(group.deliveries, |delivery| match replay_item(delivery) {
            Some(_) => Verdict::Ack,
            None => Verdict::DeadLetter(death.clone()),
        });
        let replay = (Some(ReplayOutcome::Failed), death.detail.as_str());
        HintOutcome::new(group.key, Settlement::default(), verdicts, "poison", replay)
    }

    /// Genuine, and not what its provider documents: archived, and for a person.
    pub(crate) fn unreadable(self, group: Group<'_>, why: String) -> HintOutcome {
        let settlement = group.archived();
        HintOutcome { settlement, ..self.poison(group, why) }
    }

    /// Its subject is not known yet: archived, and tried again until the schedule ends. Registration links it at once.
    pub(crate) fn parked(self, group: Group<'_>, what: String) -> HintOutcome {
        let settlement = group.archived();
        self.failed(group, settlement, &HintFailure { class: Class::Waiting, detail: what }, "parked", false)
    }

    /// There is no proof that its provider sent it, so it is not archived.
    pub(crate) fn unproven(self, group: Group<'_>, failure: &HintFailure) -> HintOutcome {
        self.failed(group, Settlement::default(), failure, "unproven", false)
    }

    /// There is no answer. The payment stays what it was; notifications are tried again, looks of our own are put off.
    ///
    /// `probe`: it was asked on behalf of all that wait for its account, so that failing counts for none of them.
    pub(crate) fn unanswered(self, group: Group<'_>, failure: &HintFailure, probe: bool) -> HintOutcome {
        let class = failure.class;
        let check = group.payment().and_then(|payment| {
            self.schedule.check_after_failure(payment, class.is_the_payments(), class.at_least(), self.now)
        });
        // A probe fails once a minute, for as long as the account's trouble takes: the timeline says already that it is
        // left alone.
        let is_noted = !probe || class.is_the_payments();
        let entry =
            group.key.as_ref().filter(|_| is_noted && group.order.is_some()).map(|key| {
                self.inquiry(key, format!("asked {}: no answer to go by: {}", key.provider, failure.detail))
            });
        let settlement = group.settlement(entry, check);
        self.failed(group, settlement, failure, "unanswered", probe)
    }

    /// The account may not be asked now.
    pub(crate) fn left_alone(self, group: Group<'_>, wait: &HintWait) -> HintOutcome {
        match wait.why {
            Pause::Crowded if group.key.is_some() => self.crowded(group, wait),
            _ => self.paused(group, wait),
        }
    }

    /// Its account is left alone for a while: every hint waits, and none is counted as tried. A notification
    /// that is put off for the first time is archived.
    pub(crate) fn paused(self, group: Group<'_>, wait: &HintWait) -> HintOutcome {
        let check = group
            .payment()
            .and_then(|payment| self.schedule.check_after_pause(payment, group.is_notified(), wait.after, self.now));
        let entry = group.key.as_ref().filter(|_| wait.first).map(|key| {
            let since = self.now.checked_sub(wait.lasted).unwrap_or(self.now);
            self.inquiry(key, format!("not asked: {}, since {since}; everything waits", wait.why.as_str()))
        });
        let is_new = |in_hand: &&InHand| in_hand.delivery.first_failed_at.is_none();
        let new = group.deliveries.iter().filter(is_new).filter_map(|in_hand| notification(&in_hand.delivery));
        let settlement = Settlement { notifications: new.cloned().collect(), ..group.settlement(entry, check) };
        self.waiting(group, settlement, wait, "paused", wait.why.as_str())
    }

    /// Too many of its account are in hand, or elsewhere: it waits on the queue, where it holds up no other hint.
    fn crowded(self, group: Group<'_>, wait: &HintWait) -> HintOutcome {
        // A look of our own does not go round: without this it would be lost for as long as the sweep leaves a payment
        // to its hint.
        let is_look = |in_hand: &InHand| replay_item(&in_hand.delivery).is_none() && !goes_round(&in_hand.delivery);
        let look = group.payment().filter(|_| group.deliveries.iter().any(is_look));
        let after = || wait.after + jittered_fully(SPREAD);
        let check = look.map(|payment| check_after_wait(payment, after(), self.now));
        let settlement = Settlement { check, ..Settlement::default() };
        self.waiting(group, settlement, wait, "crowded", wait.why.as_str())
    }

    /// The store was away for too long to compare the answer with it: once round the queue, uncounted.
    pub(crate) fn store_away(self, group: Group<'_>, gave_up: &GaveUp) -> HintOutcome {
        let after = match gave_up {
            GaveUp::Stopped => Duration::ZERO,
            GaveUp::TooLong | GaveUp::Refused(_) => SPREAD,
        };
        let wait = HintWait { after, why: Pause::Unreachable, lasted: Duration::ZERO, first: false };
        self.waiting(group, Settlement::default(), &wait, "paused", "the store was away")
    }

    /// The provider answered. A refund that could not be asked about is tried again for those that are about it, and
    /// for nobody else.
    pub(crate) fn answered(
        self,
        group: Group<'_>,
        mut decision: Decision,
        unanswered: &[(RefundId, HintFailure)],
    ) -> HintOutcome {
        if let Some(key) = &group.key {
            decision.timeline.extend(unanswered.iter().map(|(id, failure)| {
                let provider = key.provider;
                self.inquiry(key, format!("asked {provider} about refund {id}: no answer to go by: {}", failure.detail))
            }));
        }
        let mut outcome = HintOutcome::decided(group, decision);
        for (in_hand, verdict) in &mut outcome.verdicts {
            let refund = notification(&in_hand.delivery).and_then(refund_named);
            let Some((_, failure)) = unanswered.iter().find(|(id, _)| Some(id) == refund) else { continue };
            *verdict = self.verdict(&in_hand.delivery, failure, false);
            let item = replay_item(&in_hand.delivery);
            let tried = failure.class.is_counted().then_some(ReplayOutcome::Failed);
            for result in outcome.replayed.iter_mut().filter(|result| Some(result.item) == item) {
                (result.outcome, result.detail) = (tried, failure.detail.clone());
            }
        }
        outcome
    }

    /// Returns true if none of these would be given up on, were it tried once more.
    pub(crate) fn can_wait(self, deliveries: &[InHand]) -> bool {
        deliveries.iter().all(|in_hand| self.schedule.retry_after(in_hand.delivery.attempt).is_some())
    }

    /// Applies a failure to deliveries: notifications go round through the queue until the schedule is used up, our own
    /// looks are on the payment's schedule, and a replay learns of it.
    fn failed(
        self,
        group: Group<'_>,
        settlement: Settlement,
        failure: &HintFailure,
        word: &'static str,
        probe: bool,
    ) -> HintOutcome {
        let verdicts = judge(group.deliveries, |delivery| self.verdict(delivery, failure, probe));
        // A failure that is not counted as a try is none for a replay, either.
        let tried = if probe || !failure.class.is_counted() { None } else { Some(ReplayOutcome::Failed) };
        let death = tried.map(|_| self.death(failure));
        HintOutcome { death, ..HintOutcome::new(group.key, settlement, verdicts, word, (tried, &failure.detail)) }
    }

    /// Sends deliveries round the queue, uncounted; no item of a replay was tried.
    fn waiting(
        self,
        group: Group<'_>,
        settlement: Settlement,
        wait: &HintWait,
        word: &'static str,
        why: &str,
    ) -> HintOutcome {
        let verdicts = judge(group.deliveries, |delivery| self.waits(delivery, wait));
        HintOutcome::new(group.key, settlement, verdicts, word, (None, why))
    }

    fn inquiry(self, key: &PaymentKey, text: String) -> TimelineEntry {
        TimelineEntry::new(self.now, TimelineKind::Inquiry, Some(key.clone()), text)
    }

    fn verdict(self, delivery: &Delivery, failure: &HintFailure, probe: bool) -> Verdict {
        if !goes_round(delivery) {
            return Verdict::Ack;
        }
        let (class, first_failed_at) = (failure.class, delivery.first_failed_at.unwrap_or(self.now));
        let counted = class.is_counted() && !probe;
        // An uncounted failure waits as the first one does: its account's pause is what holds it back.
        let delay = self.schedule.retry_after(if counted { delivery.attempt } else { 1 });
        match delay.filter(|_| !class.is_final()) {
            Some(delay) => Verdict::Retry {
                after: class.wait(delay),
                attempt: if counted { delivery.attempt.saturating_add(1) } else { delivery.attempt },
                first_failed_at,
            },
            None => Verdict::DeadLetter(self.death(failure)),
        }
    }

    fn death(self, failure: &HintFailure) -> Death {
        Death { cause: failure.class.cause(), detail: failure.detail.clone(), died_at: self.now }
    }

    /// Returns the verdict on a delivery that waits for its account: uncounted, and the longer it waits, the rarer.
    pub(crate) fn waits(self, delivery: &Delivery, wait: &HintWait) -> Verdict {
        if !goes_round(delivery) {
            return Verdict::Ack;
        }
        let first_failed_at = delivery.first_failed_at.unwrap_or(self.now);
        let after = wait.on_queue(self.schedule, first_failed_at, self.now);
        Verdict::Retry { after, attempt: delivery.attempt, first_failed_at }
    }
}

/// Once round the queue, unchanged and uncounted: the store is away, and no broker lets a delivery be held for ever.
pub(crate) fn round_again(deliveries: impl IntoIterator<Item = InHand>, now: Timestamp) -> Vec<(InHand, Verdict)> {
    judge(deliveries, |delivery| Verdict::Retry {
        after: WITHOUT_STORE,
        attempt: delivery.attempt,
        first_failed_at: delivery.first_failed_at.unwrap_or(now),
    })
}

fn judge(
    deliveries: impl IntoIterator<Item = InHand>,
    verdict: impl Fn(&Delivery) -> Verdict,
) -> Vec<(InHand, Verdict)> {
    let judged = |in_hand: InHand| {
        let verdict = verdict(&in_hand.delivery);
        (in_hand, verdict)
    };
    deliveries.into_iter().map(judged).collect()
}

/// Returns true if every delivery is the retry of a plain notification, first tried before the stored final answer was
/// asked for: asking again cannot add anything. Both times are workers', a margin apart: their clocks differ.
pub(crate) fn overtaken(payment: Option<&Payment>, deliveries: &[InHand], clocks_differ: SignedDuration) -> bool {
    let Some(payment) = payment.filter(|payment| payment.state.is_final()) else { return false };
    let Some(asked_at) = payment.asked_at else { return false };
    let is_older = |delivery: &Delivery| {
        // A refund is asked about by itself, and a dispute only its notification tells: no answer about the payment
        // overtakes these.
        let plain =
            |about: &Notification| matches!(about.about, About::Payment(_)) && dispute_in(about, &about.body).is_none();
        let first_failed_at = delivery.first_failed_at.filter(|_| notification(delivery).is_some_and(plain));
        first_failed_at.is_some_and(|at| at.checked_add(clocks_differ).is_ok_and(|at| at < asked_at))
    };
    deliveries.iter().all(|in_hand| is_older(&in_hand.delivery))
}

/// The log's one line about a decision; the timeline has the whole story.
fn log(order: &Order, key: &PaymentKey, outcome: Decided) {
    let (id, state, version) = (&order.id, order.state, order.version);
    match outcome {
        Decided::Applied => tracing::info!(order.id = %id, payment = %key, version, "order {id} is {state}"),
        Decided::Unchanged | Decided::Refused | Decided::OtherAccounts => {
            tracing::debug!(order.id = %id, payment = %key, "order {id} stays {state}: {}", outcome.as_str());
        }
        Decided::Revived => {
            tracing::warn!(order.id = %id, payment = %key, version, "order {id} is {state}: money came after a final no");
        }
        Decided::Held => {
            let reason = order.holds.last().map_or("-", |hold| hold.reason.as_str());
            tracing::warn!(order.id = %id, payment = %key, version, reason, "order {id} is held: {reason}");
        }
    }
}

#[cfg(test)]
mod tests;
