//! A held order waits for a person, and goes on when one lets it.

use payhook_schema::{PaymentId, Provider};
use payhook_simulator::{AntomKind, AntomStatus};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{TestPayhook, id, journeys, money, shop};

journeys! { Plan::usual();
    a_held_order_is_released_with_a_reason_and_fulfilment_has_the_event,
    a_contradiction_that_a_person_looked_at_holds_the_order_once,
    a_second_objection_is_announced_and_a_release_that_did_not_see_it_lifts_nothing,
    a_first_payment_that_went_back_is_no_refund_of_an_order_that_stays_paid,
    money_that_went_back_without_the_providers_word_ends_the_order_refunded,
    an_order_that_is_not_held_cannot_be_released,
}

impl TestPayhook {
    async fn releases(&self, order: &str, body: Value) -> StatusCode {
        let path = format!("/v1/orders/{order}/release");
        self.call(Method::POST, &path, Some(body)).await.expect("the console answers").0
    }

    /// The order, once it is held for these reasons, oldest first.
    async fn held_for(&self, order: &str, reasons: &[&str]) -> Value {
        self.until(&format!("{order} is held for {reasons:?}"), async || {
            let seen = self.order(order).await?;
            let holds = seen["holds"].as_array().map(Vec::as_slice).unwrap_or_default();
            let open: Vec<&str> = holds.iter().filter_map(|hold| hold["reason"].as_str()).collect();
            if open == reasons { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await
    }
}

async fn a_held_order_is_released_with_a_reason_and_fulfilment_has_the_event(payhook: &TestPayhook) {
    payhook.underpaid("H-1").await;
    payhook.becomes("H-1", "held").await;

    let without = payhook.cli(&["order", "release", "H-1"]).await;
    assert_eq!(without.code, 2, "a reason is wanted: {}", without.stderr);
    payhook.cli(&["order", "release", "H-1", "--reason", "paid the rest in cash"]).await.ends_with(0);
    let order = payhook.becomes("H-1", "paid").await;
    assert_eq!((&order["hold"], &order["captured_minor"]), (&json!(null), &5_000.into()), "{order}");
    let events = payhook.events_are("H-1", &["order.held", "order.released", "order.paid"]).await;
    assert_eq!(events[1]["data"]["reason"], "amount_mismatch", "{}", events[1]);
    let timeline = payhook.timeline("H-1").await.unwrap();
    let entry = timeline.iter().find(|entry| entry["kind"] == "operator").expect("the timeline names who did it");
    assert!(entry["text"].as_str().unwrap().contains("paid the rest in cash"), "{entry}");
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
            let met = |entry: &Value| entry["text"].as_str().unwrap().contains("released before");
            if timeline.iter().any(met) { Ok(()) } else { Err(format!("{timeline:#?}")) }
        })
        .await;
    assert_eq!(payhook.order("H-3").await.unwrap()["state"], "paid");
    payhook.events_are("H-3", &["order.paid", "order.held", "order.released"]).await;
}

/// An order with a charge of Omise's and a payment of Antom's, none of them decided.
async fn two_attempts(payhook: &TestPayhook, order: &str, amount: &str, charged: &str) -> (PaymentId, PaymentId) {
    let (charge, payment) = (payhook.simulator.omise().new_charge_id(), id(&format!("PR-{order}")));
    payhook.simulator.omise().create(&charge, money(charged));
    payhook.simulator.antom().create(&payment, money(amount));
    payhook.registers_all(order, amount, &[(Provider::Omise, &charge), (Provider::Antom, &payment)]).await;
    (charge, payment)
}

async fn a_second_objection_is_announced_and_a_release_that_did_not_see_it_lifts_nothing(payhook: &TestPayhook) {
    let (charge, payment) = two_attempts(payhook, "H-4", "100.00 THB", "99.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    let seen = payhook.held_for("H-4", &["amount_mismatch"]).await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    let both = payhook.held_for("H-4", &["amount_mismatch", "double_payment"]).await;
    assert_eq!((&seen["version"], &both["version"]), (&json!(1), &json!(2)), "each objection is a version of its own");

    let body = |order: &Value| json!({ "reason": "one cent more or less", "version": order["version"] });
    assert_eq!(payhook.releases("H-4", body(&seen)).await, StatusCode::CONFLICT);
    let shown = payhook.cli(&["order", "show", "H-4"]).await.ends_with(0);
    assert!(shown.stdout.contains("double_payment") && shown.stdout.contains("amount_mismatch"), "{}", shown.stdout);
    assert_eq!(payhook.releases("H-4", body(&both)).await, StatusCode::ACCEPTED);
    payhook.becomes("H-4", "paid").await;
    let events = payhook.events_are("H-4", &["order.held", "order.held", "order.released", "order.paid"]).await;
    let reasons: Vec<_> = events.iter().map(|event| event["data"]["reason"].as_str().unwrap_or("-")).collect();
    assert_eq!(reasons, ["amount_mismatch", "double_payment", "amount_mismatch", "-"]);
    assert_eq!(events[1]["data"]["holds"].as_array().map(Vec::len), Some(2), "{}", events[1]);
    assert_eq!((&events[3]["data"]["previous_state"], &events[3]["data"]["state"]), (&json!("held"), &json!("paid")));
}

async fn a_first_payment_that_went_back_is_no_refund_of_an_order_that_stays_paid(payhook: &TestPayhook) {
    let (charge, payment) = two_attempts(payhook, "H-5", "100.00 THB", "100.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.events_are("H-5", &["order.paid"]).await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.held_for("H-5", &["double_payment"]).await;
    payhook.simulator.omise().refund(&charge, 10_000).unwrap();
    payhook.omise_notifies(&charge, "refund.create").await;
    payhook
        .until("the refund is seen", async || {
            let order = payhook.order("H-5").await?;
            if order["refunded_minor"] == 10_000 { Ok(()) } else { Err(order.to_string()) }
        })
        .await;
    payhook.cli(&["order", "release", "H-5", "--reason", "the first one went back"]).await.ends_with(0);
    payhook.becomes("H-5", "paid").await;
    payhook.events_are("H-5", &["order.paid", "order.held", "order.released"]).await;
}

async fn money_that_went_back_without_the_providers_word_ends_the_order_refunded(payhook: &TestPayhook) {
    let payment = payhook.antom_order("H-6", "10.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("H-6", "paid").await;
    payhook.antom_decides(&payment, AntomStatus::Cancelled);
    payhook.refreshes("H-6").await;
    payhook.held_for("H-6", &["impossible_transition"]).await;
    let key = format!("antom/{}/{payment}", shop());
    let release = ["order", "release", "H-6", "--reason", "the bank confirmed the cancel", "--returned", &key];
    payhook.cli(&release).await.ends_with(0);
    let order = payhook.becomes("H-6", "refunded").await;
    assert_eq!((&order["captured_minor"], &order["refunded_minor"]), (&json!(1_000), &json!(1_000)), "{order}");
    payhook.events_are("H-6", &["order.paid", "order.held", "order.released", "order.refunded"]).await;
    payhook.refreshes("H-6").await;
    payhook.recorded("H-6", "inquiry", 3).await;
    assert_eq!(payhook.order("H-6").await.unwrap()["state"], "refunded", "the provider says nothing new");
}

async fn an_order_that_is_not_held_cannot_be_released(payhook: &TestPayhook) {
    payhook.antom_order("H-2", "10.00 THB").await;
    assert_eq!(payhook.releases("H-2", json!({ "reason": "why not", "version": 0 })).await, StatusCode::CONFLICT);
    assert_eq!(payhook.releases("H-2", json!({ "reason": "why not" })).await, StatusCode::BAD_REQUEST);
}
