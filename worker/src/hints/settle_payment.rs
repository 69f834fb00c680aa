//! Settles payments: looks each up, asks its provider, compares the answer with the order, and hands the outcome to the
//! writers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use payhook_schema::{Order, PaymentKey};
use payhook_store::Found;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::ask::asking::AnswerAboutPayment;
use crate::ask::failure::Unfinished;
use crate::ask::gate::Who;
use crate::hints::Hints;
use crate::hints::ack::go_round;
use crate::hints::delivery::{InHand, notifications};
use crate::hints::outcome::{DecidedOn, Group, HintOutcome, overtaken};
use crate::hints::refunds::OfOthers;
use crate::money::decide::{Question, decide};
use crate::schedule::NextCheck;
use crate::store_retry::{GaveUp, store_retry};

/// Payments looked up in one go.
const AT_MOST: usize = 64;

/// Looks up the payments that are due to be asked about, many at once, and sends each on its way.
pub(crate) async fn dispatch(hints: Arc<Hints>, mut due: mpsc::UnboundedReceiver<PaymentKey>, stop: CancellationToken) {
    let mut keys = Vec::with_capacity(AT_MOST);
    while due.recv_many(&mut keys, AT_MOST).await > 0 {
        match store_retry("looking up payments", &stop, || hints.context.store.payments_find(&keys)).await {
            Ok(found) => {
                for (key, found) in keys.drain(..).zip(found) {
                    tokio::spawn(settle(hints.clone(), key, found));
                }
            }
            // The deliveries in hand come back to the next worker.
            Err(GaveUp::Stopped) => return,
            Err(GaveUp::TooLong | GaveUp::Refused(_)) => {
                for key in keys.drain(..) {
                    go_round(hints.single_flight.take(&key), hints.context.clock.now()).await;
                    hints.single_flight.finish(&key);
                }
            }
        }
    }
}

/// Settles one payment, and survives a panic: that is a bug of ours, and must not keep the payment from ever being
/// settled again.
async fn settle(hints: Arc<Hints>, key: PaymentKey, found: Found) {
    let settling = async {
        match &found {
            Found::Unknown => {
                let group = Group { order: None, key: Some(key.clone()), deliveries: hints.single_flight.take(&key) };
                hints.not_finished(group, unregistered(&key)).await;
            }
            Found::Order(order) | Found::OtherAccount(order) => hints.ask_and_compare(order, &key).await,
        }
    };
    if AssertUnwindSafe(settling).catch_unwind().await.is_err() {
        error!(payment = %key, "settling {key} panicked; its hints come again");
        hints.single_flight.finish(&key);
    }
}

fn unregistered(key: &PaymentKey) -> Unfinished {
    Unfinished::Unknown(format!("no order was registered with payment {key}"))
}

/// Decides again on an outcome's answer and its order as it now is. Returns `None` if that panicked: its hints come
/// again.
pub(crate) async fn decide_again(hints: &Hints, outcome: HintOutcome) -> Option<HintOutcome> {
    let key = outcome.key.clone();
    let decided = AssertUnwindSafe(hints.compare_again(outcome)).catch_unwind().await;
    if let (Err(_), Some(key)) = (&decided, &key) {
        error!(payment = %key, "deciding again about {key} panicked; its hints come again");
        hints.single_flight.finish(key);
    }
    decided.ok()
}

impl Hints {
    /// Asks, if its account may be asked, and compares.
    async fn ask_and_compare(&self, order: &Order, key: &PaymentKey) {
        let (deliveries, answer) = self.ask(order, key).await;
        let group = Group { order: Some(order), key: Some(key.clone()), deliveries };
        match answer {
            Ok(answer) => self.write(self.compare(group, order, answer).await).await,
            Err(why) => self.not_finished(group, why).await,
        }
    }

    /// Asks about a payment, on behalf of the hints that wait for it; returns them with the answer.
    async fn ask(&self, order: &Order, key: &PaymentKey) -> (Vec<InHand>, Result<AnswerAboutPayment, Unfinished>) {
        // Repeats rest before it is anybody's turn: a turn is a part of the account's budget.
        let now = self.context.clock.now();
        let rests = |in_hand: &InHand| self.asked_lately.rests(&in_hand.delivery, now);
        if let Some(deliveries) = self.single_flight.take_if_all(key, |in_hand| rests(in_hand).is_some()) {
            let until = deliveries.iter().filter_map(rests).max().unwrap_or(now);
            return (deliveries, Err(Unfinished::Repeated(until)));
        }
        let turn = self.gate.turn(key.provider, &key.account, Some(key), Who::Hint).await;
        // Taken after the wait for the turn, so that hints that came meanwhile share the answer; and before the
        // question, because the answer may be older than what comes from now on.
        let deliveries = self.single_flight.take(key);
        let asking = async {
            let turn = turn?;
            self.is_worth_asking(order, key, &deliveries)?;
            // The breaker may have opened while we waited for our turn.
            let asking = turn.pass(Some(key))?;
            let notifications: Vec<_> = notifications(&deliveries).collect();
            self.asked_lately.note(notifications.iter().copied(), self.context.clock.now());
            let answer = asking.whole(key, order.payment(key), &notifications).await;
            answer.map_err(|error| Unfinished::Failed { failure: error.into(), probe: asking.is_probe })
        };
        let answer = asking.await;
        (deliveries, answer)
    }

    fn is_worth_asking(&self, order: &Order, key: &PaymentKey, deliveries: &[InHand]) -> Result<(), Unfinished> {
        let elsewhere = order.payment(key).is_none();
        // Two accounts of a merchant that gives the ids itself may use the same one: its order may be registered yet.
        if elsewhere && key.provider.profile().merchant_names_payments && self.outcomes().can_wait(deliveries) {
            return Err(unregistered(key));
        }
        match overtaken(order.payment(key), deliveries, self.context.options.clocks_differ) {
            true => Err(Unfinished::SettledMeanwhile),
            false => Ok(()),
        }
    }

    /// Compares an answer with its order. If that changes something, the outcome has the answer with it.
    async fn compare(&self, group: Group<'_>, order: &Order, answer: AnswerAboutPayment) -> HintOutcome {
        let (outcomes, key) = (self.outcomes(), group.key.clone().expect("a payment was asked about"));
        let now = outcomes.now;
        // The order is registered with the payment under another of our accounts: nothing of the answer is booked.
        let elsewhere = order.payment(&key).is_none();
        let of_others = match elsewhere {
            true => Ok(OfOthers::default()),
            false => self.refunds_of_others(order, &key, &answer).await,
        };
        let of_others = match of_others {
            Ok(of_others) => of_others,
            Err(gave_up) => return outcomes.store_away(group, &gave_up),
        };
        let next = match order.payment(&key) {
            Some(stored) => outcomes.schedule.after_answer(stored, group.is_notified(), answer.facts.expires_at, now),
            None => NextCheck { at: now, checks: 0 },
        };
        let (facts, foreign) = (answer.facts_without(&of_others.elsewhere), &of_others.foreign);
        let question =
            Question { order, key: &key, facts: &facts, foreign, elsewhere: &of_others.elsewhere, next, now };
        let unanswered = if elsewhere { &[] } else { &answer.unanswered[..] };
        let mut outcome = outcomes.answered(group, decide(&question), unanswered);
        let is_change = outcome.settlement.change.is_some();
        outcome.decided_on = is_change.then(|| DecidedOn { order: order.id.clone(), answer });
        outcome
    }

    /// Compares the same answer with the order as it now is: nobody needs to ask again, because hints that came after
    /// the question wait for the next one.
    async fn compare_again(&self, mut outcome: HintOutcome) -> HintOutcome {
        let Some(DecidedOn { order, answer }) = outcome.decided_on.take() else { return outcome };
        let (key, conflicts) = (outcome.key.clone(), outcome.conflicts);
        let read = || self.context.store.order_get(&order);
        let order = self.context.store_retry("reading an order again", read).await;
        let group = |order| Group { order, key, deliveries: outcome.into_deliveries().collect() };
        match order {
            Ok(Some(order)) => HintOutcome { conflicts, ..self.compare(group(Some(&order)), &order, answer).await },
            // Orders are never deleted: a database restored from a backup knows less for a while.
            Ok(None) => self.outcomes().store_away(group(None), &GaveUp::TooLong),
            Err(gave_up) => self.outcomes().store_away(group(None), &gave_up),
        }
    }
}
