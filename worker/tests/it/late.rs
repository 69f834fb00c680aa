//! A payment that is final is asked about again, ever more rarely, and keeps nobody waiting.

use std::time::Duration;

use jiff::SignedDuration;
use payhook_queue::Queue;
use payhook_schema::{Because, Envelope, Order, OrderId, OrderState, Payment, PaymentState, Provider, RefundId};
use payhook_simulator::{AntomOutcome, AntomStatus, Fault};
use payhook_store::{Change, Settled, Settlement, traits::*};

use crate::house::{House, SOON, THREE_ROUNDS, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_nobody_notified_of_is_found_by_the_next_late_check() {
    let house = House::start().await;
    house.registers("A-1", AntomStatus::Success).await;
    let hint = Envelope::ask(key("A-1"), Because::Registered, house.now());
    house.queue.publish(&hint).await.unwrap();
    let paid = house.until("A-1", "the payment", |order, _| order.state == OrderState::Paid).await;
    let began = paid.final_at.unwrap();
    assert_eq!(paid.next_check_at, Some(began + SignedDuration::from_hours(25)));

    let refund = RefundId::new("RF-1").unwrap();
    house.simulator.antom().refund(&key("A-1").id, &refund, 4_000).unwrap();
    house.simulator.antom().decide_refund(&refund, AntomOutcome::Success).unwrap();
    house.becomes(began + SignedDuration::from_hours(24));
    tokio::time::sleep(THREE_ROUNDS).await;
    assert_eq!(house.asked("A-1"), 1, "nobody asks before it is time");

    let hours = [25, 7 * 24, 30 * 24, 90 * 24, 180 * 24];
    for (index, after) in hours.into_iter().enumerate() {
        house.becomes(began + SignedDuration::from_hours(after));
        let next = hours.get(index + 1).map(|after| began + SignedDuration::from_hours(*after));
        let payment = house.until("A-1", "the late check", |_, payment| payment.next_check_at == next).await;
        assert_eq!((payment.state, payment.refunded_minor), (PaymentState::PartlyRefunded, 4_000));
        assert_eq!(payment.final_at, Some(began), "a refund begins nothing anew");
    }
    house.becomes(began + SignedDuration::from_hours(366 * 24));
    tokio::time::sleep(THREE_ROUNDS).await;
    let payments = house.simulator.journal().calls(Provider::Antom);
    let inquiries = payments.iter().filter(|call| call.what == "inquiryPayment").count();
    assert_eq!(inquiries, 1 + hours.len(), "once for each, and never again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_checks_that_are_due_at_once_keep_live_work_waiting_for_nothing() {
    const LATE: usize = 120;
    let house = House::start().await;
    let mut paid = Vec::new();
    for n in 0..LATE {
        let order = house.registers(&format!("L-{n}"), AntomStatus::Success).await;
        let payment = Payment {
            state: PaymentState::Paid,
            captured_minor: 12_000,
            asked_at: Some(house.now()),
            final_at: Some(house.now()),
            next_check_at: Some(house.now() + SignedDuration::from_hours(25)),
            ..order.payments[0].clone()
        };
        let order = Order { state: OrderState::Paid, captured_minor: 12_000, ..order };
        let change = Some(Change { order, payment, events: Vec::new() });
        paid.push(Settlement { change, ..Settlement::default() });
    }
    assert!(house.store.settle(&paid).await.unwrap().iter().all(|settled| *settled == Settled::Written));
    house.becomes(house.now() + SignedDuration::from_hours(25));
    house.registers("B-1", AntomStatus::Success).await;
    house.becomes(house.now() + SignedDuration::from_mins(1));

    house.until("B-1", "the live check", |order, _| order.state == OrderState::Paid).await;
    let asked = || (0..LATE).filter(|n| house.asked(&format!("L-{n}")) > 0).count();
    let before = asked();
    assert!(before <= 40, "{before} of {LATE} late checks came first");
    tokio::time::sleep(THREE_ROUNDS).await;
    let meanwhile = asked() - before;
    assert!((10..=60).contains(&meanwhile), "{meanwhile} late checks in four seconds: ten a round");
    assert!((0..LATE).all(|n| house.asked(&format!("L-{n}")) <= 1), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_no_longer_when_the_clock_goes_back_by_an_hour() {
    let house = House::start().await;
    house.registers("A-1", AntomStatus::Success).await;
    house.simulator.faults().set(Provider::Antom, Fault::Down { status: 503 }).unwrap();
    let is_paused = || async {
        let timeline = house.store.order_timeline(&OrderId::new("A-1").unwrap()).await.unwrap();
        timeline.iter().any(|entry| entry.text.starts_with("not asked"))
    };
    let began = tokio::time::Instant::now();
    while !is_paused().await {
        assert!(began.elapsed() < SOON, "five failures pause the account");
        let hint = Envelope::ask(key("A-1"), Because::Registered, house.now());
        house.queue.publish(&hint).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.becomes(house.now() - SignedDuration::from_hours(1));
    house.simulator.faults().clear(Provider::Antom);
    house
        .until("A-1", "the payment", |order, _| {
            // Far from an hour in all.
            house.becomes(house.now() + SignedDuration::from_millis(100));
            order.state == OrderState::Paid
        })
        .await;
}
