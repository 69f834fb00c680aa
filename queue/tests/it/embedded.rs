//! Tests of what only the embedded queue shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::backends::{EmbeddedHarness, open_file};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use payhook_queue::conformance::QueueHarness;
use payhook_queue::{EmbeddedQueue, Lane, Queue, QueueError, Verdict};
use payhook_schema::{
    AccountName, Because, Clock, Currency, Envelope, Event, EventType, OrderEvent, OrderId, PaymentId, PaymentKey,
    Provider,
};
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(20);
const DELAYS: [Duration; 1] = [Duration::from_secs(1)];

fn envelope() -> Envelope {
    let number: u64 = rand::random();
    let id = PaymentId::new(format!("chrg_{number}")).unwrap();
    let key = PaymentKey { provider: Provider::Omise, account: AccountName::new("shop").unwrap(), id };
    Envelope::ask(key, Because::Sweep, Timestamp::UNIX_EPOCH)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_the_table_is_a_misconfiguration() {
    let folder = tempfile::tempdir().unwrap();
    let pool = open_file(&folder.path().join("fresh.db")).await;
    let queue = EmbeddedQueue::open(pool, Clock::system(), &DELAYS).unwrap();
    for refused in [
        queue.probe().await,
        queue.publish(&envelope()).await,
        queue.consume(Lane::Notifications, 1).await.map(drop),
        queue.depths().await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, QueueError::Misconfigured { .. }), "{error}");
    }
    queue.migrate().await.unwrap();
    queue.publish(&envelope()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_events_are_refused_because_the_feed_has_them() {
    let queue = EmbeddedHarness::start().await.process().await;
    let data = OrderEvent {
        order_id: OrderId::new("A-1001").unwrap(),
        version: 1,
        state: None,
        previous_state: None,
        amount_minor: 12_000,
        currency: Currency::new("THB").unwrap(),
        captured_minor: 12_000,
        refunded_minor: 0,
        provider: Provider::Omise,
        account: AccountName::new("shop").unwrap(),
        payment_id: PaymentId::new("chrg_1").unwrap(),
        occurred_at: Timestamp::UNIX_EPOCH,
        reason: None,
        refund_id: None,
        dispute_id: None,
        holds: Vec::new(),
    };
    let event = Event::of_order(EventType::OrderPaid, data, Timestamp::UNIX_EPOCH);
    assert!(!queue.carries_events());
    assert!(matches!(queue.publish_event(&event).await, Err(QueueError::Misconfigured { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_wait_while_the_store_writes_and_are_all_there_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let pool = open_file(&folder.path().join("queue.db")).await;
    let queue = EmbeddedQueue::open(pool.clone(), Clock::system(), &DELAYS).unwrap();
    queue.migrate().await.unwrap();
    let store = pool.begin().await.unwrap();
    let envelopes: Vec<Envelope> = (0..200).map(|_| envelope()).collect();
    let mut publishes = futures_util::future::join_all(envelopes.iter().map(|envelope| queue.publish(envelope)));
    assert!((&mut publishes).now_or_never().is_none(), "the store has the file");
    drop(store);
    for published in timeout(WITHIN, publishes).await.unwrap() {
        published.unwrap();
    }
    assert_eq!(queue.depths().await.unwrap()[0].ready, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_consumer_is_woken_at_once_and_writes_nothing_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queue.db");
    let queue = Arc::new(EmbeddedQueue::open(open_file(&file).await, Clock::system(), &[WITHIN]).unwrap());
    queue.migrate().await.unwrap();
    let mut consumer = queue.consume(Lane::Notifications, 10).await.unwrap();
    let settler = Arc::clone(&consumer.settler);
    // A retry far away is no reason to look at the file until then.
    queue.publish(&envelope()).await.unwrap();
    let taken = consumer.deliveries.next(1).await.unwrap();
    let retry = Verdict::Retry { after: WITHIN, attempt: 2, first_failed_at: Timestamp::UNIX_EPOCH };
    settler.settle(&taken.into_iter().map(|delivery| (delivery, retry.clone())).collect::<Vec<_>>()).await.unwrap();

    let mut reader = open_file(&file).await.acquire().await.unwrap();
    let version = async |reader: &mut sqlx::SqliteConnection| {
        sqlx::query_scalar::<_, i64>("pragma data_version").fetch_one(reader).await.unwrap()
    };
    let before = version(&mut reader).await;
    let waiting = tokio::spawn(async move { (consumer.deliveries.next(1).await, consumer) });
    while queue.depths().await.unwrap()[1].ready != 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(version(&mut reader).await, before, "somebody wrote while nothing happened");
    let began = Instant::now();
    queue.publish(&envelope()).await.unwrap();
    let (woken, _consumer) = timeout(WITHIN, waiting).await.unwrap().unwrap();
    assert_eq!(woken.unwrap().len(), 1);
    assert!(began.elapsed() < WITHIN / 4, "it waited for the retry: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_leaves_deliveries_in_hand_to_be_settled_again() {
    let folder = tempfile::tempdir().unwrap();
    let pool = open_file(&folder.path().join("queue.db")).await;
    let queue = EmbeddedQueue::open(pool.clone(), Clock::system(), &DELAYS).unwrap();
    queue.migrate().await.unwrap();
    queue.publish(&envelope()).await.unwrap();
    let mut consumer = queue.consume(Lane::Notifications, 1).await.unwrap();
    let delivery = consumer.deliveries.next(1).await.unwrap().remove(0);
    let again = payhook_queue::Delivery {
        bytes: delivery.bytes.clone(),
        envelope: Envelope::decode(&delivery.bytes),
        death: None,
        ..delivery
    };
    // The connection that writes, and every one opened in its place.
    let writable = (*pool.connect_options()).clone();
    pool.set_connect_options(writable.clone().pragma("query_only", "on"));
    sqlx::query("pragma query_only = on").execute(&pool).await.unwrap();
    assert!(consumer.settler.settle(&[(delivery, Verdict::Ack)]).await.is_err());
    assert!(queue.publish(&envelope()).await.is_err());
    pool.set_connect_options(writable);
    sqlx::query("pragma query_only = off").execute(&pool).await.unwrap();
    assert_eq!(consumer.settler.settle(&[(again, Verdict::Ack)]).await.unwrap(), 0);
    assert_eq!(queue.depths().await.unwrap()[0].ready, 0, "neither the acked nor the refused is there");
}

/// Takes the deliveries that are there now; none if nothing comes.
async fn take(queue: &Arc<dyn Queue>, lane: Lane) -> (payhook_queue::Consumer, Vec<payhook_queue::Delivery>) {
    let mut consumer = queue.consume(lane, 16).await.unwrap();
    let taken = timeout(Duration::from_millis(100), consumer.deliveries.next(16)).await;
    (consumer, taken.map_or_else(|_| Vec::new(), Result::unwrap))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_round_untried_is_no_poison_however_often_a_process_dies_without_it() {
    let harness = EmbeddedHarness::start().await;
    harness.process().await.publish(&envelope()).await.unwrap();
    for start in 0..12 {
        let queue = harness.process().await;
        let (consumer, mut taken) = take(&queue, Lane::Notifications).await;
        assert_eq!(taken.len(), 1, "at start {start}");
        let again = Verdict::Retry { after: Duration::ZERO, attempt: 1, first_failed_at: Timestamp::UNIX_EPOCH };
        consumer.settler.settle(&[(taken.remove(0), again)]).await.unwrap();
        drop((consumer, queue));
        harness.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_gives_back_when_it_ends_as_it_should_is_no_poison() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queue.db");
    for start in 0..12 {
        let queue: Arc<dyn Queue> =
            Arc::new(EmbeddedQueue::open(open_file(&file).await, Clock::system(), &DELAYS).unwrap());
        queue.migrate().await.unwrap();
        if start == 0 {
            queue.publish(&envelope()).await.unwrap();
        }
        // Given back and taken again within one process counts once, and a graceful end takes that back.
        for _ in 0..3 {
            assert_eq!(take(&queue, Lane::Notifications).await.1.len(), 1, "at start {start}");
        }
        queue.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_can_be_read_and_not_written_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let pool = open_file(&folder.path().join("queue.db")).await;
    let queue = EmbeddedQueue::open(pool.clone(), Clock::system(), &DELAYS).unwrap();
    queue.migrate().await.unwrap();
    queue.probe().await.unwrap();
    queue.publish(&envelope()).await.unwrap();
    let refuses = "create trigger full before insert on queue_envelope begin select raise(abort, 'full'); end";
    sqlx::query(refuses).execute(&pool).await.unwrap();
    assert!(queue.probe().await.is_err());
    sqlx::query("drop trigger full").execute(&pool).await.unwrap();
    queue.probe().await.unwrap();
    let mut consumer = queue.consume(Lane::Notifications, 10).await.unwrap();
    let taken = timeout(WITHIN, consumer.deliveries.next(10)).await.unwrap().unwrap();
    assert_eq!(taken.len(), 1, "no consumer sees what proves it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_file_is_counted_beside_the_process_that_owns_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queue.db");
    let queue = EmbeddedQueue::open(open_file(&file).await, Clock::system(), &DELAYS).unwrap();
    queue.migrate().await.unwrap();
    queue.publish(&envelope()).await.unwrap();
    queue.publish(&envelope()).await.unwrap();
    let mut consumer = queue.consume(Lane::Notifications, 1).await.unwrap();
    let taken = timeout(WITHIN, consumer.deliveries.next(1)).await.unwrap().unwrap();
    let retry = Verdict::Retry { after: DELAYS[0], attempt: 2, first_failed_at: Timestamp::UNIX_EPOCH };
    let settled: Vec<_> = taken.into_iter().map(|delivery| (delivery, retry.clone())).collect();
    consumer.settler.settle(&settled).await.unwrap();
    let depths = payhook_queue::embedded::depths_of_file(&file, &Clock::system(), &DELAYS).await.unwrap();
    assert_eq!((depths[0].ready, depths[1].ready), (1, 1), "{depths:?}");
    assert!(depths[0].oldest_at.is_some() && depths[1].next_due_at.is_some(), "{depths:?}");
    let nowhere = folder.path().join("nothing.db");
    assert!(payhook_queue::embedded::depths_of_file(&nowhere, &Clock::system(), &DELAYS).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_sqlite_ended_by_itself_ends_no_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let pool = open_file(&folder.path().join("queue.db")).await;
    let queue = EmbeddedQueue::open(pool.clone(), Clock::system(), &DELAYS).unwrap();
    queue.migrate().await.unwrap();
    // As on a full disk: no page more than there are, on the connection that writes now.
    let pages: i64 = sqlx::query_scalar("pragma page_count").fetch_one(&pool).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("pragma max_page_count = {pages}"))).execute(&pool).await.unwrap();
    let mut acknowledged = 0;
    let full = loop {
        match queue.publish(&envelope()).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the file never gets full");
    };
    assert!(matches!(full, QueueError::Full { .. }), "{full:?}");

    for _ in 0..100 {
        queue.publish(&envelope()).await.unwrap();
    }
    queue.probe().await.unwrap();
    assert_eq!(
        queue.depths().await.unwrap()[0].ready,
        acknowledged + 100,
        "what was acknowledged is there, and no more"
    );
}

/// A clock that is `ahead` seconds before the machine's.
fn clock(ahead: &Arc<AtomicI64>) -> Clock {
    let ahead = Arc::clone(ahead);
    Clock::new(move || Clock::system().now() + SignedDuration::from_secs(ahead.load(Ordering::Relaxed)))
}

/// Puts one envelope in hiding for the delay, and one that is ready, by a clock an hour ahead.
async fn written_an_hour_ahead(queue: &Arc<dyn Queue>) {
    queue.publish(&envelope()).await.unwrap();
    let (consumer, mut taken) = take(queue, Lane::Notifications).await;
    let retry = Verdict::Retry { after: DELAYS[0], attempt: 2, first_failed_at: Timestamp::UNIX_EPOCH };
    consumer.settler.settle(&[(taken.remove(0), retry)]).await.unwrap();
    queue.publish(&envelope()).await.unwrap();
}

async fn both_come(queue: &Arc<dyn Queue>) {
    let mut consumer = queue.consume(Lane::Notifications, 16).await.unwrap();
    for attempt in [1, 2] {
        let taken = timeout(WITHIN, consumer.deliveries.next(1)).await.expect("within its delay").unwrap();
        assert_eq!(taken[0].attempt, attempt);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_process_whose_clock_was_ahead_nothing_stays_hidden_for_longer_than_its_delay() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queue.db");
    let ahead = Arc::new(AtomicI64::new(3600));
    let queue: Arc<dyn Queue> = Arc::new(EmbeddedQueue::open(open_file(&file).await, clock(&ahead), &DELAYS).unwrap());
    queue.migrate().await.unwrap();
    written_an_hour_ahead(&queue).await;
    // Killed: never closed, never dropped.
    std::mem::forget(queue);
    let queue: Arc<dyn Queue> =
        Arc::new(EmbeddedQueue::open(open_file(&file).await, Clock::system(), &DELAYS).unwrap());
    both_come(&queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_clock_went_back_nothing_stays_hidden_for_longer_than_its_delay() {
    let folder = tempfile::tempdir().unwrap();
    let ahead = Arc::new(AtomicI64::new(3600));
    let pool = open_file(&folder.path().join("queue.db")).await;
    let queue: Arc<dyn Queue> = Arc::new(EmbeddedQueue::open(pool, clock(&ahead), &DELAYS).unwrap());
    queue.migrate().await.unwrap();
    written_an_hour_ahead(&queue).await;
    ahead.store(0, Ordering::Relaxed);
    both_come(&queue).await;
}
