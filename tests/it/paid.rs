//! How an order becomes paid, once.

use payhook_simulator::{AntomKind, AntomStatus};

use crate::harness::{TestPayhook, journeys};

journeys! { Plan::usual();
    an_order_is_paid_by_antom,
    an_order_is_paid_by_omise,
}

async fn an_order_is_paid_by_antom(payhook: &TestPayhook) {
    let payment = payhook.antom_order("A-1", "120.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    let order = payhook.becomes("A-1", "paid").await;
    assert_eq!((&order["captured_minor"], &order["version"]), (&12_000.into(), &1.into()), "{order}");
    payhook.told("A-1", &["order.paid"]).await;
}

async fn an_order_is_paid_by_omise(payhook: &TestPayhook) {
    let charge = payhook.omise_order("O-1", "350.00 THB").await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    let order = payhook.becomes("O-1", "paid").await;
    assert_eq!((&order["captured_minor"], &order["version"]), (&35_000.into(), &1.into()), "{order}");
    payhook.told("O-1", &["order.paid"]).await;
}
