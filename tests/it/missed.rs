//! Changes without a notification: found by asking, and by reading the provider's own list of events.

use payhook_simulator::{AntomStatus, OmiseDispute};

use crate::harness::{TestPayhook, journeys};

journeys! { Plan::usual().follow_events("1s");
    twenty_payments_nobody_notified_are_paid,
    a_refund_and_a_dispute_of_what_is_paid_are_found_in_omises_list,
    reading_an_order_that_is_stale_asks_about_it,
}

async fn twenty_payments_nobody_notified_are_paid(payhook: &TestPayhook) {
    for n in 0..10 {
        let payment = payhook.antom_order(&format!("N-a{n}"), "10.00 THB").await;
        // The first look would come in a minute; one now puts the next ones seconds apart.
        payhook.refreshes(&format!("N-a{n}")).await;
        payhook.recorded(&format!("N-a{n}"), "inquiry", 1).await;
        payhook.antom_decides(&payment, AntomStatus::Success);
        let charge = payhook.omise_order(&format!("N-o{n}"), "10.00 THB").await;
        payhook.simulator.omise().pay(&charge).unwrap();
    }
    for n in 0..10 {
        for order in [format!("N-a{n}"), format!("N-o{n}")] {
            payhook.becomes(&order, "paid").await;
            payhook.events_are(&order, &["order.paid"]).await;
            let timeline = payhook.timeline(&order).await.unwrap();
            assert!(!timeline.iter().any(|entry| entry["kind"] == "notification"), "{timeline:#?}");
        }
    }
}

async fn a_refund_and_a_dispute_of_what_is_paid_are_found_in_omises_list(payhook: &TestPayhook) {
    let omise = payhook.simulator.omise();
    let charge = payhook.omise_order("N-1", "100.00 THB").await;
    omise.pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    payhook.becomes("N-1", "paid").await;
    omise.refund(&charge, 4_000).unwrap();
    payhook.becomes("N-1", "partly_refunded").await;
    omise.dispute(&charge).unwrap();
    omise.close_dispute(&charge, OmiseDispute::Won).unwrap();
    payhook.events_are("N-1", &["order.paid", "order.refunded", "dispute.opened", "dispute.closed"]).await;
}

async fn reading_an_order_that_is_stale_asks_about_it(payhook: &TestPayhook) {
    let charge = payhook.omise_order("N-2", "100.00 THB").await;
    // Until Omise's list has nothing new to tell of it.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    payhook.refreshes("N-2").await;
    payhook.recorded("N-2", "inquiry", 1).await;
    let asked = payhook.asked(&charge);
    for _ in 0..20 {
        payhook.order("N-2").await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(payhook.asked(&charge) <= asked + 1, "a fresh answer is not asked for again by every reader");
}
