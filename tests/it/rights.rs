//! `deploy/rabbitmq-definitions.json` on a real broker: each role runs under the user it brings, with that user's
//! rights alone.

use std::collections::BTreeMap;

use payhook_schema::Provider;
use payhook_simulator::{AntomKind, AntomStatus, Fault};
use payhook_test_servers::{PrivateRabbit, Rabbit, not_run, postgres, rabbit_is_installed};
use serde_json::json;

use crate::harness::{Plan, Ran, id, money};

const DEFINITIONS: &str = include_str!("../../deploy/rabbitmq-definitions.json");
const URL: &str = "PAYHOOK__QUEUE__URL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_works_with_the_rights_of_its_own_user() {
    if !rabbit_is_installed() {
        return not_run("it needs RabbitMQ on this machine, to import definitions");
    }
    let Some(postgres) = postgres().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let rabbit = PrivateRabbit::start(folder.path()).await.unwrap();
    let broker = Rabbit::at(&rabbit.url(), Some(&rabbit.admin_url())).unwrap();
    let import = async |definitions: &str| {
        let file = folder.path().join("definitions.json");
        std::fs::write(&file, definitions).unwrap();
        rabbit.control(&["import_definitions", file.to_str().unwrap()]).await.unwrap();
    };
    // As it is, on a broker that has nothing.
    import(DEFINITIONS).await;
    let payhook = Plan::usual().retry_delays(&["1s", "5s"]).cluster_on(&broker, &postgres).await;
    let vhost = payhook.vhost();
    let queues = vhost.admin("GET", "/queues/payhook", None).await.unwrap();
    assert!(queues.as_array().unwrap().iter().any(|queue| queue["name"] == "payhook.notifications"), "{queues}");
    // The same for this test's own virtual host, where `payhook migrate` has declared all: the two agree, or the import
    // fails.
    let ours = json!(vhost.name).to_string();
    import(&DEFINITIONS.replace("\"vhost\": \"payhook\"", &format!("\"vhost\": {ours}"))).await;
    let url = async |role: &str| {
        let (user, password) = (format!("payhook-{role}"), format!("password-of-{role}"));
        rabbit.control(&["change_password", &user, &password]).await.unwrap();
        payhook.keep_secret("the broker's password", &password);
        let (_, place) = vhost.url.rsplit_once('@').unwrap();
        format!("amqp://{user}:{password}@{place}")
    };
    for name in payhook.names() {
        payhook.stop(&name);
        let role = name.split('-').next().unwrap();
        payhook.sets(&name, URL, &url(role).await);
        payhook.restart(&name).await;
    }

    // Everything that touches the broker: taken, asked again after a failure, dead-lettered, replayed, and announced.
    payhook.simulator.faults().set_next(Provider::Antom, Fault::Down { status: 503 }, 1).unwrap();
    let payment = payhook.antom_order("R-1", "30.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("R-1", "paid").await;
    let unknown = id("PR-R-2");
    payhook.simulator.antom().create(&unknown, money("30.00 THB"));
    payhook.antom_decides(&unknown, AntomStatus::Success);
    payhook.antom_notifies(&unknown, AntomKind::State).await;
    payhook
        .until("the notification of an unknown payment is a dead letter", async || {
            match payhook.dead_letters().await? {
                letters if letters.len() == 1 => Ok(()),
                letters => Err(format!("{letters:?}")),
            }
        })
        .await;
    payhook.registers("R-2", "30.00 THB", Provider::Antom, &unknown).await;
    payhook.becomes("R-2", "paid").await;
    payhook.cli(&["dead", "replay", "--cause", "unknown_payment", "--reason", "registered now"]).await.ends_with(0);
    payhook.events_are("R-1", &["order.paid"]).await;
    payhook.events_are("R-2", &["order.paid"]).await;
    payhook.ends_well().await;

    // No role may do another's work: an ingress cannot declare anything.
    let environment = BTreeMap::from([(URL.to_owned(), url("ingress").await)]);
    Ran::payhook_with(&payhook.config(), &["migrate"], &environment).await.ends_with(1);
    let environment = BTreeMap::from([(URL.to_owned(), url("migrate").await)]);
    Ran::payhook_with(&payhook.config(), &["migrate"], &environment).await.ends_with(0);
    drop(payhook); // what is its own goes before its servers
}
