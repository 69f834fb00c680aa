//! Providers that are away or talk nonsense: nothing is decided without their word, and what is given up on is shown.

use payhook_schema::{PaymentId, Provider};
use payhook_simulator::{AntomKind, AntomStatus, Fault};
use serde_json::Value;

use crate::harness::{TestPayhook, id, journeys, money};

journeys! { Plan::usual().retry_delays(&["1s", "2s"]);
    a_provider_that_is_away_for_a_while_costs_nothing,
    answers_that_are_not_the_providers_change_nothing,
    a_provider_that_stays_away_makes_a_dead_letter,
    a_payment_nobody_registers_is_dead_lettered_as_unknown,
    a_payment_the_provider_does_not_know_is_dead_lettered_as_refused,
}

/// Waits until the provider was asked so often about a payment.
async fn asked(payhook: &TestPayhook, payment: &PaymentId, times: usize) {
    payhook
        .until(&format!("{payment} is asked about {times} times"), async || match payhook.asked(payment) {
            seen if seen >= times => Ok(()),
            seen => Err(format!("{seen} times")),
        })
        .await;
}

async fn a_provider_that_is_away_for_a_while_costs_nothing(payhook: &TestPayhook) {
    let charge = payhook.omise_order("T-1", "75.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.simulator.faults().set(Provider::Omise, Fault::Down { status: 503 }).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    asked(payhook, &charge, 2).await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]), "the schedule has not ended");
    let order = payhook.order("T-1").await.unwrap();
    assert_eq!((&order["state"], &order["payments"][0]["state"]), (&"pending".into(), &"awaiting".into()), "{order}");

    payhook.simulator.faults().clear(Provider::Omise);
    payhook.becomes("T-1", "paid").await;
    payhook.events_are("T-1", &["order.paid"]).await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}

async fn answers_that_are_not_the_providers_change_nothing(payhook: &TestPayhook) {
    let faults = [Fault::Unsigned, Fault::BadSignature, Fault::HalfAnswer, Fault::HtmlPage, Fault::OtherPayment];
    let mut payments = Vec::new();
    for (fault, number) in faults.into_iter().zip(1..) {
        let order = format!("T-2-{number}");
        let payment = payhook.antom_order(&order, "75.00 THB").await;
        payhook.antom_decides(&payment, AntomStatus::Success);
        payhook.simulator.faults().set(Provider::Antom, fault.clone()).unwrap();
        payhook.antom_notifies(&payment, AntomKind::State).await;
        payhook.recorded(&order, "inquiry", 1).await;
        assert_eq!(payhook.order(&order).await.unwrap()["state"], "pending", "after {fault:?}");
        payhook.events_are(&order, &[]).await;
        payments.push(order);
    }
    payhook.simulator.faults().clear(Provider::Antom);
    for order in payments {
        payhook.becomes(&order, "paid").await;
        payhook.events_are(&order, &["order.paid"]).await;
    }
}

/// The dead letter of a payment, as the API and `payhook dead list --json` show it.
async fn dead(payhook: &TestPayhook, payment: &PaymentId, cause: &str) -> Value {
    let letter = payhook.dies(payment).await;
    assert_eq!((&letter["cause"], &letter["state"]), (&cause.into(), &"open".into()), "{letter}");
    assert_eq!(letter["attempts"], 3, "one try, and one after each delay: {letter}");
    assert!(!letter.to_string().contains(payhook.marker()), "a dead letter is shown without its body: {letter}");
    let listed = payhook.cli(&["dead", "list", "--json", "--cause", cause]).await.ends_with(0).json();
    let listed = listed["dead_letters"].as_array().cloned().unwrap_or_default();
    assert_eq!(listed, std::slice::from_ref(&letter), "the command shows what the API has");
    letter
}

async fn a_provider_that_stays_away_makes_a_dead_letter(payhook: &TestPayhook) {
    let charge = payhook.omise_order("T-3", "75.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.simulator.faults().set(Provider::Omise, Fault::Close).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    let letter = dead(payhook, &charge, "provider_unreachable").await;
    assert_eq!((&letter["order_id"], &letter["provider"]), (&"T-3".into(), &"omise".into()), "{letter}");
    // Silence is never failure.
    assert_eq!(payhook.order("T-3").await.unwrap()["payments"][0]["state"], "awaiting");
    payhook.events_are("T-3", &[]).await;

    payhook.simulator.faults().clear(Provider::Omise);
    payhook.refreshes("T-3").await;
    payhook.becomes("T-3", "paid").await;
    payhook.events_are("T-3", &["order.paid"]).await;
}

async fn a_payment_nobody_registers_is_dead_lettered_as_unknown(payhook: &TestPayhook) {
    let payment = id("PR-nobody");
    payhook.simulator.antom().create(&payment, money("75.00 THB"));
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    let letter = dead(payhook, &payment, "unknown_payment").await;
    assert_eq!((&letter["order_id"], &letter["provider"]), (&Value::Null, &"antom".into()), "{letter}");
    assert_eq!(payhook.asked(&payment), 0);

    // Registered after all, it is settled without another notification.
    payhook.registers("T-4", "75.00 THB", Provider::Antom, &payment).await;
    payhook.becomes("T-4", "paid").await;
    payhook.events_are("T-4", &["order.paid"]).await;
}

async fn a_payment_the_provider_does_not_know_is_dead_lettered_as_refused(payhook: &TestPayhook) {
    let payment = payhook.antom_order("T-5", "75.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let notified = payhook.antom_signed(&payment, AntomKind::State);
    payhook.simulator.antom().forget(&payment);
    payhook.delivers(&notified).await;
    let letter = dead(payhook, &payment, "provider_refused").await;
    let detail = letter["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("ORDER_NOT_EXIST"), "the provider's own word is shown: {letter}");
    assert_eq!(payhook.order("T-5").await.unwrap()["payments"][0]["state"], "awaiting");
}
