//! Tests of what only RabbitMQ shows, on a real broker.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::backends::{RabbitHarness, admin_channel, options};
use jiff::Timestamp;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use payhook_queue::conformance::QueueHarness;
use payhook_queue::{Lane, Queue, QueueError, RabbitOptions, RabbitQueue, Verdict};
use payhook_schema::{
    AccountName, Because, Clock, Currency, DeadCause, Envelope, Event, EventType, OrderEvent, OrderId, PaymentId,
    PaymentKey, Provider,
};
use payhook_test_servers::{PrivateRabbit, Proxy, Vhost, rabbit_is_installed};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::timeout;

pub(crate) const WITHIN: Duration = Duration::from_secs(30);
pub(crate) const WORK: &str = "payhook.notifications";

pub(crate) fn open(url: &str) -> RabbitQueue {
    RabbitQueue::open(url, options()).expect("the URL is right")
}

pub(crate) fn envelope() -> Envelope {
    let number: u64 = rand::random();
    let id = PaymentId::new(format!("chrg_{number}")).unwrap();
    let key = PaymentKey { provider: Provider::Omise, account: AccountName::new("shop").unwrap(), id };
    Envelope::ask(key, Because::Sweep, Timestamp::from_second(1_767_225_600).unwrap())
}

/// Asks again until `seen` finds what it looks for; fails with the last state.
pub(crate) async fn eventually<T>(what: &str, mut seen: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match seen().await {
            Ok(found) => return found,
            Err(last) => assert!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}; last: {last}"),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub(crate) async fn unbind(vhost: &Vhost, name: &str) {
    let (_connection, channel) = admin_channel(vhost).await;
    channel.queue_unbind(name.into(), name.into(), "".into(), FieldTable::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unroutable_publish_is_an_error_and_never_a_success() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    queue.publish(&envelope()).await.unwrap();
    unbind(&harness.vhost, WORK).await;
    // It comes back, and that is an error: for each of many at once.
    let envelopes: Vec<Envelope> = (0..200).map(|_| envelope()).collect();
    let published = futures_util::future::join_all(envelopes.iter().map(|envelope| queue.publish(envelope))).await;
    for outcome in published {
        let error = outcome.unwrap_err();
        assert!(matches!(error, QueueError::Misconfigured { .. }), "{error}");
    }
    let depths = queue.depths().await.unwrap();
    let ready = |name: &str| depths.iter().find(|depth| depth.queue == name).unwrap().ready;
    assert_eq!((ready(WORK), ready("payhook.unrouted")), (1, 0), "what was refused is nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_until_there_is_room() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    let policy =
        json!({ "pattern": r"^payhook\.notifications$", "definition": { "max-length": 2 }, "apply-to": "queues" });
    let path = format!("/policies/{}/small", harness.vhost.name);
    harness.vhost.admin("PUT", &path, Some(policy)).await.unwrap();
    let error = eventually("full", async || match queue.publish(&envelope()).await {
        Ok(()) => Err("it still takes more".to_owned()),
        Err(error) => Ok(error),
    });
    let error = error.await;
    assert!(matches!(error, QueueError::Full { .. }) && error.retryable(), "{error}");
    let mut consumer = queue.consume(Lane::Notifications, 1).await.unwrap();
    eventually("room", async || {
        let taken = consumer.deliveries.next(1).await.unwrap();
        let acked = taken.into_iter().map(|delivery| (delivery, Verdict::Ack)).collect::<Vec<_>>();
        assert_eq!(consumer.settler.settle(&acked).await.unwrap(), 0);
        queue.publish(&envelope()).await.map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topology_is_a_misconfiguration_and_the_connection_survives_it() {
    let Some(rabbit) = payhook_test_servers::rabbit().await else { return };
    let vhost = rabbit.fresh_vhost().await;
    let proxy = Proxy::start(&vhost.url).await.unwrap();
    let queue = open(&proxy.url(&vhost.url));
    for _ in 0..3 {
        for outcome in [
            queue.publish(&envelope()).await,
            queue.publish_event(&event()).await.map(drop),
            queue.probe().await,
            queue.depths().await.map(drop),
            queue.consume(Lane::Notifications, 1).await.map(drop),
        ] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, QueueError::Misconfigured { .. }), "{error}");
        }
    }
    queue.migrate().await.unwrap();
    queue.probe().await.unwrap();
    queue.publish(&envelope()).await.unwrap();
    assert_eq!(proxy.connections(), 2, "one to publish and one to consume, from beginning to end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_is_there_otherwise_is_a_misconfiguration() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    channel.queue_delete(WORK.into(), QueueDeleteOptions::default()).await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(WORK.into(), durable, FieldTable::default()).await.unwrap();
    let error = harness.process().await.migrate().await.unwrap_err();
    assert!(matches!(error, QueueError::Misconfigured { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumption_whose_queue_is_deleted_ends_with_an_error() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    let mut consumer = queue.consume(Lane::Notifications, 1).await.unwrap();
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    channel.queue_delete(WORK.into(), QueueDeleteOptions::default()).await.unwrap();
    let ended = timeout(WITHIN, consumer.deliveries.next(1)).await.expect("it ends");
    assert!(ended.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_again_and_again_lose_nothing_that_was_confirmed_and_hang_nobody() {
    const PUBLISHERS: usize = 8;
    const CUTS: usize = 30;
    let Some(harness) = RabbitHarness::start().await else { return };
    let proxy = Proxy::start(&harness.vhost.url).await.unwrap();
    let queue = Arc::new(open(&proxy.url(&harness.vhost.url)));
    let over = Arc::new(AtomicBool::new(false));
    let published = Arc::new(AtomicUsize::new(0));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (queue, over, published) = (Arc::clone(&queue), Arc::clone(&over), Arc::clone(&published));
            tokio::spawn(async move {
                let (mut confirmed, mut unknown) = (Vec::new(), 0);
                while !over.load(Ordering::Relaxed) {
                    let envelope = envelope();
                    let outcome = timeout(WITHIN, queue.publish(&envelope)).await.expect("a publish never hangs");
                    match outcome {
                        Ok(()) => {
                            confirmed.push(envelope.id);
                            published.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert!(error.retryable(), "{error}");
                            unknown += 1;
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    }
                }
                (confirmed, unknown)
            })
        })
        .collect();
    for cut in 0..CUTS {
        // However slow the machine is, some is confirmed between the cuts.
        if cut % 5 == 0 {
            let wanted = published.load(Ordering::Relaxed) + PUBLISHERS;
            eventually("publishes between the cuts", async || match published.load(Ordering::Relaxed) {
                enough if enough >= wanted => Ok(()),
                few => Err(format!("{few} of {wanted}")),
            })
            .await;
        }
        // A random moment: within a connect, a channel's opening, or a stream of confirms.
        tokio::time::sleep(Duration::from_millis(rand::random_range(20..250))).await;
        match cut % 5 {
            4 => {
                proxy.refuse().await;
                proxy.cut();
                tokio::time::sleep(Duration::from_millis(150)).await;
                proxy.accept().await.unwrap();
            }
            3 => proxy.drop_after(rand::random_range(0..200)),
            2 => proxy.close(),
            _ => proxy.cut(),
        }
    }
    eventually("a publish after the last cut", async || {
        queue.publish(&envelope()).await.map_err(|error| error.to_string())
    })
    .await;
    over.store(true, Ordering::Relaxed);
    let (mut confirmed, mut unknown) = (HashSet::new(), 0);
    for publisher in publishers {
        let (mine, not_mine) = publisher.await.unwrap();
        confirmed.extend(mine);
        unknown += not_mine;
    }
    eprintln!("{} confirmed, {unknown} unknown over {CUTS} cuts", confirmed.len());
    assert!(confirmed.len() > CUTS, "it published between the cuts");

    let all = confirmed.len();
    let queue = open(&harness.vhost.url);
    let mut consumer = queue.consume(Lane::Notifications, 500).await.unwrap();
    while !confirmed.is_empty() {
        let taken = timeout(WITHIN, consumer.deliveries.next(500)).await;
        let taken = taken.unwrap_or_else(|_| panic!("{} of {all} confirmed are lost", confirmed.len())).unwrap();
        let acked = taken.into_iter().map(|delivery| {
            confirmed.remove(&delivery.envelope.as_ref().unwrap().id);
            (delivery, Verdict::Ack)
        });
        assert_eq!(consumer.settler.settle(&acked.collect::<Vec<_>>()).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_is_noticed_by_the_deadline_and_left() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let proxy = Proxy::start(&harness.vhost.url).await.unwrap();
    let deadline = Duration::from_secs(1);
    let options = RabbitOptions { deadline, ..options() };
    let queue = RabbitQueue::open(&proxy.url(&harness.vhost.url), options).unwrap();
    queue.publish(&envelope()).await.unwrap();
    proxy.freeze();
    let began = Instant::now();
    let error = queue.publish(&envelope()).await.unwrap_err();
    assert!(matches!(error, QueueError::Unavailable { .. }), "{error}");
    assert!(began.elapsed() < 3 * deadline, "{:?}", began.elapsed());
    proxy.thaw();
    eventually("a publish after the thaw", async || {
        queue.publish(&envelope()).await.map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_host_is_asked_when_the_first_is_gone() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let gone = Proxy::start(&harness.vhost.url).await.unwrap();
    gone.refuse().await;
    let well = Proxy::start(&harness.vhost.url).await.unwrap();
    let url = gone.url(&harness.vhost.url);
    let both = url.replace(&gone.address().to_string(), &format!("{},{}", gone.address(), well.address()));
    assert_ne!(url, both);
    open(&both).publish(&envelope()).await.unwrap();
    assert!(well.connections() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_or_vhost_is_a_misconfiguration_that_shows_no_password() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let user = harness.vhost.create_user("stranger").await.unwrap();
    let wrong_vhost =
        user.url.replace(&harness.vhost.name, "no-such-vhost").replace("no-such-vhost-stranger", &user.name);
    for url in
        [user.url.replace(&format!("{}:", user.name), &format!("{}:hush", user.name)), user.url.clone(), wrong_vhost]
    {
        let queue = open(&url);
        let error = queue.probe().await.unwrap_err();
        assert!(matches!(error, QueueError::Misconfigured { .. }), "{error}");
        let password = url.split(':').nth(2).unwrap().split('@').next().unwrap();
        assert!(!format!("{error} {error:?} {}", queue.address()).contains(password), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_own_limit_is_the_net_below_ours() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    let sent = envelope();
    queue.publish(&sent).await.unwrap();
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    // Limit 20 means 21 deliveries. Payhook counts to 10 itself: this is a consumer of somebody else.
    for delivery in 1..=21 {
        let got = eventually("the next delivery", async || {
            let got = channel.basic_get(WORK.into(), BasicGetOptions::default()).await.unwrap();
            got.ok_or_else(|| format!("no {delivery}th"))
        });
        got.await.acker.nack(BasicNackOptions { multiple: false, requeue: true }).await.unwrap();
    }
    let mut dead = queue.consume(Lane::Dead, 1).await.unwrap();
    let delivery = timeout(WITHIN, dead.deliveries.next(1)).await.unwrap().unwrap().remove(0);
    assert_eq!(delivery.bytes, sent.encode());
    let death = delivery.death.unwrap();
    assert_eq!(death.cause, DeadCause::Poison);
    assert!(death.died_at > Timestamp::from_second(1_700_000_000).unwrap(), "{death:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_acked_with_one_frame_and_what_lies_past_a_gap_singly() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    for _ in 0..10 {
        queue.publish(&envelope()).await.unwrap();
    }
    let mut consumer = queue.consume(Lane::Notifications, 10).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < 10 {
        taken.extend(timeout(WITHIN, consumer.deliveries.next(10)).await.unwrap().unwrap());
    }
    let later = taken.split_off(5);
    let (gap, rest) = (taken.remove(2), taken);
    let acked =
        |deliveries: Vec<_>| deliveries.into_iter().map(|delivery| (delivery, Verdict::Ack)).collect::<Vec<_>>();
    // Two batches at once, in no order: neither may ack what the other acked, or the broker closes the channel.
    let (later, rest) = (acked(later), acked(rest));
    let (first, second) = tokio::join!(consumer.settler.settle(&later), consumer.settler.settle(&rest));
    assert_eq!((first.unwrap(), second.unwrap()), (0, 0));
    // The channel is still ours: had a tag been acked twice, it would be closed.
    assert_eq!(consumer.settler.settle(&[(gap, Verdict::Release)]).await.unwrap(), 0);
    let gap = timeout(WITHIN, consumer.deliveries.next(10)).await.unwrap().unwrap();
    assert_eq!(gap.len(), 1, "only what was not acked comes back");
    assert_eq!(consumer.settler.settle(&acked(gap)).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_a_lost_connection_are_counted_as_not_ours_or_refused() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    let sent = envelope();
    queue.publish(&sent).await.unwrap();
    let mut consumer = queue.consume(Lane::Notifications, 1).await.unwrap();
    let taken = consumer.deliveries.next(1).await.unwrap();
    harness.crash().await;
    assert!(timeout(WITHIN, consumer.deliveries.next(1)).await.expect("it ends").is_err());
    let lost =
        consumer.settler.settle(&taken.into_iter().map(|delivery| (delivery, Verdict::Ack)).collect::<Vec<_>>()).await;
    assert!(!matches!(lost, Ok(0)), "it was reported as acked");
    let mut consumer = harness.process().await.consume(Lane::Notifications, 1).await.unwrap();
    let again = timeout(WITHIN, consumer.deliveries.next(1)).await.unwrap().unwrap();
    assert_eq!(again[0].bytes, sent.encode());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_as_a_cloud_event_under_its_routing_key() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let queue = harness.process().await;
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    channel.queue_declare("shop".into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let bind = QueueBindOptions::default();
    channel
        .queue_bind("shop".into(), "payhook.events".into(), "order.#".into(), bind, FieldTable::default())
        .await
        .unwrap();
    let event = event();
    queue.publish_event(&event).await.unwrap();
    let message =
        channel.basic_get("shop".into(), BasicGetOptions { no_ack: true }).await.unwrap().expect("it is there");
    assert_eq!(message.routing_key.as_str(), "order.paid.v1");
    assert_eq!(serde_json::from_slice::<Event>(&message.data).unwrap(), event);
    let properties = &message.properties;
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), event.id.to_string());
    assert_eq!(*properties.delivery_mode(), Some(2));
    let headers = properties.headers().as_ref().unwrap();
    let header = |name: &str| match &headers.inner()[name] {
        AMQPValue::LongString(text) => text.to_string(),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!(header("cloudEvents_id"), event.id.to_string());
    assert_eq!(header("cloudEvents_type"), "payhook.order.paid.v1");
    assert_eq!(header("cloudEvents_subject"), "A-1001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_on_the_wire_is_persistent_named_and_keyed_by_its_payment() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let sent = envelope();
    harness.process().await.publish(&sent).await.unwrap();
    let (_connection, channel) = admin_channel(&harness.vhost).await;
    let message = channel.basic_get(WORK.into(), BasicGetOptions::default()).await.unwrap().expect("it is there");
    assert_eq!(message.routing_key.as_str(), sent.payment().unwrap().to_string());
    assert_eq!(message.data, sent.encode());
    assert_eq!(*message.properties.delivery_mode(), Some(2));
    assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), sent.id.to_string());
    assert_eq!(message.properties.kind().as_ref().unwrap().as_str(), "payhook.ask");
    assert!(message.properties.timestamp().is_some());
    message.ack(BasicAckOptions::default()).await.unwrap();
}

pub(crate) fn event() -> Event {
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
    Event::of_order(EventType::OrderPaid, data, Clock::system().now())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_connection_refuses_at_once_and_serves_again_once_it_is_lifted() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let upstream = harness.vhost.url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = harness.vhost.url.replace(&upstream, &listener.local_addr().unwrap().to_string());
    let (say, _) = broadcast::channel::<Vec<u8>>(4);
    tokio::spawn(speak_for_the_broker(listener, upstream, say.clone()));

    let queue = open(&url);
    queue.publish(&envelope()).await.unwrap();
    say.send(connection_frame(60, b"\x0dlow on memory")).unwrap();
    let began = Instant::now();
    eventually("blocked", async || match queue.publish(&envelope()).await {
        Ok(()) => Err("it still publishes".to_owned()),
        Err(QueueError::Unavailable { .. }) => Ok(()),
        Err(error) => panic!("{error}"),
    })
    .await;
    assert!(queue.probe().await.is_err(), "not ready while blocked");
    // What is taken now could not be moved on, and giving it back counts against it.
    let taken = queue.consume(Lane::Notifications, 1).await.map(drop);
    assert!(matches!(taken, Err(QueueError::Unavailable { .. })), "{taken:?}");
    assert!(began.elapsed() < options().deadline, "it waited for the deadline: {:?}", began.elapsed());
    say.send(connection_frame(61, b"")).unwrap();
    eventually("lifted", async || queue.publish(&envelope()).await.map_err(|error| error.to_string())).await;
    queue.probe().await.unwrap();
    queue.consume(Lane::Notifications, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn during_an_alarm_nothing_is_taken_that_could_not_be_moved_on() {
    // A node of our own, because the alarm is everybody's.
    if payhook_test_servers::rabbit().await.is_none() || !rabbit_is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = PrivateRabbit::start(folder.path()).await.unwrap();
    let queue = open(&broker.url());
    queue.migrate().await.unwrap();
    for _ in 0..2 {
        queue.publish(&envelope()).await.unwrap();
    }
    let mut consumer = queue.consume(Lane::Notifications, 2).await.unwrap();
    let mut take_one = async || timeout(WITHIN, consumer.deliveries.next(1)).await.unwrap().unwrap();
    let (taken, moved_on) = (take_one().await, take_one().await);
    broker.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await.unwrap();
    // The broker says so only to a connection that publishes: a new process does not know, and finds out before it
    // takes.
    let other = open(&broker.url());
    for _ in 0..3 {
        let refused = other.consume(Lane::Notifications, 1).await.map(drop);
        assert!(matches!(refused, Err(QueueError::Unavailable { .. })), "{refused:?}");
        assert!(other.probe().await.is_err(), "not ready either");
    }
    // A delivery that cannot be moved on stays unsettled after every try: nothing counts against it.
    let after = Duration::from_secs(1);
    let retry = Verdict::Retry { after, attempt: 2, first_failed_at: Timestamp::UNIX_EPOCH };
    let moved_on: Vec<_> = moved_on.into_iter().map(|delivery| (delivery, retry.clone())).collect();
    for _ in 0..12 {
        assert!(consumer.settler.settle(&moved_on).await.is_err(), "the broker takes no publish");
    }
    // What needs no publish goes on.
    let acked: Vec<_> = taken.into_iter().map(|delivery| (delivery, Verdict::Ack)).collect();
    assert_eq!(consumer.settler.settle(&acked).await.unwrap(), 0);
    broker.control(&["set_vm_memory_high_watermark", "absolute", "2GB"]).await.unwrap();
    eventually("it takes again", async || {
        other.consume(Lane::Notifications, 1).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    other.probe().await.unwrap();
    eventually("it is moved on", async || match consumer.settler.settle(&moved_on).await {
        Ok(0) => Ok(()),
        Ok(gone) => panic!("{gone} were given back during the alarm"),
        Err(error) => Err(error.to_string()),
    })
    .await;
}

/// A method frame of class `connection` on channel 0: 60 is `blocked`, 61 is `unblocked`.
fn connection_frame(method: u16, arguments: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 0, 0];
    frame.extend((4 + arguments.len() as u32).to_be_bytes());
    frame.extend(10_u16.to_be_bytes());
    frame.extend(method.to_be_bytes());
    frame.extend(arguments);
    frame.push(0xce);
    frame
}

/// Forwards every connection, and inserts bytes between the broker's own. Only while the broker is silent: the proxy
/// does not know where a frame ends.
async fn speak_for_the_broker(listener: TcpListener, upstream: String, say: broadcast::Sender<Vec<u8>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_broker, mut to_broker) = TcpStream::connect(&upstream).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_broker).await });
        let mut words = say.subscribe();
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let words = tokio::select! {
                    read = from_broker.read(&mut buffer) => buffer[..read.unwrap_or(0)].to_vec(),
                    Ok(words) = words.recv() => words,
                };
                if words.is_empty() || to_client.write_all(&words).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_outlives_the_brokers_own_death() {
    // A node of our own, because the others' tests would die with the shared one.
    if payhook_test_servers::rabbit().await.is_none() || !rabbit_is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut broker = PrivateRabbit::start(folder.path()).await.unwrap();
    let queue = Arc::new(open(&broker.url()));
    queue.migrate().await.unwrap();
    let publishing = Arc::clone(&queue);
    let publisher = tokio::spawn(async move {
        let mut confirmed = HashSet::new();
        loop {
            let batch: Vec<Envelope> = (0..16).map(|_| envelope()).collect();
            let outcomes =
                futures_util::future::join_all(batch.iter().map(|envelope| publishing.publish(envelope))).await;
            let ok = batch.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
            confirmed.extend(ok.map(|(envelope, _)| envelope.id));
            if outcomes.iter().any(Result::is_err) {
                return confirmed;
            }
        }
    });
    eventually("some hundred", async || {
        let waiting = queue.depths().await.unwrap()[0].ready;
        if waiting > 300 { Ok(()) } else { Err(waiting.to_string()) }
    })
    .await;
    broker.kill9().await.unwrap();
    let mut confirmed = timeout(WITHIN, publisher).await.expect("no publish hangs").unwrap();
    broker.restart().await.unwrap();

    let mut consumer = eventually("a consumer on the broker that came back", async || {
        queue.consume(Lane::Notifications, 500).await.map_err(|error| error.to_string())
    })
    .await;
    while !confirmed.is_empty() {
        let taken = timeout(WITHIN, consumer.deliveries.next(500)).await;
        let taken = taken.unwrap_or_else(|_| panic!("{} confirmed are lost", confirmed.len())).unwrap();
        let acked = taken.into_iter().map(|delivery| {
            confirmed.remove(&delivery.envelope.as_ref().unwrap().id);
            (delivery, Verdict::Ack)
        });
        consumer.settler.settle(&acked.collect::<Vec<_>>()).await.unwrap();
    }
}
