//! Processes that end in the middle of two hundred notifications, by `kill -9` mostly: what was acknowledged is
//! applied, and once.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use payhook_schema::Provider;
use payhook_simulator::{AntomKind, AntomStatus, Fault, Reply, SignedRequest};
use serde_json::Value;

use crate::harness::{Plan, TestPayhook, eventually};

/// Of each provider.
const ORDERS: usize = 100;
/// Notifications on their way at once.
const TOGETHER: usize = 12;
/// The first time, a process is killed when so many are acknowledged.
const ACKNOWLEDGED: usize = 60;
/// The second time, when so many are applied.
const APPLIED: usize = 110;
/// The time it stays dead: long enough to be missed.
const DEAD_FOR: Duration = Duration::from_millis(400);
/// As a provider resends until it is acknowledged, only sooner.
const RESENDS: [Duration; 300] = [Duration::from_millis(100); 300];
/// The time an inquiry takes, so that some are under way when a worker dies.
const INQUIRY: Duration = Duration::from_millis(100);
/// Inquiries at once: so few that applying takes seconds, and a kill comes in the middle of it.
const CONCURRENCY: usize = 4;

fn plan() -> Plan {
    Plan::usual().concurrency(CONCURRENCY)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_serve_loses_nothing_that_was_acknowledged_and_repeats_nothing() {
    let payhook = plan().one_file().await;
    survives(&payhook, ProcessEnd::Killed, &["serve"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_an_ingress_loses_nothing_that_was_acknowledged_and_repeats_nothing() {
    let Some(payhook) = plan().cluster().await else { return };
    survives(&payhook, ProcessEnd::Killed, &["ingress-1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_worker_loses_nothing_that_was_acknowledged_and_repeats_nothing() {
    let Some(payhook) = plan().cluster().await else { return };
    survives(&payhook, ProcessEnd::Killed, &["worker-1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_console_loses_nothing_that_was_acknowledged_and_repeats_nothing() {
    let Some(payhook) = plan().cluster().await else { return };
    survives(&payhook, ProcessEnd::Killed, &["console"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_everything_at_once_loses_nothing_that_was_acknowledged_and_repeats_nothing() {
    let Some(payhook) = plan().cluster().await else { return };
    let all = payhook.names();
    survives(&payhook, ProcessEnd::Killed, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_serve_in_good_order_loses_nothing_and_repeats_nothing() {
    let payhook = plan().one_file().await;
    survives(&payhook, ProcessEnd::Stopped, &["serve"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_an_ingress_and_a_worker_in_good_order_loses_nothing_and_repeats_nothing() {
    let Some(payhook) = plan().cluster().await else { return };
    survives(&payhook, ProcessEnd::Stopped, &["ingress-1", "worker-1"]).await;
}

/// Two hundred paid orders, each with the one notification that says so.
async fn two_hundred(payhook: &TestPayhook) -> Vec<(String, SignedRequest)> {
    let antom = stream::iter(0..ORDERS).map(async |number| {
        let order = format!("K-antom-{number}");
        let payment = payhook.antom_order(&order, "10.00 THB").await;
        payhook.antom_decides(&payment, AntomStatus::Success);
        (order, payhook.antom_signed(&payment, AntomKind::State))
    });
    let omise = stream::iter(0..ORDERS).map(async |number| {
        let order = format!("K-omise-{number}");
        let charge = payhook.omise_order(&order, "10.00 THB").await;
        payhook.simulator.omise().pay(&charge).unwrap();
        (order, payhook.omise_signed(&charge, "charge.complete"))
    });
    let antom: Vec<_> = antom.buffered(TOGETHER).collect().await;
    let omise: Vec<_> = omise.buffered(TOGETHER).collect().await;
    // Both providers send at the same time.
    antom.into_iter().zip(omise).flat_map(|(antom, omise)| [antom, omise]).collect()
}

async fn survives(payhook: &TestPayhook, how: ProcessEnd, victims: &[&str]) {
    let notifications = two_hundred(payhook).await;
    for provider in Provider::ALL {
        payhook.simulator.faults().set(*provider, Fault::Slow { by: INQUIRY }).unwrap();
    }
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let sending = tokio::spawn(send_all(notifications, acknowledged.clone()));

    payhook
        .until(&format!("{ACKNOWLEDGED} are acknowledged"), async || match acknowledged.load(Ordering::SeqCst) {
            seen if seen >= ACKNOWLEDGED => Ok(()),
            seen => Err(seen.to_string()),
        })
        .await;
    end(payhook, how, victims).await;
    let applied_then = payhook
        .until(&format!("{APPLIED} are applied"), async || match applied(payhook).await?.len() {
            seen if seen >= APPLIED => Ok(seen),
            seen => Err(seen.to_string()),
        })
        .await;
    end(payhook, how, victims).await;
    let given_up = sending.await.expect("sending does not panic");
    assert!(given_up.is_empty(), "never acknowledged: {given_up:?}\n{}", payhook.log_tails());

    let count = ORDERS * 2;
    // Whatever is seen when time is up is counted below.
    let _ = eventually(async || match applied(payhook).await? {
        paid if paid.len() == count => Ok(()),
        paid => Err(format!("{} are paid", paid.len())),
    })
    .await;
    let paid = applied(payhook).await.unwrap();
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    let events = events_by_order(payhook).await;
    let twice = paid.iter().filter(|(order, version)| **version != 1 || events.get(*order) != Some(&1)).count();
    let lost = count - paid.len();
    let line = format!(
        "{how:?} two times: {}: acknowledged {acknowledged}, applied {} ({applied_then} before the second kill), twice \
         {twice}, lost {lost}",
        victims.join(", "),
        paid.len(),
    );
    // Past the test harness: the counts are of interest also when all is well.
    let _ = writeln!(std::io::stderr(), "{line}");
    for (what, found, expected) in [("acknowledged", acknowledged, count), ("twice", twice, 0), ("lost", lost, 0)] {
        assert_eq!(found, expected, "{what}: {line}\n{}", payhook.log_tails());
    }
    assert!(applied_then < count, "killed too late to matter: {line}");
    if payhook.is_cluster() {
        every_order_is_on_the_exchange(payhook, count).await;
    }
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
    payhook.ends_well().await;
}

/// The end of a process before it is started again.
#[derive(Debug, Clone, Copy)]
enum ProcessEnd {
    /// At once, in the middle of its work.
    Killed,
    /// In good order, as a deployment does it.
    Stopped,
}

async fn end(payhook: &TestPayhook, end: ProcessEnd, victims: &[&str]) {
    for victim in victims {
        match end {
            ProcessEnd::Killed => payhook.kill9(victim),
            ProcessEnd::Stopped => payhook.stop(victim),
        }
    }
    tokio::time::sleep(DEAD_FOR).await;
    for victim in victims {
        payhook.start(victim);
    }
}

/// Sends each until it is acknowledged; which ones never were.
async fn send_all(notifications: Vec<(String, SignedRequest)>, acknowledged: Arc<AtomicUsize>) -> Vec<String> {
    let sent = stream::iter(notifications).map(|(order, request)| {
        let acknowledged = acknowledged.clone();
        async move {
            let replies = request.send_until_acknowledged(&RESENDS).await;
            if replies.last().is_some_and(|last| last.as_ref().is_ok_and(Reply::acknowledged)) {
                acknowledged.fetch_add(1, Ordering::SeqCst);
                return None;
            }
            Some(format!("{order}: {:?}", replies.last()))
        }
    });
    sent.buffer_unordered(TOGETHER).filter_map(async |given_up| given_up).collect().await
}

/// The orders that are paid, with their versions.
async fn applied(payhook: &TestPayhook) -> Result<BTreeMap<String, i64>, String> {
    let orders = payhook.orders().await?;
    let paid = orders.iter().filter(|order| order["state"] == "paid");
    Ok(paid.map(|order| (text(&order["order_id"]), order["version"].as_i64().unwrap_or(-1))).collect())
}

/// Returns the number of events that each order has in the feed.
async fn events_by_order(payhook: &TestPayhook) -> BTreeMap<String, usize> {
    let feed = payhook
        .until("every order is in the feed", async || {
            let feed = payhook.feed().await?;
            if feed.len() >= ORDERS * 2 { Ok(feed) } else { Err(format!("{} events", feed.len())) }
        })
        .await;
    assert!(feed.iter().all(|event| event["type"] == "payhook.order.paid.v1"), "{feed:#?}");
    let mut count = BTreeMap::new();
    for event in &feed {
        *count.entry(text(&event["subject"])).or_default() += 1;
    }
    count
}

/// At least once each, and repeats are recognised by their id.
async fn every_order_is_on_the_exchange(payhook: &TestPayhook, count: usize) {
    let mut carried: BTreeMap<String, String> = BTreeMap::new();
    while carried.len() < count {
        let taken = payhook.until("events on the exchange", async || {
            let taken = payhook.fulfilment_takes().await;
            if taken.is_empty() { Err("none".to_owned()) } else { Ok(taken) }
        });
        for message in taken.await {
            let event: Value = serde_json::from_str(message["payload"].as_str().unwrap()).unwrap();
            let id = text(&event["id"]);
            let before = carried.insert(text(&event["subject"]), id.clone());
            assert!(before.is_none_or(|before| before == id), "an order has two events: {event}");
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
