use payhook_schema::{Hold, HoldReason, Order, OrderState};
use payhook_store::{Change, Settled, Settlement, Store};
use serde_json::json;

use crate::house::{House, detail, house};
use crate::orders::{PATH, registration};

const RELEASE: &str = "/v1/orders/O-1/release";

impl House {
    async fn holds(&self) {
        let order = self.order().await;
        let payment = order.payments[0].clone();
        let hold = Hold { reason: HoldReason::AmountMismatch, detail: "120.00 THB, not 12.00 THB".to_owned() };
        let order = Order { state: OrderState::Held, hold: Some(hold), ..order };
        let change = Change { order, payment, events: Vec::new() };
        let settlement = Settlement { change: Some(change), ..Settlement::default() };
        assert_eq!(self.store.settle(&[settlement]).await.unwrap(), [Settled::Written]);
    }
}

#[tokio::test]
async fn a_held_order_is_released_by_a_worker_once_it_is_written_down_who_wants_it() {
    let house = house().await;
    house.put(PATH, &registration(&[])).await;
    house.holds().await;
    let (status, order) = house.post(RELEASE, &json!({ "reason": " the bank confirmed it " })).await;
    assert_eq!((status, &order["state"]), (202, &json!("held")), "not yet: a worker does it");
    assert_eq!(house.queue.hints(), ["release O-1 from amount_mismatch by local: the bank confirmed it"]);
    let entry = ("order.release".to_owned(), "O-1".to_owned(), 1, Some("the bank confirmed it".to_owned()));
    assert_eq!(house.audited().await, [entry]);

    house.queue.goes_down(true);
    let (status, answer) = house.post(RELEASE, &json!({ "reason": "again" })).await;
    assert_eq!(status, 503);
    assert!(detail(&answer).contains("Release it again"), "{answer}");
    house.queue.goes_down(false);
    house.cannot_write().await;
    assert_eq!(house.post(RELEASE, &json!({ "reason": "again" })).await.0, 503);
    assert!(house.queue.hints().is_empty(), "what cannot be written down is not done");
}

#[tokio::test]
async fn only_a_held_order_is_released_and_only_with_a_reason() {
    let house = house().await;
    assert_eq!(house.post(RELEASE, &json!({ "reason": "x" })).await.0, 404);
    house.put(PATH, &registration(&[])).await;
    let (status, answer) = house.post(RELEASE, &json!({ "reason": "x" })).await;
    assert_eq!(status, 409);
    assert!(detail(&answer).contains("is pending and not held"), "{answer}");
    house.holds().await;
    for body in
        [json!({}), json!({ "reason": " " }), json!({ "reason": "two\nlines" }), json!({ "reason": "x".repeat(501) })]
    {
        let (status, answer) = house.post(RELEASE, &body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(detail(&answer).contains("`reason`"), "{answer}");
    }
    assert!(house.queue.hints().is_empty());
    assert!(house.audited().await.is_empty());
}
