//! Dead letters and the archive, replayed: planned, paced, safe to repeat, and safe to kill.

use std::time::{Duration, Instant};

use payhook_schema::{PaymentId, Provider};
use payhook_simulator::{AntomKind, AntomStatus, Fault, SignedRequest};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{TestPayhook, id, journeys, money};

journeys! { Plan::usual().retry_delays(&["1s"]);
    a_dead_letter_is_planned_then_replayed_and_pays_its_order,
    a_thousand_dead_letters_are_replayed_while_live_traffic_goes_on,
    the_whole_archive_replayed_twice_changes_nothing,
    a_replay_goes_on_when_the_processes_that_run_it_are_killed,
    a_canary_that_fails_stops_the_replay,
    a_replay_is_paused_resumed_and_cancelled,
    a_discarded_letter_is_kept_and_no_longer_open,
}

async fn call(payhook: &TestPayhook, method: Method, path: &str, body: Value) -> Value {
    let (status, answer) = payhook.call(method, path, Some(body)).await.unwrap();
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

pub(crate) async fn replays(payhook: &TestPayhook, what: &str, body: Value) -> String {
    let answer = call(payhook, Method::POST, &format!("/v1/{what}/replay"), body).await;
    answer["replay_id"].as_str().expect("a replay has an id").to_owned()
}

async fn replay(payhook: &TestPayhook, id: &str) -> Value {
    payhook.call(Method::GET, &format!("/v1/replays/{id}"), None).await.unwrap().1
}

pub(crate) async fn ends(payhook: &TestPayhook, id: &str, state: &str) -> Value {
    payhook
        .until(&format!("replay {id} is {state}"), async || {
            let seen = replay(payhook, id).await;
            if seen["state"] == state { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await
}

/// Payments Antom has decided and nobody registered: their notifications die as `unknown_payment`.
async fn unknown(payhook: &TestPayhook, prefix: &str, count: usize) -> Vec<PaymentId> {
    let mut payments = Vec::with_capacity(count);
    let mut notifications: Vec<SignedRequest> = Vec::with_capacity(count);
    for n in 0..count {
        let payment = id(&format!("PR-{prefix}-{n}"));
        payhook.simulator.antom().create(&payment, money("10.00 THB"));
        payhook.antom_decides(&payment, AntomStatus::Success);
        notifications.push(payhook.antom_signed(&payment, AntomKind::State));
        payments.push(payment);
    }
    for some in notifications.chunks(32) {
        futures_util::future::join_all(some.iter().map(|request| payhook.delivers(request))).await;
    }
    payments
}

pub(crate) async fn open_letters(payhook: &TestPayhook, count: u64) {
    payhook
        .until(&format!("{count} open dead letters"), async || {
            let (_, answer) = payhook.call(Method::GET, "/v1/dead-letters/groups", None).await?;
            let groups = answer["groups"].as_array().cloned().unwrap_or_default();
            let open: u64 = groups.iter().filter_map(|group| group["count"].as_u64()).sum();
            if open == count { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
}

async fn a_dead_letter_is_planned_then_replayed_and_pays_its_order(payhook: &TestPayhook) {
    let payment = unknown(payhook, "D-1", 1).await.remove(0);
    let letter = payhook.dies(&payment).await;
    assert_eq!((&letter["cause"], &letter["state"]), (&"unknown_payment".into(), &"open".into()), "{letter}");

    let filter = json!({ "cause": "unknown_payment" });
    let body = json!({ "filter": filter, "plan": true, "reason": "a look" });
    let plan = call(payhook, Method::POST, "/v1/dead-letters/replay", body.clone()).await;
    assert_eq!((&plan["plan"]["total"], &plan["plan"]["failed"]), (&1.into(), &1.into()), "not registered yet: {plan}");

    // Registered late; the sweep would look in a minute.
    payhook.registers("D-1", "10.00 THB", Provider::Antom, &payment).await;
    payhook.becomes("D-1", "paid").await;
    let plan = call(payhook, Method::POST, "/v1/dead-letters/replay", body).await;
    assert_eq!((&plan["plan"]["unchanged"], &plan["plan"]["would_change"]), (&1.into(), &0.into()), "{plan}");
    assert_eq!(payhook.dies(&payment).await["state"], "open", "a plan changes nothing");

    let ran = payhook.cli(&["dead", "replay", "--cause", "unknown_payment", "--reason", "registered now"]).await;
    let ran = ran.ends_with(0);
    assert!(ran.stdout.contains("done"), "{}", ran.stdout);
    open_letters(payhook, 0).await;
    payhook.events_are("D-1", &["order.paid"]).await;
    let timeline = payhook.recorded("D-1", "operator", 1).await;
    assert!(timeline.iter().any(|entry| entry["text"].as_str().unwrap().contains("registered now")), "{timeline:#?}");
}

/// An order whose notification was tried until it was given up, because Omise was away each time; then another one
/// pays, so that no breaker takes it for the account's trouble.
async fn given_up_unreached(payhook: &TestPayhook, order: &str) {
    let charge = payhook.omise_order(order, "10.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.simulator.faults().set_next(Provider::Omise, Fault::Down { status: 503 }, 2).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    assert_eq!(payhook.dies(&charge).await["cause"], "provider_unreachable");
    let next = payhook.omise_order(&format!("{order}-next"), "10.00 THB").await;
    payhook.simulator.omise().pay(&next).unwrap();
    payhook.omise_notifies(&next, "charge.complete").await;
    payhook.becomes(&format!("{order}-next"), "paid").await;
}

/// Of three causes: nobody registered it; the provider did not know it; it was not to be reached.
async fn a_thousand_dead_letters_are_replayed_while_live_traffic_goes_on(payhook: &TestPayhook) {
    const UNKNOWN: usize = 898;
    const REFUSED: usize = 100;
    const UNREACHED: usize = 2;
    for n in 0..UNREACHED {
        given_up_unreached(payhook, &format!("T-u{n}")).await;
    }
    let unknown = unknown(payhook, "T", UNKNOWN).await;
    let mut forgotten = Vec::new();
    for n in 0..REFUSED {
        let payment = payhook.antom_order(&format!("T-f{n}"), "10.00 THB").await;
        payhook.antom_decides(&payment, AntomStatus::Success);
        let notification = payhook.antom_signed(&payment, AntomKind::State);
        payhook.simulator.antom().forget(&payment);
        payhook.delivers(&notification).await;
        forgotten.push(payment);
    }
    open_letters(payhook, (UNKNOWN + REFUSED + UNREACHED) as u64).await;
    for some in unknown.chunks(50) {
        let orders = some.iter().map(async |payment| {
            let order = payment.as_str().trim_start_matches("PR-").to_owned();
            payhook.registers(&order, "10.00 THB", Provider::Antom, payment).await;
        });
        futures_util::future::join_all(orders).await;
    }
    for payment in &forgotten {
        payhook.simulator.antom().create(payment, money("10.00 THB"));
        payhook.antom_decides(payment, AntomStatus::Success);
    }

    let body =
        json!({ "filter": { "all": true }, "rate_per_s": 100, "canary": 5, "limit": 2000, "reason": "all of it" });
    let begun = Instant::now();
    let id = replays(payhook, "dead-letters", body).await;
    let mut overtook = 0;
    for n in 0..10 {
        let payment = payhook.antom_order(&format!("T-live-{n}"), "10.00 THB").await;
        payhook.antom_decides(&payment, AntomStatus::Success);
        payhook.antom_notifies(&payment, AntomKind::State).await;
        payhook.becomes(&format!("T-live-{n}"), "paid").await;
        overtook += usize::from(replay(payhook, &id).await["state"] == "running");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let end = ends(payhook, &id, "done").await;
    for (field, expected) in [("total", 1000), ("done", 1000), ("failed", 0)] {
        assert_eq!(end[field], expected, "{field}: {end}");
    }
    // A thousand at a hundred a second, the first few alone.
    assert!(begun.elapsed() >= Duration::from_secs(8), "faster than its rate: {:?}", begun.elapsed());
    assert!(overtook >= 2, "live traffic waited for the replay: {overtook} of 10 orders were paid while it ran");
    open_letters(payhook, 0).await;
    let orders = payhook.orders().await.unwrap();
    assert!(orders.iter().all(|order| order["state"] == "paid"), "every order is paid");
    let events = payhook.feed().await.unwrap();
    assert_eq!(events.len(), UNKNOWN + REFUSED + 2 * UNREACHED + 10, "each order has its events once");
}

async fn the_whole_archive_replayed_twice_changes_nothing(payhook: &TestPayhook) {
    for n in 0..20 {
        let payment = payhook.antom_order(&format!("A-a{n}"), "10.00 THB").await;
        payhook.antom_decides(&payment, AntomStatus::Success);
        payhook.antom_notifies(&payment, AntomKind::State).await;
        let charge = payhook.omise_order(&format!("A-o{n}"), "10.00 THB").await;
        payhook.simulator.omise().pay(&charge).unwrap();
        payhook.omise_notifies(&charge, "charge.complete").await;
    }
    for n in 0..20 {
        payhook.becomes(&format!("A-a{n}"), "paid").await;
        payhook.becomes(&format!("A-o{n}"), "paid").await;
    }
    let orders = payhook.orders().await.unwrap();
    let all_announced = async || {
        let events = payhook.feed().await?;
        if events.len() == 40 { Ok(events) } else { Err(format!("{} events", events.len())) }
    };
    let events = payhook.until("every order has its events", all_announced).await;
    for _ in 0..2 {
        let body = json!({ "filter": { "all": true }, "rate_per_s": 200, "reason": "an exercise" });
        let replay = replays(payhook, "notifications", body).await;
        let end = ends(payhook, &replay, "done").await;
        let counts = [&end["total"], &end["changed"], &end["unchanged"], &end["failed"]];
        assert_eq!(counts, [&json!(40), &json!(0), &json!(40), &json!(0)], "{end}");
    }
    let stable = |orders: &[Value]| -> Vec<Value> {
        let facts = orders
            .iter()
            .map(|order| json!([order["order_id"], order["state"], order["version"], order["captured_minor"]]));
        facts.collect()
    };
    assert_eq!(stable(&payhook.orders().await.unwrap()), stable(&orders));
    assert_eq!(payhook.feed().await.unwrap(), events, "not one event more");
}

async fn a_replay_goes_on_when_the_processes_that_run_it_are_killed(payhook: &TestPayhook) {
    const COUNT: usize = 150;
    let payments = unknown(payhook, "K", COUNT).await;
    open_letters(payhook, COUNT as u64).await;
    for payment in &payments {
        let order = payment.as_str().trim_start_matches("PR-").to_owned();
        payhook.registers(&order, "10.00 THB", Provider::Antom, payment).await;
    }
    let body = json!({ "filter": { "all": true }, "rate_per_s": 30, "canary": 0, "reason": "after the crash" });
    let replay_id = replays(payhook, "dead-letters", body).await;
    let runners: Vec<String> =
        payhook.names().into_iter().filter(|name| name == "serve" || name.starts_with("worker")).collect();
    for done in [20, 70] {
        payhook
            .until("the replay is under way", async || {
                let (_, seen) = payhook.call(Method::GET, &format!("/v1/replays/{replay_id}"), None).await?;
                if seen["done"].as_u64() >= Some(done) { Ok(()) } else { Err(seen.to_string()) }
            })
            .await;
        for name in &runners {
            payhook.kill9(name);
        }
        for name in &runners {
            payhook.restart(name).await;
        }
    }
    let end = ends(payhook, &replay_id, "done").await;
    assert_eq!((&end["done"], &end["failed"]), (&COUNT.into(), &0.into()), "{end}");
    for payment in &payments {
        payhook.events_are(payment.as_str().trim_start_matches("PR-"), &["order.paid"]).await;
    }
    open_letters(payhook, 0).await;
}

async fn a_canary_that_fails_stops_the_replay(payhook: &TestPayhook) {
    unknown(payhook, "C", 10).await;
    open_letters(payhook, 10).await;
    let body = json!({ "filter": { "all": true }, "canary": 2, "reason": "too early" });
    let replay_id = replays(payhook, "dead-letters", body).await;
    // It stops with the first failure; the other one, already handed out, is counted when it ends.
    ends(payhook, &replay_id, "stopped").await;
    let both = "2 of the 2 that went first failed; nothing else was tried";
    payhook
        .until("both that went first are counted", async || {
            let seen = replay(payhook, &replay_id).await;
            if seen["detail"] == both { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let end = replay(payhook, &replay_id).await;
    let counts = (&end["state"], &end["done"], &end["failed"]);
    assert_eq!(counts, (&"stopped".into(), &2.into(), &2.into()), "the rest was not tried: {end}");
    open_letters(payhook, 10).await;
}

async fn a_replay_is_paused_resumed_and_cancelled(payhook: &TestPayhook) {
    let payments = unknown(payhook, "S", 30).await;
    open_letters(payhook, 30).await;
    for payment in &payments {
        let order = payment.as_str().trim_start_matches("PR-").to_owned();
        payhook.registers(&order, "10.00 THB", Provider::Antom, payment).await;
    }
    let body = json!({ "filter": { "all": true }, "rate_per_s": 5, "canary": 0, "reason": "slowly" });
    let replay_id = replays(payhook, "dead-letters", body.clone()).await;
    let steer =
        async |to: &str| payhook.call(Method::POST, &format!("/v1/replays/{replay_id}/{to}"), None).await.unwrap();
    assert_eq!(steer("pause").await.1["state"], "paused");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = replay(payhook, &replay_id).await["done"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(replay(payhook, &replay_id).await["done"], before, "a paused replay hands nothing out");
    let (status, answer) = payhook.call(Method::POST, "/v1/dead-letters/replay", Some(body)).await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert!(answer["total"].as_u64().unwrap() < 30, "what another replay has is not taken twice: {answer}");
    assert_eq!(steer("resume").await.1["state"], "running");
    assert_eq!(steer("cancel").await.1["state"], "cancelled");
    assert_eq!(steer("resume").await.0, StatusCode::CONFLICT, "what is cancelled stays so");
}

async fn a_discarded_letter_is_kept_and_no_longer_open(payhook: &TestPayhook) {
    let payment = unknown(payhook, "X", 1).await.remove(0);
    payhook.dies(&payment).await;
    let without = payhook.cli(&["dead", "discard", "--all"]).await;
    assert_eq!(without.code, 2, "a reason is wanted: {}", without.stderr);
    payhook.cli(&["dead", "note", "--cause", "unknown_payment", "--note", "asked the shop"]).await.ends_with(0);
    assert_eq!(payhook.dies(&payment).await["note"], "asked the shop");
    payhook.cli(&["dead", "discard", "--all", "--reason", "a test of theirs"]).await.ends_with(0);
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
    let (_, all) = payhook.call(Method::GET, "/v1/dead-letters?state=all", None).await.unwrap();
    assert_eq!(all["dead_letters"][0]["state"], "discarded", "{all}");
}
