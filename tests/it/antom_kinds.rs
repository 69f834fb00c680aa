//! Everything else Antom sends: captures, subscriptions, kinds nobody documented. Each is acknowledged, none is lost.

use payhook_schema::{PaymentId, Provider, RefundId};
use payhook_simulator::{AntomKind, AntomOutcome, AntomStatus, sample};
use serde_json::{Value, json};

use crate::harness::{TestPayhook, id, journeys, money, types_of};

journeys! { Plan::usual();
    a_payment_captured_by_hand_is_authorized_then_paid,
    a_capture_that_failed_pays_nothing,
    a_capture_of_less_than_was_registered_holds_the_order_and_shows_both_sides,
    a_capture_of_a_payment_not_known_yet_waits_for_it,
    a_subscriptions_payment_settles_like_any_other,
    every_kind_is_acknowledged_and_shown_where_it_names_an_order,
}

/// The customer agreed; the merchant captures all of it by hand, and Antom has not said yet whether that worked.
async fn authorized(payhook: &TestPayhook, order: &str) -> PaymentId {
    let payment = payhook.antom_order(order, "90.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.simulator.antom().capture(&payment, 9_000).unwrap();
    payhook.antom_notifies(&payment, AntomKind::State).await;
    let seen = payhook.becomes(order, "authorized").await;
    assert_eq!(seen["captured_minor"], 0, "{seen}");
    payment
}

fn captured(payhook: &TestPayhook, payment: &PaymentId, outcome: AntomOutcome) {
    payhook.simulator.antom().decide_capture(payment, outcome).unwrap();
}

async fn a_payment_captured_by_hand_is_authorized_then_paid(payhook: &TestPayhook) {
    let payment = authorized(payhook, "K-1").await;
    captured(payhook, &payment, AntomOutcome::Success);
    let notified = payhook.antom_signed(&payment, AntomKind::Capture);
    let body: Value = serde_json::from_slice(&notified.body).unwrap();
    assert!(body.get("paymentRequestId").is_none() && body["captureId"].is_string(), "Antom's name alone: {body}");
    payhook.delivers(&notified).await;
    let order = payhook.becomes("K-1", "paid").await;
    assert_eq!(order["captured_minor"], 9_000, "{order}");
    payhook.events_are("K-1", &["order.authorized", "order.paid"]).await;
    let timeline = payhook.recorded("K-1", "notification", 2).await;
    assert!(timeline.iter().any(|entry| entry["text"].as_str().unwrap().contains("CAPTURE_RESULT")), "{timeline:#?}");
}

async fn a_capture_that_failed_pays_nothing(payhook: &TestPayhook) {
    let payment = authorized(payhook, "K-2").await;
    captured(payhook, &payment, AntomOutcome::Fail("PROCESS_FAIL".to_owned()));
    payhook.antom_notifies(&payment, AntomKind::CaptureFailed).await;
    payhook.recorded("K-2", "notification", 2).await;
    payhook.recorded("K-2", "inquiry", 2).await;
    let order = payhook.order("K-2").await.unwrap();
    assert_eq!((&order["state"], &order["captured_minor"]), (&"authorized".into(), &0.into()), "{order}");
    payhook.events_are("K-2", &["order.authorized"]).await;
}

async fn a_capture_of_less_than_was_registered_holds_the_order_and_shows_both_sides(payhook: &TestPayhook) {
    let (payment, antom) = (payhook.antom_order("K-6", "90.00 THB").await, payhook.simulator.antom());
    payhook.antom_decides(&payment, AntomStatus::Success);
    antom.capture(&payment, 4_000).unwrap();
    captured(payhook, &payment, AntomOutcome::Success);
    payhook.refreshes("K-6").await;
    let order = payhook.becomes("K-6", "held").await;
    payhook.antom_notifies(&payment, AntomKind::Capture).await;
    payhook.recorded("K-6", "notification", 1).await;
    assert_eq!((&order["hold"]["reason"], &order["captured_minor"]), (&"amount_mismatch".into(), &4_000.into()));
    let detail = order["hold"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("90.00 THB") && detail.contains("40.00 THB"), "{detail}");
    payhook.events_are("K-6", &["order.held"]).await;
}

async fn a_capture_of_a_payment_not_known_yet_waits_for_it(payhook: &TestPayhook) {
    let (payment, antom) = (id("PR-K-3"), payhook.simulator.antom());
    antom.create(&payment, money("90.00 THB"));
    payhook.antom_decides(&payment, AntomStatus::Success);
    antom.capture(&payment, 9_000).unwrap();
    captured(payhook, &payment, AntomOutcome::Success);
    payhook.antom_notifies(&payment, AntomKind::Capture).await;
    payhook.outcomes("parked", 1).await;
    payhook.registers("K-3", "90.00 THB", Provider::Antom, &payment).await;
    payhook.refreshes("K-3").await;
    payhook.becomes("K-3", "paid").await;
    payhook.events_are("K-3", &["order.paid"]).await;
    let timeline = payhook.recorded("K-3", "notification", 1).await;
    assert!(timeline.iter().any(|entry| entry["text"].as_str().unwrap().contains("CAPTURE_RESULT")), "{timeline:#?}");
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}

async fn a_subscriptions_payment_settles_like_any_other(payhook: &TestPayhook) {
    let payment = payhook.antom_order("K-4", "90.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let notified = payhook.antom_signed(&payment, AntomKind::SubscriptionPayment);
    let body: Value = serde_json::from_slice(&notified.body).unwrap();
    assert!(body["subscriptionId"].is_string(), "{body}");
    payhook.delivers(&notified).await;
    payhook.becomes("K-4", "paid").await;
    payhook.events_are("K-4", &["order.paid"]).await;
}

/// Returns true if notifications of this kind name neither a payment nor an authorization of ours.
fn is_nobodys(kind: AntomKind) -> bool {
    matches!(kind, AntomKind::Subscription(_) | AntomKind::Vaulting | AntomKind::Unknown)
}

async fn every_kind_is_acknowledged_and_shown_where_it_names_an_order(payhook: &TestPayhook) {
    // Captured by hand, some of it given back, disputed: there is something to tell of for every kind.
    let payment = authorized(payhook, "K-5").await;
    captured(payhook, &payment, AntomOutcome::Success);
    payhook.antom_notifies(&payment, AntomKind::Capture).await;
    payhook.becomes("K-5", "paid").await;
    let (refund, antom) = (RefundId::new("RF-K-5").unwrap(), payhook.simulator.antom());
    antom.refund(&payment, &refund, 1_000).unwrap();
    antom.decide_refund(&refund, AntomOutcome::Success).unwrap();

    // An authorization's wait for it to be registered: authorizations.rs has theirs.
    let kinds = || sample::antom_kinds().filter(|kind| kind.call() != "notifyAuthorization");
    for kind in kinds() {
        let reply = payhook.antom_signed(&payment, kind).send().await.unwrap();
        let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        let success = json!({ "resultCode": "SUCCESS", "resultStatus": "S", "resultMessage": "success" });
        assert_eq!((reply.status, &answer["result"]), (200, &success), "{kind}: {}", reply.body);
    }
    let (nobodys, ours): (Vec<_>, Vec<_>) = kinds().partition(|kind| is_nobodys(*kind));
    payhook.outcomes("kept", nobodys.len() as u64).await;
    let timeline = payhook.recorded("K-5", "notification", 2 + ours.len()).await;
    let shown: Vec<&str> = timeline.iter().filter_map(|entry| entry["text"].as_str()).collect();
    for word in [
        "PAYMENT_RESULT",
        "PAYMENT_PENDING",
        "UPDATE_AMOUNT_RESULT",
        "CAPTURE_RESULT",
        "REFUND_RESULT",
        "DISPUTE_CREATED",
        "DEFENSE_DUE_ALERT",
        "DEFENSE_SUPPLIED",
        "DISPUTE_JUDGED",
        "DISPUTE_ACCEPTED",
        "DISPUTE_CANCELLED",
        "RDR_RESOLVED",
    ] {
        assert!(shown.iter().any(|text| text.contains(word)), "{word} is not in {shown:#?}");
    }

    // Whatever they said: what Antom answers is what counts.
    let order = payhook.becomes("K-5", "partly_refunded").await;
    assert_eq!((&order["captured_minor"], &order["refunded_minor"]), (&9_000.into(), &1_000.into()), "{order}");
    payhook
        .until("every event is in the feed", async || {
            let events = payhook.events("K-5").await?;
            let mut types = types_of(&events);
            // Which came first is anybody's guess, and a dispute that was closed for nobody first is told again for
            // whom.
            types.sort_unstable();
            types.dedup();
            let all = ["dispute.closed", "dispute.opened", "order.authorized", "order.paid", "order.refunded"];
            if types == all { Ok(()) } else { Err(format!("{types:?}")) }
        })
        .await;
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
    for waiting in ["parked", "unanswered"] {
        assert_eq!(payhook.counted(waiting).await, 0, "one of them is {waiting}");
    }
}
