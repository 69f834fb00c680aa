//! Tests that published messages arrive: how a missing way is found, and where messages that lost their way end up.

use std::time::Duration;

use jiff::Timestamp;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};
use payhook_queue::conformance::QueueHarness;
use payhook_queue::{Lane, MoveBack, MovedBack, Queue, QueueError, RouteState, Routed, UnroutedKind, Verdict};
use payhook_schema::DeadCause;
use payhook_test_servers::Vhost;
use tokio::time::timeout;

use crate::backends::{RabbitHarness, admin_channel};
use crate::rabbitmq::{WITHIN, WORK, envelope, event, eventually, open, unbind};

const UNROUTED: &str = "payhook.unrouted";

/// Puts a message where what has no way ends.
pub(crate) async fn publish_unrouted(vhost: &Vhost, properties: BasicProperties) {
    let (_connection, channel) = admin_channel(vhost).await;
    let bytes = envelope().encode();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let sent = channel.basic_publish(UNROUTED.into(), "key".into(), BasicPublishOptions::default(), &bytes, properties);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
}

async fn ready(queue: &dyn Queue, name: &str) -> u64 {
    queue.depths().await.unwrap().into_iter().find(|depth| depth.queue == name).unwrap().ready
}

async fn becomes(queue: &dyn Queue, name: &str, expected: u64) {
    eventually(name, async || match ready(queue, name).await {
        ready if ready == expected => Ok(()),
        ready => Err(format!("{ready} instead of {expected}")),
    })
    .await;
}

/// A new process, with no confirm to rely on, finds what an old one was refused.
async fn nothing_is_proven(harness: &RabbitHarness) {
    for queue in [open(&harness.vhost.url), open(&harness.vhost.url)] {
        let error = queue.probe().await.unwrap_err();
        assert!(matches!(error, QueueError::Misconfigured { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_binding_is_found_by_readiness_and_by_the_check_of_routes() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    queue.publish(&envelope()).await.unwrap();
    queue.probe().await.unwrap();
    assert!(queue.routes().await.unwrap().iter().all(|route| route.state == RouteState::Works));
    unbind(&harness.vhost, WORK).await;
    assert!(queue.publish(&envelope()).await.is_err());
    let error = queue.probe().await.unwrap_err();
    assert!(matches!(error, QueueError::Misconfigured { .. }), "at once, not when the last confirm is old: {error}");
    nothing_is_proven(&harness).await;
    unbind(&harness.vhost, "payhook.retry.2s").await;
    let broken = queue.routes().await.unwrap().into_iter().filter(|route| route.state != RouteState::Works);
    let broken: Vec<_> = broken.map(|route| route.name).collect();
    assert_eq!(broken, [WORK, "payhook.retry.2s"]);
    queue.migrate().await.unwrap();
    assert!(queue.routes().await.unwrap().iter().all(|route| route.state == RouteState::Works));
    queue.probe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_work_queue_takes_nothing_and_nothing_is_acknowledged() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    queue.publish(&envelope()).await.unwrap();
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    channel.queue_delete(WORK.into(), QueueDeleteOptions::default()).await.unwrap();
    for _ in 0..20 {
        assert!(queue.publish(&envelope()).await.is_err());
    }
    assert!(queue.probe().await.is_err());
    nothing_is_proven(&harness).await;
    queue.migrate().await.unwrap();
    queue.publish(&envelope()).await.unwrap();
    assert_eq!(ready(&*queue, UNROUTED).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_consumer_sees_what_proves_a_route() {
    let Some(harness) = RabbitHarness::start().await else { return };
    open(&harness.vhost.url).probe().await.unwrap();
    let queue = open(&harness.vhost.url);
    assert!(queue.routes().await.unwrap().iter().all(|route| route.state == RouteState::Works));
    let sent = envelope();
    queue.publish(&sent).await.unwrap();
    let mut consumer = queue.consume(Lane::Notifications, 10).await.unwrap();
    let mut dead = queue.consume(Lane::Dead, 10).await.unwrap();
    let taken = timeout(WITHIN, consumer.deliveries.next(10)).await.unwrap().unwrap();
    assert_eq!(taken.iter().map(|delivery| delivery.bytes.clone()).collect::<Vec<_>>(), [sent.encode()]);
    let none = timeout(
        Duration::from_secs(3),
        futures_util::future::select(consumer.deliveries.next(10), dead.deliveries.next(10)),
    );
    assert!(none.await.is_err(), "a probe was handed out");
    for name in [WORK, "payhook.dead", "payhook.retry.1s", "payhook.retry.2s"] {
        becomes(&queue, name, 0).await;
    }
    let acked: Vec<_> = taken.into_iter().map(|delivery| (delivery, Verdict::Ack)).collect();
    assert_eq!(consumer.settler.settle(&acked).await.unwrap(), 0, "acking a probe left the channel whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_write_is_not_ready() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let user = harness.vhost.create_user("reader").await.unwrap();
    harness.vhost.set_permissions(&user.name, "^$", "^$", r"^payhook\.").await.unwrap();
    let queue = open(&user.url);
    let error = queue.probe().await.unwrap_err();
    assert!(matches!(error, QueueError::Misconfigured { .. }), "{error}");
    let routes = queue.routes().await.unwrap();
    assert_eq!(routes[0].state, RouteState::NotPermitted, "{routes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_no_queue_wants_is_not_kept() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    assert_eq!(queue.publish_event(&event()).await.unwrap(), Routed::Unwanted);
    channel.queue_declare("shop".into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let bind = async |key: &str| {
        let options = QueueBindOptions::default();
        channel.queue_bind("shop".into(), "payhook.events".into(), key.into(), options, FieldTable::default()).await
    };
    bind("refund.#").await.unwrap();
    assert_eq!(queue.publish_event(&event()).await.unwrap(), Routed::Unwanted);
    bind("order.#").await.unwrap();
    assert_eq!(queue.publish_event(&event()).await.unwrap(), Routed::Taken);
    assert_eq!(ready(&*queue, UNROUTED).await, 0);
    queue.probe().await.expect("an event nobody wants is no fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_events_exchange_of_earlier_versions_is_mended_without_losing_a_binding() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    channel.exchange_delete("payhook.events".into(), ExchangeDeleteOptions::default()).await.unwrap();
    let mut alternate = FieldTable::default();
    alternate.insert("alternate-exchange".into(), AMQPValue::LongString(UNROUTED.into()));
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare("payhook.events".into(), ExchangeKind::Topic, durable, alternate).await.unwrap();
    channel.queue_declare("shop".into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let bind = QueueBindOptions::default();
    let bound =
        channel.queue_bind("shop".into(), "payhook.events".into(), "order.held.v1".into(), bind, FieldTable::default());
    bound.await.unwrap();
    queue.publish_event(&event()).await.unwrap();
    assert_eq!(ready(&*queue, UNROUTED).await, 1, "so it was");

    queue.migrate().await.unwrap();
    queue.migrate().await.expect("twice does no harm");
    assert_eq!(queue.publish_event(&event()).await.unwrap(), Routed::Unwanted);
    assert_eq!(ready(&*queue, UNROUTED).await, 1, "nothing more");
    let held = payhook_schema::Event { event_type: payhook_schema::EventType::OrderHeld, ..event() };
    assert_eq!(queue.publish_event(&held).await.unwrap(), Routed::Taken);
    let got = channel.basic_get("shop".into(), BasicGetOptions { no_ack: true }).await.unwrap();
    assert!(got.is_some(), "the merchant's binding is still there");
    let moved = queue.unrouted_move_back(MoveBack::Harmless, 10).await.unwrap();
    assert_eq!(moved, MovedBack { events_dropped: 1, ..MovedBack::default() });
}

/// A dead letter's headers, as its publisher writes them.
fn dead_letter() -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("x-attempt".into(), AMQPValue::LongLongInt(3));
    headers.insert("x-cause".into(), AMQPValue::LongString("unknown_payment".into()));
    headers.insert("x-detail".into(), AMQPValue::LongString("no order".into()));
    headers.insert("x-died-at".into(), AMQPValue::LongString("2026-11-21T10:00:00Z".into()));
    BasicProperties::default().with_headers(headers)
}

/// The properties that the broker writes when it gives up handing out a dead letter.
fn crashing() -> BasicProperties {
    let mut death = FieldTable::default();
    death.insert("queue".into(), AMQPValue::LongString("payhook.dead".into()));
    death.insert("reason".into(), AMQPValue::LongString("delivery_limit".into()));
    let mut headers = FieldTable::default();
    headers.insert("x-death".into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()));
    BasicProperties::default().with_headers(headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_unrouted_is_shown_without_harm_and_moved_to_where_it_belongs() {
    use UnroutedKind::{Crashing, DeadLetter, Event, Hint};

    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    assert_eq!(queue.unrouted(10).await.unwrap(), []);
    assert!(queue.unrouted_move_back(MoveBack::All, 10).await.unwrap().is_nothing());
    let mut tried = FieldTable::default();
    tried.insert("x-attempt".into(), AMQPValue::LongLongInt(4));
    let hint = BasicProperties::default().with_headers(tried).with_message_id("hint-1".into()).with_timestamp(7);
    let event = BasicProperties::default().with_content_type("application/cloudevents+json".into());
    for properties in [hint, dead_letter(), event, crashing()] {
        publish_unrouted(&harness.vhost, properties).await;
    }
    // Looking again and again neither loses nor changes anything.
    for _ in 0..30 {
        let mut kinds: Vec<_> = queue.unrouted(10).await.unwrap().iter().map(|unrouted| unrouted.kind).collect();
        kinds.sort_unstable_by_key(|kind| kind.as_str());
        assert_eq!(kinds, [Crashing, DeadLetter, Event, Hint]);
    }
    let listed = queue.unrouted(10).await.unwrap();
    let hint = listed.iter().find(|unrouted| unrouted.kind == Hint).unwrap();
    assert_eq!((hint.message_id.as_deref(), hint.key.as_str()), (Some("hint-1"), "key"));
    assert_eq!(hint.sent_at.map(Timestamp::as_second), Some(7));

    // While the work queue has no binding it goes nowhere, and is not lost.
    unbind(&harness.vhost, WORK).await;
    while queue.unrouted_move_back(MoveBack::Harmless, 10).await.is_ok() {}
    becomes(&*queue, UNROUTED, 2).await;
    queue.migrate().await.unwrap();
    let moved = queue.unrouted_move_back(MoveBack::Harmless, 10).await.unwrap();
    assert_eq!((moved.hints, moved.left), (1, 1), "what crashes is for a person to move: {moved:?}");
    let moved = queue.unrouted_move_back(MoveBack::All, 10).await.unwrap();
    assert_eq!((moved.dead_letters, moved.left), (1, 0), "{moved:?}");

    let mut consumer = queue.consume(Lane::Notifications, 10).await.unwrap();
    let taken = timeout(WITHIN, consumer.deliveries.next(10)).await.unwrap().unwrap();
    assert_eq!(taken.iter().map(|delivery| delivery.attempt).collect::<Vec<_>>(), [4]);
    let mut dead = queue.consume(Lane::Dead, 10).await.unwrap();
    let mut causes = Vec::new();
    while causes.len() < 2 {
        let taken = timeout(WITHIN, dead.deliveries.next(10)).await.unwrap().unwrap();
        causes.extend(taken.into_iter().map(|delivery| delivery.death.unwrap().cause));
    }
    causes.sort_unstable_by_key(|cause| cause.as_str());
    assert_eq!(causes, [DeadCause::Poison, DeadCause::UnknownPayment]);
}
