//! Messages that nobody can deal with: each ends as a dead letter with its bytes, and takes nothing beside it along.

use std::time::Duration;

use futures_util::future::join_all;
use payhook_queue::Queue;
use payhook_queue::embedded::EmbeddedQueue;
use payhook_queue::rabbitmq::{RabbitOptions, RabbitQueue};
use payhook_schema::{About, Clock, Envelope, Hint, Notification, PaymentId, Provider, new_id};
use payhook_simulator::{AntomKind, AntomStatus, Fault, Reply, SignedRequest};
use payhook_store::sqlite::SqliteStore;
use payhook_store::traits::*;
use serde_json::{Value, json};

use crate::forged::enveloped;
use crate::harness::{KEYS, TestPayhook, journeys};
use crate::rotated::{NEW, with_antom_keys};

journeys! { Plan::usual().retry_delays(&["1s"]);
    what_crashes_its_worker_each_time_is_given_up_on_and_its_neighbours_are_applied,
    a_letter_that_was_never_proven_is_replayed_from_its_own_bytes,
    values_that_no_store_keeps_stop_nobody,
}

/// In hand with the poison, again and again.
const NEIGHBOURS: usize = 12;
/// An answer takes so long: a worker dies before it comes, with all its questions in the air.
const ANSWER: Duration = Duration::from_millis(500);
/// RabbitMQ takes 10, the embedded queue 5. A look of the sweep's own is one more message that crashes.
const CRASHES_MAX: usize = 40;
/// As a provider resends until it is acknowledged, only sooner.
const RESENDS: [Duration; 300] = [Duration::from_millis(100); 300];

impl TestPayhook {
    /// Returns the processes that take hints.
    fn workers(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name == "serve" || name.starts_with("worker")).collect()
    }

    /// Puts envelopes on the work queue, as an attacker with the broker's password or the file can.
    async fn queue_has(&self, envelopes: &[Envelope]) {
        let (clock, delays) = (Clock::system(), self.plan.delays());
        if self.is_cluster() {
            let queue = RabbitQueue::open(&self.vhost().url, RabbitOptions::new("a thief", clock, &delays)).unwrap();
            publish(&queue, envelopes).await;
            return;
        }
        self.stop("serve");
        let store = SqliteStore::open(&self.folder().join("payhook.db").to_string_lossy()).await.unwrap();
        publish(&EmbeddedQueue::open(store.writer(), clock, &delays).unwrap(), envelopes).await;
        store.close().await;
        self.restart("serve").await;
    }

    /// Waits for so many open dead letters, and returns them.
    async fn letters(&self, count: usize) -> Vec<Value> {
        self.until(&format!("{count} dead letters"), async || {
            let letters = self.dead_letters().await?;
            if letters.len() == count { Ok(letters) } else { Err(format!("{} {letters:#?}", letters.len())) }
        })
        .await
    }
}

async fn publish(queue: &dyn Queue, envelopes: &[Envelope]) {
    for published in join_all(envelopes.iter().map(|envelope| queue.publish(envelope))).await {
        published.expect("the queue takes anything");
    }
    queue.close().await;
}

/// A charge that is paid, and the event that says so.
async fn paid(payhook: &TestPayhook, order: &str) -> (PaymentId, SignedRequest) {
    let charge = payhook.omise_order(order, "10.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    let event = payhook.omise_signed(&charge, "charge.complete");
    (charge, event)
}

/// Kills every worker each time the provider is asked about `poison`, until it is a dead letter. Counts the kills.
async fn crashes_until_given_up(payhook: &TestPayhook, poison: &PaymentId) -> (usize, Value) {
    let (mut crashes, mut asked) = (0, 0);
    loop {
        let letter = payhook
            .until("the poison is asked about, or given up on", async || {
                if payhook.asked(poison) > asked {
                    return Ok(None);
                }
                let letters = payhook.dead_letters().await?;
                let is_its =
                    |letter: &&Value| letter["payment_id"] == poison.as_str() && letter["notification_id"].is_string();
                let letter = letters.iter().find(is_its);
                letter.cloned().map(Some).ok_or_else(|| format!("{crashes} crashes, {letters:?}"))
            })
            .await;
        if let Some(letter) = letter {
            return (crashes, letter);
        }
        for worker in payhook.workers() {
            payhook.kill9(&worker);
        }
        if let Some(servers) = &payhook.servers {
            // As if time had passed: a killed worker takes its share of what may be asked along for twenty seconds.
            servers.database.run("delete from leases").await.unwrap();
        }
        (crashes, asked) = (crashes + 1, payhook.asked(poison));
        assert!(crashes <= CRASHES_MAX, "{crashes} crashes\n{}", payhook.log_tails());
        for worker in payhook.workers() {
            payhook.start(&worker);
        }
    }
}

async fn what_crashes_its_worker_each_time_is_given_up_on_and_its_neighbours_are_applied(payhook: &TestPayhook) {
    let mut neighbours = Vec::new();
    for n in 0..NEIGHBOURS {
        neighbours.push(paid(payhook, &format!("P-{n}")).await.1);
    }
    let (poison, event) = paid(payhook, "P-poison").await;
    payhook.simulator.faults().set(Provider::Omise, Fault::Slow { by: ANSWER }).unwrap();
    if payhook.is_cluster() {
        // All of it waits when the workers start.
        payhook.workers().iter().for_each(|worker| payhook.kill9(worker));
    }
    let mut all = neighbours.clone();
    all.insert(NEIGHBOURS / 2, event.clone());
    let sending = tokio::spawn(async move {
        join_all(all.iter().map(async |request| request.send_until_acknowledged(&RESENDS).await)).await
    });
    if payhook.is_cluster() {
        // A provider may send its last notification once more.
        tokio::time::sleep(ANSWER).await;
        payhook.workers().iter().for_each(|worker| payhook.start(worker));
    }
    let (crashes, letter) = crashes_until_given_up(payhook, &poison).await;
    assert!(crashes > 1, "one crash says nothing about what was in hand");
    assert_eq!(letter["cause"], "poison", "{letter}");
    assert!(letter["detail"].as_str().unwrap().contains("again and again"), "{letter}");
    let replies = sending.await.unwrap();
    let taken = |replies: &Vec<_>| {
        replies.last().is_some_and(|it: &Result<Reply, _>| it.as_ref().is_ok_and(Reply::acknowledged))
    };
    assert!(replies.iter().all(taken), "{replies:?}\n{}", payhook.log_tails());
    for n in 0..NEIGHBOURS {
        payhook.becomes(&format!("P-{n}"), "paid").await;
        payhook.events_are(&format!("P-{n}"), &["order.paid"]).await;
    }
    let letters = payhook.dead_letters().await.unwrap();
    assert!(letters.iter().all(|it| it["payment_id"] == poison.as_str()), "a neighbour was given up on: {letters:#?}");
    let body = format!("/v1/notifications/{}/body", letter["notification_id"].as_str().unwrap());
    assert!(payhook.bytes(&body).await == event.body, "it has other bytes than were sent");

    // A version that does not crash over it.
    payhook.simulator.faults().clear(Provider::Omise);
    payhook.cli(&["dead", "replay", "--cause", "poison", "--reason", "mended"]).await.ends_with(0);
    payhook.becomes("P-poison", "paid").await;
    payhook.events_are("P-poison", &["order.paid"]).await;
    payhook.letters(0).await;
}

async fn a_letter_that_was_never_proven_is_replayed_from_its_own_bytes(payhook: &TestPayhook) {
    let payment = payhook.antom_order("P-late", "90.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("P-late", "paid").await;
    // Signed with a key that no worker has yet. A dispute is known from its notification alone.
    let dispute = payhook.antom_signed(&payment, AntomKind::Dispute).signed_by_version(2, &NEW);
    let envelope = enveloped(&payhook.known(dispute), &payment, "2026-11-28T00:00:00Z");
    payhook.queue_has(&[Envelope::decode(envelope.to_string().as_bytes()).unwrap()]).await;
    let letter = payhook.dies(&payment).await;
    assert_eq!((&letter["cause"], &letter["notification_id"]), (&json!("misconfigured"), &json!(null)), "{letter}");

    let id = letter["id"].as_str().unwrap();
    let ran = payhook.cli(&["dead", "replay", "--id", id, "--reason", "too early"]).await.ends_with(1);
    assert!(ran.stdout.contains("1 failed") || ran.stderr.contains("failed"), "{ran:?}");
    assert_eq!(payhook.letters(1).await[0]["id"], id);
    assert_eq!(payhook.order("P-late").await.unwrap()["disputes"], json!([]), "nothing of it is believed");

    with_antom_keys(payhook, &[(1, &KEYS), (2, &NEW)]).await;
    payhook.cli(&["dead", "replay", "--id", id, "--reason", "the key is there"]).await.ends_with(0);
    payhook
        .until("the dispute is known", async || {
            let order = payhook.order("P-late").await?;
            if order["disputes"][0]["state"].is_string() { Ok(()) } else { Err(order.to_string()) }
        })
        .await;
    payhook.letters(0).await;
}

async fn values_that_no_store_keeps_stop_nobody(payhook: &TestPayhook) {
    const REFERENCES: usize = 100;
    let (_, event) = paid(payhook, "P-beside").await;
    let payment = payhook.antom_order("P-own", "90.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let genuine = payhook.antom_signed(&payment, AntomKind::State);
    let with = |change: &dyn Fn(&mut Notification)| {
        let envelope = enveloped(&genuine, &payment, "2026-11-28T00:00:00Z");
        let mut envelope = Envelope::decode(envelope.to_string().as_bytes()).unwrap();
        envelope.id = new_id(Clock::system().now());
        let Hint::Notification(notification) = &mut envelope.hint else { unreachable!("it is one") };
        change(notification);
        envelope
    };
    let ancient = with(&|it| it.received_at = "-009998-01-01T00:00:00Z".parse().unwrap());
    let mut bad = vec![ancient.clone()];
    bad.extend((0..REFERENCES).map(|n| with(&|it| it.about = About::Reference(format!("{n}\0")))));
    payhook.queue_has(&bad).await;
    let mut expected = bad.len();
    if payhook.is_cluster() {
        let again = with(&|it| it.received_at = "-009998-01-02T00:00:00Z".parse().unwrap());
        payhook.broker_has_in("payhook.dead", &serde_json::from_slice(&again.encode()).unwrap()).await;
        expected += 1;
    }
    payhook.delivers(&event).await;
    payhook.delivers(&genuine).await;
    payhook.becomes("P-beside", "paid").await;
    payhook.becomes("P-own", "paid").await;
    let letters = payhook.letters(expected).await;
    assert!(letters.iter().all(|letter| letter["cause"] == "poison"), "{letters:#?}");
    let details: Vec<&str> = letters.iter().filter_map(|letter| letter["detail"].as_str()).collect();
    let naming = |text: &str| details.iter().filter(|detail| detail.contains(text)).count();
    assert_eq!(naming("`about` has a NUL character"), REFERENCES, "{details:#?}");
    assert_eq!(naming("`received_at` is no time that is stored"), 1, "{details:#?}");
    payhook.logged("dead-lettering what is no envelope").await;
}
