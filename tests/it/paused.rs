//! A provider that is down, slow or refuses us: its account waits, and nothing is given up for it.

use std::time::{Duration, Instant};

use payhook_schema::{PaymentId, Provider};
use payhook_simulator::{AntomKind, AntomStatus, Fault, SignedRequest};

use crate::harness::{KEYS, TestPayhook, journeys};
use crate::rotated::{NEW, with_antom_keys};

journeys! { Plan::usual().retry_delays(&["1s", "2s"]);
    an_outage_under_load_leaves_no_dead_letter_and_asks_little,
    a_request_to_slow_down_is_obeyed_and_costs_nothing,
    wrong_keys_pause_the_account_and_nothing_is_given_up,
    while_antom_signs_with_a_key_we_were_not_given_an_alarm_says_so_and_nothing_is_given_up,
    one_accounts_trouble_is_no_other_providers,
    a_request_to_wait_for_a_year_is_cut_to_an_hour,
}

mod cheap {
    use super::*;

    journeys! { Plan::usual();
        what_waits_for_an_account_is_written_once_and_delays_no_other_account,
    }
}

const ORDERS: usize = 60;
/// Three tries at these delays take three seconds at most; the outage lasts several times that.
const OUTAGE: Duration = Duration::from_secs(15);

/// Orders that Omise's customers have paid, and whose events are about to be sent.
async fn paid_at_omise(payhook: &TestPayhook, prefix: &str, count: usize) -> Vec<PaymentId> {
    let mut charges = Vec::with_capacity(count);
    for n in 0..count {
        let charge = payhook.omise_order(&format!("{prefix}-{n}"), "10.00 THB").await;
        payhook.simulator.omise().pay(&charge).unwrap();
        charges.push(charge);
    }
    charges
}

async fn all_paid(payhook: &TestPayhook, prefix: &str, count: usize) {
    for n in 0..count {
        payhook.becomes(&format!("{prefix}-{n}"), "paid").await;
    }
}

async fn an_outage_under_load_leaves_no_dead_letter_and_asks_little(payhook: &TestPayhook) {
    let charges = paid_at_omise(payhook, "P", ORDERS).await;
    payhook.simulator.faults().set(Provider::Omise, Fault::Down { status: 503 }).unwrap();
    let events: Vec<SignedRequest> =
        charges.iter().map(|charge| payhook.omise_signed(charge, "charge.complete")).collect();
    for (n, event) in events.iter().enumerate() {
        payhook.delivers(event).await;
        if n % 10 == 9 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    tokio::time::sleep(OUTAGE).await;
    let asked: usize = charges.iter().map(|charge| payhook.asked(charge)).sum();
    let workers = if payhook.is_cluster() { 2 } else { 1 };
    // What is in the air when the breaker opens, one round of it, and a probe for each pause.
    assert!(asked <= workers * 60, "{asked} questions to a provider that is down");
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
    let timelines = futures_util::future::join_all((0..ORDERS).map(async |n| {
        let timeline = payhook.timeline(&format!("P-{n}")).await.unwrap();
        timeline.iter().any(|entry| entry["text"].as_str().is_some_and(|text| text.starts_with("not asked")))
    }));
    assert!(timelines.await.into_iter().any(|shown| shown), "no timeline says why nothing happens");

    payhook.simulator.faults().clear(Provider::Omise);
    all_paid(payhook, "P", ORDERS).await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
    for n in 0..ORDERS {
        payhook.events_are(&format!("P-{n}"), &["order.paid"]).await;
    }
}

async fn a_request_to_slow_down_is_obeyed_and_costs_nothing(payhook: &TestPayhook) {
    let charges = paid_at_omise(payhook, "S", 10).await;
    let fault = Fault::Throttle { retry_after: Some(Duration::from_secs(4)) };
    payhook.simulator.faults().set_next(Provider::Omise, fault, 1).unwrap();
    let started = std::time::Instant::now();
    payhook.omise_notifies(&charges[0], "charge.complete").await;
    payhook.recorded("S-0", "inquiry", 1).await;
    for charge in &charges[1..] {
        payhook.omise_notifies(charge, "charge.complete").await;
    }
    all_paid(payhook, "S", 10).await;
    // Another worker may not have heard of it yet; the one that did keeps to it.
    if !payhook.is_cluster() {
        assert!(started.elapsed() >= Duration::from_secs(4), "asked again after {:?}", started.elapsed());
    }
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}

async fn wrong_keys_pause_the_account_and_nothing_is_given_up(payhook: &TestPayhook) {
    let charges = paid_at_omise(payhook, "K", 8).await;
    payhook.simulator.faults().set(Provider::Omise, Fault::Down { status: 401 }).unwrap();
    for charge in &charges {
        payhook.omise_notifies(charge, "charge.complete").await;
    }
    payhook.logged("is paused, mend its configuration").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]), "the schedule would be used up by now");
    payhook.simulator.faults().clear(Provider::Omise);
    all_paid(payhook, "K", 8).await;
}

async fn while_antom_signs_with_a_key_we_were_not_given_an_alarm_says_so_and_nothing_is_given_up(
    payhook: &TestPayhook,
) {
    let mut notifications = Vec::new();
    for n in 0..10 {
        let payment = payhook.antom_order(&format!("R-{n}"), "10.00 THB").await;
        payhook.antom_decides(&payment, AntomStatus::Success);
        notifications.push(payhook.antom_signed(&payment, AntomKind::State));
    }
    // Notified under the old key, asked about when there is a new one.
    payhook.simulator.antom().set_key(2, &NEW);
    for notification in &notifications {
        payhook.delivers(notification).await;
    }
    payhook.logged("is paused, mend its configuration: the account is misconfigured: Antom signs with its key").await;
    with_antom_keys(payhook, &[(1, &KEYS), (2, &NEW)]).await;
    all_paid(payhook, "R", 10).await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}

async fn one_accounts_trouble_is_no_other_providers(payhook: &TestPayhook) {
    let charges = paid_at_omise(payhook, "T", 8).await;
    payhook.simulator.faults().set(Provider::Omise, Fault::Down { status: 503 }).unwrap();
    for charge in &charges {
        payhook.omise_notifies(charge, "charge.complete").await;
    }
    let payment = payhook.antom_order("T-antom", "10.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("T-antom", "paid").await;
    payhook.simulator.faults().clear(Provider::Omise);
    all_paid(payhook, "T", 8).await;
}

async fn what_waits_for_an_account_is_written_once_and_delays_no_other_account(payhook: &TestPayhook) {
    let charges = paid_at_omise(payhook, "W", ORDERS).await;
    payhook.simulator.faults().set(Provider::Omise, Fault::Down { status: 503 }).unwrap();
    for charge in &charges {
        payhook.omise_notifies(charge, "charge.complete").await;
    }
    let started = Instant::now();
    let mut healthy = 0;
    while started.elapsed() < OUTAGE {
        let order = format!("W-antom-{healthy}");
        let payment = payhook.antom_order(&order, "10.00 THB").await;
        payhook.antom_decides(&payment, AntomStatus::Success);
        payhook.antom_notifies(&payment, AntomKind::State).await;
        payhook.becomes(&order, "paid").await;
        healthy += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(healthy >= 3, "Omise's outage held up Antom's orders: {healthy} in {OUTAGE:?}");
    let (written, rounds) = (payhook.counted("paused").await, payhook.counted("waiting").await);
    let outage = started.elapsed().as_secs();
    // Once for each hint, and for the few looks that the sweep makes to find out.
    let looks = 2 * outage;
    assert!(written <= ORDERS as u64 + looks, "{written} writes for {ORDERS} hints that wait");
    assert!(rounds > 0, "nothing went round without being written");
    // A pause is twice as long each time: two seconds, four, eight; the queue's longest delay is five.
    let most = 8.max(outage / 2);
    assert!(rounds <= most * ORDERS as u64, "{rounds} rounds of {ORDERS} hints in {outage} s");
    payhook.simulator.faults().clear(Provider::Omise);
    all_paid(payhook, "W", ORDERS).await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
    for n in 0..ORDERS {
        payhook.events_are(&format!("W-{n}"), &["order.paid"]).await;
    }
    let archived = payhook.timeline("W-0").await.unwrap();
    let received = archived.iter().filter(|entry| entry["kind"] == "notification").count();
    assert_eq!(received, 1, "{archived:#?}");
}

async fn a_request_to_wait_for_a_year_is_cut_to_an_hour(payhook: &TestPayhook) {
    let charges = paid_at_omise(payhook, "Y", 3).await;
    let fault = Fault::Throttle { retry_after: Some(Duration::from_hours(365 * 24)) };
    payhook.simulator.faults().set_next(Provider::Omise, fault, 1).unwrap();
    for charge in &charges {
        payhook.omise_notifies(charge, "charge.complete").await;
    }
    payhook.logged("a provider asks us to wait for 31536000 s; it is asked again after 3600 s").await;
    payhook.logged("is left alone for 3600 s").await;
    // Nobody waits for an hour here: a worker that starts anew knows of no pause.
    for name in payhook.names() {
        payhook.stop(&name);
        payhook.restart(&name).await;
    }
    all_paid(payhook, "Y", 3).await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}
