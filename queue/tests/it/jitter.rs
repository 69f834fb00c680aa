//! The wait of a retry that asks for less than its delay: to the microsecond in the file, by its own expiration on
//! RabbitMQ.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lapin::message::BasicGetMessage;
use lapin::options::BasicGetOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use payhook_queue::conformance::QueueHarness;
use payhook_queue::{Consumer, Death, EmbeddedQueue, Lane, Queue, RabbitOptions, RabbitQueue, Verdict};
use payhook_schema::{Clock, DeadCause};
use tokio::time::timeout;

use crate::backends::{RabbitHarness, admin_channel, open_file, options};
use crate::rabbitmq::{WITHIN, WORK, envelope};

const HOUR: Duration = Duration::from_hours(1);

fn retry(after: Duration) -> Verdict {
    Verdict::Retry { after, attempt: 2, first_failed_at: Timestamp::UNIX_EPOCH }
}

/// Publishes one, takes it, and settles it so.
async fn settle_one(queue: &dyn Queue, consumer: &mut Consumer, verdict: Verdict) {
    queue.publish(&envelope()).await.unwrap();
    settle_next(consumer, verdict).await;
}

async fn settle_next(consumer: &mut Consumer, verdict: Verdict) {
    let delivery = timeout(WITHIN, consumer.deliveries.next(1)).await.unwrap().unwrap().remove(0);
    assert_eq!(consumer.settler.settle(&[(delivery, verdict)]).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_queue_hides_a_retry_for_exactly_what_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let pool = open_file(&folder.path().join("queue.db")).await;
    let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
    let queue = EmbeddedQueue::open(pool.clone(), Clock::stopped(now), &[Duration::from_secs(5), HOUR]).unwrap();
    queue.migrate().await.unwrap();
    let mut consumer = queue.consume(Lane::Notifications, 1).await.unwrap();
    let cases = [
        (Duration::from_micros(1_234_567), 1_234_567, "5s"),
        (Duration::from_nanos(1_234_567_001), 1_234_568, "5s"),
        (Duration::from_secs(5), 5_000_000, "5s"),
        (Duration::from_micros(5_000_001), 5_000_001, "1h"),
        (3 * HOUR, 3_600_000_000, "1h"),
    ];
    for (after, hidden_us, delay) in cases {
        settle_one(&queue, &mut consumer, retry(after)).await;
        let due = now.checked_add(SignedDuration::from_micros(hidden_us)).unwrap().as_microsecond();
        let row: (i64, String) =
            sqlx::query_as("select due_at, delay from queue_envelope").fetch_one(&pool).await.unwrap();
        assert_eq!(row, (due, delay.to_owned()), "{after:?}");
        sqlx::query("delete from queue_envelope").execute(&pool).await.unwrap();
    }
}

async fn get(channel: &Channel, queue: &str) -> BasicGetMessage {
    let found = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap();
    found.unwrap_or_else(|| panic!("nothing is in `{queue}`"))
}

fn expiration(properties: &BasicProperties) -> Option<&str> {
    properties.expiration().as_ref().map(lapin::types::ShortString::as_str)
}

/// The headers' names, in order, without those every broker of quorum queues adds when it hands a message over.
fn names(properties: &BasicProperties) -> Vec<String> {
    let none = FieldTable::default();
    let headers = properties.headers().as_ref().unwrap_or(&none);
    let all = headers.inner().keys().map(ToString::to_string);
    all.filter(|name| !["x-delivery-count", "x-acquired-count"].contains(&name.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_rabbitmq_a_retry_expires_by_itself_only_where_it_asked_for_less_than_its_delay() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let options = RabbitOptions { retry_delays: vec![Duration::from_secs(1), HOUR], ..options() };
    let queue = RabbitQueue::open(&harness.vhost.url, options).unwrap();
    queue.migrate().await.unwrap();
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    let mut consumer = queue.consume(Lane::Notifications, 1).await.unwrap();
    let cases = [
        (HOUR / 2, Some("1800000")),
        (HOUR.checked_sub(Duration::from_micros(1500)).unwrap(), Some("3599999")),
        (HOUR, None),
        (9 * HOUR, None),
    ];
    for (after, own) in cases {
        settle_one(&queue, &mut consumer, retry(after)).await;
        let message = get(&channel, "payhook.retry.1h").await;
        assert_eq!(expiration(&message.properties), own, "{after:?}");
        assert_eq!(names(&message.properties), ["x-attempt", "x-first-failed-at"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_rabbitmq_nothing_of_one_wait_is_copied_into_the_next_publish() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    // Back from a wait of its own, it carries the broker's account of it, and no expiration that could end it again.
    let back = async || {
        let mut consumer = queue.consume(Lane::Notifications, 1).await.unwrap();
        settle_one(&*queue, &mut consumer, retry(Duration::from_millis(50))).await;
        consumer
    };
    let mut consumer = back().await;
    let delivery = timeout(WITHIN, consumer.deliveries.next(1)).await.unwrap().unwrap().remove(0);
    assert_eq!(consumer.settler.settle(&[(delivery, Verdict::Release)]).await.unwrap(), 0);
    drop(consumer);
    let came_back = crate::rabbitmq::eventually("it is back", async || {
        let found = channel.basic_get(WORK.into(), BasicGetOptions { no_ack: true }).await.unwrap();
        found.ok_or_else(|| "nothing yet".to_owned())
    });
    let came_back = came_back.await;
    assert_eq!(expiration(&came_back.properties), None);
    assert!(names(&came_back.properties).contains(&"x-death".to_owned()));

    let mut consumer = back().await;
    settle_next(&mut consumer, retry(Duration::from_secs(2))).await;
    let message = get(&channel, "payhook.retry.2s").await;
    assert_eq!((expiration(&message.properties), names(&message.properties).len()), (None, 2));

    drop(consumer);
    let mut consumer = back().await;
    let death = Death { cause: DeadCause::Poison, detail: "why".to_owned(), died_at: Timestamp::UNIX_EPOCH };
    settle_next(&mut consumer, Verdict::DeadLetter(death)).await;
    let dead = get(&channel, "payhook.dead").await;
    assert_eq!(expiration(&dead.properties), None);
    let ours = ["x-attempt", "x-cause", "x-detail", "x-died-at", "x-first-failed-at"];
    assert_eq!(names(&dead.properties), ours);
}
