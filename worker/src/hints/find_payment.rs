//! Finds the payment that a notification is about, where that names it otherwise than by its id.

use std::sync::Arc;

use jiff::SignedDuration;
use payhook_provider::AskError;
use payhook_queue::Delivery;
use payhook_schema::{About, Money, Notification, PaymentKey, RefundId};

use crate::ask::asking::refund_named;
use crate::ask::failure::{HintFailure, Unfinished};
use crate::ask::gate::Who;
use crate::hints::Hints;
use crate::hints::delivery::{InHand, goes_round, notification};
use crate::hints::outcome::Group;

/// A refund nobody announced is looked for at each try of its notification among this many payments, the newest, and as
/// many others.
const LOOKS: u32 = 8;
const LOOKS_OF_REPLAY: u32 = 24;
/// No method takes a refund later than a year after the payment, a few weeks of 2024's exceptions aside.
const REFUNDABLE_FOR: SignedDuration = SignedDuration::from_hours(18 * 31 * 24);

/// Finds the payment, and sends the notification there.
pub(crate) async fn find(hints: Arc<Hints>, in_hand: InHand) {
    if hints.asked_lately.rests(&in_hand.delivery, hints.context.clock.now()).is_some() {
        return hints.count_repeat(in_hand).await;
    }
    let Some(notification) = notification(&in_hand.delivery) else { return };
    match payment_of(&hints, notification, &in_hand.delivery).await {
        Ok(key) => hints.single_flight.join(key, in_hand),
        Err(why) => hints.not_finished(Group::one(in_hand), why).await,
    }
}

async fn payment_of(hints: &Hints, notification: &Notification, delivery: &Delivery) -> Result<PaymentKey, Unfinished> {
    let Notification { provider, account, .. } = notification;
    match &notification.about {
        About::Reference(reference) => {
            let found = hints.payment_by_reference(*provider, account, reference).await?;
            found.ok_or_else(|| Unfinished::Unknown(format!("no payment is known as {reference} by {provider}")))
        }
        About::Refund { id, payment: None } => refunded_payment(hints, notification, id, delivery).await,
        About::Payment(_)
        | About::Refund { payment: Some(_), .. }
        | About::Authorization(_)
        | About::Other
        | About::Unreadable(_) => {
            unreachable!("only what names its payment otherwise than by its id is looked for")
        }
    }
}

/// Returns the payment a refund is of: as announced or answered before; as Antom's answer names it; else the one, of
/// those it may be, whose inquiry lists the refund. A refund made in Antom's dashboard is found in no other way.
async fn refunded_payment(
    hints: &Hints,
    notification: &Notification,
    id: &RefundId,
    delivery: &Delivery,
) -> Result<PaymentKey, Unfinished> {
    let (provider, account) = (notification.provider, &notification.account);
    if let Some(key) = hints.payment_of_refund(provider, account, id).await? {
        return Ok(key);
    }
    let asking = hints.gate.enter(provider, account, Who::Hint).await?;
    hints.asked_lately.note(std::iter::once(notification), hints.context.clock.now());
    let unanswered = |error: AskError| Unfinished::Failed { failure: error.into(), probe: asking.is_probe };
    let answer = asking.refund(id).await.map_err(unanswered)?;
    if let Some(id) = answer.payment {
        return Ok(PaymentKey { provider, account: account.clone(), id });
    }
    // Its payment's inquiry may have listed it by Antom's name for it before.
    if let Some(Ok(id)) = answer.refund.provider_reference.clone().map(RefundId::new)
        && let Some(key) = hints.payment_of_refund(provider, account, &id).await?
    {
        return Ok(key);
    }
    if let Some(reference) = &answer.reference
        && let Some(key) = hints.payment_by_reference(provider, account, reference).await?
    {
        return Ok(key);
    }
    let unknown =
        || Unfinished::Unknown(format!("no payment is known that refund {id} is of; announce it with its order"));
    let amount = answer.refund.amount.ok_or_else(unknown)?;
    let mut trouble = None;
    for key in candidates(hints, notification, amount, delivery).await? {
        match asking.payment(&key.id).await {
            Ok(facts) if facts.refunds.iter().any(|refund| refund.is_same(&answer.refund)) => return Ok(key),
            Ok(_) => {}
            Err(error) => {
                let failure = HintFailure::from(error);
                // A failure of one payment leaves the others open; a failure of the account is theirs, too.
                if !failure.class.is_the_payments() {
                    return Err(failure.into());
                }
                // The refund may be of this one: whoever tries again looks again, and nobody gives up for it.
                trouble = Some(failure.detail);
            }
        }
    }
    if let Some(detail) = trouble {
        return Err(Unfinished::Unknown(format!(
            "no payment is known that refund {id} is of, and one could not be asked: {detail}"
        )));
    }
    Err(unknown())
}

/// The payments to look at this time: the newest each time, for they are likeliest and their last look may have come
/// too early or to nothing; and others, further back with each try.
async fn candidates(
    hints: &Hints,
    notification: &Notification,
    amount: Money,
    delivery: &Delivery,
) -> Result<Vec<PaymentKey>, Unfinished> {
    debug_assert!(refund_named(notification).is_some() && notification.provider.profile().has_refund_inquiry);
    let since = hints.context.clock.now() - REFUNDABLE_FOR;
    let (store, provider, account) = (&hints.context.store, notification.provider, &notification.account);
    let from = async |skip, limit| {
        let find = || store.payments_refundable(provider, account, amount, since, skip, limit);
        hints.context.store_retry("looking for the payment of a refund", find).await
    };
    let further = delivery.attempt.saturating_sub(1).saturating_mul(LOOKS);
    match (!goes_round(delivery), further) {
        // There is no other try that would look further.
        (true, _) => Ok(from(0, LOOKS_OF_REPLAY).await?),
        (false, 0) => Ok(from(0, LOOKS).await?),
        (false, further) => Ok([from(0, LOOKS).await?, from(further, LOOKS).await?].concat()),
    }
}
