//! The money guard, and money that moves after it was paid.

use payhook_schema::{PaymentId, Provider};
use payhook_simulator::{AntomKind, AntomStatus};

use crate::harness::{TestPayhook, id, journeys, money};

journeys! { Plan::usual();
    a_wrong_amount_holds_the_order_and_shows_both_sides,
    a_wrong_currency_holds_the_order_and_shows_both_sides,
    a_second_payment_of_an_order_holds_it_and_shows_both_sides,
    an_amount_is_never_changed_once_registered,
    an_order_is_authorized_then_captured,
    an_authorization_that_is_released_pays_nothing,
    money_goes_back_in_parts,
}

async fn held(payhook: &TestPayhook, order: &str, reason: &str, sides: &[&str]) {
    let seen = payhook.becomes(order, "held").await;
    assert_eq!(seen["hold"]["reason"], reason, "{seen}");
    let detail = seen["hold"]["detail"].as_str().unwrap_or_default();
    for side in sides {
        assert!(detail.contains(side), "{side} is not in: {detail}");
    }
}

async fn a_wrong_amount_holds_the_order_and_shows_both_sides(payhook: &TestPayhook) {
    let charge = payhook.underpaid("M-1").await;
    held(payhook, "M-1", "amount_mismatch", &["500.00 THB", "50.00 THB", charge.as_str()]).await;
    let events = payhook.events_are("M-1", &["order.held"]).await;
    assert_eq!(events[0]["data"]["reason"], "amount_mismatch");
    // What was taken is not hidden: somebody must give it back.
    assert_eq!(payhook.order("M-1").await.unwrap()["captured_minor"], 5000);
}

async fn a_wrong_currency_holds_the_order_and_shows_both_sides(payhook: &TestPayhook) {
    let payment = id("PR-currency");
    payhook.simulator.antom().create(&payment, money("100.00 SGD"));
    payhook.registers("M-2", "100.00 THB", Provider::Antom, &payment).await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    held(payhook, "M-2", "currency_mismatch", &["100.00 THB", "100.00 SGD"]).await;
    payhook.events_are("M-2", &["order.held"]).await;
}

async fn a_second_payment_of_an_order_holds_it_and_shows_both_sides(payhook: &TestPayhook) {
    let (antom, charge) = (id("PR-twice"), payhook.simulator.omise().new_charge_id());
    payhook.simulator.antom().create(&antom, money("90.00 THB"));
    payhook.simulator.omise().create(&charge, money("90.00 THB"));
    payhook.registers_all("M-3", "90.00 THB", &[(Provider::Antom, &antom), (Provider::Omise, &charge)]).await;
    payhook.antom_decides(&antom, AntomStatus::Success);
    payhook.antom_notifies(&antom, AntomKind::State).await;
    payhook.becomes("M-3", "paid").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    held(payhook, "M-3", "double_payment", &[antom.as_str(), charge.as_str()]).await;
    payhook.events_are("M-3", &["order.paid", "order.held"]).await;
}

async fn an_amount_is_never_changed_once_registered(payhook: &TestPayhook) {
    payhook.antom_order("M-4", "90.00 THB").await;
    payhook.antom_order("M-4", "90.00 THB").await;
    for body in [
        serde_json::json!({ "amount_minor": 9001, "currency": "THB" }),
        serde_json::json!({ "amount_minor": 9000, "currency": "SGD" }),
    ] {
        let answer = payhook.call(reqwest::Method::PUT, "/v1/orders/M-4", Some(body)).await;
        assert_eq!(answer.map(|(status, _)| status.as_u16()), Ok(409));
    }
    assert_eq!(payhook.order("M-4").await.unwrap()["amount_minor"], 9000);
}

async fn authorized(payhook: &TestPayhook, order: &str, amount: &str) -> PaymentId {
    let charge = payhook.omise_order(order, amount).await;
    payhook.simulator.omise().authorize(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    let seen = payhook.becomes(order, "authorized").await;
    assert_eq!(seen["captured_minor"], 0, "{seen}");
    charge
}

async fn an_order_is_authorized_then_captured(payhook: &TestPayhook) {
    let charge = authorized(payhook, "M-5", "240.00 THB").await;
    payhook.simulator.omise().capture(&charge, 24_000).unwrap();
    payhook.omise_notifies(&charge, "charge.capture").await;
    let order = payhook.becomes("M-5", "paid").await;
    assert_eq!((&order["captured_minor"], &order["version"]), (&24_000.into(), &2.into()), "{order}");
    payhook.events_are("M-5", &["order.authorized", "order.paid"]).await;
}

async fn an_authorization_that_is_released_pays_nothing(payhook: &TestPayhook) {
    let charge = authorized(payhook, "M-6", "240.00 THB").await;
    payhook.simulator.omise().reverse(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.reverse").await;
    payhook.events_are("M-6", &["order.authorized", "payment.cancelled"]).await;
    let order = payhook.order("M-6").await.unwrap();
    assert_eq!((&order["state"], &order["captured_minor"]), (&"pending".into(), &0.into()), "{order}");
}

async fn money_goes_back_in_parts(payhook: &TestPayhook) {
    let charge = payhook.omise_order("M-7", "350.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.becomes("M-7", "paid").await;
    for (part, whole, state) in
        [(10_000, 10_000, "partly_refunded"), (5000, 15_000, "partly_refunded"), (20_000, 35_000, "refunded")]
    {
        payhook.simulator.omise().refund(&charge, part).unwrap();
        payhook.omise_notifies(&charge, "refund.create").await;
        let order = payhook
            .until("the refund is seen", async || {
                let order = payhook.order("M-7").await?;
                if order["refunded_minor"] == whole { Ok(order) } else { Err(order.to_string()) }
            })
            .await;
        assert_eq!((&order["state"], &order["captured_minor"]), (&state.into(), &35_000.into()), "{order}");
    }
    let events = payhook.events_are("M-7", &["order.paid", "order.refunded", "order.refunded", "order.refunded"]).await;
    let refunded: Vec<_> = events.iter().filter_map(|event| event["data"]["refunded_minor"].as_i64()).collect();
    assert_eq!(refunded, [0, 10_000, 15_000, 35_000]);
}
