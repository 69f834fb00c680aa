//! Moves dead letters from the queue, which only carries them, into the store, which holds them for a person.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use payhook_queue::{Death, Delivery, Lane, Verdict};
use payhook_schema::{DeadCause, DeadLetterState, Envelope, Hint, Notification, content_id, jittered, keepable_time};
use payhook_store::DeadLetter;
use payhook_vault::Vault;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

use crate::context::Context;
use crate::error_chain::chain;
use crate::hints::delivery::notification_of;
use crate::hints::repeats::letter_id;
use crate::store_retry::{GaveUp, store_retry};

const PREFETCH: u16 = 32;
const WAIT: Duration = Duration::from_secs(2);

/// Runs until `stop`: a consumption that ends is started again.
pub(crate) async fn move_to_store(context: Arc<Context>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = consume_dead(&context, &stop).await {
            warn!(error = %chain(&error), "cannot take dead letters, trying again");
        }
        stop.run_until_cancelled(tokio::time::sleep(jittered(WAIT))).await;
    }
}

/// Runs one consumption of the dead lane: insert, commit, ack.
async fn consume_dead(context: &Context, stop: &CancellationToken) -> Result<(), payhook_queue::QueueError> {
    let mut consumer = context.queue.consume(Lane::Dead, PREFETCH).await?;
    loop {
        let deliveries = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            taken = consumer.deliveries.next(usize::from(PREFETCH)) => taken?,
        };
        let mut letters: Vec<DeadLetter> = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            letters.push(letter(context, delivery).await);
        }
        match store(context, stop, &letters).await {
            Ok(()) => {
                for letter in &letters {
                    let cause = letter.cause;
                    metrics::counter!("payhook_dead_letters_total", "cause" => cause.as_str()).increment(1);
                    warn!(dead_letter.id = %letter.id, %cause, attempts = letter.attempts, "dead letter kept: {cause}");
                }
                let acked: Vec<_> = deliveries.into_iter().map(|delivery| (delivery, Verdict::Ack)).collect();
                consumer.settler.settle(&acked).await?;
            }
            // They stay on the queue, where they are safe.
            Err(GaveUp::Stopped | GaveUp::TooLong) => return Ok(()),
            Err(GaveUp::Refused(why)) => {
                error!("the store keeps a dead letter in no form: {why}");
                return Ok(());
            }
        }
    }
}

/// Stores letters together; where one of them has a value that the store does not keep, each alone, and that one
/// without the value.
async fn store(context: &Context, stop: &CancellationToken, letters: &[DeadLetter]) -> Result<(), GaveUp> {
    let write = async |letters: &[DeadLetter]| {
        store_retry("keeping dead letters", stop, || context.store.dead_letter_keep(letters)).await
    };
    match write(letters).await {
        Err(GaveUp::Refused(_)) => {}
        done => return done,
    }
    for letter in letters {
        match write(std::slice::from_ref(letter)).await {
            Err(GaveUp::Refused(why)) => {
                error!(dead_letter.id = %letter.id, "a dead letter is kept as bytes only: {why}");
                write(&[bytes_only(letter, &why, context.clock.now())]).await?;
            }
            done => done?,
        }
    }
    Ok(())
}

/// A letter with nothing of what is in it but its exact bytes.
fn bytes_only(letter: &DeadLetter, why: &str, now: Timestamp) -> DeadLetter {
    DeadLetter {
        detail: format!("{} (kept as bytes only: {why})", letter.detail),
        provider: None,
        account: None,
        payment: None,
        notification: None,
        first_failed_at: now,
        last_failed_at: now,
        ..letter.clone()
    }
}

/// Makes the letter of a delivery. Its notification is archived along with it if it is proven: the archive is believed
/// later.
async fn letter(context: &Context, delivery: &Delivery) -> DeadLetter {
    let (vault, now) = (&context.vault, context.clock.now());
    // A death the broker tells nothing of comes again with the same time, where it has one: it is no new death.
    let first_failed_at = delivery.first_failed_at.and_then(keepable_time);
    let died_at = first_failed_at.unwrap_or(now);
    let unexplained = || Death { cause: DeadCause::Poison, detail: "died without a reason".to_owned(), died_at };
    let death = delivery.death.clone().unwrap_or_else(unexplained);
    // Headers are what anybody wrote, and a time of theirs may be one that no store keeps.
    let last_failed_at = keepable_time(death.died_at).unwrap_or(now);
    let envelope = delivery.envelope.as_ref().ok();
    let payment = envelope.and_then(Envelope::payment);
    let sealed = envelope.and_then(|envelope| sealed(envelope, vault));
    let bytes = sealed.as_ref().map_or_else(|| delivery.bytes.clone(), Envelope::encode);
    let received = sealed.as_ref().or(envelope).and_then(notification_of);
    let mut notification = match received {
        Some(received) => context.genuine(received).await.ok(),
        None => None,
    };
    let id = match (&notification, received) {
        (Some(genuine), _) => letter_id(genuine),
        (None, Some(received)) => unproven_id(context, received),
        (None, None) => envelope.map_or_else(|| content_id(&delivery.bytes), |envelope| envelope.id),
    };
    if let Some(genuine) = &mut notification {
        vault.seal_body(genuine);
    }
    let (provider, account) = match (received, &payment) {
        (Some(received), _) => (Some(received.provider), Some(received.account.clone())),
        (None, Some(key)) => (Some(key.provider), Some(key.account.clone())),
        (None, None) => (None, None),
    };
    DeadLetter {
        id,
        cause: death.cause,
        detail: death.detail,
        provider,
        account,
        payment,
        order: None,
        attempts: delivery.attempt,
        first_failed_at: first_failed_at.unwrap_or(last_failed_at),
        last_failed_at,
        bytes,
        notification,
        notification_id: None,
        state: DeadLetterState::Open,
        note: None,
        order_now: None,
    }
}

/// The id of the letter of what is not proven: one for exactly these bytes, so that nothing anybody says of itself
/// hides something else.
fn unproven_id(context: &Context, received: &Notification) -> Uuid {
    let opened = context.opened(received.clone()).ok();
    let Notification { provider, account, signed_path, headers, body, .. } = opened.as_ref().unwrap_or(received);
    let request = format!("unproven {provider} {account} {signed_path} {headers:?}\n");
    content_id(&[request.as_bytes(), body].concat())
}

/// The same envelope with its notification's body sealed, where that came in the clear.
fn sealed(envelope: &Envelope, vault: &Vault) -> Option<Envelope> {
    let received = notification_of(envelope)?;
    let mut notification = received.clone();
    vault.seal_body(&mut notification);
    let is_new = notification.sealed_with != received.sealed_with;
    is_new.then(|| Envelope { hint: Hint::Notification(Box::new(notification)), ..envelope.clone() })
}
