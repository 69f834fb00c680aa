//! Tamarind's signature and its two tables, row by row, with its fixtures.

use http::HeaderMap;
use payhook_schema::{AccountName, Notification, Verified};
use uuid::Uuid;

use super::*;
use crate::{Account, AgeLimit, Limits, Received, verify};

const PAID: &[u8] = include_bytes!("../../fixtures/tamarind/notify_paid.json");
const TIME: &str = "1764331200";

fn received(secret: &str, body: &[u8], change: impl FnOnce(&mut HeaderMap)) -> Result<Notification, Refusal> {
    let account = Account::Tamarind(TamarindAccount {
        name: AccountName::new("shop").unwrap(),
        api: String::new(),
        secret: "a secret".to_owned().into(),
        token: None,
        signature_age_max: AgeLimit::Off,
        limits: Limits { parallel: 1, requests_per_s: None },
    });
    let mut headers = HeaderMap::new();
    headers.insert("tamarind-signature", sign(secret, TIME, PAID).parse().unwrap());
    headers.insert("tamarind-time", TIME.parse().unwrap());
    change(&mut headers);
    let at = Timestamp::UNIX_EPOCH;
    let received = Received { path: "/", query: None, headers: &headers, body, at, id: Uuid::nil() };
    verify(&account, &received).map(Verified::into_inner)
}

#[test]
fn a_genuine_notification_names_its_payment_and_a_changed_one_is_refused() {
    let notification = received("a secret", PAID, |_| ()).unwrap();
    assert_eq!((notification.kind.as_str(), notification.idempotency_key.as_str()), ("payment.paid", "evt-1"));
    assert_eq!(notification.about, About::Payment(PaymentId::new("TM-2026-0001").unwrap()));
    assert!(matches!(received("another", PAID, |_| ()), Err(Refusal::NotGenuine(_))));
    assert!(matches!(received("a secret", b"{}", |_| ()), Err(Refusal::NotGenuine(_))));
    for header in ["tamarind-signature", "tamarind-time"] {
        let without = received("a secret", PAID, |headers| drop(headers.remove(header)));
        assert!(matches!(without, Err(Refusal::NotGenuine(_))), "{header}");
    }
    let later =
        received("a secret", PAID, |headers| drop(headers.insert("tamarind-time", "1764331201".parse().unwrap())));
    assert!(matches!(later, Err(Refusal::NotGenuine(_))));
    let garbled =
        received("a secret", PAID, |headers| drop(headers.insert("tamarind-signature", "00".parse().unwrap())));
    assert!(matches!(garbled, Err(Refusal::Malformed(_))));
}

#[test]
fn the_table_of_statuses_is_read_row_by_row() {
    let body = include_str!("../../fixtures/tamarind/payment_paid.json");
    let read = |status: &str| {
        let body = body.replace("\"paid\"", &format!("\"{status}\""));
        read_payment(body.as_bytes(), &PaymentId::new("TM-2026-0001").unwrap(), Timestamp::UNIX_EPOCH)
    };
    for (status, state, captured) in [
        ("open", PaymentState::Awaiting, 0),
        ("paid", PaymentState::Paid, 12_000),
        ("declined", PaymentState::Failed, 0),
    ] {
        let facts = read(status).unwrap();
        assert_eq!((facts.state, facts.captured_minor), (state, captured), "{status}");
    }
    assert!(matches!(read("lost"), Err(AskError::OutsideTables { .. })));
    let other = read_payment(body.as_bytes(), &PaymentId::new("TM-2").unwrap(), Timestamp::UNIX_EPOCH);
    assert!(matches!(other, Err(AskError::Unavailable { .. })));
}
