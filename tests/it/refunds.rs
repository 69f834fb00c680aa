//! Antom's refunds: announced or not, in parts, failed, repeated, too early.

use payhook_schema::{PaymentId, Provider, RefundId};
use payhook_simulator::{AntomHabits, AntomKind, AntomOutcome, AntomStatus, Fault};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{TestPayhook, journeys, shop};

journeys! { Plan::usual();
    a_refund_made_in_the_dashboard_finds_its_payment,
    a_refund_finds_its_payment_though_the_first_look_came_to_nothing,
    a_refund_finds_its_payment_among_many_of_the_same_amount,
    an_announced_refund_is_found_even_where_the_inquiry_lists_none,
    an_announced_refund_nobody_notified_is_found_by_the_sweep,
    refunds_in_parts_add_up_and_each_has_its_event,
    a_refund_that_failed_is_announced_and_moves_no_money,
    a_notification_that_lies_about_a_refund_moves_nothing,
    the_same_refund_notified_five_times_counts_once,
    a_refund_of_an_order_not_registered_yet_waits_for_it,
    a_refund_is_announced_once_and_for_one_payment,
    a_refund_announced_for_the_wrong_payment_follows_antoms_answer,
    a_refund_announced_for_the_wrong_payment_goes_to_the_one_that_lists_it,
}

fn refund_id(text: &str) -> RefundId {
    RefundId::new(text).unwrap()
}

/// An order that Antom's customer has paid.
async fn paid(payhook: &TestPayhook, order: &str, amount: &str) -> PaymentId {
    let payment = payhook.antom_order(order, amount).await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes(order, "paid").await;
    payment
}

/// Antom gives money back.
fn refunded(payhook: &TestPayhook, payment: &PaymentId, refund: &RefundId, amount_minor: i64) {
    let antom = payhook.simulator.antom();
    antom.refund(payment, refund, amount_minor).unwrap();
    antom.decide_refund(refund, AntomOutcome::Success).unwrap();
}

async fn notified(payhook: &TestPayhook, refund: &RefundId, kind: AntomKind) {
    let signed = payhook.simulator.antom().signed_refund(&payhook.ingress(), &shop(), refund, kind);
    payhook.delivers(&payhook.marked(signed.unwrap())).await;
}

/// Registers the order again with a refund of one of its payments.
async fn announced(payhook: &TestPayhook, order: &str, payment: &PaymentId, refund: &RefundId) -> (StatusCode, Value) {
    let known = payhook.order(order).await.unwrap();
    let body = json!({
        "amount_minor": known["amount_minor"], "currency": known["currency"],
        "refunds": [{ "provider": "antom", "account": shop(), "payment_id": payment, "id": refund }],
    });
    payhook.call(Method::PUT, &format!("/v1/orders/{order}"), Some(body)).await.unwrap()
}

async fn a_refund_made_in_the_dashboard_finds_its_payment(payhook: &TestPayhook) {
    let payment = paid(payhook, "R-1", "150.00 THB").await;
    let refund = refund_id("RF-dashboard");
    refunded(payhook, &payment, &refund, 5_000);
    notified(payhook, &refund, AntomKind::RefundState).await;
    let order = payhook.becomes("R-1", "partly_refunded").await;
    assert_eq!((&order["captured_minor"], &order["refunded_minor"]), (&15_000.into(), &5_000.into()), "{order}");
    let shown = &order["refunds"][0];
    assert_eq!((&shown["id"], &shown["state"]), (&"RF-dashboard".into(), &"succeeded".into()), "{order}");
    assert_eq!((&shown["payment_id"], &shown["amount_minor"]), (&payment.as_str().into(), &5_000.into()), "{order}");
    payhook.events_are("R-1", &["order.paid", "order.refunded"]).await;
    let timeline = payhook.recorded("R-1", "notification", 2).await;
    assert!(timeline.iter().any(|entry| entry["text"].as_str().unwrap().contains("REFUND_RESULT")), "{timeline:#?}");
}

async fn a_refund_finds_its_payment_though_the_first_look_came_to_nothing(payhook: &TestPayhook) {
    let payment = paid(payhook, "R-11", "70.00 THB").await;
    let refund = refund_id("RF-hiccup");
    refunded(payhook, &payment, &refund, 7_000);
    payhook.simulator.faults().set_next(Provider::Antom, Fault::Down { status: 503 }, 1).unwrap();
    notified(payhook, &refund, AntomKind::RefundState).await;
    payhook.becomes("R-11", "refunded").await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}

async fn a_refund_finds_its_payment_among_many_of_the_same_amount(payhook: &TestPayhook) {
    let mut payments = Vec::new();
    for n in 0..12 {
        payments.push(paid(payhook, &format!("R-many-{n}"), "20.00 THB").await);
    }
    // The oldest one: found by the second look, which goes further back.
    let refund = refund_id("RF-many");
    refunded(payhook, &payments[0], &refund, 2_000);
    notified(payhook, &refund, AntomKind::RefundState).await;
    payhook.becomes("R-many-0", "refunded").await;
    for n in 1..12 {
        assert_eq!(payhook.order(&format!("R-many-{n}")).await.unwrap()["state"], "paid");
    }
}

async fn an_announced_refund_is_found_even_where_the_inquiry_lists_none(payhook: &TestPayhook) {
    let antom = payhook.simulator.antom();
    antom.set_habits(AntomHabits { refunds_listed: false, ..antom.habits() });
    let payment = paid(payhook, "R-2", "90.00 THB").await;
    let refund = refund_id("RF-announced");
    let (status, answer) = announced(payhook, "R-2", &payment, &refund).await;
    assert_eq!((status, &answer["refunds"][0]["state"]), (StatusCode::OK, &"pending".into()), "{answer}");
    refunded(payhook, &payment, &refund, 9_000);
    notified(payhook, &refund, AntomKind::RefundState).await;
    let order = payhook.becomes("R-2", "refunded").await;
    assert_eq!(order["refunded_minor"], 9_000, "{order}");
    payhook.refreshes("R-2").await;
    payhook.recorded("R-2", "inquiry", 3).await;
    assert_eq!(payhook.order("R-2").await.unwrap()["state"], "refunded", "what is known is not forgotten");
    payhook.events_are("R-2", &["order.paid", "order.refunded"]).await;
}

async fn an_announced_refund_nobody_notified_is_found_by_the_sweep(payhook: &TestPayhook) {
    let payment = paid(payhook, "R-3", "90.00 THB").await;
    let refund = refund_id("RF-silent");
    announced(payhook, "R-3", &payment, &refund).await;
    refunded(payhook, &payment, &refund, 1_000);
    payhook.becomes("R-3", "partly_refunded").await;
    payhook.events_are("R-3", &["order.paid", "order.refunded"]).await;
}

async fn refunds_in_parts_add_up_and_each_has_its_event(payhook: &TestPayhook) {
    let payment = paid(payhook, "R-4", "100.00 THB").await;
    for (n, (part, sum)) in [(3_000, 3_000), (2_000, 5_000), (5_000, 10_000)].into_iter().enumerate() {
        let refund = refund_id(&format!("RF-part-{n}"));
        refunded(payhook, &payment, &refund, part);
        notified(payhook, &refund, AntomKind::RefundState).await;
        payhook
            .until("the sum grew", async || {
                let order = payhook.order("R-4").await?;
                if order["refunded_minor"] == sum { Ok(()) } else { Err(order.to_string()) }
            })
            .await;
    }
    payhook.becomes("R-4", "refunded").await;
    let events = payhook.events_are("R-4", &["order.paid", "order.refunded", "order.refunded", "order.refunded"]).await;
    let sums: Vec<&Value> = events.iter().map(|event| &event["data"]["refunded_minor"]).collect();
    assert_eq!(sums, [&json!(0), &json!(3_000), &json!(5_000), &json!(10_000)]);
}

async fn a_refund_that_failed_is_announced_and_moves_no_money(payhook: &TestPayhook) {
    let payment = paid(payhook, "R-5", "100.00 THB").await;
    let (refund, antom) = (refund_id("RF-failed"), payhook.simulator.antom());
    antom.refund(&payment, &refund, 4_000).unwrap();
    antom.decide_refund(&refund, AntomOutcome::Fail("PROCESS_FAIL".to_owned())).unwrap();
    notified(payhook, &refund, AntomKind::RefundState).await;
    let events = payhook.events_are("R-5", &["order.paid", "refund.failed"]).await;
    assert_eq!(events[1]["data"]["refund_id"], "RF-failed", "{}", events[1]);
    let order = payhook.order("R-5").await.unwrap();
    assert_eq!((&order["state"], &order["refunded_minor"]), (&"paid".into(), &0.into()), "{order}");
    assert_eq!(order["refunds"][0]["state"], "failed", "{order}");
}

async fn a_notification_that_lies_about_a_refund_moves_nothing(payhook: &TestPayhook) {
    let payment = paid(payhook, "R-6", "100.00 THB").await;
    let (refund, antom) = (refund_id("RF-lie"), payhook.simulator.antom());
    antom.refund(&payment, &refund, 4_000).unwrap();
    antom.decide_refund(&refund, AntomOutcome::Fail("PROCESS_FAIL".to_owned())).unwrap();
    notified(payhook, &refund, AntomKind::Refund).await;
    payhook.events_are("R-6", &["order.paid", "refund.failed"]).await;
    assert_eq!(payhook.order("R-6").await.unwrap()["state"], "paid");
}

async fn the_same_refund_notified_five_times_counts_once(payhook: &TestPayhook) {
    let payment = paid(payhook, "R-7", "100.00 THB").await;
    let refund = refund_id("RF-often");
    refunded(payhook, &payment, &refund, 4_000);
    for _ in 0..5 {
        notified(payhook, &refund, AntomKind::RefundState).await;
    }
    // Copies that come at once may count as one.
    payhook.recorded("R-7", "notification", 2).await;
    let order = payhook.becomes("R-7", "partly_refunded").await;
    assert_eq!((&order["refunded_minor"], order["refunds"].as_array().map(Vec::len)), (&4_000.into(), Some(1)));
    payhook.events_are("R-7", &["order.paid", "order.refunded"]).await;
}

async fn a_refund_of_an_order_not_registered_yet_waits_for_it(payhook: &TestPayhook) {
    let (payment, refund) = (crate::harness::id("PR-R-8"), refund_id("RF-early"));
    payhook.simulator.antom().create(&payment, crate::harness::money("30.00 THB"));
    payhook.antom_decides(&payment, AntomStatus::Success);
    refunded(payhook, &payment, &refund, 3_000);
    notified(payhook, &refund, AntomKind::RefundState).await;
    payhook.outcomes("parked", 1).await;
    payhook.registers("R-8", "30.00 THB", Provider::Antom, &payment).await;
    payhook.refreshes("R-8").await;
    payhook.becomes("R-8", "refunded").await;
    payhook.events_are("R-8", &["order.paid", "order.refunded"]).await;
    payhook.recorded("R-8", "notification", 1).await;
}

async fn a_refund_is_announced_once_and_for_one_payment(payhook: &TestPayhook) {
    let (first, second) =
        (payhook.antom_order("R-9", "10.00 THB").await, payhook.antom_order("R-10", "10.00 THB").await);
    let refund = refund_id("RF-one");
    for _ in 0..2 {
        let (status, order) = announced(payhook, "R-9", &first, &refund).await;
        assert_eq!((status, order["refunds"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{order}");
    }
    let (status, answer) = announced(payhook, "R-10", &second, &refund).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    let (status, answer) = announced(payhook, "R-10", &first, &refund_id("RF-two")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert_eq!(payhook.order("R-10").await.unwrap()["refunds"], json!([]), "nothing was changed");
}

/// The refund is the second order's, and nobody has to look at either.
async fn second_refund_is_announced(payhook: &TestPayhook, [first, second]: [&str; 2], payment: &PaymentId) {
    let order = payhook.becomes(second, "partly_refunded").await;
    let shown = &order["refunds"][0];
    assert_eq!((&shown["payment_id"], &shown["amount_minor"]), (&payment.as_str().into(), &4_000.into()), "{order}");
    payhook.events_are(second, &["order.paid", "order.refunded"]).await;
    let order = payhook.order(first).await.unwrap();
    assert_eq!(order["state"], "paid");
    assert_eq!(order["refunds"], json!([]));
    assert_eq!(order["holds"], json!([]));
    payhook.events_are(first, &["order.paid"]).await;
}

async fn a_refund_announced_for_the_wrong_payment_follows_antoms_answer(payhook: &TestPayhook) {
    let antom = payhook.simulator.antom();
    antom.set_habits(AntomHabits { refunds_listed: false, refund_names_payment: true, ..antom.habits() });
    let (first, second) = (paid(payhook, "R-12", "100.00 THB").await, paid(payhook, "R-13", "100.00 THB").await);
    let refund = refund_id("RF-wrong");
    assert_eq!(announced(payhook, "R-12", &first, &refund).await.0, StatusCode::OK);
    refunded(payhook, &second, &refund, 4_000);
    notified(payhook, &refund, AntomKind::RefundState).await;
    second_refund_is_announced(payhook, ["R-12", "R-13"], &second).await;
    let timeline = payhook.recorded("R-12", "notification", 1).await;
    let is_moved =
        |entry: &Value| entry["text"].as_str().is_some_and(|text| text.contains("says that refund RF-wrong is of"));
    assert!(timeline.iter().any(is_moved), "{timeline:#?}");
}

async fn a_refund_announced_for_the_wrong_payment_goes_to_the_one_that_lists_it(payhook: &TestPayhook) {
    let (first, second) = (paid(payhook, "R-14", "100.00 THB").await, paid(payhook, "R-15", "100.00 THB").await);
    let (refund, antom) = (refund_id("RF-listed"), payhook.simulator.antom());
    antom.refund(&second, &refund, 4_000).unwrap();
    assert_eq!(announced(payhook, "R-14", &first, &refund).await.0, StatusCode::OK);
    payhook.refreshes("R-15").await;
    payhook
        .until("the refund is the second order's", async || {
            let order = payhook.order("R-15").await?;
            if order["refunds"][0]["id"] == "RF-listed" { Ok(()) } else { Err(order.to_string()) }
        })
        .await;
    antom.decide_refund(&refund, AntomOutcome::Success).unwrap();
    notified(payhook, &refund, AntomKind::RefundState).await;
    second_refund_is_announced(payhook, ["R-14", "R-15"], &second).await;
}
