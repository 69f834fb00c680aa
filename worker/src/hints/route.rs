//! Sends each delivery where it is dealt with, once it is proven that it says what it says.

use std::sync::Arc;

use payhook_queue::Delivery;
use payhook_schema::{About, Because, Envelope, Hint, PaymentKey};
use tracing::{error, warn};

use crate::hints::delivery::{Consumption, InHand, Unacked};
use crate::hints::genuine::Doubt;
use crate::hints::outcome::{Group, HintOutcome};
use crate::hints::{Hints, find_payment, release};

/// The subject of a delivery, which decides who deals with it.
pub(crate) enum Subject {
    Payment(PaymentKey),
    /// A payment, too, but by another name than its id.
    NamedOtherwise,
    Authorization,
    Release,
    Nothing,
    /// Genuine, and not what its provider documents: why.
    Unreadable(String),
}

impl Subject {
    pub(crate) fn of(envelope: &Envelope) -> Self {
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

/// Sends a delivery where it is dealt with.
pub(crate) async fn route(hints: &Arc<Hints>, mut delivery: Delivery, consumption: &Arc<Consumption>) {
    let proven = prove(hints, &mut delivery).await;
    let subject = match &delivery.envelope {
        Ok(envelope) => Ok(Subject::of(envelope)),
        // Without its cause: serde's own words quote what was in it.
        Err(error) => Err(error.to_string()),
    };
    let id = delivery.envelope.as_ref().ok().map(|envelope| envelope.id);
    let unacked = Unacked::new(consumption.clone(), id);
    let in_hand = InHand { delivery, unacked, token: hints.context.in_hand.token() };
    let outcomes = hints.outcomes();
    if id.is_some_and(|id| hints.crashes.is_poison(id)) {
        error!("giving up on a hint whose processing panicked again and again");
        let why = "processing it panicked again and again: a bug of payhook".to_owned();
        return hints.write(outcomes.poison(Group::one(in_hand), why)).await;
    }
    if let Err(doubt) = proven {
        return hints.write(outcomes.unproven(Group::one(in_hand), &doubt.failure())).await;
    }
    match subject {
        Ok(Subject::Payment(key)) => hints.single_flight.join(key, in_hand),
        Ok(Subject::NamedOtherwise) => {
            tokio::spawn(find_payment::find(hints.clone(), in_hand));
        }
        Ok(Subject::Authorization) => {
            tokio::spawn(learn(hints.clone(), in_hand));
        }
        Ok(Subject::Release) => {
            tokio::spawn(release::deal_with(hints.clone(), in_hand));
        }
        Ok(Subject::Nothing) => {
            let outcome = HintOutcome::unchanged(Group::one(in_hand), None, "kept", "it is about nothing of ours");
            hints.write(outcome).await;
        }
        Ok(Subject::Unreadable(why)) => {
            let why = format!("genuine, and not what its provider documents: {why}");
            hints.write(outcomes.unreadable(Group::one(in_hand), why)).await;
        }
        Err(why) => {
            warn!("dead-lettering what is no envelope: {why}");
            hints.write(outcomes.poison(Group::one(in_hand), why)).await;
        }
    }
}

/// Deals with a delivery about an authorization.
async fn learn(hints: Arc<Hints>, in_hand: InHand) {
    let Ok(envelope) = &in_hand.delivery.envelope else { return };
    let learned = match &envelope.hint {
        Hint::Notification(notification) => hints.authorizations.learn_from(notification).await,
        Hint::Tend { authorization, because } => hints.authorizations.tend(authorization, *because).await,
        Hint::Ask { .. } | Hint::Release { .. } => return,
    };
    match learned {
        Ok(learned) => {
            // A graceful stop waits for what was begun, too: a token that a code was exchanged for must be stored.
            let _begun = hints.context.in_hand.token();
            hints.write(HintOutcome::done(in_hand, learned.word)).await;
            for id in learned.due {
                hints.authorizations.take_next_step(&id).await;
            }
        }
        Err(why) => hints.not_finished(Group::one(in_hand), why).await,
    }
}

/// Replaces a notification with what its bytes say, its body opened. It is sealed again before it is stored, and goes
/// round the queue as it came.
///
/// A body that cannot be opened does not stop the payment that it names in the clear: the payment is asked about all
/// the same.
async fn prove(hints: &Hints, delivery: &mut Delivery) -> Result<(), Doubt> {
    let context = &hints.context;
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
