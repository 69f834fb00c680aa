use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::{AskError, dispute_in};
use payhook_queue::{Death, Delivery, Verdict};
use payhook_schema::{
    About, Envelope, Hint, Notification, Order, OrderId, Payment, PaymentFacts, PaymentKey, RefundId, ReplayOutcome,
    TimelineKind,
};
use payhook_store::{Asked, Change, PaymentCheck, ReplayResult, Settlement, TimelineEntry};
use uuid::Uuid;

use crate::Schedule;
use crate::breaker::{LONGEST_REST, Pause, Wait};
use crate::class::Class;
use crate::decide::{Case, Decided, Decision, NextCheck, decide};
use crate::flights::InHand;
use crate::gate::Shut;
use crate::inquire::{Answer, refund_named};
use crate::patience::{GaveUp, jittered, jittered_fully};
use crate::refunds::OfOthers;
use crate::schedule::late_check_again;

/// Those that wait for one account come back within this long of each other.
const WAIT_SPREAD: Duration = Duration::from_secs(2);
/// A hint that waits for its turn within a budget rests for this part of the time it has waited, up to this long: a burst of any size
/// costs each hint a few rounds, and a budget is never left unused for longer.
const CROWDED_PART: u32 = 8;
const CROWDED_REST: Duration = Duration::from_secs(30);

/// The result of one flight, or of one delivery that needed none: written in one transaction, then settled on the
/// queue.
pub(crate) struct Outcome {
    pub(crate) key: Option<PaymentKey>,
    pub(crate) settlement: Settlement,
    pub(crate) verdicts: Vec<(InHand, Verdict)>,
    pub(crate) word: &'static str,
    /// The results of the items of replays among them.
    pub(crate) replayed: Vec<ReplayResult>,
    /// The answer a change was decided on.
    pub(crate) answered: Option<Answered>,
    /// The death of those of its deliveries that are not tried again, where it is a failure.
    pub(crate) death: Option<Death>,
    /// The number of times the order had moved when it was to be written.
    pub(crate) conflicts: u32,
}

/// An answer of the provider. If its order moves before the decision is written, the answer is decided on again: hints
/// that came after the question wait for the next one.
pub(crate) struct Answered {
    pub(crate) order: OrderId,
    pub(crate) answer: Answer,
    /// The order is registered with the payment under another of our accounts.
    pub(crate) elsewhere: bool,
}

impl Outcome {
    /// With what it means for replays: `outcome` for each item among the deliveries, or that it could not be tried.
    pub(crate) fn new(
        key: Option<PaymentKey>,
        settlement: Settlement,
        verdicts: Vec<(InHand, Verdict)>,
        word: &'static str,
        (outcome, detail): (Option<ReplayOutcome>, &str),
    ) -> Self {
        let items = verdicts.iter().filter_map(|(in_hand, _)| replay_item(&in_hand.delivery));
        let replayed = items.map(|item| ReplayResult { item, outcome, detail: detail.to_owned() }).collect();
        Self { key, settlement, verdicts, word, replayed, answered: None, death: None, conflicts: 0 }
    }
}

/// The inputs that every outcome is made with.
#[derive(Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) schedule: &'a Schedule,
    pub(crate) now: Timestamp,
}

impl Making<'_> {
    /// Bytes that are no envelope: kept as they are, for a person.
    pub(crate) fn poison(self, in_hand: InHand, why: String) -> Outcome {
        let death = Death { cause: Class::Poison.cause(), detail: why, died_at: self.now };
        let told = (Some(ReplayOutcome::Failed), death.detail.clone());
        // An item of a replay came from a dead letter or the archive, which has it still.
        let is_replayed = replay_item(&in_hand.delivery).is_some();
        let verdict = if is_replayed { Verdict::Ack } else { Verdict::DeadLetter(death) };
        let verdicts = vec![(in_hand, verdict)];
        Outcome::new(None, Settlement::default(), verdicts, "poison", (told.0, &told.1))
    }

    /// Genuine, and not what its provider documents: archived, and for a person.
    pub(crate) fn unreadable(self, in_hand: InHand, why: String) -> Outcome {
        let settlement = archived(std::slice::from_ref(&in_hand));
        Outcome { settlement, ..self.poison(in_hand, why) }
    }

    /// Genuine, and nothing to settle: kept.
    pub(crate) fn kept(in_hand: InHand) -> Outcome {
        let in_hand = vec![in_hand];
        let told = (Some(ReplayOutcome::Unchanged), "it is about nothing of ours");
        Outcome::new(None, archived(&in_hand), acked(in_hand), "kept", told)
    }

    /// Tried again, and settled by another hint since: kept.
    pub(crate) fn settled_meanwhile(key: PaymentKey, passengers: Vec<InHand>) -> Outcome {
        let settlement = Settlement { about: Some(key.clone()), ..archived(&passengers) };
        let told = (Some(ReplayOutcome::Unchanged), "settled meanwhile");
        Outcome::new(Some(key), settlement, acked(passengers), "settled_meanwhile", told)
    }

    /// Its order is not registered yet. Registration links it at once.
    pub(crate) fn parked_payment(self, key: PaymentKey, passengers: Vec<InHand>) -> Outcome {
        let what = format!("no order was registered with payment {key}");
        self.parked(Some(key), what, passengers)
    }

    /// Its subject is not known yet: archived, and tried again until the schedule ends.
    pub(crate) fn parked(self, key: Option<PaymentKey>, what: String, passengers: Vec<InHand>) -> Outcome {
        let failure = Failure { class: Class::Waiting, detail: what };
        self.failed(key, archived(&passengers), passengers, &failure, "parked", false)
    }

    /// The provider did not tell which payment a notification is about, or what to do about an authorization.
    pub(crate) fn not_found_out(self, in_hand: InHand, failure: &Failure, probe: bool) -> Outcome {
        let in_hand = vec![in_hand];
        self.failed(None, archived(&in_hand), in_hand, failure, "unanswered", probe)
    }

    /// There is no proof that its provider sent it, so it is not archived.
    pub(crate) fn unproven(self, in_hand: InHand, failure: &Failure) -> Outcome {
        self.failed(None, Settlement::default(), vec![in_hand], failure, "unproven", false)
    }

    /// Its account is left alone for a while, and which payment it is about is not known without asking.
    pub(crate) fn put_off(self, in_hand: InHand, wait: &Wait) -> Outcome {
        let in_hand = vec![in_hand];
        let settlement = Settlement { notifications: new_ones(&in_hand), ..Settlement::default() };
        Outcome::new(None, settlement, self.waiting(in_hand, wait), "paused", (None, wait.why.as_str()))
    }

    /// The account may not be asked now.
    pub(crate) fn shut(self, order: &Order, key: PaymentKey, passengers: Vec<InHand>, shut: &Shut) -> Outcome {
        match shut {
            Shut::Failed(failure) => self.unanswered(order, key, passengers, failure, false),
            Shut::Wait(wait) if wait.why == Pause::Crowded => self.crowded(order, key, passengers, wait),
            Shut::Wait(wait) => self.paused(order, key, passengers, wait),
        }
    }

    /// Too many of its account are in hand, or elsewhere: it waits on the queue, where it holds up no other hint.
    fn crowded(self, order: &Order, key: PaymentKey, passengers: Vec<InHand>, wait: &Wait) -> Outcome {
        // A look of our own does not go round: without this it would be lost for as long as the sweep leaves a payment to its hint.
        let is_look =
            |passenger: &InHand| replay_item(&passenger.delivery).is_none() && !goes_round(&passenger.delivery);
        let look = order.payment(&key).filter(|_| passengers.iter().any(is_look));
        let check = look.map(|payment| PaymentCheck {
            key: key.clone(),
            next_check_at: Some(self.now.checked_add(wait.after + jittered_fully(WAIT_SPREAD)).unwrap_or(self.now)),
            checks: payment.checks,
            asked: None,
        });
        let outcome = self.round_again(key, passengers, wait, "crowded", wait.why.as_str());
        Outcome { settlement: Settlement { check, ..Settlement::default() }, ..outcome }
    }

    /// Its account is left alone for a while: everything waits, nothing is counted as tried.
    pub(crate) fn paused(self, order: &Order, key: PaymentKey, passengers: Vec<InHand>, wait: &Wait) -> Outcome {
        let again = self.now.checked_add(wait.after).unwrap_or(self.now);
        // Something new was said: the payment is due once the account is asked again, however long its hint rests. One that nothing was
        // said about keeps its own schedule: an outage must not make daily looks hourly ones.
        let next_check_at = |payment: &Payment| match notified(&passengers) {
            true => Some(again),
            false => self.check_again(payment, again),
        };
        let waits = |payment: &&Payment| is_watched(payment) || notified(&passengers);
        let check = order.payment(&key).filter(waits).map(|payment| PaymentCheck {
            key: key.clone(),
            next_check_at: next_check_at(payment),
            checks: payment.checks,
            asked: None,
        });
        let since = self.now.checked_sub(wait.lasted).unwrap_or(self.now);
        let text = format!("not asked: {}, since {since}; everything waits", wait.why.as_str());
        let entry = self.entry(TimelineKind::Inquiry, &key, text);
        let settlement = Settlement {
            notifications: new_ones(&passengers),
            about: Some(key.clone()),
            order: Some(order.id.clone()),
            timeline: if wait.first { vec![entry] } else { Vec::new() },
            check,
            change: None,
        };
        let verdicts = self.waiting(passengers, wait);
        Outcome::new(Some(key), settlement, verdicts, "paused", (None, wait.why.as_str()))
    }

    /// Dealt with and written already: only the queue is still to hear of it, and a replay.
    pub(crate) fn done(in_hand: InHand, word: &'static str) -> Outcome {
        let changed = if word == Decided::Applied.as_str() { ReplayOutcome::Changed } else { ReplayOutcome::Unchanged };
        let verdicts = vec![(in_hand, Verdict::Ack)];
        Outcome::new(None, Settlement::default(), verdicts, word, (Some(changed), word))
    }

    /// Returns true if none of these would be given up on, were it tried once more.
    pub(crate) fn can_wait(self, passengers: &[InHand]) -> bool {
        passengers.iter().all(|passenger| self.schedule.retry_after(passenger.delivery.attempt).is_some())
    }

    /// Decides about the provider's answer.
    pub(crate) fn decision(
        self,
        order: &Order,
        key: &PaymentKey,
        answer: &Answer,
        passengers: &[InHand],
        of_others: &OfOthers,
    ) -> Decision {
        let stored = order.payment(key).expect("the order was found by this payment");
        // Something new was said, so the payment is watched closely again; a look of our own goes on down the table.
        let checks = if notified(passengers) { 0 } else { stored.checks };
        let next = self.schedule.next_check(key.provider, checks, answer.facts.expires_at, self.now);
        let next = NextCheck { at: next, checks: checks.saturating_add(1) };
        let (facts, foreign) = (&answer.facts_without(&of_others.elsewhere), &of_others.foreign);
        let mut decision = decide(&Case { order, key, facts, foreign, next, now: self.now });
        decision.timeline.extend(of_others.elsewhere.iter().map(|(id, other)| {
            let text = format!("asked {} about refund {id}: it is of {other} and not booked here", key.provider);
            self.entry(TimelineKind::Inquiry, key, text)
        }));
        decision.timeline.extend(answer.unanswered.iter().map(|(id, failure)| {
            let text = format!("asked {} about refund {id}: no answer to go by: {}", key.provider, failure.detail);
            self.entry(TimelineKind::Inquiry, key, text)
        }));
        decision
    }

    /// The provider answered. A refund it did not tell of is tried again for those that are about it, and for nobody else.
    pub(crate) fn answered(
        self,
        order: &Order,
        key: PaymentKey,
        passengers: Vec<InHand>,
        decision: Decision,
        unanswered: &[(RefundId, Failure)],
    ) -> Outcome {
        let mut outcome = decided(order, decision, key, passengers);
        for (in_hand, verdict) in &mut outcome.verdicts {
            let refund = notification(&in_hand.delivery).and_then(refund_named);
            let failure = unanswered.iter().find(|(id, _)| Some(id) == refund).map(|(_, failure)| failure);
            if let Some(failure) = failure {
                *verdict = self.verdict(&in_hand.delivery, failure, false);
                let item = replay_item(&in_hand.delivery);
                let tried = failure.class.is_counted().then_some(ReplayOutcome::Failed);
                for result in outcome.replayed.iter_mut().filter(|result| Some(result.item) == item) {
                    (result.outcome, result.detail) = (tried, failure.detail.clone());
                }
            }
        }
        outcome
    }

    /// The store was away for too long to compare the answer with it: once round the queue, uncounted.
    pub(crate) fn not_read(self, key: PaymentKey, passengers: Vec<InHand>, gave_up: &GaveUp) -> Outcome {
        let after = match gave_up {
            GaveUp::Stopped => Duration::ZERO,
            GaveUp::TooLong | GaveUp::Refused(_) => WAIT_SPREAD,
        };
        let wait = Wait { after, rest: Duration::ZERO, why: Pause::Unreachable, lasted: Duration::ZERO, first: false };
        self.round_again(key, passengers, &wait, "paused", "the store was away")
    }

    /// Once round the queue, uncounted, and nothing is written.
    fn round_again(
        self,
        key: PaymentKey,
        passengers: Vec<InHand>,
        wait: &Wait,
        word: &'static str,
        why: &str,
    ) -> Outcome {
        let verdicts = self.waiting(passengers, wait);
        Outcome::new(Some(key), Settlement::default(), verdicts, word, (None, why))
    }

    /// The provider answered about a payment that is registered under another of our accounts.
    pub(crate) fn answered_elsewhere(
        self,
        order: &Order,
        key: PaymentKey,
        passengers: Vec<InHand>,
        facts: &PaymentFacts,
        decision: Option<Decision>,
    ) -> Outcome {
        let Some(decision) = decision else {
            let text = format!("{key} is registered under another account, and says {}; nothing changes", facts.state);
            let settlement = Settlement {
                notifications: notifications(&passengers),
                about: Some(key.clone()),
                order: Some(order.id.clone()),
                timeline: vec![self.entry(TimelineKind::Refusal, &key, text)],
                ..Settlement::default()
            };
            let told = (Some(ReplayOutcome::Unchanged), "registered under another account");
            return Outcome::new(Some(key), settlement, acked(passengers), Decided::Refused.as_str(), told);
        };
        decided(order, decision, key, passengers)
    }

    /// The provider told us nothing. The payment stays what it was; notifications are tried again, looks of our own are put off.
    ///
    /// `probe`: it was asked on behalf of all that wait for its account, so that failing counts for none of them.
    pub(crate) fn unanswered(
        self,
        order: &Order,
        key: PaymentKey,
        passengers: Vec<InHand>,
        failure: &Failure,
        probe: bool,
    ) -> Outcome {
        let at_least = self.now.checked_add(failure.class.at_least()).unwrap_or(self.now);
        // One that nobody waits for gets no schedule by this, and loses none that it was given since it was read.
        let check = order.payment(&key).filter(|payment| is_watched(payment)).map(|payment| PaymentCheck {
            key: key.clone(),
            next_check_at: self.check_again(payment, at_least),
            checks: match failure.class.is_the_payments() {
                true => payment.checks.saturating_add(1),
                // An outage says nothing about the payment: it does not age it past hourly looks.
                false => payment.checks.saturating_add(1).min(Schedule::hourly(key.provider)).max(payment.checks),
            },
            asked: None,
        });
        let text = format!("asked {}: no answer to go by: {}", key.provider, failure.detail);
        let entry = self.entry(TimelineKind::Inquiry, &key, text);
        let settlement = Settlement {
            notifications: notifications(&passengers),
            about: Some(key.clone()),
            order: Some(order.id.clone()),
            // A probe fails once a minute, for as long as the account's trouble takes: that it is left alone is told already.
            timeline: if probe && !failure.class.is_the_payments() { Vec::new() } else { vec![entry] },
            check,
            change: None,
        };
        self.failed(Some(key), settlement, passengers, failure, "unanswered", probe)
    }

    /// Returns the next check of a payment that could not be asked about: an unfinished one by its schedule and not
    /// before `at_least`.
    fn check_again(self, payment: &Payment, at_least: Timestamp) -> Option<Timestamp> {
        match payment.is_unfinished() {
            true => {
                let next = self.schedule.next_check(payment.key.provider, payment.checks, None, self.now);
                Some(next.max(at_least))
            }
            false => late_check_again(payment, self.now),
        }
    }

    /// Applies a failure to deliveries: notifications go round through the queue until the schedule is used up, our own
    /// looks are on the payment's schedule, and a replay is told.
    fn failed(
        self,
        key: Option<PaymentKey>,
        settlement: Settlement,
        passengers: Vec<InHand>,
        failure: &Failure,
        word: &'static str,
        probe: bool,
    ) -> Outcome {
        let judged = |passenger: InHand| {
            let verdict = self.verdict(&passenger.delivery, failure, probe);
            (passenger, verdict)
        };
        let verdicts = passengers.into_iter().map(judged).collect();
        // What counts as no try is none for a replay, either.
        let tried = if probe || !failure.class.is_counted() { None } else { Some(ReplayOutcome::Failed) };
        let death = tried.map(|_| self.death(failure));
        Outcome { death, ..Outcome::new(key, settlement, verdicts, word, (tried, &failure.detail)) }
    }

    fn entry(self, kind: TimelineKind, key: &PaymentKey, text: String) -> TimelineEntry {
        TimelineEntry::new(self.now, kind, Some(key.clone()), text)
    }

    fn verdict(self, delivery: &Delivery, failure: &Failure, probe: bool) -> Verdict {
        if !goes_round(delivery) {
            return Verdict::Ack;
        }
        let (class, first_failed_at) = (failure.class, delivery.first_failed_at.unwrap_or(self.now));
        let counted = class.is_counted() && !probe;
        // What is not counted waits as if tried once: its account's pause is what holds it back.
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

    fn death(self, failure: &Failure) -> Death {
        Death { cause: failure.class.cause(), detail: failure.detail.clone(), died_at: self.now }
    }

    /// Round through the queue, unchanged, for as long as an account is left alone.
    fn waiting(self, passengers: Vec<InHand>, wait: &Wait) -> Vec<(InHand, Verdict)> {
        let judged = |passenger: InHand| {
            let verdict = self.waits(&passenger.delivery, wait);
            (passenger, verdict)
        };
        passengers.into_iter().map(judged).collect()
    }

    /// The same for one delivery: uncounted, and the longer it waits, the rarer.
    pub(crate) fn waits(self, delivery: &Delivery, wait: &Wait) -> Verdict {
        if !goes_round(delivery) {
            return Verdict::Ack;
        }
        let first_failed_at = delivery.first_failed_at.unwrap_or(self.now);
        let rest = match wait.why {
            Pause::Crowded => {
                let waited = Duration::try_from(self.now.duration_since(first_failed_at)).unwrap_or_default();
                (waited / CROWDED_PART).min(CROWDED_REST)
            }
            Pause::Unreachable | Pause::Throttled | Pause::Misconfigured => wait.rest,
        };
        let rest = self.schedule.longest_within(rest).unwrap_or_default();
        // A little later each, so that they do not all come back at once.
        let after = wait.after.saturating_add(jittered_fully(WAIT_SPREAD)).max(jittered(rest));
        let after = self.schedule.wait_within(after, LONGEST_REST);
        Verdict::Retry { after, attempt: delivery.attempt, first_failed_at }
    }
}

/// Returns true if an answer about a payment is still awaited: it is not finished, or a look at it was asked for.
fn is_watched(payment: &Payment) -> bool {
    payment.is_unfinished() || payment.next_check_at.is_some()
}

/// Returns true if a delivery that could not be settled is tried again as it is. A look of our own is on its payment's
/// schedule, and an item of a replay is the replay's to hand out again.
pub(crate) fn goes_round(delivery: &Delivery) -> bool {
    notification(delivery).is_some() && replay_item(delivery).is_none()
}

/// The item of a replay a delivery was made for.
fn replay_item(delivery: &Delivery) -> Option<Uuid> {
    delivery.envelope.as_ref().ok()?.replay
}

/// Returns true if these are all second tries of plain notifications of the payment whose first try was well before the
/// provider's last, final answer: that answer is newer than anything they could hint at, so asking again would only
/// cost. Both times are workers', a margin apart: their clocks differ.
pub(crate) fn overtaken(order: &Order, key: &PaymentKey, passengers: &[InHand], clocks_differ: SignedDuration) -> bool {
    let Some(payment) = order.payment(key).filter(|payment| payment.state.is_final()) else { return false };
    let Some(asked_at) = payment.asked_at else { return false };
    let is_older = |delivery: &Delivery| {
        // A refund is asked about by itself, and a dispute only its notification tells: no answer about the payment overtakes these.
        let plain = |it: &Notification| matches!(it.about, About::Payment(_)) && dispute_in(it, &it.body).is_none();
        let first_failed_at = delivery.first_failed_at.filter(|_| notification(delivery).is_some_and(plain));
        first_failed_at.is_some_and(|at| at.checked_add(clocks_differ).is_ok_and(|at| at < asked_at))
    };
    passengers.iter().all(|passenger| is_older(&passenger.delivery))
}

/// Logs a decision, and returns it as an outcome, to be written with the notifications that led to it.
fn decided(order: &Order, decision: Decision, key: PaymentKey, passengers: Vec<InHand>) -> Outcome {
    let Decision { change, timeline, outcome } = decision;
    tell(&change.order, &key, outcome);
    let check = only_asked(order, &change);
    let settlement = Settlement {
        notifications: notifications(&passengers),
        about: Some(key.clone()),
        order: Some(change.order.id.clone()),
        timeline,
        change: check.is_none().then_some(change),
        check,
    };
    let changed = match outcome {
        Decided::Applied | Decided::Revived | Decided::Held => ReplayOutcome::Changed,
        Decided::Unchanged | Decided::Refused => ReplayOutcome::Unchanged,
    };
    Outcome::new(Some(key), settlement, acked(passengers), outcome.as_str(), (Some(changed), outcome.as_str()))
}

/// The check that is left of a change by which nothing changes but when its payment was asked about, and is next. It moves no revision, so
/// that it conflicts with nobody.
pub(crate) fn only_asked(order: &Order, change: &Change) -> Option<PaymentCheck> {
    let Change { order: after, payment, events } = change;
    let stored = order.payment(&payment.key)?;
    let asked_before = Payment {
        asked_at: stored.asked_at,
        next_check_at: stored.next_check_at,
        checks: stored.checks,
        ..payment.clone()
    };
    if !events.is_empty() || asked_before != *stored {
        return None;
    }
    let alone = |it: &Order| Order { payments: Vec::new(), updated_at: it.created_at, ..it.clone() };
    let asked = Asked { at: payment.asked_at?, before: stored.asked_at };
    let Payment { key, next_check_at, checks, .. } = payment.clone();
    (alone(order) == alone(after)).then_some(PaymentCheck { key, next_check_at, checks, asked: Some(asked) })
}

/// The reason why a hint could not be settled, for this time or for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// The last answer, without bodies or secrets.
    pub(crate) detail: String,
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self { class: Class::of(&error), detail: error.to_string() }
    }
}

pub(crate) fn acked(passengers: Vec<InHand>) -> Vec<(InHand, Verdict)> {
    passengers.into_iter().map(|passenger| (passenger, Verdict::Ack)).collect()
}

pub(crate) fn notification(delivery: &Delivery) -> Option<&Notification> {
    notification_of(delivery.envelope.as_ref().ok()?)
}

/// The notification that an envelope carries, if it carries one.
pub(crate) fn notification_of(envelope: &Envelope) -> Option<&Notification> {
    match &envelope.hint {
        Hint::Notification(notification) => Some(notification),
        Hint::Ask { .. } | Hint::Tend { .. } | Hint::Release { .. } => None,
    }
}

fn notifications(passengers: &[InHand]) -> Vec<Notification> {
    passengers.iter().filter_map(|passenger| notification(&passenger.delivery)).cloned().collect()
}

/// Those of their notifications that were not put off before: the others are archived already, or are with what they come to.
fn new_ones(passengers: &[InHand]) -> Vec<Notification> {
    let new = passengers.iter().filter(|passenger| passenger.delivery.first_failed_at.is_none());
    new.filter_map(|passenger| notification(&passenger.delivery)).cloned().collect()
}

/// The notifications among them are kept, and nothing else is written.
pub(crate) fn archived(passengers: &[InHand]) -> Settlement {
    Settlement { notifications: notifications(passengers), ..Settlement::default() }
}

fn notified(passengers: &[InHand]) -> bool {
    passengers.iter().any(|passenger| notification(&passenger.delivery).is_some())
}

/// The log's one line about a decision; the timeline has the whole story.
fn tell(order: &Order, key: &PaymentKey, outcome: Decided) {
    let (id, state, version) = (&order.id, order.state, order.version);
    match outcome {
        Decided::Applied => tracing::info!(order.id = %id, payment = %key, version, "order {id} is {state}"),
        Decided::Unchanged | Decided::Refused => {
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
