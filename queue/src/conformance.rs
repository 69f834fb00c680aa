//! The contract, executable: one function per promise of [`Queue`], and a random walk compared with a model. Each sees
//! only the contract and a [`Harness`]; [`conformance!`](crate::conformance!) makes tests of them for one backend.

mod model;
mod promises;
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, future};
use jiff::Timestamp;
use payhook_schema::{AccountName, Because, Envelope, PaymentId, PaymentKey, Provider};
use tokio::time::timeout;

use crate::{Consumer, Delivery, Lane, Queue, Verdict};

pub use model::random_operations_agree_with_a_model;
pub use promises::*;
pub use recorder::PublishRecorder;

/// The time limit for everything that must happen: far longer than it ever takes, so that reaching it is a failure.
const WITHIN: Duration = Duration::from_secs(20);

/// A backend's queue for the suite: empty and migrated.
#[async_trait]
pub trait QueueHarness: Send + Sync {
    /// Returns the queue as one more process has it; the same queue again if one process owns it.
    async fn process(&self) -> Arc<dyn Queue>;

    /// Ends all processes at once and without a word, as `kill -9` does. Their handles and deliveries are of no use any
    /// more.
    async fn crash(&self);

    /// Puts bytes among the notifications that no payhook would write.
    async fn put_bytes(&self, bytes: &[u8]);

    /// The delays the queue was opened with: two at least, ascending.
    fn delays(&self) -> Vec<Duration>;
}

/// Makes tests of the whole suite for one backend: `conformance!(rabbitmq, harness().await)`, where the expression
/// gives an `Option` of a [`Harness`], or nothing where the backend's server is not at hand and has been reported as
/// missing.
#[macro_export]
macro_rules! conformance {
    ($backend:ident, $harness:expr, $seed:expr) => {
        mod $backend {
            use super::*;

            $crate::promises! { $crate::conformance_test, $harness }

            #[tokio::test(flavor = "multi_thread")]
            async fn random_operations_agree_with_a_model() {
                if let Some(harness) = $harness {
                    $crate::conformance::random_operations_agree_with_a_model(&harness, $seed).await;
                }
            }
        }
    };
}

/// Makes the test of one promise.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_test {
    ($promise:ident, $harness:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            if let Some(harness) = $harness {
                $crate::conformance::$promise(&harness).await;
            }
        }
    };
}

/// Names every promise once, and does the same with each.
#[doc(hidden)]
#[macro_export]
macro_rules! promises {
    ($with:path, $argument:expr) => {
        $crate::promises! { @ $with, $argument,
            a_confirmed_envelope_outlives_its_publisher
            a_delivery_is_held_by_one_consumer_at_a_time
            an_unsettled_delivery_comes_back_once_its_consumer_is_gone
            an_acked_delivery_never_comes_back
            a_delivery_is_settled_once
            a_released_delivery_comes_back_unchanged
            a_retry_stays_hidden_for_as_long_as_was_asked
            a_retry_that_asked_for_less_than_its_delay_comes_sooner
            a_retry_carries_its_attempt_and_when_it_first_failed
            a_dead_letter_keeps_its_bytes_and_its_reason
            what_crashes_its_process_again_and_again_is_dead_lettered_as_poison
            what_goes_round_between_crashes_is_dead_lettered_as_poison_all_the_same
            the_neighbours_of_what_crashes_its_process_are_settled
            bytes_that_are_no_envelope_are_handed_over_and_can_be_dead_lettered
            a_consumer_holds_no_more_than_its_prefetch
            deliveries_in_hand_can_be_settled_after_the_flow_was_stopped
            depths_tell_what_waits_and_where
            what_can_be_taken_is_counted_as_far_as_one_cares
            migrating_twice_does_no_harm
            what_proves_readiness_is_never_handed_out
            a_closed_queue_refuses_instead_of_hanging
        }
    };
    (@ $with:path, $argument:expr, $($promise:ident)+) => { $( $with! { $promise, $argument } )+ };
}

/// An envelope like no other.
fn envelope() -> Envelope {
    let number: u64 = rand::random();
    let id = PaymentId::new(format!("chrg_{number}")).expect("digits are visible");
    let account = AccountName::new("shop").expect("letters are allowed");
    let now = Timestamp::from_second(1_767_225_600).expect("within range");
    Envelope::ask(PaymentKey { provider: Provider::Omise, account, id }, Because::Sweep, now)
}

async fn publish(queue: &dyn Queue, count: usize) -> Vec<Envelope> {
    let envelopes: Vec<Envelope> = (0..count).map(|_| envelope()).collect();
    let published = envelopes.iter().map(|envelope| queue.publish(envelope));
    future::try_join_all(published).await.expect("a publish is confirmed");
    envelopes
}

async fn consume(queue: &dyn Queue, lane: Lane, prefetch: u16) -> Consumer {
    queue.consume(lane, prefetch).await.expect("the lane can be consumed")
}

/// Takes exactly `count`, however they are split.
async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = timeout(WITHIN, consumer.deliveries.next(count - taken.len())).await;
        let next = next.unwrap_or_else(|_| panic!("{} of {count} deliveries came within {WITHIN:?}", taken.len()));
        let next = next.expect("the consumption goes on");
        assert!(!next.is_empty(), "an empty list was handed over");
        taken.extend(next);
    }
    assert_eq!(taken.len(), count, "more were handed over than asked for");
    taken
}

async fn take_one(consumer: &mut Consumer) -> Delivery {
    take(consumer, 1).await.remove(0)
}

async fn settle_all(consumer: &Consumer, deliveries: Vec<Delivery>, verdict: &Verdict) {
    let settled = deliveries.into_iter().map(|delivery| (delivery, verdict.clone())).collect::<Vec<_>>();
    let lost = consumer.settler.settle(&settled).await.expect("they can be settled");
    assert_eq!(lost, 0, "unsettled deliveries were no longer ours");
}

/// Shows that nothing but `marker`, published now, comes: what would come wrongly was there before.
async fn nothing_else_comes(queue: &dyn Queue) {
    let mut consumer = consume(queue, Lane::Notifications, 50).await;
    let marker = publish(queue, 1).await.remove(0);
    let delivery = take_one(&mut consumer).await;
    assert_eq!(delivery.envelope.as_ref().expect("an envelope"), &marker, "something came that was settled or is held");
    assert!(consumer.deliveries.next(1).now_or_never().is_none(), "something came after all that was published");
    settle_all(&consumer, vec![delivery], &Verdict::Ack).await;
}

/// Waits until the queue of this name has exactly `ready` waiting.
async fn depth_becomes(queue: &dyn Queue, name: &str, ready: u64) {
    let mut last = None;
    let reached = timeout(WITHIN, async {
        while last != Some(ready) {
            let depths = queue.depths().await.expect("depths can be asked for");
            let found = depths.iter().find(|depth| depth.queue == name);
            last = Some(found.unwrap_or_else(|| panic!("no `{name}` among {depths:?}")).ready);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let reached = reached.await;
    assert!(reached.is_ok(), "`{name}` has {last:?} waiting, not {ready}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_promise_of_the_contract_is_a_test_and_no_other() {
        let promised = include_str!("contract.rs").lines().filter_map(|line| line.strip_prefix("/// - `"));
        let promised: Vec<&str> = promised.map(|name| name.trim_end_matches('`')).collect();
        let mut tested = Vec::new();
        macro_rules! name {
            ($promise:ident, $tested:expr) => {
                $tested.push(stringify!($promise));
            };
        }
        crate::promises! { name, tested }
        assert_eq!(promised, tested);
    }
}
