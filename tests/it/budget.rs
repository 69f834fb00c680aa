//! What a provider allows, shared by all workers.

use std::time::{Duration, Instant};

use payhook_simulator::{AntomKind, AntomStatus};

use crate::harness::{TestPayhook, journeys};

mod burst {
    use super::*;

    journeys! { Plan::usual().omise("requests_per_s = 10\nparallel = 4");
        a_burst_is_asked_about_at_the_accounts_rate_by_all_workers_together,
    }
}

mod crowd {
    use super::*;

    journeys! { Plan::usual().omise("requests_per_s = 4\nparallel = 2").concurrency(8);
        many_hints_of_one_account_keep_nobody_elses_waiting,
    }
}

async fn a_burst_is_asked_about_at_the_accounts_rate_by_all_workers_together(payhook: &TestPayhook) {
    const COUNT: usize = 60;
    // Workers count each other every five seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut events = Vec::new();
    for n in 0..COUNT {
        let charge = payhook.omise_order(&format!("B-{n}"), "10.00 THB").await;
        payhook.simulator.omise().pay(&charge).unwrap();
        events.push(payhook.omise_signed(&charge, "charge.complete"));
    }
    let begun = Instant::now();
    futures_util::future::join_all(events.iter().map(|event| payhook.delivers(event))).await;
    for n in 0..COUNT {
        payhook.becomes(&format!("B-{n}"), "paid").await;
    }
    // Sixty at ten a second, the first ten at once.
    assert!(begun.elapsed() >= Duration::from_secs(4), "asked faster than allowed: {:?}", begun.elapsed());
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}

async fn many_hints_of_one_account_keep_nobody_elses_waiting(payhook: &TestPayhook) {
    const COUNT: usize = 80;
    let mut events = Vec::new();
    for n in 0..COUNT {
        let charge = payhook.omise_order(&format!("M-{n}"), "10.00 THB").await;
        payhook.simulator.omise().pay(&charge).unwrap();
        events.push(payhook.omise_signed(&charge, "charge.complete"));
    }
    let payment = payhook.antom_order("M-antom", "10.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    futures_util::future::join_all(events.iter().map(|event| payhook.delivers(event))).await;
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("M-antom", "paid").await;
    let orders = payhook.orders().await.unwrap();
    let paid = orders.iter().filter(|order| order["state"] == "paid").count();
    // In line behind them, it would have waited for all that a worker does not have in hand.
    assert!(paid < COUNT / 2, "{paid} of {COUNT} were before it");
    for n in 0..COUNT {
        payhook.becomes(&format!("M-{n}"), "paid").await;
    }
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}
