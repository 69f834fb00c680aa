//! The topology that `migrate` declares on a real broker, and the rights that each task needs.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use lapin::BasicProperties;
use payhook_queue::{Lane, MoveBack, MovedBack, Queue, QueueError, Verdict, rabbitmq};
use payhook_schema::DeadCause;
use payhook_test_servers::Vhost;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::backends::{RabbitHarness, options};
use crate::rabbitmq::{WITHIN, WORK, envelope, event, open};
use crate::routes::publish_unrouted;

#[tokio::test(flavor = "multi_thread")]
async fn migrate_and_the_definitions_file_make_exactly_the_topology_of_the_reference() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let expected: BTreeMap<String, Value> = [
        (
            WORK,
            json!({
                "x-queue-type": "quorum", "x-dead-letter-exchange": "payhook.dead", "x-delivery-limit": 20,
                "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
            }),
        ),
        (
            "payhook.dead",
            json!({
                "x-queue-type": "quorum", "x-dead-letter-exchange": "payhook.unrouted", "x-delivery-limit": 100,
                "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
            }),
        ),
        (
            "payhook.retry.1s",
            json!({
                "x-queue-type": "quorum", "x-dead-letter-exchange": "payhook.notifications", "x-message-ttl": 1000,
                "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
            }),
        ),
        (
            "payhook.retry.2s",
            json!({
                "x-queue-type": "quorum", "x-dead-letter-exchange": "payhook.notifications", "x-message-ttl": 2000,
                "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
            }),
        ),
        ("payhook.unrouted", json!({ "x-queue-type": "quorum" })),
    ]
    .map(|(name, arguments)| (name.to_owned(), arguments))
    .into();
    let declared = topology(&harness.vhost).await;
    assert_eq!(declared.queues, expected);
    let alternate = json!({ "alternate-exchange": "payhook.unrouted" });
    let exchanges = [
        (WORK, "fanout", alternate.clone()),
        ("payhook.dead", "fanout", alternate),
        ("payhook.events", "topic", json!({})),
        ("payhook.returned", "fanout", json!({})),
        ("payhook.retry.1s", "fanout", json!({})),
        ("payhook.retry.2s", "fanout", json!({})),
        ("payhook.unrouted", "fanout", json!({})),
    ];
    let exchanges = exchanges.map(|(name, kind, arguments)| (name.to_owned(), (kind.to_owned(), arguments)));
    assert_eq!(declared.exchanges, exchanges.into());
    let own_names = expected.keys().map(|name| (name.clone(), name.clone(), String::new()));
    let returned = (WORK.to_owned(), "payhook.returned".to_owned(), "#".to_owned());
    assert_eq!(declared.bindings, own_names.chain([returned]).collect());

    let rabbit = payhook_test_servers::rabbit().await.unwrap();
    let imported = rabbit.fresh_vhost().await;
    let definitions = rabbitmq::definitions(&imported.name, &options().retry_delays).unwrap();
    imported.admin("POST", "/definitions", Some(definitions)).await.unwrap();
    assert_eq!(topology(&imported).await, declared);
    open(&imported.url).migrate().await.expect("nothing differs");
}

#[derive(Debug, PartialEq)]
struct Declared {
    queues: BTreeMap<String, Value>,
    exchanges: BTreeMap<String, (String, Value)>,
    /// Source, destination, key.
    bindings: HashSet<(String, String, String)>,
}

/// Returns what the broker says it has, without what every virtual host has.
async fn topology(vhost: &Vhost) -> Declared {
    let list = async |what: &str| {
        let listed = vhost.admin("GET", &format!("/{what}/{}", vhost.name), None).await.unwrap();
        listed.as_array().unwrap().clone()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let durable = |thing: &Value| assert_eq!((&thing["durable"], &thing["auto_delete"]), (&json!(true), &json!(false)));
    let mut declared = Declared { queues: BTreeMap::new(), exchanges: BTreeMap::new(), bindings: HashSet::new() };
    for queue in list("queues").await {
        durable(&queue);
        declared.queues.insert(text(&queue["name"]), queue["arguments"].clone());
    }
    for exchange in list("exchanges").await {
        let name = text(&exchange["name"]);
        if !name.is_empty() && !name.starts_with("amq.") {
            durable(&exchange);
            declared.exchanges.insert(name, (text(&exchange["type"]), exchange["arguments"].clone()));
        }
    }
    for binding in list("bindings").await {
        if binding["source"] != json!("") {
            let ends = (text(&binding["source"]), text(&binding["destination"]), text(&binding["routing_key"]));
            declared.bindings.insert(ends);
        }
    }
    declared
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_an_ingress_suffice_to_publish_and_to_probe_and_for_nothing_else() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let user = harness.vhost.create_user("ingress").await.unwrap();
    harness.vhost.set_permissions(&user.name, "^$", r"^payhook\.notifications$", "^$").await.unwrap();
    let queue = open(&user.url);
    queue.probe().await.unwrap();
    queue.publish(&envelope()).await.unwrap();
    for refused in [
        queue.publish_event(&event()).await.map(drop),
        queue.consume(Lane::Notifications, 1).await.map(drop),
        queue.consume(Lane::Dead, 1).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, QueueError::Misconfigured { .. }), "{error}");
    }
    queue.publish(&envelope()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_a_worker_suffice_for_all_it_does() {
    let Some(harness) = RabbitHarness::start().await else { return };
    let user = harness.vhost.create_user("worker").await.unwrap();
    let write = r"^payhook\.(notifications|events|dead|retry\.[0-9]+[smh])$";
    let read = r"^payhook\.(notifications|dead|unrouted)$";
    harness.vhost.set_permissions(&user.name, "^$", write, read).await.unwrap();
    let queue = open(&user.url);
    queue.probe().await.unwrap();
    queue.publish_event(&event()).await.unwrap();
    queue.depths().await.unwrap();
    queue.publish(&envelope()).await.unwrap();
    let mut consumer = queue.consume(Lane::Notifications, 1).await.unwrap();
    let first_failed_at = Timestamp::UNIX_EPOCH;
    let retry = Verdict::Retry { after: Duration::ZERO, attempt: 2, first_failed_at };
    let death = payhook_queue::Death { cause: DeadCause::Poison, detail: String::new(), died_at: first_failed_at };
    for verdict in [retry, Verdict::DeadLetter(death)] {
        let taken = timeout(WITHIN, consumer.deliveries.next(1)).await.unwrap().unwrap();
        let settled = taken.into_iter().map(|delivery| (delivery, verdict.clone())).collect::<Vec<_>>();
        assert_eq!(consumer.settler.settle(&settled).await.unwrap(), 0);
    }
    let mut dead = queue.consume(Lane::Dead, 1).await.unwrap();
    timeout(WITHIN, dead.deliveries.next(1)).await.unwrap().unwrap();
    publish_unrouted(&harness.vhost, BasicProperties::default()).await;
    let moved = queue.unrouted_move_back(MoveBack::Harmless, 10).await.unwrap();
    assert_eq!(moved, MovedBack { hints: 1, ..MovedBack::default() });
}
