//! Omise's charges through their whole life: final at once, held, captured in part, expired, revived, given back.

use payhook_schema::{PaymentId, Provider};
use payhook_simulator::{OmiseStatus, OmiseVersion, SignedRequest};
use serde_json::{Value, json};

use crate::harness::{OddOmise, TestPayhook, journeys, money};

journeys! { Plan::usual();
    a_charge_that_is_final_at_creation_needs_no_second_event,
    a_hold_captured_whole_pays_and_one_released_pays_nothing,
    a_capture_of_less_than_was_registered_holds_the_order_and_shows_both_sides,
    a_charge_nobody_paid_in_time_expires_and_leaves_room_for_another,
    a_charge_revived_by_omises_operations_pays_the_order_and_says_so,
    an_update_of_a_charge_asks_again_and_changes_nothing,
    refunds_have_an_id_a_state_and_an_amount_each,
    a_refund_that_is_only_begun_moves_no_money_until_it_is_given_back,
    a_void_is_shown_as_one,
    an_event_in_each_of_omises_versions_settles_its_charge,
    test_and_live_never_mix,
    an_answer_outside_the_tables_is_dead_lettered_at_once_and_moves_nothing,
}

/// An order whose charge the customer has paid.
async fn paid(payhook: &TestPayhook, order: &str, amount: &str) -> PaymentId {
    let charge = payhook.omise_order(order, amount).await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.becomes(order, "paid").await;
    charge
}

/// An order whose money is held until somebody captures it.
async fn authorized(payhook: &TestPayhook, order: &str, amount: &str) -> PaymentId {
    let charge = payhook.omise_order(order, amount).await;
    payhook.simulator.omise().authorize(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.becomes(order, "authorized").await;
    charge
}

async fn a_charge_that_is_final_at_creation_needs_no_second_event(payhook: &TestPayhook) {
    let omise = payhook.simulator.omise();
    let declined = OmiseStatus::Failed("stolen_or_lost_card".to_owned());
    for (order, status) in [("H-1", OmiseStatus::Successful), ("H-2", declined)] {
        let charge = omise.new_charge_id();
        omise.create_decided(&charge, money("75.00 THB"), status);
        payhook.registers(order, "75.00 THB", Provider::Omise, &charge).await;
        payhook.omise_notifies(&charge, "charge.create").await;
    }
    payhook.becomes("H-1", "paid").await;
    payhook.events_are("H-1", &["order.paid"]).await;
    let events = payhook.events_are("H-2", &["payment.failed"]).await;
    assert_eq!(events[0]["data"]["reason"], "stolen_or_lost_card");
    let order = payhook.order("H-2").await.unwrap();
    assert_eq!((&order["state"], &order["payments"][0]["state"]), (&"pending".into(), &"failed".into()), "{order}");
}

async fn a_hold_captured_whole_pays_and_one_released_pays_nothing(payhook: &TestPayhook) {
    let omise = payhook.simulator.omise();
    let captured = authorized(payhook, "H-3", "240.00 THB").await;
    let released = authorized(payhook, "H-4", "240.00 THB").await;
    omise.capture(&captured, 24_000).unwrap();
    omise.reverse(&released).unwrap();
    payhook.omise_notifies(&captured, "charge.capture").await;
    payhook.omise_notifies(&released, "charge.reverse").await;
    payhook.events_are("H-3", &["order.authorized", "order.paid"]).await;
    payhook.events_are("H-4", &["order.authorized", "payment.cancelled"]).await;
    let order = payhook.order("H-4").await.unwrap();
    assert_eq!((&order["state"], &order["captured_minor"]), (&"pending".into(), &0.into()), "{order}");
    assert_eq!(order["payments"][0]["state"], "cancelled", "{order}");
}

async fn a_capture_of_less_than_was_registered_holds_the_order_and_shows_both_sides(payhook: &TestPayhook) {
    let charge = authorized(payhook, "H-5", "240.00 THB").await;
    payhook.simulator.omise().capture(&charge, 10_000).unwrap();
    payhook.omise_notifies(&charge, "charge.capture").await;
    let order = payhook.becomes("H-5", "held").await;
    assert_eq!(order["hold"]["reason"], "amount_mismatch", "{order}");
    let detail = order["hold"]["detail"].as_str().unwrap_or_default();
    for side in ["240.00 THB", "100.00 THB", charge.as_str()] {
        assert!(detail.contains(side), "{side} is not in: {detail}");
    }
    assert_eq!(order["captured_minor"], 10_000, "what was taken is not hidden: {order}");
    payhook.events_are("H-5", &["order.authorized", "order.held"]).await;
}

async fn a_charge_nobody_paid_in_time_expires_and_leaves_room_for_another(payhook: &TestPayhook) {
    let late = payhook.omise_order("H-6", "75.00 THB").await;
    payhook.simulator.omise().expire(&late).unwrap();
    payhook.omise_notifies(&late, "charge.expire").await;
    payhook.events_are("H-6", &["payment.expired"]).await;
    let order = payhook.order("H-6").await.unwrap();
    assert_eq!((&order["state"], &order["payments"][0]["state"]), (&"pending".into(), &"expired".into()), "{order}");

    let second = payhook.omise_order("H-6", "75.00 THB").await;
    payhook.simulator.omise().pay(&second).unwrap();
    payhook.omise_notifies(&second, "charge.complete").await;
    payhook.becomes("H-6", "paid").await;
    payhook.events_are("H-6", &["payment.expired", "order.paid"]).await;
}

async fn a_charge_revived_by_omises_operations_pays_the_order_and_says_so(payhook: &TestPayhook) {
    let charge = payhook.omise_order("H-7", "75.00 THB").await;
    payhook.simulator.omise().fail(&charge, "payment_rejected").unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.events_are("H-7", &["payment.failed"]).await;

    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    let order = payhook.becomes("H-7", "paid").await;
    assert_eq!((&order["captured_minor"], &order["payments"][0]["reason"]), (&7_500.into(), &Value::Null), "{order}");
    payhook.events_are("H-7", &["payment.failed", "order.paid"]).await;
    let timeline = payhook.recorded("H-7", "transition", 2).await;
    let revived = |entry: &Value| entry["text"] == "payment failed -> paid, revived";
    assert!(timeline.iter().any(revived), "{timeline:#?}");
    payhook.logged("money came after a final no").await;
}

async fn an_update_of_a_charge_asks_again_and_changes_nothing(payhook: &TestPayhook) {
    let charge = paid(payhook, "H-8", "75.00 THB").await;
    let (asked, before) = (payhook.asked(&charge), payhook.order("H-8").await.unwrap());
    payhook.simulator.omise().update(&charge, "two shirts").unwrap();
    payhook.omise_notifies(&charge, "charge.update").await;
    payhook.recorded("H-8", "inquiry", 2).await;
    assert_eq!(payhook.asked(&charge), asked + 1);
    let after = payhook.order("H-8").await.unwrap();
    for field in ["state", "captured_minor", "refunded_minor", "version"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    payhook.events_are("H-8", &["order.paid"]).await;
}

/// Waits until so much of an order went back.
async fn refunded(payhook: &TestPayhook, order: &str, minor: i64) -> Value {
    payhook
        .until(&format!("{minor} of {order} went back"), async || {
            let seen = payhook.order(order).await?;
            if seen["refunded_minor"] == minor { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await
}

async fn refunds_have_an_id_a_state_and_an_amount_each(payhook: &TestPayhook) {
    let charge = paid(payhook, "H-9", "90.00 THB").await;
    let mut known = Vec::new();
    for (part, sum, state) in [(2_000, 2_000, "partly_refunded"), (7_000, 9_000, "refunded")] {
        known.push((payhook.simulator.omise().refund(&charge, part).unwrap(), part));
        payhook.omise_notifies(&charge, "refund.create").await;
        let order = refunded(payhook, "H-9", sum).await;
        assert_eq!((&order["state"], &order["captured_minor"]), (&state.into(), &9_000.into()), "{order}");
        let shown: Vec<Value> = order["refunds"].as_array().unwrap().clone();
        assert_eq!(shown.len(), known.len(), "{order}");
        for (refund, (id, part)) in shown.iter().zip(&known) {
            assert_eq!((&refund["id"], &refund["amount_minor"]), (&json!(id), &json!(part)), "{order}");
            assert_eq!((&refund["state"], &refund["voided"]), (&json!("succeeded"), &json!(false)), "{order}");
            assert_eq!((&refund["payment_id"], &refund["currency"]), (&json!(charge), &json!("THB")), "{order}");
        }
    }
    payhook.events_are("H-9", &["order.paid", "order.refunded", "order.refunded"]).await;
}

async fn a_refund_that_is_only_begun_moves_no_money_until_it_is_given_back(payhook: &TestPayhook) {
    let charge = paid(payhook, "H-12", "90.00 THB").await;
    let refund = payhook.simulator.omise().begin_refund(&charge, 4_000).unwrap();
    payhook.omise_notifies(&charge, "refund.create").await;
    let begun = payhook
        .until("the refund is shown", async || {
            let seen = payhook.order("H-12").await?;
            if seen["refunds"][0]["id"] == refund.as_str() { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await;
    assert_eq!((&begun["state"], &begun["refunded_minor"]), (&"paid".into(), &0.into()), "{begun}");
    assert_eq!(begun["refunds"][0]["state"], "pending", "{begun}");
    payhook.events_are("H-12", &["order.paid"]).await;

    // Omise has no event for it: it is asked about until it is over.
    payhook.simulator.omise().settle_refunds(&charge).unwrap();
    payhook.refreshes("H-12").await;
    let order = refunded(payhook, "H-12", 4_000).await;
    assert_eq!((&order["state"], &order["refunds"][0]["state"]), (&"partly_refunded".into(), &"succeeded".into()));
    payhook.events_are("H-12", &["order.paid", "order.refunded"]).await;
}

async fn a_void_is_shown_as_one(payhook: &TestPayhook) {
    let charge = paid(payhook, "H-10", "90.00 THB").await;
    payhook.simulator.omise().refund(&charge, 9_000).unwrap();
    payhook.omise_notifies(&charge, "refund.create").await;
    let order = payhook.becomes("H-10", "refunded").await;
    assert_eq!((&order["refunds"][0]["voided"], &order["refunded_minor"]), (&true.into(), &9_000.into()), "{order}");
    payhook.events_are("H-10", &["order.paid", "order.refunded"]).await;
    let timeline = payhook.timeline("H-10").await.unwrap();
    let void = |entry: &Value| entry["text"].as_str().is_some_and(|text| text.starts_with("void rfnd_test_"));
    assert!(timeline.iter().any(void), "{timeline:#?}");
}

async fn an_event_in_each_of_omises_versions_settles_its_charge(payhook: &TestPayhook) {
    let omise = payhook.simulator.omise();
    for version in OmiseVersion::ALL {
        omise.set_version(version);
        let order = format!("H-in-{version}");
        let charge = paid(payhook, &order, "90.00 THB").await;
        omise.refund(&charge, 1_000).unwrap();
        payhook.omise_notifies(&charge, "refund.create").await;
        payhook.becomes(&order, "partly_refunded").await;
        payhook.events_are(&order, &["order.paid", "order.refunded"]).await;
        let timeline = payhook.recorded(&order, "notification", 2).await;
        assert!(
            timeline.iter().any(|entry| entry["text"].as_str().unwrap().contains("refund.create")),
            "{timeline:#?}"
        );
    }
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}

/// The body changed, then signed by Omise itself.
fn rewritten(request: &SignedRequest, swaps: &[(&str, &str)]) -> SignedRequest {
    let mut body = String::from_utf8(request.body.clone()).unwrap();
    for (from, to) in swaps {
        assert!(body.contains(from), "{from} is not in {body}");
        body = body.replacen(from, to, 1);
    }
    let mut request = request.clone();
    request.body = body.into_bytes();
    request.signed_again()
}

async fn test_and_live_never_mix(payhook: &TestPayhook) {
    let charge = payhook.omise_order("H-11", "90.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    let genuine = payhook.omise_signed(&charge, "charge.complete");
    // At the indent of the event's own field: its charge has one of the same name.
    let (test, live) = ("\n  \"livemode\": false", "\n  \"livemode\": true");
    let (test_id, live_id) = (r#""id": "evnt_test_"#, r#""id": "evnt_"#);
    let (test_charge, live_charge) = (r#""id": "chrg_test_"#, r#""id": "chrg_"#);
    for (what, request, status) in [
        ("an event of live mode", rewritten(&genuine, &[(test, live), (test_id, live_id)]), 401),
        ("a test event that says it is live", rewritten(&genuine, &[(test, live)]), 401),
        ("a live event that says it is a test", rewritten(&genuine, &[(test_id, live_id)]), 401),
        ("a test event of a live charge", rewritten(&genuine, &[(test_charge, live_charge)]), 200),
    ] {
        let reply = payhook.known(request).send().await.unwrap();
        assert_eq!(reply.status, status, "{what}: {}", reply.body);
        if status == 401 {
            assert!(!reply.body.contains("detail"), "{what}: nobody is told why: {}", reply.body);
        }
    }
    // The first thing anybody hears of is the genuine one.
    assert_eq!(payhook.asked(&charge), 0);
    payhook.delivers(&genuine).await;
    payhook.becomes("H-11", "paid").await;
    let timeline = payhook.timeline("H-11").await.unwrap();
    let notified = timeline.iter().filter(|entry| entry["kind"] == "notification").count();
    assert_eq!((notified, payhook.asked(&charge)), (1, 1), "{timeline:#?}");
    let letters = payhook.dead_letters().await.unwrap();
    assert!(
        letters.len() == 1 && letters[0]["cause"] == "poison",
        "the one of mixed modes is for a person: {letters:?}"
    );
}

async fn an_answer_outside_the_tables_is_dead_lettered_at_once_and_moves_nothing(payhook: &TestPayhook) {
    for (order, field, value) in [("H-12", "reversed", json!(true)), ("H-13", "status", json!("meditating"))] {
        let charge = payhook.omise_order(order, "90.00 THB").await;
        payhook.simulator.omise().pay(&charge).unwrap();
        let mut answer = payhook.simulator.omise().charge(&charge).unwrap();
        answer[field] = value;
        let odd = OddOmise::saying(&answer).await;
        asks_omise_at(payhook, odd.url()).await;
        payhook.omise_notifies(&charge, "charge.complete").await;
        let letter = payhook.dies(&charge).await;
        assert_eq!((&letter["cause"], &letter["attempts"]), (&"provider_refused".into(), &1.into()), "{letter}");
        assert_eq!((&letter["order_id"], &letter["state"]), (&order.into(), &"open".into()), "{letter}");
        let seen = payhook.order(order).await.unwrap();
        assert_eq!((&seen["state"], &seen["payments"][0]["state"]), (&"pending".into(), &"awaiting".into()), "{seen}");
        payhook.events_are(order, &[]).await;

        // Omise is itself again, and somebody asks.
        asks_omise_at(payhook, &payhook.simulator.url()).await;
        payhook.refreshes(order).await;
        payhook.becomes(order, "paid").await;
        payhook.events_are(order, &["order.paid"]).await;
    }
}

/// From now on, Omise is asked there.
async fn asks_omise_at(payhook: &TestPayhook, url: &str) {
    payhook
        .rereads_config(|text| {
            let from = text.find("[omise.shop]").expect("the account is there");
            let api = from + text[from..].find("api = ").expect("it says where Omise is");
            let end = api + text[api..].find('\n').expect("a line ends");
            format!("{}api = \"{url}\"{}", &text[..api], &text[end..])
        })
        .await;
}
