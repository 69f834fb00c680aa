//! The limits of a provider, shared by all workers.

use std::time::{Duration, Instant};

use payhook_schema::Provider;
use payhook_simulator::{AntomKind, AntomStatus, Fault};

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

mod shared {
    use super::*;

    journeys! { Plan::usual().omise("parallel = 2").workers(6);
        however_many_workers_there_are_no_more_is_asked_at_once_than_configured,
    }
}

mod paced {
    use super::*;

    journeys! { Plan::usual().omise("requests_per_s = 2").workers(6);
        however_many_workers_there_are_no_more_is_asked_in_a_second_than_configured,
    }
}

/// Orders that Omise's customers have paid, all notified at once.
async fn paid_at_once(payhook: &TestPayhook, prefix: &str, count: usize) {
    let mut events = Vec::new();
    for n in 0..count {
        let charge = payhook.omise_order(&format!("{prefix}-{n}"), "10.00 THB").await;
        payhook.simulator.omise().pay(&charge).unwrap();
        events.push(payhook.omise_signed(&charge, "charge.complete"));
    }
    futures_util::future::join_all(events.iter().map(|event| payhook.delivers(event))).await;
}

async fn all_become_paid(payhook: &TestPayhook, prefix: &str, count: usize) {
    for n in 0..count {
        payhook.becomes(&format!("{prefix}-{n}"), "paid").await;
    }
    assert_eq!(payhook.dead_letters().await, Ok(vec![]));
}

async fn however_many_workers_there_are_no_more_is_asked_at_once_than_configured(payhook: &TestPayhook) {
    const COUNT: usize = 40;
    payhook.simulator.faults().set(Provider::Omise, Fault::Slow { by: Duration::from_millis(200) }).unwrap();
    paid_at_once(payhook, "L", COUNT).await;
    if payhook.is_cluster() {
        // One that dies keeps its share for a while, and one that comes has none at first.
        payhook.kill9("worker-3");
        payhook.restart("worker-3").await;
        payhook.stop("worker-4");
        payhook.restart("worker-4").await;
    }
    all_become_paid(payhook, "L", COUNT).await;
    // All six at once again, with whoever had no share so far.
    paid_at_once(payhook, "LL", COUNT).await;
    all_become_paid(payhook, "LL", COUNT).await;
    let most = payhook.simulator.journal().in_flight_max(Provider::Omise);
    assert!((1..=2).contains(&most), "{most} questions at once of 2");
    // Whoever has nothing to ask of a limited account is free for the others.
    let payment = payhook.antom_order("L-antom", "10.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("L-antom", "paid").await;
}

async fn however_many_workers_there_are_no_more_is_asked_in_a_second_than_configured(payhook: &TestPayhook) {
    const COUNT: usize = 30;
    paid_at_once(payhook, "S", COUNT).await;
    all_become_paid(payhook, "S", COUNT).await;
    let calls = payhook.simulator.journal().calls(Provider::Omise);
    // Over five seconds, and two more: the way to the provider is not always as long.
    let within = |from: usize| {
        let until = calls[from].at + Duration::from_secs(5);
        calls[from..].iter().filter(|call| call.at < until).count()
    };
    let most = (0..calls.len()).map(within).max().unwrap_or(0);
    assert!((1..=12).contains(&most), "{most} questions in five seconds of 2 a second");
}

async fn a_burst_is_asked_about_at_the_accounts_rate_by_all_workers_together(payhook: &TestPayhook) {
    const COUNT: usize = 60;
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
    // Sixty at ten a second.
    assert!(begun.elapsed() >= Duration::from_secs(5), "asked faster than allowed: {:?}", begun.elapsed());
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
