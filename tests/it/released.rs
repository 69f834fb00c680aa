//! A held order waits for a person, and goes on when one lets it.

use payhook_schema::Provider;
use payhook_simulator::{AntomKind, AntomStatus};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{TestPayhook, journeys, money};

journeys! { Plan::usual();
    a_held_order_is_released_with_a_reason_and_fulfilment_is_told,
    a_contradiction_that_a_person_looked_at_holds_the_order_once,
    an_order_that_is_not_held_cannot_be_released,
}

async fn a_held_order_is_released_with_a_reason_and_fulfilment_is_told(payhook: &TestPayhook) {
    let charge = payhook.simulator.omise().new_charge_id();
    payhook.simulator.omise().create(&charge, money("50.00 THB"));
    payhook.registers("H-1", "500.00 THB", Provider::Omise, &charge).await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.becomes("H-1", "held").await;

    let without = payhook.cli(&["order", "release", "H-1"]).await;
    assert_eq!(without.code, 2, "a reason is wanted: {}", without.stderr);
    payhook.cli(&["order", "release", "H-1", "--reason", "paid the rest in cash"]).await.ends_with(0);
    let order = payhook.becomes("H-1", "paid").await;
    assert_eq!((&order["hold"], &order["captured_minor"]), (&json!(null), &5_000.into()), "{order}");
    let events = payhook.told("H-1", &["order.held", "order.released", "order.paid"]).await;
    assert_eq!(events[1]["data"]["reason"], "amount_mismatch", "{}", events[1]);
    let timeline = payhook.timeline("H-1").await.unwrap();
    let told = timeline.iter().find(|entry| entry["kind"] == "operator").expect("who did it is told");
    assert!(told["text"].as_str().unwrap().contains("paid the rest in cash"), "{told}");
    let (_, audit) = payhook.call(Method::GET, "/v1/audit", None).await.unwrap();
    assert!(audit.to_string().contains("order.release"), "{audit}");

    payhook.refreshes("H-1").await;
    payhook.recorded("H-1", "inquiry", 2).await;
    assert_eq!(payhook.order("H-1").await.unwrap()["state"], "paid", "it is not held again for what was looked at");
}

async fn a_contradiction_that_a_person_looked_at_holds_the_order_once(payhook: &TestPayhook) {
    let payment = payhook.antom_order("H-3", "10.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("H-3", "paid").await;
    // Antom takes back its word.
    payhook.antom_decides(&payment, AntomStatus::Fail("PROCESS_FAIL".to_owned()));
    payhook.refreshes("H-3").await;
    payhook.becomes("H-3", "held").await;
    payhook.cli(&["order", "release", "H-3", "--reason", "the bank has the money"]).await.ends_with(0);
    payhook.becomes("H-3", "paid").await;

    payhook.refreshes("H-3").await;
    payhook
        .until("the contradiction is met again", async || {
            let timeline = payhook.timeline("H-3").await?;
            let met = |entry: &Value| entry["text"].as_str().unwrap().contains("a person has looked at this");
            if timeline.iter().any(met) { Ok(()) } else { Err(format!("{timeline:#?}")) }
        })
        .await;
    assert_eq!(payhook.order("H-3").await.unwrap()["state"], "paid");
    payhook.told("H-3", &["order.paid", "order.held", "order.released"]).await;
}

async fn an_order_that_is_not_held_cannot_be_released(payhook: &TestPayhook) {
    payhook.antom_order("H-2", "10.00 THB").await;
    let body = Some(json!({ "reason": "why not" }));
    let (status, answer) = payhook.call(Method::POST, "/v1/orders/H-2/release", body).await.unwrap();
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
}
