use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use payhook_queue::{Delivery, Lane};
use payhook_schema::{About, Envelope, Hint, PaymentKey, Provider};
use payhook_store::Found;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::flights::{Generation, InHand, Unsettled};
use crate::outcome::{Making, Outcome, overtaken};
use crate::patience::{GaveUp, chain, jittered, patiently};
use crate::worker::Context;
use crate::{authorization, named, writer};

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
                let generation = Arc::new(Generation { settler: consumer.settler, broken: CancellationToken::new() });
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

/// One consumption, until it breaks or the worker stops.
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
                for delivery in taken {
                    sort(context, delivery, generation).await;
                }
            }
            Err(error) => {
                warn!(error = %chain(&error), "the flow of notifications broke off");
                return;
            }
        }
    }
}

/// What a delivery is about, and so who deals with it.
enum Concern {
    Payment(PaymentKey),
    /// A payment, too, but by another name than its id.
    NamedOtherwise,
    Authorization,
    Nothing,
}

impl Concern {
    fn of(envelope: &Envelope) -> Self {
        match &envelope.hint {
            Hint::Ask { payment, .. } => Self::Payment(payment.clone()),
            Hint::Tend { .. } => Self::Authorization,
            Hint::Notification(notification) => match (&notification.about, notification.payment()) {
                (_, Some(payment)) => Self::Payment(payment),
                (About::Reference(_) | About::Refund { .. }, None) => Self::NamedOtherwise,
                (About::Authorization(_), None) => Self::Authorization,
                (About::Payment(_) | About::Other, None) => Self::Nothing,
            },
        }
    }
}

/// Sends a delivery where it can be dealt with.
async fn sort(context: &Arc<Context>, delivery: Delivery, generation: &Arc<Generation>) {
    let concern = match &delivery.envelope {
        Ok(envelope) => Ok(Concern::of(envelope)),
        // Without its cause: serde's own words quote what was in it.
        Err(error) => Err(error.to_string()),
    };
    let unsettled = Unsettled::new(generation.clone());
    let in_hand = InHand { delivery, unsettled, token: context.in_hand.token() };
    match concern {
        Ok(Concern::Payment(key)) => context.flights.board(key, in_hand),
        Ok(Concern::NamedOtherwise) => {
            tokio::spawn(named::find(context.clone(), in_hand));
        }
        Ok(Concern::Authorization) => {
            tokio::spawn(authorization::settle(context.clone(), in_hand));
        }
        Ok(Concern::Nothing) => context.write(Making::kept(in_hand)).await,
        Err(why) => {
            warn!("dead-lettering what is no envelope: {why}");
            context.write(context.making().poison(in_hand, why)).await;
        }
    }
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
            Err(GaveUp::TooLong) => {
                for key in keys.drain(..) {
                    writer::go_round(&context, context.flights.depart(&key)).await;
                    context.flights.land(&key);
                }
            }
        }
    }
}

/// One payment, and whatever becomes of it: a panic is a bug of ours, and must not keep the payment from ever flying again.
async fn flight(context: Arc<Context>, key: PaymentKey, found: Found) {
    let flown = AssertUnwindSafe(fly(context.clone(), key.clone(), found)).catch_unwind().await;
    if flown.is_err() {
        error!(payment = %key, "settling {key} panicked; its hints come again");
        context.flights.land(&key);
    }
}

/// One payment: ask the provider, unless its order is not registered, and hand the outcome to the writer.
async fn fly(context: Arc<Context>, key: PaymentKey, found: Found) {
    let outcome = match &found {
        Found::Unknown => {
            let passengers = context.flights.depart(&key);
            context.making().parked_payment(key, passengers)
        }
        Found::Order(order) | Found::OtherAccount(order) => {
            let _permit = context.asking.acquire().await.expect("the semaphore is never closed");
            let passengers = context.flights.depart(&key);
            // Antom's ids are the merchant's own, and two accounts may use the same: its order may be registered yet.
            let elsewhere = matches!(found, Found::OtherAccount(_)) && key.provider == Provider::Antom;
            if elsewhere && context.making().can_wait(&passengers) {
                return context.write(context.making().parked_payment(key, passengers)).await;
            }
            if overtaken(order, &key, &passengers, context.options.clocks_differ) {
                return context.write(Making::settled_meanwhile(key, passengers)).await;
            }
            let answer = context.ask_whole(&key, order.payment(&key), &passengers).await;
            let making: Making<'_> = context.making();
            match (answer, &found) {
                (Ok(facts), Found::Order(_)) => making.answered(order, key, passengers, &facts),
                (Ok(facts), _) => making.answered_elsewhere(order, key, passengers, &facts),
                (Err(error), _) => {
                    warn!(payment = %key, error = %error, "no answer about {key}: {error}");
                    making.unanswered(order, key, passengers, &error)
                }
            }
        }
    };
    context.write(outcome).await;
}

impl Context {
    pub(crate) async fn write(&self, outcome: Outcome) {
        // The writers end only after everything in hand was settled or given up.
        let _ = self.outcomes.send(outcome).await;
    }
}
