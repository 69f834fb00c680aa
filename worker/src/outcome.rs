use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::{AskError, dispute_told};
use payhook_queue::{Death, Delivery, Verdict};
use payhook_schema::{About, Because, DeadCause, Hint, Notification, Order, PaymentFacts, PaymentKey, TimelineKind};
use payhook_store::{PaymentCheck, Settlement, TimelineEntry};

use crate::Schedule;
use crate::decide::{Decided, Decision, NextCheck, decide, decide_other_account};
use crate::flights::InHand;

/// What one flight, or one delivery that needed none, comes to: written in one transaction, then settled on the queue.
pub(crate) struct Outcome {
    pub(crate) key: Option<PaymentKey>,
    pub(crate) settlement: Settlement,
    pub(crate) verdicts: Vec<(InHand, Verdict)>,
    pub(crate) word: &'static str,
}

/// What every outcome is made with.
#[derive(Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) schedule: &'a Schedule,
    pub(crate) now: Timestamp,
}

impl Making<'_> {
    /// Bytes that are no envelope: kept as they are, for a person.
    pub(crate) fn poison(self, in_hand: InHand, why: String) -> Outcome {
        let death = Death { cause: DeadCause::Poison, detail: why, died_at: self.now };
        let verdicts = vec![(in_hand, Verdict::DeadLetter(death))];
        Outcome { key: None, settlement: Settlement::default(), verdicts, word: "poison" }
    }

    /// Genuine, and nothing to settle: kept.
    pub(crate) fn kept(in_hand: InHand) -> Outcome {
        let notifications = notification(&in_hand.delivery).cloned().into_iter().collect();
        let settlement = Settlement { notifications, ..Settlement::default() };
        Outcome { key: None, settlement, verdicts: vec![(in_hand, Verdict::Ack)], word: "kept" }
    }

    /// Tried again, and settled by another hint since: kept.
    pub(crate) fn settled_meanwhile(key: PaymentKey, passengers: Vec<InHand>) -> Outcome {
        let notifications = notifications(&passengers);
        let settlement = Settlement { notifications, about: Some(key.clone()), ..Settlement::default() };
        Outcome { key: Some(key), settlement, verdicts: acked(passengers), word: "settled_meanwhile" }
    }

    /// Its order is not registered yet. Registration links it at once.
    pub(crate) fn parked_payment(self, key: PaymentKey, passengers: Vec<InHand>) -> Outcome {
        let what = format!("no order was registered with payment {key}");
        self.parked(Some(key), what, passengers)
    }

    /// What it is about is not known yet: kept, and tried again until the schedule ends.
    pub(crate) fn parked(self, key: Option<PaymentKey>, what: String, passengers: Vec<InHand>) -> Outcome {
        let settlement = Settlement { notifications: notifications(&passengers), ..Settlement::default() };
        let failure = Failure {
            cause: DeadCause::UnknownPayment,
            detail: what,
            at_least: Duration::ZERO,
            is_the_payments: true,
            is_final: false,
        };
        let verdicts = self.retried(passengers, &failure);
        Outcome { key, settlement, verdicts, word: "parked" }
    }

    /// The provider did not tell which payment a notification is about, or what to do about an authorization.
    pub(crate) fn not_found_out(self, in_hand: InHand, error: &AskError) -> Outcome {
        let settlement =
            Settlement { notifications: notifications(std::slice::from_ref(&in_hand)), ..Settlement::default() };
        let verdicts = self.retried(vec![in_hand], &Failure::of(error));
        Outcome { key: None, settlement, verdicts, word: "unanswered" }
    }

    /// Dealt with and written already: only the queue is still to hear of it.
    pub(crate) fn done(in_hand: InHand, word: &'static str) -> Outcome {
        Outcome { key: None, settlement: Settlement::default(), verdicts: vec![(in_hand, Verdict::Ack)], word }
    }

    /// Whether none of these would be given up on, were it tried once more.
    pub(crate) fn can_wait(self, passengers: &[InHand]) -> bool {
        passengers.iter().all(|passenger| self.schedule.retry_after(passenger.delivery.attempt).is_some())
    }

    /// The provider answered.
    pub(crate) fn answered(
        self,
        order: &Order,
        key: PaymentKey,
        passengers: Vec<InHand>,
        facts: &PaymentFacts,
    ) -> Outcome {
        let stored = order.payment(&key).expect("the order was found by this payment");
        // Something new was said, so the payment is watched closely again; a look of our own goes on down the table.
        let checks = if notified(&passengers) { 0 } else { stored.checks };
        let next = self.schedule.next_check(key.provider, checks, facts.expires_at, self.now);
        let decision = decide(order, &key, facts, NextCheck { at: next, checks: checks.saturating_add(1) }, self.now);
        decided(decision, key, passengers)
    }

    /// The provider answered about a payment that is registered under another of our accounts.
    pub(crate) fn answered_elsewhere(
        self,
        order: &Order,
        key: PaymentKey,
        passengers: Vec<InHand>,
        facts: &PaymentFacts,
    ) -> Outcome {
        let Some(decision) = decide_other_account(order, &key, facts, self.now) else {
            let settlement = Settlement {
                notifications: notifications(&passengers),
                about: Some(key.clone()),
                order: Some(order.id.clone()),
                timeline: vec![TimelineEntry {
                    at: self.now,
                    kind: TimelineKind::Refusal,
                    text: format!(
                        "{key} is registered under another account, and says {}; nothing changes",
                        facts.state
                    ),
                    payment: Some(key.clone()),
                    detail: serde_json::Value::Null,
                }],
                ..Settlement::default()
            };
            return Outcome {
                key: Some(key),
                settlement,
                verdicts: acked(passengers),
                word: Decided::Refused.as_str(),
            };
        };
        decided(decision, key, passengers)
    }

    /// The provider told us nothing. The payment stays what it was; notifications are tried again, looks of our own are put off.
    pub(crate) fn unanswered(
        self,
        order: &Order,
        key: PaymentKey,
        passengers: Vec<InHand>,
        error: &AskError,
    ) -> Outcome {
        let failure = Failure::of(error);
        let at_least = self.now.checked_add(failure.at_least).unwrap_or(self.now);
        let check = order.payment(&key).map(|payment| PaymentCheck {
            key: key.clone(),
            // A finished payment was looked at because somebody asked; it is not looked at again by itself.
            next_check_at: payment
                .is_unfinished()
                .then(|| self.schedule.next_check(key.provider, payment.checks, None, self.now).max(at_least)),
            checks: match failure.is_the_payments {
                true => payment.checks.saturating_add(1),
                // An outage says nothing about the payment: it does not age it past hourly looks.
                false => payment.checks.saturating_add(1).min(Schedule::hourly(key.provider)).max(payment.checks),
            },
        });
        let settlement = Settlement {
            notifications: notifications(&passengers),
            about: Some(key.clone()),
            order: Some(order.id.clone()),
            timeline: vec![TimelineEntry {
                at: self.now,
                kind: TimelineKind::Inquiry,
                payment: Some(key.clone()),
                text: format!("asked {}: no answer to go by: {error}", key.provider),
                detail: serde_json::Value::Null,
            }],
            check,
            change: None,
        };
        let verdicts = self.retried(passengers, &failure);
        Outcome { key: Some(key), settlement, verdicts, word: "unanswered" }
    }

    /// Notifications go round through the queue until the schedule is used up; our own looks are on the payment's schedule.
    fn retried(self, passengers: Vec<InHand>, failure: &Failure) -> Vec<(InHand, Verdict)> {
        let verdict = |delivery: &Delivery| {
            if notification(delivery).is_none() && !is_replay(delivery) {
                return Verdict::Ack;
            }
            match self.schedule.retry_after(delivery.attempt).filter(|_| !failure.is_final) {
                Some(delay) => Verdict::Retry {
                    after: delay.max(failure.at_least),
                    attempt: delivery.attempt.saturating_add(1),
                    first_failed_at: delivery.first_failed_at.unwrap_or(self.now),
                },
                None => Verdict::DeadLetter(Death {
                    cause: failure.cause,
                    detail: failure.detail.clone(),
                    died_at: self.now,
                }),
            }
        };
        let judged = |passenger: InHand| {
            let verdict = verdict(&passenger.delivery);
            (passenger, verdict)
        };
        passengers.into_iter().map(judged).collect()
    }
}

/// Whether these are all second tries of plain notifications of the payment whose first try was well before the provider's last, final answer: that answer is
/// newer than anything they could hint at, so asking again would only cost. Both times are workers', a margin apart: their clocks differ.
pub(crate) fn overtaken(order: &Order, key: &PaymentKey, passengers: &[InHand], clocks_differ: SignedDuration) -> bool {
    let Some(payment) = order.payment(key).filter(|payment| payment.state.is_final()) else { return false };
    let Some(asked_at) = payment.asked_at else { return false };
    let is_older = |delivery: &Delivery| {
        // A refund is asked about by itself, and a dispute only its notification tells: no answer about the payment overtakes these.
        let plain = |it: &Notification| matches!(it.about, About::Payment(_)) && dispute_told(it, &it.body).is_none();
        let first_failed_at = delivery.first_failed_at.filter(|_| notification(delivery).is_some_and(plain));
        first_failed_at.is_some_and(|at| at.checked_add(clocks_differ).is_ok_and(|at| at < asked_at))
    };
    passengers.iter().all(|passenger| is_older(&passenger.delivery))
}

/// What was decided, told to the log, to be written with the notifications that led to it.
fn decided(decision: Decision, key: PaymentKey, passengers: Vec<InHand>) -> Outcome {
    let Decision { change, timeline, outcome } = decision;
    tell(&change.order, &key, outcome);
    let settlement = Settlement {
        notifications: notifications(&passengers),
        about: Some(key.clone()),
        order: Some(change.order.id.clone()),
        timeline,
        check: None,
        change: Some(change),
    };
    Outcome { key: Some(key), settlement, verdicts: acked(passengers), word: outcome.as_str() }
}

/// What a failed try means for the deliveries that wanted it.
struct Failure {
    cause: DeadCause,
    detail: String,
    at_least: Duration,
    /// Whether it is about this payment, and not about the provider or the account.
    is_the_payments: bool,
    /// Whether trying again will not help: a person must look.
    is_final: bool,
}

impl Failure {
    /// One place where every class of error decides what becomes of a delivery.
    fn of(error: &AskError) -> Self {
        let (cause, at_least) = match error {
            AskError::Unavailable { .. } => (DeadCause::ProviderUnreachable, Duration::ZERO),
            AskError::Throttled { after } => (DeadCause::ProviderUnreachable, after.unwrap_or_default()),
            AskError::NotThere { .. } | AskError::Refused { .. } | AskError::OutsideTables { .. } => {
                (DeadCause::ProviderRefused, Duration::ZERO)
            }
            AskError::Misconfigured { .. } => (DeadCause::Misconfigured, Duration::ZERO),
        };
        let is_final = matches!(error, AskError::Refused { .. } | AskError::OutsideTables { .. });
        let is_the_payments = is_final || matches!(error, AskError::NotThere { .. });
        Self { cause, detail: error.to_string(), at_least, is_the_payments, is_final }
    }
}

fn acked(passengers: Vec<InHand>) -> Vec<(InHand, Verdict)> {
    passengers.into_iter().map(|passenger| (passenger, Verdict::Ack)).collect()
}

pub(crate) fn notification(delivery: &Delivery) -> Option<&Notification> {
    match &delivery.envelope.as_ref().ok()?.hint {
        Hint::Notification(notification) => Some(notification),
        Hint::Ask { .. } | Hint::Tend { .. } => None,
    }
}

fn notifications(passengers: &[InHand]) -> Vec<Notification> {
    passengers.iter().filter_map(|passenger| notification(&passenger.delivery)).cloned().collect()
}

fn notified(passengers: &[InHand]) -> bool {
    passengers.iter().any(|passenger| notification(&passenger.delivery).is_some())
}

/// An operator waits for the result of a replay, so it may not end silently.
fn is_replay(delivery: &Delivery) -> bool {
    let hint = delivery.envelope.as_ref().map(|envelope| &envelope.hint);
    matches!(hint, Ok(Hint::Ask { because: Because::Replay, .. }))
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
            let reason = order.hold.as_ref().map_or("-", |hold| hold.reason.as_str());
            tracing::warn!(order.id = %id, payment = %key, version, reason, "order {id} is held: {reason}");
        }
    }
}
