//! `payhook send`: every kind either provider has, posted to a payhook that runs.

use payhook_simulator::sample;

use crate::harness::{KEYS, Plan, TestPayhook, id};

/// A payhook with Antom's side's key in a file, as `payhook simulate` keeps one.
async fn with_key() -> (TestPayhook, String) {
    let payhook = Plan::usual().retry_delays(&["1s"]).one_file().await;
    let key = payhook.folder().join("antom_private_key");
    std::fs::write(&key, KEYS.antom().to_base64()).unwrap();
    let key = key.to_string_lossy().into_owned();
    (payhook, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_antoms_can_be_sent() {
    let (payhook, key) = with_key().await;
    let payment = payhook.antom_order("S-1", "120.00 THB").await;
    payhook.antom_decides(&payment, payhook_simulator::AntomStatus::Success);
    for kind in sample::antom_kinds() {
        let to = ["--account", "shop", "--payment", payment.as_str(), "--key", &key];
        let sent = payhook.cli(&[&["send", "antom", kind.as_str()] as &[&str], &to].concat()).await.ends_with(0);
        assert!(sent.stdout.contains("  200  ") && sent.stdout.contains(r#""resultStatus":"S""#), "{kind}: {sent:?}");
        assert!(sent.stdout.contains(&format!("/antom/shop/{}  ", kind.call())), "{kind}: {sent:?}");
    }
    // Whatever was said, by whomever: Antom says it is paid.
    payhook.becomes("S-1", "paid").await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_of_omises_can_be_sent() {
    let (payhook, _) = with_key().await;
    let charge = id("chrg_test_5sentbyhand");
    payhook.simulator.omise().create(&charge, "120.00 THB".parse().unwrap());
    payhook.registers("S-2", "120.00 THB", payhook_schema::Provider::Omise, &charge).await;
    for key in sample::omise_kinds() {
        let to = ["--account", "shop", "--payment", charge.as_str()];
        let sent = payhook.cli(&[&["send", "omise", *key] as &[&str], &to].concat()).await.ends_with(0);
        assert!(sent.stdout.contains("/omise/shop  200  "), "{key}: {sent:?}");
    }
    // They said paid, expired, refunded and disputed; Omise says that it waits.
    let ours = sample::omise_kinds()
        .iter()
        .filter(|key| ["charge.", "refund.", "dispute."].iter().any(|family| key.starts_with(family)));
    let (all, ours) = (sample::omise_kinds().len(), ours.count());
    payhook.recorded("S-2", "notification", ours).await;
    payhook.outcomes("kept", (all - ours) as u64).await;
    assert_eq!(payhook.order("S-2").await.unwrap()["state"], "pending");
    payhook.events_are("S-2", &[]).await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
    payhook.ends_well().await;
}
