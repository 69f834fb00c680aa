//! The number of questions to the providers: one answer is enough, however many attempts an order has.

use std::time::Duration;

use futures_util::future::join_all;
use payhook_schema::{PaymentId, Provider};
use payhook_simulator::{AntomKind, AntomStatus};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{TestPayhook, id, journeys, money, shop};

/// Attempts to pay one order, and what settling all of them may cost at most: 1.1 questions each.
const ATTEMPTS: usize = 30;
const QUESTIONS_MAX: usize = 33;
/// Longer than the sweep and every worker need to take up what is due.
const QUIET: Duration = Duration::from_secs(4);

journeys! { Plan::usual();
    an_order_of_thirty_failed_attempts_asks_about_each_once,
    an_order_has_a_hundred_payments_and_no_more,
}

async fn an_order_of_thirty_failed_attempts_asks_about_each_once(payhook: &TestPayhook) {
    let payments: Vec<PaymentId> = (0..ATTEMPTS).map(|n| id(&format!("PR-Q-{n}"))).collect();
    for payment in &payments {
        payhook.simulator.antom().create(payment, money("10.00 THB"));
    }
    let attempts: Vec<_> = payments.iter().map(|payment| (Provider::Antom, payment)).collect();
    payhook.registers_all("Q-1", "10.00 THB", &attempts).await;
    let notifications: Vec<_> = payments
        .iter()
        .map(|payment| {
            payhook.antom_decides(payment, AntomStatus::Fail("USER_BALANCE_NOT_ENOUGH".to_owned()));
            payhook.antom_signed(payment, AntomKind::State)
        })
        .collect();
    join_all(notifications.iter().map(|notification| payhook.delivers(notification))).await;
    payhook.events_are("Q-1", &["payment.failed"; ATTEMPTS]).await;
    tokio::time::sleep(QUIET).await;
    let questions = || payments.iter().map(|payment| payhook.asked(payment)).sum::<usize>();
    let to_settle = questions();
    eprintln!("{to_settle} questions to settle {ATTEMPTS} failed attempts");

    let before = payhook.order("Q-1").await.unwrap();
    payhook.refreshes("Q-1").await;
    payhook
        .until("every payment was asked about again", async || {
            let asked = payments.iter().filter(|payment| payhook.asked(payment) > 1).count();
            if asked == ATTEMPTS { Ok(()) } else { Err(format!("{asked} of {ATTEMPTS}")) }
        })
        .await;
    tokio::time::sleep(QUIET).await;
    let to_refresh = questions() - to_settle;
    eprintln!("{to_refresh} questions to refresh {ATTEMPTS} failed attempts");
    let after = payhook.order("Q-1").await.unwrap();
    assert_eq!((&after["version"], &after["updated_at"]), (&before["version"], &before["updated_at"]));
    assert!(to_settle <= QUESTIONS_MAX, "{to_settle} questions to settle");
    assert!(to_refresh <= ATTEMPTS, "{to_refresh} questions to refresh");
}

async fn an_order_has_a_hundred_payments_and_no_more(payhook: &TestPayhook) {
    let body = |from: usize, to: usize| {
        let payments =
            (from..to).map(|n| json!({ "provider": Provider::Antom, "account": shop(), "id": format!("PR-H-{n}") }));
        json!({ "amount_minor": 1_000, "currency": "THB", "payments": payments.collect::<Vec<_>>() })
    };
    let put = async |from, to| payhook.call(Method::PUT, "/v1/orders/H-1", Some(body(from, to))).await.unwrap();
    assert_eq!(put(0, 60).await.0, StatusCode::CREATED);
    assert_eq!(put(40, 100).await.0, StatusCode::OK, "those it has already do not count again");
    let before = payhook.order("H-1").await.unwrap();
    let (status, problem) = put(99, 101).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("at most 100 payments") && detail.contains("has 100"), "{detail}");
    assert_eq!(payhook.order("H-1").await.unwrap()["payments"], before["payments"]);
    assert_eq!(put(0, 100).await.0, StatusCode::OK);
}
