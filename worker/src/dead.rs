use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use payhook_queue::{Death, Delivery, Lane, Verdict};
use payhook_schema::{DeadCause, DeadLetterState, Envelope, Hint, content_id};
use payhook_store::DeadLetter;
use payhook_vault::Vault;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::patience::{GaveUp, chain, jittered, patiently};
use crate::worker::Context;

const PREFETCH: u16 = 32;
const WAIT: Duration = Duration::from_secs(2);

/// Moves dead letters from the queue, which only carries them, into the store, which keeps them.
pub(crate) async fn undertaker(context: Arc<Context>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = bury(&context, &stop).await {
            warn!(error = %chain(&error), "cannot take dead letters, trying again");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(jittered(WAIT)) => {}
        }
    }
}

/// One consumption of the dead lane: insert, commit, ack.
async fn bury(context: &Context, stop: &CancellationToken) -> Result<(), payhook_queue::QueueError> {
    let mut consumer = context.queue.consume(Lane::Dead, PREFETCH).await?;
    loop {
        let deliveries = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            taken = consumer.deliveries.next(usize::from(PREFETCH)) => taken?,
        };
        let letters: Vec<DeadLetter> =
            deliveries.iter().map(|delivery| letter(delivery, &context.vault, context.clock.now())).collect();
        match patiently("keeping dead letters", stop, || context.store.dead_letter_keep(&letters)).await {
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
        }
    }
}

fn letter(delivery: &Delivery, vault: &Vault, now: Timestamp) -> DeadLetter {
    // A death the broker tells nothing of comes again with the same time, where it has one: it is no new death.
    let died_at = delivery.first_failed_at.unwrap_or(now);
    let unexplained = || Death { cause: DeadCause::Poison, detail: "died without a reason".to_owned(), died_at };
    let death = delivery.death.clone().unwrap_or_else(unexplained);
    let envelope = delivery.envelope.as_ref().ok();
    let payment = envelope.and_then(Envelope::payment);
    let sealed = envelope.and_then(|envelope| sealed(envelope, vault));
    let bytes = sealed.as_ref().map_or_else(|| delivery.bytes.clone(), Envelope::encode);
    let notification = sealed.as_ref().or(envelope).and_then(|envelope| match &envelope.hint {
        Hint::Notification(notification) => Some((***notification).clone()),
        Hint::Ask { .. } | Hint::Tend { .. } | Hint::Release { .. } => None,
    });
    let provider = notification.as_ref().map(|it| it.provider).or(payment.as_ref().map(|it| it.provider));
    let account = notification.as_ref().map(|it| it.account.clone()).or(payment.as_ref().map(|it| it.account.clone()));
    DeadLetter {
        id: envelope.map_or_else(|| content_id(&delivery.bytes), |envelope| envelope.id),
        cause: death.cause,
        detail: death.detail,
        provider,
        account,
        payment,
        order: None,
        attempts: delivery.attempt,
        first_failed_at: delivery.first_failed_at.unwrap_or(death.died_at),
        last_failed_at: death.died_at,
        bytes,
        notification,
        notification_id: None,
        state: DeadLetterState::Open,
        note: None,
        order_now: None,
    }
}

/// The same envelope with its notification's body sealed, where that came in the clear.
fn sealed(envelope: &Envelope, vault: &Vault) -> Option<Envelope> {
    let Hint::Notification(received) = &envelope.hint else { return None };
    let notification = vault.seal_body((**received).clone());
    let is_new = notification.sealed_with != received.sealed_with;
    is_new.then(|| Envelope { hint: Hint::Notification(Box::new(notification)), ..envelope.clone() })
}
