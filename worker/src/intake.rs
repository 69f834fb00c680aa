use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use payhook_queue::{Delivery, Lane};
use payhook_schema::{About, Because, Envelope, Hint, Order, PaymentKey};
use payhook_store::Found;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::breaker::Wait;
use crate::decide::{Decision, decide_other_account};
use crate::flights::{Generation, InHand, Unsettled};
use crate::gate::Who;
use crate::genuine::Doubt;
use crate::inquire::Answer;
use crate::outcome::{Answered, Making, Outcome, goes_round, notification, overtaken};
use crate::patience::{GaveUp, chain, jittered, patiently};
use crate::worker::Context;
use crate::{authorization, named, release, writer};

/// Deliveries taken, and payments looked up, in one go.
const AT_MOST: usize = 64;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Takes hints for ever: a consumption that ends is started again.
pub(crate) async fn intake(context: Arc<Context>, stop: CancellationToken) {
    let prefetch = u16::try_from(context.options.concurrency * 2).unwrap_or(u16::MAX);
    let mut wait = FIRST_WAIT;
    while !stop.is_cancelled() {
        match context.queue.consume(Lane::Notifications, prefetch).await {
            Ok(consumer) => {
                info!(queue = %context.queue.address(), prefetch, "taking notifications");
                let generation = Arc::new(Generation {
                    settler: consumer.settler,
                    broken: CancellationToken::new(),
                    crashes: context.crashes.clone(),
                });
                let started = tokio::time::Instant::now();
                take(&context, consumer.deliveries, &generation, &stop).await;
                // One that breaks at once is waited for longer and longer: each time counts against what it held.
                if started.elapsed() > LONGEST_WAIT {
                    wait = FIRST_WAIT;
                }
            }
            Err(error) => warn!(error = %chain(&error), "cannot take notifications, trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(jittered(wait)) => wait = (wait * 2).min(LONGEST_WAIT),
        }
    }
}

/// Runs one consumption, until it breaks or the worker stops.
async fn take(
    context: &Arc<Context>,
    mut deliveries: Box<dyn payhook_queue::Deliveries>,
    generation: &Arc<Generation>,
    stop: &CancellationToken,
) {
    loop {
        let taken = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = generation.broken.cancelled() => return,
            taken = deliveries.next(AT_MOST) => taken,
        };
        match taken {
            Ok(taken) => {
                let mut waiting = Vec::new();
                for delivery in taken {
                    match still_waits(context, &delivery) {
                        Some(wait) => waiting.push((delivery, wait)),
                        None => sort(context, delivery, generation).await,
                    }
                }
                if !waiting.is_empty() {
                    pass_on(context, waiting, generation);
                }
            }
            Err(error) => {
                warn!(error = %chain(&error), "the flow of notifications broke off");
                return;
            }
        }
    }
}

/// The subject of a delivery, which decides who deals with it.
enum Concern {
    Payment(PaymentKey),
    /// A payment, too, but by another name than its id.
    NamedOtherwise,
    Authorization,
    Release,
    Nothing,
    /// Genuine, and not what its provider documents: why.
    Unreadable(String),
}

impl Concern {
    fn of(envelope: &Envelope) -> Self {
        match &envelope.hint {
            Hint::Ask { payment, .. } => Self::Payment(payment.clone()),
            Hint::Tend { .. } => Self::Authorization,
            Hint::Release { .. } => Self::Release,
            Hint::Notification(notification) => match (&notification.about, notification.payment()) {
                (_, Some(payment)) => Self::Payment(payment),
                (About::Reference(_) | About::Refund { .. }, None) => Self::NamedOtherwise,
                (About::Authorization(_), None) => Self::Authorization,
                (About::Payment(_) | About::Other, None) => Self::Nothing,
                (About::Unreadable(why), None) => Self::Unreadable(why.clone()),
            },
        }
    }
}

/// Returns the wait of a notification that has waited for its account before, and has to again. It was archived when it
/// was put off first, its payment's timeline says why it waits, and the payment is due once the account answers:
/// nothing is looked up or written for it any more.
fn still_waits(context: &Context, delivery: &Delivery) -> Option<Wait> {
    let it = notification(delivery).filter(|_| delivery.first_failed_at.is_some() && goes_round(delivery))?;
    let is_asked_about =
        matches!(Concern::of(delivery.envelope.as_ref().ok()?), Concern::Payment(_) | Concern::NamedOtherwise);
    let wait = || context.breakers.left_alone(it.provider, &it.account, None, Instant::now());
    is_asked_about.then(wait).flatten()
}

/// Gives hints another round through the queue, all at once and as they came.
fn pass_on(context: &Context, waiting: Vec<(Delivery, Wait)>, generation: &Arc<Generation>) {
    metrics::counter!("payhook_worker_outcomes_total", "outcome" => "waiting").increment(waiting.len() as u64);
    let making = context.making();
    let judged = |(delivery, wait): (Delivery, Wait)| {
        let (unsettled, verdict) = (Unsettled::new(generation.clone(), None), making.waits(&delivery, &wait));
        (InHand { delivery, unsettled, token: context.in_hand.token() }, verdict)
    };
    tokio::spawn(writer::settle(waiting.into_iter().map(judged).collect()));
}

/// Sends a delivery where it can be dealt with, once it is proven that it says what it says.
async fn sort(context: &Arc<Context>, mut delivery: Delivery, generation: &Arc<Generation>) {
    let proven = prove(context, &mut delivery).await;
    let concern = match &delivery.envelope {
        Ok(envelope) => Ok(Concern::of(envelope)),
        // Without its cause: serde's own words quote what was in it.
        Err(error) => Err(error.to_string()),
    };
    let id = delivery.envelope.as_ref().ok().map(|envelope| envelope.id);
    let unsettled = Unsettled::new(generation.clone(), id);
    let in_hand = InHand { delivery, unsettled, token: context.in_hand.token() };
    if id.is_some_and(|id| context.crashes.is_poison(id)) {
        error!("giving up on a hint whose processing panicked again and again");
        let why = "processing it panicked again and again: a bug of payhook".to_owned();
        return context.write(context.making().poison(in_hand, why)).await;
    }
    if let Err(doubt) = proven {
        return context.write(context.making().unproven(in_hand, &doubt.failure())).await;
    }
    match concern {
        Ok(Concern::Payment(key)) => context.flights.board(key, in_hand),
        Ok(Concern::NamedOtherwise) => {
            tokio::spawn(named::find(context.clone(), in_hand));
        }
        Ok(Concern::Authorization) => {
            tokio::spawn(authorization::settle(context.clone(), in_hand));
        }
        Ok(Concern::Release) => {
            tokio::spawn(release::settle(context.clone(), in_hand));
        }
        Ok(Concern::Nothing) => context.write(Making::kept(in_hand)).await,
        Ok(Concern::Unreadable(why)) => {
            let why = format!("genuine, and not what its provider documents: {why}");
            context.write(context.making().unreadable(in_hand, why)).await;
        }
        Err(why) => {
            warn!("dead-lettering what is no envelope: {why}");
            context.write(context.making().poison(in_hand, why)).await;
        }
    }
}

/// Replaces a notification with what its bytes say, its body opened. It is sealed again before it is stored, and goes round the queue as it
/// came.
///
/// A body that cannot be opened does not stop the payment that it names in the clear: the payment is asked about all the same.
async fn prove(context: &Context, delivery: &mut Delivery) -> Result<(), Doubt> {
    let Ok(Envelope { hint: Hint::Notification(notification), .. }) = &mut delivery.envelope else { return Ok(()) };
    match context.genuine(notification).await {
        Ok(genuine) => **notification = genuine,
        Err(doubt) => {
            if let (Doubt::Sealed(why), Some(payment)) = (&doubt, notification.payment()) {
                error!(payment = %payment, "a notification cannot be opened, its payment is asked about: {why}");
                let envelope = Envelope::ask(payment, Because::Sweep, context.clock.now());
                // Where this cannot be published, the sweep asks, or the notification's next try.
                let _ = context.queue.publish(&envelope).await;
            }
            return Err(doubt);
        }
    }
    Ok(())
}

/// Looks up the payments that are due to be asked about, many at once, and sends each on its way.
pub(crate) async fn dispatch(
    context: Arc<Context>,
    mut departures: mpsc::UnboundedReceiver<PaymentKey>,
    stop: CancellationToken,
) {
    let mut keys = Vec::with_capacity(AT_MOST);
    while departures.recv_many(&mut keys, AT_MOST).await > 0 {
        let found = patiently("looking up payments", &stop, || context.store.payments_find(&keys)).await;
        match found {
            Ok(found) => {
                for (key, found) in keys.drain(..).zip(found) {
                    tokio::spawn(flight(context.clone(), key, found));
                }
            }
            // What is in hand comes back to whoever runs next.
            Err(GaveUp::Stopped) => return,
            Err(GaveUp::TooLong | GaveUp::Refused(_)) => {
                for key in keys.drain(..) {
                    writer::go_round(&context, context.flights.depart(&key)).await;
                    context.flights.land(&key);
                }
            }
        }
    }
}

/// Settles one payment, and survives a panic: that is a bug of ours, and must not keep the payment from ever flying
/// again.
async fn flight(context: Arc<Context>, key: PaymentKey, found: Found) {
    let flown = AssertUnwindSafe(fly(context.clone(), key.clone(), found)).catch_unwind().await;
    if flown.is_err() {
        error!(payment = %key, "settling {key} panicked; its hints come again");
        context.flights.land(&key);
    }
}

/// Decides again on an outcome's answer and its order as it now is. Returns `None` if that panicked: as in a flight,
/// its hints come again.
pub(crate) async fn decide_again(context: &Context, outcome: Outcome) -> Option<Outcome> {
    let key = outcome.key.clone();
    let decided = AssertUnwindSafe(context.compare_again(outcome)).catch_unwind().await;
    if let (Err(_), Some(key)) = (&decided, &key) {
        error!(payment = %key, "deciding again about {key} panicked; its hints come again");
        context.flights.land(key);
    }
    decided.ok()
}

/// Asks the provider about one payment, unless its order is not registered, and hands the outcome to the writer.
async fn fly(context: Arc<Context>, key: PaymentKey, found: Found) {
    let outcome = match &found {
        Found::Unknown => {
            let passengers = context.flights.depart(&key);
            context.making().parked_payment(key, passengers)
        }
        Found::Order(order) => ask_and_compare(&context, order, key, false).await,
        Found::OtherAccount(order) => ask_and_compare(&context, order, key, true).await,
    };
    context.write(outcome).await;
}

/// Asks, if its account may be asked, and compares. Hints that came until then share the answer.
///
/// `elsewhere`: the order is registered with this payment under another of our accounts.
async fn ask_and_compare(context: &Context, order: &Order, key: PaymentKey, elsewhere: bool) -> Outcome {
    // Before it is anybody's turn: a turn is a part of the account's budget.
    let now = context.clock.now();
    let rests = |passenger: &InHand| context.asked_lately.rests(&passenger.delivery, now);
    if let Some(passengers) = context.flights.depart_if(&key, |passenger| rests(passenger).is_some()) {
        let until = passengers.iter().filter_map(rests).max().unwrap_or(now);
        return Outcome::repeated(order, key, passengers, until);
    }
    let gate = match context.gate(key.provider, &key.account, Some(&key), Who::Hint).await {
        Ok(gate) => gate,
        Err(shut) => {
            let passengers = context.flights.depart(&key);
            return context.making().shut(order, key, passengers, &shut);
        }
    };
    let passengers = context.flights.depart(&key);
    // Two accounts of a merchant that gives the ids itself may use the same one: its order may be registered yet.
    if elsewhere && key.provider.profile().merchant_names_payments && context.making().can_wait(&passengers) {
        return context.making().parked_payment(key, passengers);
    }
    if overtaken(order, &key, &passengers, context.options.clocks_differ) {
        return Making::settled_meanwhile(key, passengers);
    }
    let asking = match gate.pass(Some(&key)) {
        Ok(asking) => asking,
        Err(wait) => return context.making().paused(order, key, passengers, &wait),
    };
    context.asked_lately.note(passengers.iter().filter_map(|it| notification(&it.delivery)), context.clock.now());
    let (answer, probe) = (asking.whole(&key, order.payment(&key), &passengers).await, asking.is_probe);
    drop(asking);
    match answer {
        Ok(answer) => {
            let answered = Answered { order: order.id.clone(), answer, elsewhere };
            context.compare(order, key, passengers, answered).await
        }
        Err(error) => {
            warn!(payment = %key, error = %error, "no answer about {key}: {error}");
            context.making().unanswered(order, key, passengers, &error.into(), probe)
        }
    }
}

impl Context {
    /// Compares an answer with its order. If that changes something, the outcome has the answer with it.
    async fn compare(&self, order: &Order, key: PaymentKey, passengers: Vec<InHand>, answered: Answered) -> Outcome {
        let (making, answer) = (self.making(), &answered.answer);
        let mut outcome = if answered.elsewhere {
            let decision = decide_other_account(order, &key, &answer.facts, making.now);
            making.answered_elsewhere(order, key, passengers, &answer.facts, decision)
        } else {
            match self.decision(order, &key, answer, &passengers).await {
                Ok(decision) => making.answered(order, key, passengers, decision, &answer.unanswered),
                Err(gave_up) => making.not_read(key, passengers, &gave_up),
            }
        };
        outcome.answered = outcome.settlement.change.is_some().then_some(answered);
        outcome
    }

    /// Compares the same answer with the order as it now is: nobody needs to ask again, because hints that came after the question wait
    /// for the next one.
    async fn compare_again(&self, mut outcome: Outcome) -> Outcome {
        let (Some(key), Some(answered)) = (outcome.key.clone(), outcome.answered.take()) else { return outcome };
        let passengers = outcome.verdicts.into_iter().map(|(passenger, _)| passenger).collect();
        let order = self.patiently("reading an order again", || self.store.order_get(&answered.order)).await;
        match order {
            Ok(Some(order)) => {
                Outcome { conflicts: outcome.conflicts, ..self.compare(&order, key, passengers, answered).await }
            }
            // Orders are never deleted: a database restored from a backup knows less for a while.
            Ok(None) => self.making().not_read(key, passengers, &GaveUp::TooLong),
            Err(gave_up) => self.making().not_read(key, passengers, &gave_up),
        }
    }

    /// Decides about an answer, with all that is known beside it.
    async fn decision(
        &self,
        order: &Order,
        key: &PaymentKey,
        answer: &Answer,
        passengers: &[InHand],
    ) -> Result<Decision, GaveUp> {
        let of_others = self.refunds_of_others(order, key, answer).await?;
        Ok(self.making().decision(order, key, answer, passengers, &of_others))
    }

    pub(crate) async fn write(&self, mut outcome: Outcome) {
        self.spare_repeats(&mut outcome).await;
        // The writers end only after everything in hand was settled or given up.
        let _ = self.outcomes.send(outcome).await;
    }
}
