use payhook_schema::{Envelope, Hold, HoldReason, Order, OrderId, OrderState, Payment, PaymentState};
use payhook_store::{Change, Settled, Settlement, traits::*};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{TestConsole, detail, test_console};
use crate::orders::{PATH, registration};

const RELEASE: &str = "/v1/orders/O-1/release";

impl TestConsole {
    /// The order's payment paid, and two rules are broken.
    async fn holds(&self) {
        let order = self.order().await;
        let payment = Payment { state: PaymentState::Paid, captured_minor: 1_200, ..order.payments[0].clone() };
        let hold = |reason, detail: &str| Hold { reason, detail: detail.to_owned(), since: crate::harness::now() };
        let holds = vec![
            hold(HoldReason::AmountMismatch, "120.00 THB, not 12.00 THB"),
            hold(HoldReason::DoublePayment, "paid by P1 and by P2"),
        ];
        let order = Order { state: OrderState::Held, holds, ..order };
        let change = Change { order, payment, events: Vec::new() };
        let settlement = Settlement { change: Some(change), ..Settlement::default() };
        assert_eq!(self.store.settle(&[settlement]).await.unwrap(), [Settled::Written]);
    }

    /// Asks for a release of the order as it is.
    async fn asks(&self, body: Value) -> (u16, Value) {
        let mut body = body;
        body["version"] = self.order().await.version.into();
        self.post(RELEASE, &body).await
    }
}

#[tokio::test]
async fn a_held_order_is_released_by_a_worker_once_it_is_written_down_who_wants_it() {
    let console = test_console().await;
    console.put(PATH, &registration(&[])).await;
    console.holds().await;
    let payment = console.order().await.payments[0].key.clone();
    let returned = json!([{ "provider": payment.provider, "account": payment.account, "id": payment.id }]);
    let (status, order) = console.asks(json!({ "reason": " the bank confirmed it ", "returned": returned })).await;
    assert_eq!((status, &order["state"]), (202, &json!("held")), "not yet: a worker does it");
    assert_eq!((order["holds"].as_array().map(Vec::len), &order["hold"]), (Some(2), &order["holds"][0]));
    let hints = console.queue.hints();
    let id: Uuid = hints[0].strip_prefix("release O-1 ").expect("it points to the store").parse().unwrap();
    let release = console.store.release_get(id).await.unwrap().unwrap();
    assert_eq!((release.who.as_str(), release.reason.as_str()), ("local", "the bank confirmed it"));
    assert_eq!((release.version, release.holds.len(), release.returned), (0, 2, vec![payment]));
    assert_eq!(Envelope::release(OrderId::new("O-1").unwrap(), id).id, id);
    let entry = ("order.release".to_owned(), "O-1".to_owned(), 1, Some("the bank confirmed it".to_owned()));
    assert_eq!(console.audited().await, [entry]);

    console.queue.goes_down(true);
    let (status, answer) = console.asks(json!({ "reason": "again" })).await;
    assert_eq!(status, 503);
    assert!(detail(&answer).contains("Release it again"), "{answer}");
    console.queue.goes_down(false);
    console.cannot_write().await;
    assert_eq!(console.asks(json!({ "reason": "again" })).await.0, 503);
    assert!(console.queue.hints().is_empty(), "what cannot be written down is not done");
}

#[tokio::test]
async fn only_a_held_order_is_released_at_the_version_that_was_read_and_with_a_reason() {
    let console = test_console().await;
    assert_eq!(console.post(RELEASE, &json!({ "reason": "x", "version": 0 })).await.0, 404);
    console.put(PATH, &registration(&[])).await;
    let (status, answer) = console.asks(json!({ "reason": "x" })).await;
    assert_eq!(status, 409);
    assert!(detail(&answer).contains("is pending and not held"), "{answer}");
    console.holds().await;
    let (status, answer) = console.post(RELEASE, &json!({ "reason": "x" })).await;
    assert_eq!(status, 400);
    assert!(detail(&answer).contains("`version` is missing"), "{answer}");
    let (status, answer) = console.post(RELEASE, &json!({ "reason": "x", "version": 7 })).await;
    assert_eq!(status, 409);
    assert!(detail(&answer).contains("it is at version 0, you sent 7"), "{answer}");
    for body in
        [json!({}), json!({ "reason": " " }), json!({ "reason": "two\nlines" }), json!({ "reason": "x".repeat(501) })]
    {
        let (status, answer) = console.asks(body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(detail(&answer).contains("`reason`"), "{answer}");
    }
    let other = json!([{ "provider": "omise", "account": "shop", "id": "chrg_of_another_order" }]);
    let (status, answer) = console.asks(json!({ "reason": "x", "returned": other })).await;
    assert_eq!(status, 422);
    assert!(detail(&answer).contains("that order O-1 does not have"), "{answer}");
    assert!(console.queue.hints().is_empty());
    assert!(console.audited().await.is_empty());
}
