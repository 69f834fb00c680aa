//! A process whose clock is an hour off takes work and is killed; one with the right clock goes on at once. No work
//! waits for the hour.

use payhook_schema::Provider;
use payhook_simulator::{AntomKind, AntomStatus, Fault};
use payhook_test_servers::{faketime, not_run};
use reqwest::Method;
use serde_json::json;

use crate::authorizations::{agrees, becomes, consulted, history, notified, tokens_are_secret};
use crate::harness::{Plan, TestPayhook, eventually, journeys, money};
use crate::replayed::{ends, open_letters, replays};

// More tries than failures open a breaker: no hint is given up while Omise is down.
journeys! { Plan::usual().retry_delays(&["1s", "2s", "3s", "4s", "5s", "6s"]);
    a_process_killed_while_its_clock_was_an_hour_ahead_holds_nothing_up,
    a_process_killed_while_its_clock_was_an_hour_behind_holds_nothing_up,
}

const NEEDED: &str = "it needs libfaketime, to have a process go by a wrong clock";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_asked_for_by_a_clock_that_was_ahead_hides_nothing_in_omises_list() {
    let Some(library) = faketime() else { return not_run(NEEDED) };
    let payhook = Plan::usual().follow_events("1s").one_file().await;
    payhook.kill9("serve");
    payhook.sets_clock("serve", Some((&library, "+1h")));
    payhook.restart("serve").await;
    let charge = payhook.omise_order("S-1", "30.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.becomes("S-1", "paid").await;

    payhook.kill9("serve");
    payhook.sets_clock("serve", None);
    payhook.restart("serve").await;
    // No notification comes for it.
    payhook.simulator.omise().refund(&charge, 1_000).unwrap();
    payhook.becomes("S-1", "partly_refunded").await;
    payhook.ends_well().await;
}

async fn a_process_killed_while_its_clock_was_an_hour_ahead_holds_nothing_up(payhook: &TestPayhook) {
    holds_nothing_up(payhook, "+1h").await;
}

async fn a_process_killed_while_its_clock_was_an_hour_behind_holds_nothing_up(payhook: &TestPayhook) {
    holds_nothing_up(payhook, "-1h").await;
}

const LETTERS: usize = 20;

async fn holds_nothing_up(payhook: &TestPayhook, off: &str) {
    let Some(library) = faketime() else { return not_run(NEEDED) };
    let (skewed, right) = if payhook.is_cluster() { ("worker-1", "worker-2") } else { ("serve", "serve") };
    let faults = payhook.simulator.faults();
    let away = Fault::Down { status: 503 };
    let auth_state = consulted(payhook, "AU-S", "KPLUS").await;
    dead_letters(payhook).await;
    // By the right clock, and nobody answers: no time of it gives away that its next check was planned by a wrong one.
    faults.set(Provider::Antom, away.clone()).unwrap();
    let unseen = payhook.antom_order("S-unseen", "30.00 THB").await;

    // In good order, so that nobody waits for what they held.
    payhook.stop(skewed);
    if right != skewed {
        payhook.stop(right);
    }
    payhook.sets_clock(skewed, Some((&library, off)));
    payhook.restart(skewed).await;
    // Asked for by a person, it goes round no queue: the sweep alone finds it again.
    payhook.refreshes("S-unseen").await;
    payhook.recorded("S-unseen", "inquiry", 1).await;
    takes_work(payhook, "S-before").await;
    let body = json!({ "filter": { "all": true }, "rate_per_s": 2, "canary": 0, "reason": "a wrong clock" });
    let replay = replays(payhook, "dead-letters", body).await;
    payhook
        .until("the replay is under way", async || {
            let (_, seen) = payhook.call(Method::GET, &format!("/v1/replays/{replay}"), None).await?;
            if seen["done"].as_u64() >= Some(2) { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
    agrees(payhook, &auth_state);
    notified(payhook, &auth_state, AntomKind::AuthcodeCreated).await;
    payhook
        .until("an exchange came to nothing", async || match history(payhook, "AU-S").await {
            history if history.contains("exchange failed") || history.contains("not asked") => Ok(()),
            history => Err(history),
        })
        .await;
    faults.set(Provider::Omise, away).unwrap();
    let during = payhook.omise_order("S-during", "30.00 THB").await;
    payhook.simulator.omise().pay(&during).unwrap();
    payhook.omise_notifies(&during, "charge.complete").await;
    payhook.recorded("S-during", "inquiry", 1).await;

    payhook.kill9(skewed);
    for provider in Provider::ALL {
        faults.clear(*provider);
    }
    payhook.antom_decides(&unseen, AntomStatus::Success);
    payhook.sets_clock(skewed, None);
    payhook.restart(right).await;
    takes_work(payhook, "S-after").await;
    payhook.becomes("S-during", "paid").await;
    becomes(payhook, "AU-S", "token_issued").await;
    tokens_are_secret(payhook, &auth_state);
    let replayed = ends(payhook, &replay, "done").await;
    assert_eq!(replayed["done"], LETTERS, "{replayed}");
    payhook.events_are("S-during", &["order.paid"]).await;
    // The order is not looked at: a look asks about it. On a slow machine the next check is a minute away by now.
    let is_told = async || match payhook.events("S-unseen").await?.len() {
        0 => Err("nothing".to_owned()),
        _ => Ok(()),
    };
    let _ = eventually(is_told).await;
    payhook.events_are("S-unseen", &["order.paid"]).await;
}

/// Charges whose notifications died before anybody registered them. Then their orders are.
async fn dead_letters(payhook: &TestPayhook) {
    let mut charges = Vec::new();
    for _ in 0..LETTERS {
        let charge = payhook.simulator.omise().new_charge_id();
        payhook.simulator.omise().create(&charge, money("30.00 THB"));
        payhook.simulator.omise().pay(&charge).unwrap();
        payhook.omise_notifies(&charge, "charge.complete").await;
        charges.push(charge);
    }
    open_letters(payhook, LETTERS as u64).await;
    for (number, charge) in charges.iter().enumerate() {
        payhook.registers(&format!("S-{number}"), "30.00 THB", Provider::Omise, charge).await;
    }
}

/// An order is paid, and its event is published.
async fn takes_work(payhook: &TestPayhook, order: &str) {
    let charge = payhook.omise_order(order, "30.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.becomes(order, "paid").await;
    payhook.events_are(order, &["order.paid"]).await;
}
