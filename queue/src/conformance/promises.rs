//! The promises of the contract, one function each.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use payhook_schema::{DeadCause, Envelope};
use tokio::time::timeout;

use super::{QueueHarness, consume, depth_becomes, envelope, nothing_else_comes, publish, settle_all, take, take_one};
use crate::{Consumer, Death, Delivery, Lane, Verdict};

/// The largest difference between two clocks of one machine.
const CLOCKS_DIFFER: Duration = Duration::from_millis(5);

fn at(second: i64) -> Timestamp {
    Timestamp::new(second, 123_456_000).expect("within range")
}

fn named(deliveries: &[Delivery]) -> HashSet<uuid::Uuid> {
    deliveries.iter().map(|delivery| delivery.envelope.as_ref().expect("an envelope").id).collect()
}

fn ids(envelopes: &[Envelope]) -> HashSet<uuid::Uuid> {
    envelopes.iter().map(|envelope| envelope.id).collect()
}

pub async fn a_confirmed_envelope_outlives_its_publisher(harness: &dyn QueueHarness) {
    let sent = publish(&*harness.process().await, 20).await;
    harness.crash().await;
    let queue = harness.process().await;
    let mut consumer = consume(&*queue, Lane::Notifications, 20).await;
    let deliveries = take(&mut consumer, 20).await;
    assert_eq!(named(&deliveries), ids(&sent));
    for delivery in &deliveries {
        let sent =
            sent.iter().find(|sent| Some(sent.id) == delivery.envelope.as_ref().ok().map(|e| e.id)).expect("sent");
        assert_eq!(delivery.bytes, sent.encode());
        assert_eq!((delivery.attempt, delivery.first_failed_at, &delivery.death), (1, None, &None));
    }
}

pub async fn a_delivery_is_held_by_one_consumer_at_a_time(harness: &dyn QueueHarness) {
    let (one, other) = (harness.process().await, harness.process().await);
    let sent = publish(&*one, 20).await;
    let mut first = consume(&*one, Lane::Notifications, 10).await;
    let mut second = consume(&*other, Lane::Notifications, 10).await;
    let mut deliveries = take(&mut first, 10).await;
    deliveries.extend(take(&mut second, 10).await);
    assert_eq!(named(&deliveries), ids(&sent), "20 deliveries are 20 envelopes");
    nothing_else_comes(&*one).await;
}

pub async fn an_unsettled_delivery_comes_back_once_its_consumer_is_gone(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let sent = publish(&*queue, 3).await;
    let mut consumer = consume(&*queue, Lane::Notifications, 3).await;
    take(&mut consumer, 3).await;
    drop(consumer);
    let mut consumer = consume(&*queue, Lane::Notifications, 3).await;
    assert_eq!(named(&take(&mut consumer, 3).await), ids(&sent));
    harness.crash().await;
    let queue = harness.process().await;
    let mut consumer = consume(&*queue, Lane::Notifications, 3).await;
    let again = take(&mut consumer, 3).await;
    assert_eq!(named(&again), ids(&sent));
    assert!(again.iter().all(|delivery| delivery.attempt == 1), "a crash is no attempt");
}

pub async fn an_acked_delivery_never_comes_back(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    publish(&*queue, 5).await;
    let mut consumer = consume(&*queue, Lane::Notifications, 5).await;
    let mut deliveries = take(&mut consumer, 5).await;
    // Out of order and in two batches, so that no single acknowledgement can cover them all.
    let rest = deliveries.split_off(3);
    settle_all(&consumer, rest, &Verdict::Ack).await;
    deliveries.reverse();
    settle_all(&consumer, deliveries, &Verdict::Ack).await;
    drop(consumer);
    nothing_else_comes(&*queue).await;
    harness.crash().await;
    nothing_else_comes(&*harness.process().await).await;
}

pub async fn a_delivery_is_settled_once(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    publish(&*queue, 1).await;
    let mut consumer = consume(&*queue, Lane::Notifications, 1).await;
    let delivery = take_one(&mut consumer).await;
    let again = Delivery {
        bytes: delivery.bytes.clone(),
        envelope: Envelope::decode(&delivery.bytes),
        death: delivery.death.clone(),
        ..delivery
    };
    settle_all(&consumer, vec![delivery], &Verdict::Ack).await;
    let dead = Death { cause: DeadCause::Poison, detail: String::new(), died_at: at(1) };
    let lost = consumer.settler.settle(&[(again, Verdict::DeadLetter(dead))]).await.expect("no error");
    assert_eq!(lost, 1, "it was settled before");
    depth_becomes(&*queue, "payhook.dead", 0).await;
    drop(consumer);
    nothing_else_comes(&*queue).await;
}

pub async fn a_released_delivery_comes_back_unchanged(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let sent = publish(&*queue, 1).await.remove(0);
    let mut consumer = consume(&*queue, Lane::Notifications, 1).await;
    for _ in 0..3 {
        let delivery = take_one(&mut consumer).await;
        assert_eq!((&delivery.bytes, delivery.attempt, delivery.first_failed_at), (&sent.encode(), 1, None));
        settle_all(&consumer, vec![delivery], &Verdict::Release).await;
    }
    let delivery = take_one(&mut consumer).await;
    settle_all(&consumer, vec![delivery], &Verdict::Ack).await;
    drop(consumer);
    nothing_else_comes(&*queue).await;
}

pub async fn a_retry_stays_hidden_for_as_long_as_was_asked(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let [short, long] = *harness.delays() else { panic!("the suite wants two delays") };
    let mut consumer = consume(&*queue, Lane::Notifications, 7).await;
    let (half, between) = (short / 2, (short + long) / 2 + Duration::from_nanos(1));
    // Beyond the longest delay, it is the longest.
    let wishes = [
        (Duration::ZERO, Duration::ZERO),
        (half, half),
        (short, short),
        (short + Duration::from_millis(1), short + Duration::from_millis(1)),
        (between, between),
        (long, long),
        (long * 9, long),
    ];
    let sent = publish(&*queue, wishes.len()).await;
    let deliveries = take(&mut consumer, wishes.len()).await;
    let began = Instant::now();
    let settled = deliveries.into_iter().map(|delivery| {
        let (after, _) = wishes[sent_index(&delivery, &sent).expect("sent")];
        (delivery, Verdict::Retry { after, attempt: 2, first_failed_at: at(1) })
    });
    assert_eq!(consumer.settler.settle(&settled.collect::<Vec<_>>()).await.expect("they can be settled"), 0);
    for _ in &wishes {
        let delivery = take_one(&mut consumer).await;
        let (_, least) = wishes[sent_index(&delivery, &sent).expect("sent")];
        let hidden = began.elapsed();
        assert!(hidden + CLOCKS_DIFFER >= least, "hidden for {hidden:?} of {least:?}");
        settle_all(&consumer, vec![delivery], &Verdict::Ack).await;
    }
    drop(consumer);
    nothing_else_comes(&*queue).await;
}

/// The number of tries to see a retry come early: the machine may be too busy to show it.
const EARLY_TRIES: usize = 10;

pub async fn a_retry_that_asked_for_less_than_its_delay_comes_sooner(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let delays = harness.delays();
    let mut consumer = consume(&*queue, Lane::Notifications, 1).await;
    for delay in delays {
        let mut last = None;
        for _ in 0..EARLY_TRIES {
            publish(&*queue, 1).await;
            let delivery = take_one(&mut consumer).await;
            let began = Instant::now();
            // One alone: behind another it might have to wait for that one.
            let wish = Verdict::Retry { after: delay / 8, attempt: 2, first_failed_at: at(1) };
            settle_all(&consumer, vec![delivery], &wish).await;
            let delivery = take_one(&mut consumer).await;
            last = Some(began.elapsed());
            settle_all(&consumer, vec![delivery], &Verdict::Ack).await;
            if last < Some(delay) {
                break;
            }
        }
        assert!(last < Some(delay), "each time it waited for all of {delay:?}, at last {last:?}");
    }
}

fn sent_index(delivery: &Delivery, sent: &[Envelope]) -> Option<usize> {
    let id = delivery.envelope.as_ref().ok()?.id;
    sent.iter().position(|sent| sent.id == id)
}

pub async fn a_retry_carries_its_attempt_and_when_it_first_failed(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let sent = publish(&*queue, 1).await.remove(0);
    let mut consumer = consume(&*queue, Lane::Notifications, 1).await;
    for attempt in 2..=3 {
        let delivery = take_one(&mut consumer).await;
        let retry = Verdict::Retry { after: Duration::ZERO, attempt, first_failed_at: at(attempt.into()) };
        settle_all(&consumer, vec![delivery], &retry).await;
        let delivery = take_one(&mut consumer).await;
        assert_eq!((delivery.attempt, delivery.first_failed_at), (attempt, Some(at(attempt.into()))));
        assert_eq!((&delivery.bytes, &delivery.death), (&sent.encode(), &None));
        // Handing out again is no attempt.
        settle_all(&consumer, vec![delivery], &Verdict::Release).await;
    }
    harness.crash().await;
    let mut consumer = consume(&*harness.process().await, Lane::Notifications, 1).await;
    let delivery = take_one(&mut consumer).await;
    assert_eq!((delivery.attempt, delivery.first_failed_at), (3, Some(at(3))));
}

pub async fn a_dead_letter_keeps_its_bytes_and_its_reason(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let sent = publish(&*queue, 1).await.remove(0);
    let mut consumer = consume(&*queue, Lane::Notifications, 1).await;
    let delivery = take_one(&mut consumer).await;
    settle_all(
        &consumer,
        vec![delivery],
        &Verdict::Retry { after: Duration::ZERO, attempt: 2, first_failed_at: at(2) },
    )
    .await;
    let delivery = take_one(&mut consumer).await;
    let detail = "antom answered PAYMENT_IN_PROCESS: “ยังไม่เสร็จ”".to_owned();
    let death = Death { cause: DeadCause::AttemptsExhausted, detail, died_at: at(9) };
    settle_all(&consumer, vec![delivery], &Verdict::DeadLetter(death.clone())).await;
    harness.crash().await;

    let queue = harness.process().await;
    let mut dead = consume(&*queue, Lane::Dead, 1).await;
    let delivery = take_one(&mut dead).await;
    assert_eq!((&delivery.bytes, &delivery.death), (&sent.encode(), &Some(death)));
    assert_eq!((delivery.attempt, delivery.first_failed_at), (2, Some(at(2))));
    // A retry takes it out of the dead lane, as from the first try.
    settle_all(&dead, vec![delivery], &Verdict::Retry { after: Duration::ZERO, attempt: 1, first_failed_at: at(3) })
        .await;
    let mut consumer = consume(&*queue, Lane::Notifications, 1).await;
    let delivery = take_one(&mut consumer).await;
    assert_eq!((&delivery.bytes, &delivery.death, delivery.attempt), (&sent.encode(), &None, 1));
}

/// Crashes the process each time `in_hand` has taken the one hint, until it is dead-lettered. Returns the number of
/// crashes and the letter.
async fn crashes_until_dead(harness: &dyn QueueHarness, in_hand: impl AsyncFn(&mut Consumer)) -> (usize, Delivery) {
    // RabbitMQ gives up after 10 deliveries, the embedded queue sooner.
    const CRASHES_MAX: usize = 15;
    let mut crashes = 0;
    loop {
        let queue = harness.process().await;
        let mut work = consume(&*queue, Lane::Notifications, 1).await;
        let mut dead = consume(&*queue, Lane::Dead, 1).await;
        tokio::select! {
            () = in_hand(&mut work) => {}
            dead = take_one(&mut dead) => return (crashes, dead),
        };
        crashes += 1;
        assert!(crashes <= CRASHES_MAX, "handed out {crashes} times and never given up on");
        drop((work, dead, queue));
        harness.crash().await;
    }
}

pub async fn what_crashes_its_process_again_and_again_is_dead_lettered_as_poison(harness: &dyn QueueHarness) {
    let sent = publish(&*harness.process().await, 1).await.remove(0);
    let taken = async |work: &mut Consumer| assert_eq!(take_one(work).await.bytes, sent.encode());
    let (crashes, dead) = crashes_until_dead(harness, taken).await;
    assert!(crashes > 1, "one crash says nothing about what was held");
    let death = dead.death.expect("it says why it is here");
    assert_eq!((dead.bytes, death.cause), (sent.encode(), DeadCause::Poison));
    assert!(death.detail.contains("again and again"), "{}", death.detail);
}

pub async fn what_goes_round_between_crashes_is_dead_lettered_as_poison_all_the_same(harness: &dyn QueueHarness) {
    let sent = publish(&*harness.process().await, 1).await.remove(0);
    // Handed back as it is, and taken once more.
    let round = async |work: &mut Consumer| {
        let delivery = take_one(work).await;
        let again = Verdict::Retry { after: Duration::ZERO, attempt: delivery.attempt, first_failed_at: at(7) };
        settle_all(work, vec![delivery], &again).await;
        take_one(work).await;
    };
    let (_, dead) = crashes_until_dead(harness, round).await;
    assert_eq!((dead.bytes, dead.death.expect("it says why").cause), (sent.encode(), DeadCause::Poison));
}

/// Two hints crash their process whenever they are handed out, with everything else it holds. More hints come
/// meanwhile.
pub async fn the_neighbours_of_what_crashes_its_process_are_settled(harness: &dyn QueueHarness) {
    const NEIGHBOURS: usize = 8;
    const CRASHES_MAX: usize = 40;
    let poison = publish(&*harness.process().await, 2).await;
    let mut sent = ids(&publish(&*harness.process().await, NEIGHBOURS).await);
    let (mut settled, mut crashes, mut dead) = (HashSet::new(), 0, HashSet::new());
    while dead.len() < poison.len() || settled.len() < sent.len() {
        let queue = harness.process().await;
        let mut work = consume(&*queue, Lane::Notifications, 16).await;
        let mut died = consume(&*queue, Lane::Dead, 16).await;
        sent.extend(ids(&publish(&*queue, 1).await));
        let mut taken = Vec::new();
        while dead.len() < poison.len() || settled.len() < sent.len() {
            tokio::select! {
                () = together(&mut work, &mut taken) => {}
                letter = take_one(&mut died) => {
                    assert_eq!(letter.death.as_ref().map(|death| death.cause), Some(DeadCause::Poison));
                    dead.extend(named(std::slice::from_ref(&letter)));
                    settle_all(&died, vec![letter], &Verdict::Ack).await;
                    continue;
                }
            }
            let taken = std::mem::take(&mut taken);
            if named(&taken).is_disjoint(&ids(&poison)) {
                settled.extend(named(&taken));
                settle_all(&work, taken, &Verdict::Ack).await;
                continue;
            }
            crashes += 1;
            assert!(crashes <= CRASHES_MAX, "{crashes} crashes: {} of {} settled", settled.len(), sent.len());
            drop((work, died, queue));
            harness.crash().await;
            break;
        }
    }
    assert_eq!((dead, settled), (ids(&poison), sent), "what crashes is given up on, and nothing else");
    nothing_else_comes(&*harness.process().await).await;
}

/// Takes everything that is ready, with what comes within a moment. If the future is dropped, `taken` has the
/// deliveries so far.
async fn together(consumer: &mut Consumer, taken: &mut Vec<Delivery>) {
    if taken.is_empty() {
        taken.extend(consumer.deliveries.next(16).await.expect("the consumption goes on"));
    }
    while let Ok(more) = timeout(Duration::from_millis(100), consumer.deliveries.next(16)).await {
        taken.extend(more.expect("the consumption goes on"));
    }
}

pub async fn bytes_that_are_no_envelope_are_handed_over_and_can_be_dead_lettered(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let bytes = b"\0\xff no envelope {".to_vec();
    harness.put_bytes(&bytes).await;
    let mut consumer = consume(&*queue, Lane::Notifications, 1).await;
    let delivery = take_one(&mut consumer).await;
    assert!(delivery.envelope.is_err());
    assert_eq!((&delivery.bytes, delivery.attempt), (&bytes, 1));
    let death = Death { cause: DeadCause::Poison, detail: "not an envelope".to_owned(), died_at: at(1) };
    settle_all(&consumer, vec![delivery], &Verdict::DeadLetter(death.clone())).await;
    let mut dead = consume(&*queue, Lane::Dead, 1).await;
    let delivery = take_one(&mut dead).await;
    assert_eq!((&delivery.bytes, &delivery.death), (&bytes, &Some(death)));
    settle_all(&dead, vec![delivery], &Verdict::Ack).await;
}

pub async fn a_consumer_holds_no_more_than_its_prefetch(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let mut small = consume(&*queue, Lane::Notifications, 3).await;
    let sent = publish(&*queue, 8).await;
    let mut held = take(&mut small, 3).await;
    // The other five come to another consumer, so the first has not fetched them.
    let mut large = consume(&*queue, Lane::Notifications, 50).await;
    held.extend(take(&mut large, 5).await);
    assert_eq!(named(&held), ids(&sent));
    drop(large);
    // It gets no more until it has settled one.
    depth_becomes(&*queue, "payhook.notifications", 5).await;
    held.truncate(3);
    settle_all(&small, held, &Verdict::Ack).await;
    let next = take(&mut small, 3).await;
    assert_eq!(next.len(), 3);
    depth_becomes(&*queue, "payhook.notifications", 2).await;
}

pub async fn deliveries_in_hand_can_be_settled_after_the_flow_was_stopped(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    publish(&*queue, 6).await;
    let mut consumer = consume(&*queue, Lane::Notifications, 6).await;
    let in_hand = take(&mut consumer, 2).await;
    let settler = std::sync::Arc::clone(&consumer.settler);
    drop(consumer);
    // Deliveries that nobody has seen are given back at once, though two are still unsettled.
    let mut other = consume(&*queue, Lane::Notifications, 6).await;
    let rest = take(&mut other, 4).await;
    assert!(named(&rest).is_disjoint(&named(&in_hand)));
    let settled = in_hand.into_iter().map(|delivery| (delivery, Verdict::Ack)).collect::<Vec<_>>();
    assert_eq!(settler.settle(&settled).await.expect("still ours"), 0);
    drop(settler);
    settle_all(&other, rest, &Verdict::Ack).await;
    drop(other);
    nothing_else_comes(&*queue).await;
}

pub async fn depths_tell_what_waits_and_where(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let longest = *harness.delays().last().expect("two delays");
    publish(&*queue, 4).await;
    depth_becomes(&*queue, "payhook.notifications", 4).await;
    let mut consumer = consume(&*queue, Lane::Notifications, 3).await;
    let mut taken = take(&mut consumer, 3).await;
    depth_becomes(&*queue, "payhook.notifications", 1).await;
    let death = Death { cause: DeadCause::UnknownPayment, detail: String::new(), died_at: at(1) };
    let one = taken.remove(0);
    settle_all(&consumer, vec![one], &Verdict::DeadLetter(death)).await;
    let one = taken.remove(0);
    settle_all(&consumer, vec![one], &Verdict::Retry { after: longest, attempt: 2, first_failed_at: at(1) }).await;
    depth_becomes(&*queue, "payhook.dead", 1).await;
    let name = format!("payhook.retry.{}", crate::delays::delay_name(longest));
    let depths = queue.depths().await.expect("depths can be asked for");
    assert!(depths.iter().any(|depth| depth.queue == name), "{depths:?}");
    take(&mut consumer, 1).await;
    drop(consumer);
    depth_becomes(&*queue, "payhook.notifications", 3).await;
    depth_becomes(&*queue, &name, 0).await;
}

pub async fn what_can_be_taken_is_counted_as_far_as_one_cares(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let waiting = async |up_to| queue.waiting(up_to).await.expect("it can be asked for");
    assert_eq!(waiting(9).await, 0);
    publish(&*queue, 5).await;
    depth_becomes(&*queue, "payhook.notifications", 5).await;
    assert_eq!((waiting(9).await, waiting(3).await), (5, 3));
    let mut consumer = consume(&*queue, Lane::Notifications, 2).await;
    let _in_hand = take(&mut consumer, 2).await;
    depth_becomes(&*queue, "payhook.notifications", 3).await;
    assert_eq!(waiting(9).await, 3, "held deliveries do not wait");
}

pub async fn migrating_twice_does_no_harm(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let sent = publish(&*queue, 1).await;
    queue.migrate().await.expect("twice does no harm");
    queue.probe().await.expect("it is ready");
    let mut consumer = consume(&*queue, Lane::Notifications, 1).await;
    assert_eq!(named(&take(&mut consumer, 1).await), ids(&sent));
}

pub async fn what_proves_readiness_is_never_handed_out(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    queue.probe().await.expect("it is ready");
    let sent = publish(&*queue, 1).await;
    queue.probe().await.expect("it is ready");
    let mut consumer = consume(&*queue, Lane::Notifications, 5).await;
    let taken = take(&mut consumer, 1).await;
    assert_eq!(named(&taken), ids(&sent));
    settle_all(&consumer, taken, &Verdict::Ack).await;
    drop(consumer);
    queue.probe().await.expect("it is ready");
    nothing_else_comes(&*queue).await;
    depth_becomes(&*queue, "payhook.notifications", 0).await;
}

pub async fn a_closed_queue_refuses_instead_of_hanging(harness: &dyn QueueHarness) {
    let queue = harness.process().await;
    let mut consumer = consume(&*queue, Lane::Notifications, 1).await;
    let waiting = tokio::spawn(async move { consumer.deliveries.next(1).await });
    queue.close().await;
    let ended = tokio::time::timeout(super::WITHIN, waiting).await.expect("a waiting consumer is told");
    assert!(ended.expect("no panic").is_err());
    let refused = queue.publish(&envelope()).await.expect_err("closed");
    assert!(refused.retryable(), "{refused}");
    assert!(queue.probe().await.is_err());
    assert!(queue.consume(Lane::Dead, 1).await.is_err());
}
