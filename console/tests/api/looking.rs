//! A look at an order has its stale payments asked about, and waits for nothing.

use std::time::Duration;

use jiff::SignedDuration;
use payhook_schema::{NewOrder, OrderId, PaymentState};
use payhook_store::traits::*;

use crate::harness::{TestConsole, now, test_console};
use crate::orders::PATH;

impl TestConsole {
    /// The order of the other tests, registered so long ago.
    async fn registered(&self, ago: SignedDuration) {
        let payment = "shop".parse().unwrap();
        let payment = payhook_schema::PaymentKey {
            provider: payhook_schema::Provider::Antom,
            account: payment,
            id: "PR-1".parse().unwrap(),
        };
        let new = NewOrder {
            id: OrderId::new("O-1").unwrap(),
            amount: "120.00 THB".parse().unwrap(),
            payments: vec![payment],
            refunds: Vec::new(),
        };
        self.store.order_register(&new, now() - ago).await.unwrap();
    }

    async fn is_asked_again(&self, asked: SignedDuration, next: SignedDuration, state: PaymentState) {
        self.learns(|payment| {
            payment.asked_at = Some(now() - asked);
            payment.next_check_at = Some(now() + next);
            payment.state = state;
        })
        .await;
    }

    /// Returns the hints that a look caused; a hint comes a moment after the answer.
    async fn hinted_by_a_look(&self) -> Vec<String> {
        assert_eq!(self.call("GET", PATH).await.0, 200);
        for _ in 0..50 {
            let hints = self.queue.hints();
            if !hints.is_empty() {
                return hints;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Vec::new()
    }
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const SECOND: SignedDuration = SignedDuration::from_secs(1);

#[tokio::test]
async fn a_read_refreshes_a_stale_payment_once_in_a_while() {
    let console = test_console().await;
    console.registered(MINUTE * 10).await;
    console.is_asked_again(MINUTE, MINUTE, PaymentState::Awaiting).await;
    assert_eq!(console.hinted_by_a_look().await, ["ask antom/shop/PR-1 refresh"]);
    let next_check_at = console.order().await.payments[0].next_check_at;
    assert_eq!(next_check_at, Some(now() + MINUTE), "should the hint be lost, its schedule asks");
    // The provider did not answer, and a worker moved the check: looking again does not ask again.
    console.is_asked_again(MINUTE, MINUTE, PaymentState::Awaiting).await;
    assert!(console.hinted_by_a_look().await.is_empty());
}

#[tokio::test]
async fn a_payment_that_was_asked_about_before_the_clock_went_back_is_stale() {
    let console = test_console().await;
    console.registered(MINUTE * 10).await;
    // By a clock that was an hour ahead.
    console.is_asked_again(-MINUTE * 60, MINUTE, PaymentState::Awaiting).await;
    assert_eq!(console.hinted_by_a_look().await, ["ask antom/shop/PR-1 refresh"]);
}

#[tokio::test]
async fn a_payment_that_was_never_asked_about_is_stale_by_its_registration() {
    let console = test_console().await;
    console.registered(SECOND * 30).await;
    console.learns(|payment| payment.next_check_at = Some(now() + MINUTE)).await;
    assert!(console.hinted_by_a_look().await.is_empty(), "its customer may be at the wallet still");
    let console = test_console().await;
    console.registered(SECOND * 31).await;
    console.learns(|payment| payment.next_check_at = Some(now() + MINUTE)).await;
    assert_eq!(console.hinted_by_a_look().await, ["ask antom/shop/PR-1 refresh"]);
}

#[tokio::test]
async fn a_payment_that_is_fresh_or_final_or_due_is_left_alone() {
    for (asked, next, state) in [
        (SECOND * 30, MINUTE, PaymentState::Awaiting),
        (MINUTE, SignedDuration::ZERO, PaymentState::Awaiting),
        (MINUTE, MINUTE, PaymentState::Failed),
    ] {
        let console = test_console().await;
        console.registered(MINUTE * 10).await;
        console.is_asked_again(asked, next, state).await;
        assert!(console.hinted_by_a_look().await.is_empty(), "{asked:?} {next:?} {state}");
    }
}

#[tokio::test]
async fn a_read_is_answered_although_the_store_takes_no_writes() {
    let console = test_console().await;
    console.registered(MINUTE * 10).await;
    console.is_asked_again(MINUTE, MINUTE, PaymentState::Awaiting).await;
    console.cannot_write().await;
    assert_eq!(console.hinted_by_a_look().await, ["ask antom/shop/PR-1 refresh"], "a look writes nothing");
}

#[tokio::test]
async fn a_read_refreshes_stale_payments_and_no_others() {
    let console = test_console().await;
    console.registered(MINUTE * 10).await;
    // Another attempt, whose first check is due in a moment.
    let other =
        payhook_schema::PaymentKey { id: "PR-2".parse().unwrap(), ..console.order().await.payments[0].key.clone() };
    let new = NewOrder {
        id: OrderId::new("O-1").unwrap(),
        amount: "120.00 THB".parse().unwrap(),
        payments: vec![other],
        refunds: Vec::new(),
    };
    console.store.order_register(&new, now() - SECOND).await.unwrap();
    console.is_asked_again(MINUTE, MINUTE, PaymentState::Awaiting).await;
    let before = console.order().await;
    assert_eq!(console.hinted_by_a_look().await, ["ask antom/shop/PR-1 refresh"]);
    assert_eq!(console.order().await, before, "what is not hinted at does not become due, either");
}
