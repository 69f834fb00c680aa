//! An order becomes paid, once.

use payhook_schema::Provider;
use payhook_simulator::{AntomKind, AntomStatus, OmiseStatus, Reply, SignedRequest};

use crate::harness::{TestPayhook, id, journeys, money, shop};

journeys! { Plan::usual();
    an_order_is_paid_by_antom,
    an_order_is_paid_by_omise_when_the_charge_completes,
    a_card_that_is_final_at_once_pays_the_order_when_the_charge_is_created,
    five_notifications_one_after_the_other_pay_the_order_once,
    five_notifications_at_once_pay_the_order_once,
    a_notification_before_its_order_pays_it_once_it_is_registered,
    an_order_nobody_notified_is_paid_by_the_sweep,
    a_refresh_asks_the_provider_and_pays_the_order,
    one_attempt_fails_and_the_next_one_pays,
    a_late_failure_of_one_attempt_leaves_an_order_paid_by_another,
    a_new_attempt_is_added_to_a_registered_order,
    a_waiting_reader_hears_of_the_payment_at_once,
}

async fn an_order_is_paid_by_antom(payhook: &TestPayhook) {
    let payment = payhook.antom_order("A-1", "120.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    let order = payhook.becomes("A-1", "paid").await;
    assert_eq!((&order["captured_minor"], &order["version"]), (&12_000.into(), &1.into()), "{order}");
    assert_eq!(order["payments"][0]["state"], "paid");

    let events = payhook.events_are("A-1", &["order.paid"]).await;
    let (event, data) = (&events[0], &events[0]["data"]);
    assert_eq!((&event["specversion"], &event["subject"]), (&"1.0".into(), &"A-1".into()), "{event}");
    assert_eq!((&data["provider"], &data["account"]), (&"antom".into(), &"shop".into()), "{event}");
    assert_eq!((&data["payment_id"], &data["currency"]), (&payment.as_str().into(), &"THB".into()), "{event}");
    assert_eq!((&data["amount_minor"], &data["captured_minor"]), (&12_000.into(), &12_000.into()), "{event}");

    let timeline = payhook.timeline("A-1").await.unwrap();
    let shown = serde_json::to_string(&timeline).unwrap();
    assert!(!shown.contains(payhook.marker()), "a timeline is shown without bodies: {shown}");
    let kinds: Vec<&str> = timeline.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds.first(), Some(&"registered"), "{timeline:#?}");
    for kind in ["notification", "inquiry", "transition"] {
        assert!(kinds.contains(&kind), "no {kind} in {timeline:#?}");
    }
}

async fn an_order_is_paid_by_omise_when_the_charge_completes(payhook: &TestPayhook) {
    let charge = payhook.omise_order("O-1", "350.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    let order = payhook.becomes("O-1", "paid").await;
    assert_eq!((&order["captured_minor"], &order["version"]), (&35_000.into(), &1.into()), "{order}");
    let events = payhook.events_are("O-1", &["order.paid"]).await;
    assert_eq!(events[0]["data"]["provider"], "omise");
}

async fn a_card_that_is_final_at_once_pays_the_order_when_the_charge_is_created(payhook: &TestPayhook) {
    let charge = payhook.omise_order("O-2", "75.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    let (omise, paid) = (payhook.simulator.omise(), OmiseStatus::Successful);
    let created = omise.signed_saying(&payhook.ingress(), &shop(), &charge, "charge.create", paid).unwrap();
    payhook.delivers(&payhook.marked(created)).await;
    payhook.becomes("O-2", "paid").await;
    payhook.events_are("O-2", &["order.paid"]).await;
}

async fn five_notifications_one_after_the_other_pay_the_order_once(payhook: &TestPayhook) {
    let payment = payhook.antom_order("A-2", "10.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let (first, second) = (
        payhook.antom_signed(&payment, AntomKind::State),
        // The same fact, signed anew, to the other ingress where there is one.
        payhook.antom_signed(&payment, AntomKind::State),
    );
    for _ in 0..3 {
        payhook.delivers(&first).await;
    }
    payhook.becomes("A-2", "paid").await;
    for _ in 0..2 {
        payhook.delivers(&second).await;
    }
    // Copies that two workers archive at the same moment may count as one.
    let counted = if payhook.is_cluster() { 2 } else { 5 };
    payhook.recorded("A-2", "notification", counted).await;
    paid_once(payhook, "A-2").await;
}

async fn five_notifications_at_once_pay_the_order_once(payhook: &TestPayhook) {
    let charge = payhook.omise_order("O-3", "10.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    let notified = [(); 5].map(|()| payhook.omise_signed(&charge, "charge.complete"));
    let replies = futures_util::future::join_all(notified.iter().map(SignedRequest::send)).await;
    let acknowledged = replies.iter().filter(|reply| reply.as_ref().is_ok_and(Reply::acknowledged)).count();
    assert_eq!(acknowledged, 5, "repeats are answered like the first: {replies:?}");
    // Copies that come at once may count as one.
    payhook.recorded("O-3", "notification", 1).await;
    paid_once(payhook, "O-3").await;
}

async fn paid_once(payhook: &TestPayhook, order: &str) {
    let seen = payhook.becomes(order, "paid").await;
    assert_eq!(seen["version"], 1, "{seen}");
    payhook.events_are(order, &["order.paid"]).await;
    let timeline = payhook.timeline(order).await.unwrap();
    let moves =
        timeline.iter().filter(|entry| entry["kind"] == "transition" && entry["text"] == "order pending -> paid");
    assert_eq!(moves.count(), 1, "{timeline:#?}");
}

async fn a_notification_before_its_order_pays_it_once_it_is_registered(payhook: &TestPayhook) {
    let payment = id("PR-early");
    payhook.simulator.antom().create(&payment, money("42.00 THB"));
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.outcomes("parked", 1).await;
    assert_eq!(payhook.asked(&payment), 0, "nobody is asked about what nobody registered");
    payhook.registers("A-3", "42.00 THB", Provider::Antom, &payment).await;
    payhook.becomes("A-3", "paid").await;
    payhook.recorded("A-3", "notification", 1).await;
    payhook.events_are("A-3", &["order.paid"]).await;
}

async fn an_order_nobody_notified_is_paid_by_the_sweep(payhook: &TestPayhook) {
    let payment = payhook.antom_order("A-4", "15.00 THB").await;
    // The first look would come in a minute; one now puts the next ones seconds apart.
    payhook.refreshes("A-4").await;
    payhook.recorded("A-4", "inquiry", 1).await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.becomes("A-4", "paid").await;
    payhook.events_are("A-4", &["order.paid"]).await;
    let timeline = payhook.timeline("A-4").await.unwrap();
    assert!(!timeline.iter().any(|entry| entry["kind"] == "notification"), "{timeline:#?}");
}

async fn a_refresh_asks_the_provider_and_pays_the_order(payhook: &TestPayhook) {
    let charge = payhook.omise_order("O-4", "20.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.refreshes("O-4").await;
    payhook.becomes("O-4", "paid").await;
    payhook.events_are("O-4", &["order.paid"]).await;
}

async fn one_attempt_fails_and_the_next_one_pays(payhook: &TestPayhook) {
    let (first, second) = (id("PR-try-1"), payhook.simulator.omise().new_charge_id());
    payhook.simulator.antom().create(&first, money("60.00 THB"));
    payhook.simulator.omise().create(&second, money("60.00 THB"));
    let attempts = [(Provider::Antom, &first), (Provider::Omise, &second)];
    payhook.registers_all("A-5", "60.00 THB", &attempts).await;

    payhook.antom_decides(&first, AntomStatus::Fail("RISK_REJECT".to_owned()));
    payhook.antom_notifies(&first, AntomKind::State).await;
    payhook.events_are("A-5", &["payment.failed"]).await;
    assert_eq!(payhook.order("A-5").await.unwrap()["state"], "pending");

    payhook.simulator.omise().pay(&second).unwrap();
    payhook.omise_notifies(&second, "charge.complete").await;
    payhook.becomes("A-5", "paid").await;
    payhook.events_are("A-5", &["payment.failed", "order.paid"]).await;
}

async fn a_late_failure_of_one_attempt_leaves_an_order_paid_by_another(payhook: &TestPayhook) {
    let (late, paying) = (payhook.simulator.omise().new_charge_id(), id("PR-paying"));
    payhook.simulator.omise().create(&late, money("60.00 THB"));
    payhook.simulator.antom().create(&paying, money("60.00 THB"));
    payhook.registers_all("A-6", "60.00 THB", &[(Provider::Omise, &late), (Provider::Antom, &paying)]).await;
    payhook.antom_decides(&paying, AntomStatus::Success);
    payhook.antom_notifies(&paying, AntomKind::State).await;
    payhook.becomes("A-6", "paid").await;

    payhook.simulator.omise().fail(&late, "payment_expired").unwrap();
    payhook.omise_notifies(&late, "charge.complete").await;
    payhook.events_are("A-6", &["order.paid", "payment.failed"]).await;
    assert_eq!(payhook.order("A-6").await.unwrap()["state"], "paid");
}

async fn a_new_attempt_is_added_to_a_registered_order(payhook: &TestPayhook) {
    payhook.antom_order("A-7", "60.00 THB").await;
    let added = payhook.omise_order("A-7", "60.00 THB").await;
    assert_eq!(payhook.order("A-7").await.unwrap()["payments"].as_array().map(Vec::len), Some(2));
    payhook.simulator.omise().pay(&added).unwrap();
    payhook.omise_notifies(&added, "charge.complete").await;
    payhook.becomes("A-7", "paid").await;
    payhook.events_are("A-7", &["order.paid"]).await;
}

async fn a_waiting_reader_hears_of_the_payment_at_once(payhook: &TestPayhook) {
    let payment = payhook.antom_order("A-8", "60.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    let (waiting, ()) = tokio::join!(
        payhook.call(reqwest::Method::GET, "/v1/orders/A-8?wait=10s&version=0", None),
        payhook.antom_notifies(&payment, AntomKind::State),
    );
    let (status, order) = waiting.unwrap();
    assert_eq!((status.as_u16(), &order["state"]), (200, &"paid".into()), "{order}");
}
