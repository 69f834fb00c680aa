use std::sync::Arc;

use jiff::SignedDuration;
use payhook_provider::AskError;
use payhook_schema::{About, Money, Notification, PaymentKey, RefundId};
use payhook_store::PaymentName;
use tracing::{debug, warn};

use crate::breaker::Wait;
use crate::flights::InHand;
use crate::gate::{Shut, Who};
use crate::inquire::refund_named;
use crate::outcome::{Failure, goes_round, notification};
use crate::patience::GaveUp;
use crate::worker::Context;
use crate::writer;

/// A refund nobody announced is looked for at each try of its notification among this many payments, the newest, and as many others.
const LOOKS: u32 = 8;
const LOOKS_OF_REPLAY: u32 = 24;
/// No method takes a refund later than a year after the payment, a few weeks of 2024's exceptions aside.
const REFUNDABLE_FOR: SignedDuration = SignedDuration::from_hours(18 * 31 * 24);

/// The number of this look for the payment, and if it is a replay's.
#[derive(Clone, Copy)]
struct Look {
    attempt: u32,
    replayed: bool,
}

/// The reason why the payment of a notification was not found.
enum Lost {
    /// The payment is not known yet: the notification waits, like one whose order is not registered.
    Unknown(String),
    /// `probe`: asked on behalf of all that wait for the account.
    Unanswered {
        failure: Failure,
        probe: bool,
    },
    Paused(Wait),
    /// The store can never look it up.
    Refused(String),
    Store(GaveUp),
}

impl From<GaveUp> for Lost {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::Refused(why) => Self::Refused(why),
            gave_up => Self::Store(gave_up),
        }
    }
}

impl From<Wait> for Lost {
    fn from(wait: Wait) -> Self {
        Self::Paused(wait)
    }
}

impl From<Shut> for Lost {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::Failed(failure) => failure.into(),
            Shut::Wait(wait) => wait.into(),
        }
    }
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self::Unanswered { failure, probe: false }
    }
}

/// Finds the payment a notification is about that names it otherwise than by its id, and sends it there.
pub(crate) async fn find(context: Arc<Context>, in_hand: InHand) {
    let look = Look { attempt: in_hand.delivery.attempt, replayed: !goes_round(&in_hand.delivery) };
    if context.asked_lately.rests(&in_hand.delivery, context.clock.now()).is_some() {
        return context.repeated(in_hand).await;
    }
    let found = match notification(&in_hand.delivery) {
        Some(notification) => payment_of(&context, notification, look).await,
        None => return,
    };
    match found {
        Ok(key) => context.flights.board(key, in_hand),
        Err(Lost::Unknown(what)) => {
            debug!("a notification waits for what it is about: {what}");
            context.write(context.making().parked(None, what, vec![in_hand])).await;
        }
        Err(Lost::Unanswered { failure, probe }) => {
            warn!("cannot find out which payment a notification is about: {}", failure.detail);
            context.write(context.making().not_found_out(in_hand, &failure, probe)).await;
        }
        Err(Lost::Paused(wait)) => context.write(context.making().put_off(in_hand, &wait)).await,
        Err(Lost::Store(GaveUp::Stopped)) => drop(in_hand),
        Err(Lost::Refused(why)) => context.write(context.making().poison(in_hand, why)).await,
        Err(Lost::Store(GaveUp::TooLong | GaveUp::Refused(_))) => writer::go_round(&context, vec![in_hand]).await,
    }
}

async fn payment_of(context: &Context, notification: &Notification, look: Look) -> Result<PaymentKey, Lost> {
    let Notification { provider, account, .. } = notification;
    match &notification.about {
        About::Reference(reference) => {
            let name =
                PaymentName::Reference { provider: *provider, account: account.clone(), reference: reference.clone() };
            let found = context.patiently("looking a payment up", || context.store.payment_named(&name)).await?;
            found.ok_or_else(|| Lost::Unknown(format!("no payment is known as {reference} by {provider}")))
        }
        About::Refund { id, payment: None } => refunded_payment(context, notification, id, look).await,
        About::Payment(_)
        | About::Refund { payment: Some(_), .. }
        | About::Authorization(_)
        | About::Other
        | About::Unreadable(_) => {
            unreachable!("only what names its payment otherwise than by its id is looked for")
        }
    }
}

/// The payment a refund is of: as announced or told before; as Antom's answer says, should it; else the one, of those it may be,
/// whose inquiry lists the refund. A refund made in Antom's dashboard is found in no other way.
async fn refunded_payment(
    context: &Context,
    notification: &Notification,
    id: &RefundId,
    look: Look,
) -> Result<PaymentKey, Lost> {
    let (provider, account) = (notification.provider, notification.account.clone());
    let name = PaymentName::Refund { provider, account: account.clone(), id: id.clone() };
    if let Some(key) = context.patiently("looking a refund up", || context.store.payment_named(&name)).await? {
        return Ok(key);
    }
    let asking = context.gate(provider, &account, None, Who::Hint).await?.pass(None)?;
    context.asked_lately.note(std::iter::once(notification), context.clock.now());
    let unanswered = |error: AskError| Lost::Unanswered { failure: error.into(), probe: asking.is_probe };
    let of_account = |id| PaymentKey { provider, account: account.clone(), id };
    let answer = asking.refund(id).await.map_err(unanswered)?;
    if let Some(id) = answer.payment {
        return Ok(of_account(id));
    }
    // Its payment's inquiry may have told of it by Antom's name for it before.
    if let Some(Ok(id)) = answer.refund.provider_reference.clone().map(RefundId::new) {
        let name = PaymentName::Refund { provider, account: account.clone(), id };
        if let Some(key) = context.patiently("looking a refund up", || context.store.payment_named(&name)).await? {
            return Ok(key);
        }
    }
    if let Some(reference) = answer.reference {
        let name = PaymentName::Reference { provider, account: account.clone(), reference };
        if let Some(key) = context.patiently("looking a payment up", || context.store.payment_named(&name)).await? {
            return Ok(key);
        }
    }
    let unknown = || Lost::Unknown(format!("no payment is known that refund {id} is of; announce it with its order"));
    let amount = answer.refund.amount.ok_or_else(unknown)?;
    let mut trouble = None;
    for key in candidates(context, notification, amount, look).await? {
        match asking.payment(&key.id).await {
            Ok(facts) if facts.refunds.iter().any(|refund| refund.is_same(&answer.refund)) => return Ok(key),
            Ok(_) => {}
            Err(error) => {
                let failure = Failure::from(error);
                // What is one payment's says nothing of the others; what is the account's is theirs, too.
                if !failure.class.is_the_payments() {
                    return Err(failure.into());
                }
                // The refund may be of this one: whoever tries again looks again, and nobody gives up for it.
                trouble = Some(failure.detail);
            }
        }
    }
    if let Some(detail) = trouble {
        return Err(Lost::Unknown(format!(
            "no payment is known that refund {id} is of, and one could not be asked: {detail}"
        )));
    }
    Err(unknown())
}

/// The payments to look at this time: the newest each time, for they are likeliest and their last look may have come too early or to
/// nothing; and others, further back with each try.
async fn candidates(
    context: &Context,
    notification: &Notification,
    amount: Money,
    look: Look,
) -> Result<Vec<PaymentKey>, Lost> {
    debug_assert!(refund_named(notification).is_some() && notification.provider.profile().has_refund_inquiry);
    let since = context.clock.now() - REFUNDABLE_FOR;
    let (store, provider, account) = (&context.store, notification.provider, &notification.account);
    let from = async |skip, limit| {
        let find = || store.payments_refundable(provider, account, amount, since, skip, limit);
        context.patiently("looking for the payment of a refund", find).await
    };
    let further = look.attempt.saturating_sub(1).saturating_mul(LOOKS);
    match (look.replayed, further) {
        // There is no other try that would look further.
        (true, _) => Ok(from(0, LOOKS_OF_REPLAY).await?),
        (false, 0) => Ok(from(0, LOOKS).await?),
        (false, further) => Ok([from(0, LOOKS).await?, from(further, LOOKS).await?].concat()),
    }
}
