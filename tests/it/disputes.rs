//! Disputes of both providers: told from open to closed, whichever notifications were lost, while the order's money
//! stays as it is.

use payhook_schema::{DisputeId, PaymentId, Provider};
use payhook_simulator::{AntomKind, AntomStatus, Fault, Judgement, OmiseDispute};
use serde_json::Value;

use crate::harness::{TestPayhook, id, journeys, money};

journeys! { Plan::usual();
    a_disputed_charge_is_open_then_pending_then_won,
    a_dispute_that_is_accepted_is_lost_once_it_is_closed,
    a_dispute_heard_of_when_it_is_over_is_announced_as_opened_and_closed,
    a_dispute_of_antoms_is_open_then_pending_then_judged_for_us,
    a_dispute_of_antoms_is_judged_against_us,
    a_judgement_before_its_dispute_tells_the_same_two_things,
    a_dispute_nobody_documented_the_end_of_is_closed_for_nobody,
    a_dispute_that_names_antoms_own_id_alone_finds_its_payment,
    a_dispute_of_an_order_not_registered_yet_waits_for_it,
    a_dispute_notified_while_antom_is_away_is_not_lost,
    the_same_dispute_notified_five_times_at_once_is_announced_once,
    a_dispute_of_money_that_went_back_in_part_leaves_both_as_they_are,
}

/// An order of 90.00 THB whose charge the customer has paid.
async fn paid_by_omise(payhook: &TestPayhook, order: &str) -> PaymentId {
    let charge = payhook.omise_order(order, "90.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.becomes(order, "paid").await;
    charge
}

/// The same by Antom.
async fn paid_by_antom(payhook: &TestPayhook, order: &str) -> PaymentId {
    let payment = payhook.antom_order(order, "90.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes(order, "paid").await;
    payment
}

/// Waits until the order's one dispute is in this state. The order is paid, and all of its money is where it was.
async fn disputed(payhook: &TestPayhook, order: &str, state: &str) -> Value {
    let seen = payhook
        .until(&format!("the dispute of {order} is {state}"), async || {
            let seen = payhook.order(order).await?;
            if seen["disputes"][0]["state"] == state { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await;
    assert_eq!(seen["disputes"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!((&seen["state"], &seen["hold"]), (&"paid".into(), &Value::Null), "{seen}");
    assert_eq!((&seen["captured_minor"], &seen["refunded_minor"]), (&9_000.into(), &0.into()), "{seen}");
    seen["disputes"][0].clone()
}

/// Fulfilment was told that it was opened, and that it was closed, for whom.
async fn both_are_announced(payhook: &TestPayhook, order: &str, dispute: &DisputeId, outcome: &str) {
    let events = payhook.events_are(order, &["order.paid", "dispute.opened", "dispute.closed"]).await;
    for event in &events[1..] {
        assert_eq!(event["data"]["dispute_id"], dispute.as_str(), "{event}");
    }
    assert_eq!((&events[1]["data"]["reason"], &events[2]["data"]["reason"]), (&Value::Null, &outcome.into()));
}

async fn a_disputed_charge_is_open_then_pending_then_won(payhook: &TestPayhook) {
    let (charge, omise) = (paid_by_omise(payhook, "D-1").await, payhook.simulator.omise());
    let dispute = omise.dispute(&charge).unwrap();
    payhook.omise_notifies(&charge, "dispute.create").await;
    let open = disputed(payhook, "D-1", "open").await;
    assert_eq!((&open["id"], &open["amount_minor"]), (&dispute.as_str().into(), &9_000.into()), "{open}");
    assert_eq!(open["payment_id"], charge.as_str(), "{open}");
    payhook.events_are("D-1", &["order.paid", "dispute.opened"]).await;

    omise.update_dispute(&charge).unwrap();
    payhook.omise_notifies(&charge, "dispute.update").await;
    disputed(payhook, "D-1", "pending").await;
    payhook.events_are("D-1", &["order.paid", "dispute.opened"]).await;

    omise.close_dispute(&charge, OmiseDispute::Won).unwrap();
    payhook.omise_notifies(&charge, "dispute.close").await;
    disputed(payhook, "D-1", "won").await;
    both_are_announced(payhook, "D-1", &dispute, "won").await;

    // What comes again, and late, tells nobody anything.
    for key in ["dispute.create", "dispute.update", "dispute.close"] {
        payhook.omise_notifies(&charge, key).await;
    }
    payhook.recorded("D-1", "notification", 7).await;
    disputed(payhook, "D-1", "won").await;
    both_are_announced(payhook, "D-1", &dispute, "won").await;
}

async fn a_dispute_that_is_accepted_is_lost_once_it_is_closed(payhook: &TestPayhook) {
    let (charge, omise) = (paid_by_omise(payhook, "D-2").await, payhook.simulator.omise());
    let dispute = omise.dispute(&charge).unwrap();
    payhook.omise_notifies(&charge, "dispute.create").await;
    disputed(payhook, "D-2", "open").await;
    omise.accept_dispute(&charge).unwrap();
    payhook.omise_notifies(&charge, "dispute.accept").await;
    disputed(payhook, "D-2", "pending").await;
    omise.close_dispute(&charge, OmiseDispute::Lost).unwrap();
    payhook.omise_notifies(&charge, "dispute.close").await;
    disputed(payhook, "D-2", "lost").await;
    both_are_announced(payhook, "D-2", &dispute, "lost").await;
}

async fn a_dispute_heard_of_when_it_is_over_is_announced_as_opened_and_closed(payhook: &TestPayhook) {
    let (charge, omise) = (paid_by_omise(payhook, "D-3").await, payhook.simulator.omise());
    let dispute = omise.dispute(&charge).unwrap();
    omise.close_dispute(&charge, OmiseDispute::Lost).unwrap();
    payhook.omise_notifies(&charge, "dispute.close").await;
    disputed(payhook, "D-3", "lost").await;
    both_are_announced(payhook, "D-3", &dispute, "lost").await;
}

/// The customer disputes a part of what Antom took.
fn opened(payhook: &TestPayhook, payment: &PaymentId, name: &str) -> DisputeId {
    let dispute = DisputeId::new(name).unwrap();
    payhook.simulator.antom().dispute(payment, &dispute, 4_000).unwrap();
    dispute
}

async fn a_dispute_of_antoms_is_open_then_pending_then_judged_for_us(payhook: &TestPayhook) {
    let payment = paid_by_antom(payhook, "D-4").await;
    let dispute = opened(payhook, &payment, "DP-4");
    payhook.antom_notifies(&payment, AntomKind::Dispute).await;
    let open = disputed(payhook, "D-4", "open").await;
    assert_eq!((&open["id"], &open["amount_minor"]), (&"DP-4".into(), &4_000.into()), "{open}");
    assert!(open["answer_by"].is_string(), "by when to answer is shown: {open}");
    payhook.events_are("D-4", &["order.paid", "dispute.opened"]).await;

    payhook.antom_notifies(&payment, AntomKind::DefenseSupplied).await;
    disputed(payhook, "D-4", "pending").await;
    // An alert that comes late does not open it again.
    payhook.antom_notifies(&payment, AntomKind::DefenseDueAlert).await;
    payhook.recorded("D-4", "notification", 4).await;
    disputed(payhook, "D-4", "pending").await;

    payhook.antom_notifies(&payment, AntomKind::DisputeJudged(Judgement::AcceptByCustomer)).await;
    disputed(payhook, "D-4", "won").await;
    both_are_announced(payhook, "D-4", &dispute, "won").await;
}

async fn a_dispute_of_antoms_is_judged_against_us(payhook: &TestPayhook) {
    let payment = paid_by_antom(payhook, "D-5").await;
    let dispute = opened(payhook, &payment, "DP-5");
    payhook.antom_notifies(&payment, AntomKind::Dispute).await;
    disputed(payhook, "D-5", "open").await;
    payhook.antom_notifies(&payment, AntomKind::DisputeJudged(Judgement::AcceptByMerchant)).await;
    disputed(payhook, "D-5", "lost").await;
    both_are_announced(payhook, "D-5", &dispute, "lost").await;
}

async fn a_judgement_before_its_dispute_tells_the_same_two_things(payhook: &TestPayhook) {
    let payment = paid_by_antom(payhook, "D-6").await;
    let dispute = opened(payhook, &payment, "DP-6");
    payhook.antom_notifies(&payment, AntomKind::DisputeJudged(Judgement::AcceptByMerchant)).await;
    disputed(payhook, "D-6", "lost").await;
    payhook.antom_notifies(&payment, AntomKind::Dispute).await;
    payhook.recorded("D-6", "notification", 3).await;
    disputed(payhook, "D-6", "lost").await;
    both_are_announced(payhook, "D-6", &dispute, "lost").await;
}

async fn a_dispute_nobody_documented_the_end_of_is_closed_for_nobody(payhook: &TestPayhook) {
    let payment = paid_by_antom(payhook, "D-7").await;
    let dispute = opened(payhook, &payment, "DP-7");
    payhook.antom_notifies(&payment, AntomKind::DisputeJudged(Judgement::ValidateSuccess)).await;
    disputed(payhook, "D-7", "closed").await;
    both_are_announced(payhook, "D-7", &dispute, "closed").await;
    // Should it be said after all, it is shown, and told: money went.
    payhook.antom_notifies(&payment, AntomKind::DisputeJudged(Judgement::AcceptByMerchant)).await;
    disputed(payhook, "D-7", "lost").await;
    let events = payhook.events_are("D-7", &["order.paid", "dispute.opened", "dispute.closed", "dispute.closed"]).await;
    assert_eq!(events[3]["data"]["reason"], "lost", "{}", events[3]);
}

async fn a_dispute_that_names_antoms_own_id_alone_finds_its_payment(payhook: &TestPayhook) {
    let payment = paid_by_antom(payhook, "D-8").await;
    opened(payhook, &payment, "DP-8");
    let mut notified = payhook.antom_signed(&payment, AntomKind::Dispute);
    let mut body: Value = serde_json::from_slice(&notified.body).unwrap();
    let ours = body.as_object_mut().unwrap().remove("paymentRequestId");
    assert!(ours.is_some() && body["paymentId"].is_string(), "{body}");
    notified.body = body.to_string().into_bytes();
    payhook.delivers(&payhook.known(notified.signed_again())).await;
    disputed(payhook, "D-8", "open").await;
    payhook.events_are("D-8", &["order.paid", "dispute.opened"]).await;
}

async fn a_dispute_of_an_order_not_registered_yet_waits_for_it(payhook: &TestPayhook) {
    let payment = id("PR-D-9");
    payhook.simulator.antom().create(&payment, money("90.00 THB"));
    payhook.antom_decides(&payment, AntomStatus::Success);
    opened(payhook, &payment, "DP-9");
    payhook.antom_notifies(&payment, AntomKind::Dispute).await;
    payhook.outcomes("parked", 1).await;
    payhook.registers("D-9", "90.00 THB", Provider::Antom, &payment).await;
    disputed(payhook, "D-9", "open").await;
    payhook.events_are("D-9", &["order.paid", "dispute.opened"]).await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}

async fn a_dispute_notified_while_antom_is_away_is_not_lost(payhook: &TestPayhook) {
    let payment = paid_by_antom(payhook, "D-10").await;
    opened(payhook, &payment, "DP-10");
    payhook.simulator.faults().set_next(Provider::Antom, Fault::Down { status: 503 }, 2).unwrap();
    payhook.antom_notifies(&payment, AntomKind::Dispute).await;
    // Somebody asks meanwhile, and is answered: that answer knows of no dispute, and must not stand for it.
    payhook.refreshes("D-10").await;
    disputed(payhook, "D-10", "open").await;
    payhook.events_are("D-10", &["order.paid", "dispute.opened"]).await;
}

async fn the_same_dispute_notified_five_times_at_once_is_announced_once(payhook: &TestPayhook) {
    let payment = paid_by_antom(payhook, "D-11").await;
    let dispute = opened(payhook, &payment, "DP-11");
    for kind in [AntomKind::Dispute, AntomKind::DisputeCancelled] {
        let notified = [(); 5].map(|()| payhook.antom_signed(&payment, kind));
        futures_util::future::join_all(notified.iter().map(|request| payhook.delivers(request))).await;
    }
    // Copies that come at once may count as one.
    payhook.recorded("D-11", "notification", 3).await;
    disputed(payhook, "D-11", "won").await;
    both_are_announced(payhook, "D-11", &dispute, "won").await;
}

async fn a_dispute_of_money_that_went_back_in_part_leaves_both_as_they_are(payhook: &TestPayhook) {
    let (charge, omise) = (paid_by_omise(payhook, "D-12").await, payhook.simulator.omise());
    omise.refund(&charge, 2_000).unwrap();
    payhook.omise_notifies(&charge, "refund.create").await;
    payhook.becomes("D-12", "partly_refunded").await;
    omise.dispute(&charge).unwrap();
    payhook.omise_notifies(&charge, "dispute.create").await;
    payhook.events_are("D-12", &["order.paid", "order.refunded", "dispute.opened"]).await;
    let order = payhook.order("D-12").await.unwrap();
    assert_eq!((&order["state"], &order["refunded_minor"]), (&"partly_refunded".into(), &2_000.into()), "{order}");
    assert_eq!(order["disputes"][0]["amount_minor"], 7_000, "what is left is disputed: {order}");
}
