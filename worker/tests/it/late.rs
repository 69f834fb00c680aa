//! A payment that is final is asked about again, ever more rarely, and keeps nobody waiting.

use std::time::Duration;

use jiff::SignedDuration;
use payhook_queue::Queue;
use payhook_schema::{Because, Envelope, Order, OrderId, OrderState, Payment, PaymentState, Provider, RefundId};
use payhook_simulator::{AntomOutcome, AntomStatus, Fault};
use payhook_store::{Change, Settled, Settlement, traits::*};

use crate::test_worker::{SOON, THREE_ROUNDS, TestWorker, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_nobody_notified_of_is_found_by_the_next_late_check() {
    let worker = TestWorker::start().await;
    worker.registers("A-1", AntomStatus::Success).await;
    let hint = Envelope::ask(key("A-1"), Because::Registered, worker.now());
    worker.queue.publish(&hint).await.unwrap();
    let paid = worker.until("A-1", "the payment", |order, _| order.state == OrderState::Paid).await;
    let began = paid.final_at.unwrap();
    assert_eq!(paid.next_check_at, Some(began + SignedDuration::from_hours(25)));

    let refund = RefundId::new("RF-1").unwrap();
    worker.simulator.antom().refund(&key("A-1").id, &refund, 4_000).unwrap();
    worker.simulator.antom().decide_refund(&refund, AntomOutcome::Success).unwrap();
    worker.becomes(began + SignedDuration::from_hours(24));
    tokio::time::sleep(THREE_ROUNDS).await;
    assert_eq!(worker.asked("A-1"), 1, "nobody asks before it is time");

    let hours = [25, 7 * 24, 30 * 24, 90 * 24, 180 * 24];
    for (index, after) in hours.into_iter().enumerate() {
        worker.becomes(began + SignedDuration::from_hours(after));
        let next = hours.get(index + 1).map(|after| began + SignedDuration::from_hours(*after));
        let payment = worker.until("A-1", "the late check", |_, payment| payment.next_check_at == next).await;
        assert_eq!((payment.state, payment.refunded_minor), (PaymentState::PartlyRefunded, 4_000));
        assert_eq!(payment.final_at, Some(began), "a refund begins nothing anew");
    }
    worker.becomes(began + SignedDuration::from_hours(366 * 24));
    tokio::time::sleep(THREE_ROUNDS).await;
    let payments = worker.simulator.journal().calls(Provider::Antom);
    let inquiries = payments.iter().filter(|call| call.what == "inquiryPayment").count();
    assert_eq!(inquiries, 1 + hours.len(), "once for each, and never again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_checks_that_are_due_at_once_keep_live_work_waiting_for_nothing() {
    const LATE: usize = 120;
    let worker = TestWorker::start().await;
    let mut paid = Vec::new();
    for n in 0..LATE {
        let order = worker.registers(&format!("L-{n}"), AntomStatus::Success).await;
        let payment = Payment {
            state: PaymentState::Paid,
            captured_minor: 12_000,
            asked_at: Some(worker.now()),
            final_at: Some(worker.now()),
            next_check_at: Some(worker.now() + SignedDuration::from_hours(25)),
            ..order.payments[0].clone()
        };
        let order = Order { state: OrderState::Paid, captured_minor: 12_000, ..order };
        let change = Some(Change { order, payment, events: Vec::new() });
        paid.push(Settlement { change, ..Settlement::default() });
    }
    assert!(worker.store.settle(&paid).await.unwrap().iter().all(|settled| *settled == Settled::Written));
    worker.becomes(worker.now() + SignedDuration::from_hours(25));
    worker.registers("B-1", AntomStatus::Success).await;
    worker.becomes(worker.now() + SignedDuration::from_mins(1));

    worker.until("B-1", "the live check", |order, _| order.state == OrderState::Paid).await;
    let asked = || (0..LATE).filter(|n| worker.asked(&format!("L-{n}")) > 0).count();
    let before = asked();
    assert!(before <= 40, "{before} of {LATE} late checks came first");
    tokio::time::sleep(THREE_ROUNDS).await;
    let meanwhile = asked() - before;
    assert!((10..=60).contains(&meanwhile), "{meanwhile} late checks in four seconds: ten a round");
    assert!((0..LATE).all(|n| worker.asked(&format!("L-{n}")) <= 1), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_no_longer_when_the_clock_goes_back_by_an_hour() {
    let worker = TestWorker::start().await;
    worker.registers("A-1", AntomStatus::Success).await;
    worker.simulator.faults().set(Provider::Antom, Fault::Down { status: 503 }).unwrap();
    let is_paused = || async {
        let timeline = worker.store.order_timeline(&OrderId::new("A-1").unwrap()).await.unwrap();
        timeline.iter().any(|entry| entry.text.starts_with("not asked"))
    };
    let began = tokio::time::Instant::now();
    while !is_paused().await {
        assert!(began.elapsed() < SOON, "five failures pause the account");
        let hint = Envelope::ask(key("A-1"), Because::Registered, worker.now());
        worker.queue.publish(&hint).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.becomes(worker.now() - SignedDuration::from_hours(1));
    worker.simulator.faults().clear(Provider::Antom);
    worker
        .until("A-1", "the payment", |order, _| {
            // Far from an hour in all.
            worker.becomes(worker.now() + SignedDuration::from_millis(100));
            order.state == OrderState::Paid
        })
        .await;
}
