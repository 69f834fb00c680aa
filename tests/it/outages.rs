//! A broker or a database that is away: acknowledged means durable, and what was acknowledged is applied.

use std::time::Duration;

use payhook_simulator::{AntomKind, AntomStatus, Reply};
use payhook_test_servers::{PrivateRabbit, Rabbit, not_run, postgres, rabbit_is_installed};

use crate::harness::{Plan, TestPayhook};

/// As a provider resends, only sooner.
const RESENDS: [Duration; 160] = [Duration::from_millis(250); 160];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_away_notifications_are_answered_503_and_none_is_lost() {
    let Some(payhook) = Plan::usual().broker_proxy().cluster().await else { return };
    let payment = paid_payment(&payhook, "S-1").await;
    let broker = payhook.broker();
    broker.refuse().await;
    broker.cut();
    unavailable(&payhook, &payment).await;
    broker.accept().await.unwrap();
    arrives(&payhook, "S-1", &payment).await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_silent_notifications_are_answered_503_and_none_is_lost() {
    let Some(payhook) = Plan::usual().broker_proxy().cluster().await else { return };
    let payment = paid_payment(&payhook, "S-2").await;
    payhook.broker().freeze();
    unavailable(&payhook, &payment).await;
    payhook.broker().thaw();
    arrives(&payhook, "S-2", &payment).await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_loses_nothing_that_was_acknowledged() {
    let Some(postgres) = postgres().await else { return };
    if !rabbit_is_installed() {
        return not_run("it needs RabbitMQ on this machine, to kill it");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut private = PrivateRabbit::start(folder.path()).await.unwrap();
    let rabbit = Rabbit::at(&private.url(), Some(&private.admin_url())).unwrap();
    let payhook = Plan::usual().cluster_on(&rabbit, &postgres).await;

    // Acknowledged before, on the queue still: nobody takes while the workers are down.
    payhook.kill9("worker-1");
    payhook.kill9("worker-2");
    let before = paid_payment(&payhook, "S-3").await;
    payhook.antom_notifies(&before, AntomKind::State).await;

    private.kill9().await.unwrap();
    let during = paid_payment(&payhook, "S-4").await;
    unavailable(&payhook, &during).await;

    private.restart().await.unwrap();
    payhook.start("worker-1");
    payhook.start("worker-2");
    arrives(&payhook, "S-4", &during).await;
    payhook.becomes("S-3", "paid").await;
    payhook.events_are("S-3", &["order.paid"]).await;
    payhook.ends_well().await;
    drop(payhook); // its virtual host goes before its broker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_notifications_are_acknowledged_and_applied_later() {
    let Some(payhook) = Plan::usual().database_proxy().cluster().await else { return };
    let payments = [paid_payment(&payhook, "S-5").await, paid_payment(&payhook, "S-6").await];
    let database = payhook.database();
    database.refuse().await;
    database.cut();
    for payment in &payments {
        payhook.antom_notifies(payment, AntomKind::State).await;
    }
    // The API says so, and does not hang.
    payhook
        .until("the API says that the store is away", async || {
            match payhook.call(reqwest::Method::GET, "/v1/orders/S-5", None).await? {
                (status, problem) if status.as_u16() == 503 && problem["status"] == 503 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    database.accept().await.unwrap();
    for order in ["S-5", "S-6"] {
        payhook.becomes(order, "paid").await;
        payhook.events_are(order, &["order.paid"]).await;
    }
    assert_eq!(payhook.dead_letters().await, Ok(vec![]), "no attempt is burnt while the store is away");
    payhook.ends_well().await;
}

async fn paid_payment(payhook: &TestPayhook, order: &str) -> payhook_schema::PaymentId {
    let payment = payhook.antom_order(order, "30.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payment
}

/// Both ingresses refuse with what makes the provider come again.
async fn unavailable(payhook: &TestPayhook, payment: &payhook_schema::PaymentId) {
    for _ in payhook.ingresses() {
        let reply = payhook.antom_signed(payment, AntomKind::State).send().await.unwrap();
        assert_eq!(reply.status, 503, "{}\n{}", reply.body, payhook.log_tails());
        payhook.logged("it cannot be made durable: the queue at `amqp://").await;
    }
}

/// Resent until it is acknowledged, it pays the order once, however often it was stored meanwhile.
async fn arrives(payhook: &TestPayhook, order: &str, payment: &payhook_schema::PaymentId) {
    let replies = payhook.antom_signed(payment, AntomKind::State).send_until_acknowledged(&RESENDS).await;
    let last = replies.last().unwrap();
    assert!(last.as_ref().is_ok_and(Reply::acknowledged), "{replies:?}\n{}", payhook.log_tails());
    payhook.becomes(order, "paid").await;
    payhook.events_are(order, &["order.paid"]).await;
}
