//! A notification is only a hint: what it says is never believed.

use payhook_simulator::{AntomKind, AntomStatus, OmiseStatus};

use crate::harness::{TestPayhook, journeys, shop};

journeys! { Plan::usual();
    a_notification_that_says_paid_pays_nothing_while_antom_says_failed,
    an_event_that_says_paid_pays_nothing_while_omise_says_pending,
    a_pending_payment_whose_result_is_success_is_not_paid_until_antom_says_so,
    a_notification_that_says_failed_fails_nothing_that_is_paid,
    genuine_notifications_of_other_kinds_are_acknowledged_and_kept,
}

async fn a_notification_that_says_paid_pays_nothing_while_antom_says_failed(payhook: &TestPayhook) {
    let payment = payhook.antom_order("B-1", "80.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Fail("USER_BALANCE_NOT_ENOUGH".to_owned()));
    payhook.antom_notifies(&payment, AntomKind::Paid).await;
    let events = payhook.events_are("B-1", &["payment.failed"]).await;
    assert_eq!(events[0]["data"]["reason"], "USER_BALANCE_NOT_ENOUGH");
    let order = payhook.order("B-1").await.unwrap();
    assert_eq!((&order["state"], &order["captured_minor"]), (&"pending".into(), &0.into()), "{order}");
    assert_eq!(order["payments"][0]["state"], "failed");
}

async fn an_event_that_says_paid_pays_nothing_while_omise_says_pending(payhook: &TestPayhook) {
    let charge = payhook.omise_order("B-2", "80.00 THB").await;
    let (omise, paid) = (payhook.simulator.omise(), OmiseStatus::Successful);
    let saying = omise.signed_saying(&payhook.ingress(), &shop(), &charge, "charge.complete", paid).unwrap();
    payhook.delivers(&payhook.marked(saying)).await;
    payhook.recorded("B-2", "inquiry", 1).await;
    let order = payhook.order("B-2").await.unwrap();
    assert_eq!((&order["state"], &order["captured_minor"]), (&"pending".into(), &0.into()), "{order}");
    payhook.events_are("B-2", &[]).await;
}

async fn a_pending_payment_whose_result_is_success_is_not_paid_until_antom_says_so(payhook: &TestPayhook) {
    let payment = payhook.antom_order("B-3", "60.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Pending);
    let pending = payhook.antom_signed(&payment, AntomKind::State);
    let body = String::from_utf8(pending.body.clone()).unwrap();
    assert!(body.contains("PAYMENT_PENDING") && body.contains(r#""resultStatus":"S""#), "{body}");
    payhook.delivers(&pending).await;
    payhook.recorded("B-3", "inquiry", 1).await;
    assert_eq!(payhook.order("B-3").await.unwrap()["state"], "pending");
    payhook.events_are("B-3", &[]).await;

    // No further notification: the sweep asks again within seconds.
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.becomes("B-3", "paid").await;
    payhook.events_are("B-3", &["order.paid"]).await;
    let timeline = payhook.timeline("B-3").await.unwrap();
    let notified = timeline.iter().filter(|entry| entry["kind"] == "notification").count();
    assert_eq!(notified, 1, "{timeline:#?}");
}

async fn a_notification_that_says_failed_fails_nothing_that_is_paid(payhook: &TestPayhook) {
    let payment = payhook.antom_order("B-4", "60.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("B-4", "paid").await;
    payhook.antom_notifies(&payment, AntomKind::Failed).await;
    payhook.recorded("B-4", "inquiry", 2).await;
    assert_eq!(payhook.order("B-4").await.unwrap()["state"], "paid");
    payhook.events_are("B-4", &["order.paid"]).await;
}

async fn genuine_notifications_of_other_kinds_are_acknowledged_and_kept(payhook: &TestPayhook) {
    let payment = payhook.antom_order("B-5", "60.00 THB").await;
    let subscription = AntomKind::ALL.into_iter().filter(|kind| matches!(kind, AntomKind::Subscription(_)));
    let antoms: Vec<AntomKind> = subscription.chain([AntomKind::Vaulting, AntomKind::Unknown]).collect();
    for kind in &antoms {
        payhook.antom_notifies(&payment, *kind).await;
    }
    let omises =
        ["transfer.create", "transfer.pay", "customer.update.card", "link.create", "schedule.suspend", "moon.rise"];
    let omise = payhook.simulator.omise();
    for key in omises {
        let event = omise.happen(key).unwrap();
        let request = omise.signed_event(&payhook.ingress(), &shop(), &event);
        payhook.delivers(&payhook.marked(request.unwrap())).await;
    }
    payhook.outcomes("kept", (antoms.len() + omises.len()) as u64).await;
    assert_eq!((payhook.asked(&payment), payhook.dead_letters().await), (0, Ok(vec![])));
    payhook.events_are("B-5", &[]).await;
    let feed = payhook.feed().await.unwrap();
    assert!(feed.is_empty(), "nobody is told of what is nobody's business: {feed:#?}");
}
