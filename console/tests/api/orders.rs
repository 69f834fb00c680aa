use jiff::SignedDuration;
use payhook_schema::{Dispute, DisputeId, DisputeState, Order, OrderId, Payment, Refund, RefundId, RefundState};
use payhook_store::{Change, Settled, Settlement, traits::*};
use serde_json::{Value, json};

use crate::harness::{TestConsole, detail, now, test_console};

pub(crate) const PATH: &str = "/v1/orders/O-1";

/// An order with one payment, and these refunds of it announced.
pub(crate) fn registration(refunds: &[&str]) -> Value {
    let refunds: Vec<Value> = refunds
        .iter()
        .map(|id| json!({ "provider": "antom", "account": "shop", "payment_id": "PR-1", "id": id }))
        .collect();
    json!({
        "amount_minor": 12_000, "currency": "THB",
        "payments": [{ "provider": "antom", "account": "shop", "id": "PR-1" }],
        "refunds": refunds,
    })
}

impl TestConsole {
    pub(crate) async fn order(&self) -> Order {
        self.store.order_get(&OrderId::new("O-1").unwrap()).await.unwrap().unwrap()
    }

    /// As the worker does after the provider's answer.
    pub(crate) async fn learns(&self, change: impl FnOnce(&mut Payment)) {
        let order = self.order().await;
        let mut payment = order.payments[0].clone();
        change(&mut payment);
        let change = Change { order, payment, events: Vec::new() };
        let settlement = Settlement { change: Some(change), ..Settlement::default() };
        assert_eq!(self.store.settle(&[settlement]).await.unwrap(), [Settled::Written]);
    }
}

#[tokio::test]
async fn an_announced_refund_is_shown_and_asked_about_until_the_provider_knows_it() {
    let console = test_console().await;
    let (status, order) = console.put(PATH, &registration(&["RF-1"])).await;
    assert_eq!(status, 201);
    let announced = json!([{
        "id": "RF-1", "provider": "antom", "account": "shop", "payment_id": "PR-1", "state": "pending",
        "amount_minor": null, "currency": null, "voided": false, "reason": null, "occurred_at": null,
    }]);
    assert_eq!(order["refunds"], announced);
    assert_eq!(order["disputes"], json!([]));
    assert_eq!(console.queue.hints(), ["ask antom/shop/PR-1 registered"]);

    console.queue.goes_down(true);
    assert_eq!(console.put(PATH, &registration(&["RF-1", "RF-2"])).await.0, 200, "the sweep makes up for it");
    console.queue.goes_down(false);
    assert_eq!(console.put(PATH, &registration(&["RF-1", "RF-2"])).await.0, 200);
    assert_eq!(console.queue.hints(), ["ask antom/shop/PR-1 registered"], "one hint a payment");

    console
        .learns(|payment| {
            for refund in &mut payment.refunds {
                let amount = "50.00 THB".parse().ok();
                *refund = Refund { state: RefundState::Succeeded, amount, occurred_at: Some(now()), ..refund.clone() };
            }
        })
        .await;
    let (_, order) = console.put(PATH, &registration(&["RF-1", "RF-2"])).await;
    assert!(console.queue.hints().is_empty(), "the provider knows both");
    let refunds: Vec<_> =
        order["refunds"].as_array().unwrap().iter().map(|it| (&it["id"], &it["amount_minor"])).collect();
    assert_eq!(refunds, [(&json!("RF-1"), &json!(5000)), (&json!("RF-2"), &json!(5000))]);
}

#[tokio::test]
async fn refunds_and_disputes_are_shown_as_the_provider_has_them() {
    let console = test_console().await;
    console.put(PATH, &registration(&[])).await;
    console
        .learns(|payment| {
            payment.refunds.push(Refund {
                state: RefundState::Failed,
                reason: Some("INSUFFICIENT_BALANCE".to_owned()),
                ..Refund::announced(RefundId::new("RF-9").unwrap())
            });
            payment.disputes.push(Dispute {
                id: DisputeId::new("DP-1").unwrap(),
                state: DisputeState::Open,
                amount: "120.00 THB".parse().ok(),
                reason: Some("FRAUD".to_owned()),
                answer_by: Some(now()),
                occurred_at: None,
            });
        })
        .await;
    let (_, order) = console.call("GET", PATH).await;
    assert_eq!(
        (&order["refunds"][0]["state"], &order["refunds"][0]["reason"]),
        (&json!("failed"), &json!("INSUFFICIENT_BALANCE"))
    );
    let dispute = json!([{
        "id": "DP-1", "provider": "antom", "account": "shop", "payment_id": "PR-1", "state": "open", "amount_minor": 12_000,
        "currency": "THB", "reason": "FRAUD", "answer_by": "2026-11-21T10:00:00Z", "occurred_at": null,
    }]);
    assert_eq!(order["disputes"], dispute);
}

#[tokio::test]
async fn a_wrong_announcement_of_a_refund_is_refused_with_the_reason() {
    let console = test_console().await;
    let mut of_omise = registration(&[]);
    of_omise["refunds"] = json!([{ "provider": "omise", "account": "kiosk", "payment_id": "chrg_1", "id": "rfnd_1" }]);
    let mut of_nobody = registration(&["RF-1"]);
    of_nobody["refunds"][0]["account"] = "nowhere".into();
    let mut of_another = registration(&["RF-1"]);
    of_another["refunds"][0]["payment_id"] = "PR-2".into();
    for (body, expected) in [
        (of_omise, "Omise names refunds itself, so there is nothing to announce."),
        (of_nobody, "There is no antom account `nowhere`"),
        (of_another, "which order O-1 does not have"),
        (registration(&["with space"]), "a refund id must be"),
    ] {
        let (status, answer) = console.put(PATH, &body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(detail(&answer).contains(expected), "{answer}");
    }
    assert_eq!(console.call("GET", PATH).await.0, 404, "none of it was registered");

    console.put(PATH, &registration(&["RF-1"])).await;
    let mut second = registration(&["RF-1"]);
    second["payments"].as_array_mut().unwrap().push(json!({ "provider": "antom", "account": "shop", "id": "PR-2" }));
    second["refunds"][0]["payment_id"] = "PR-2".into();
    let (status, answer) = console.put(PATH, &second).await;
    assert_eq!(status, 409);
    assert!(detail(&answer).contains("Refund RF-1 is of payment antom/shop/PR-1"), "{answer}");
}

#[tokio::test]
async fn an_order_has_a_hundred_payments_and_the_next_one_is_refused() {
    let console = test_console().await;
    let body = |from: usize, to: usize| {
        let payments = (from..to).map(|n| json!({ "provider": "antom", "account": "shop", "id": format!("PR-{n}") }));
        json!({ "amount_minor": 12_000, "currency": "THB", "payments": payments.collect::<Vec<_>>() })
    };
    assert_eq!(console.put(PATH, &body(0, 100)).await.0, 201);
    let before = console.order().await;
    let (status, answer) = console.put(PATH, &body(99, 101)).await;
    assert_eq!(status, 409);
    let expected = "Order O-1 has 100 payments, and this adds 1; an order has at most 100 payments.";
    assert!(detail(&answer).starts_with(expected), "{}", detail(&answer));
    assert_eq!(console.order().await, before);
    assert_eq!(console.put(PATH, &body(0, 100)).await.0, 200, "repeating is fine");
    let (status, answer) = console.put(PATH, &body(0, 101)).await;
    assert_eq!((status, detail(&answer)), (422, "An order has at most 100 payments."));
}

#[tokio::test]
async fn a_refresh_hints_at_each_payment_once_and_the_sweep_makes_up_for_hints_that_are_lost() {
    let console = test_console().await;
    console.put(PATH, &registration(&[])).await;
    assert_eq!(console.call("POST", &format!("{PATH}/refresh")).await.0, 202);
    assert_eq!(console.queue.hints(), ["ask antom/shop/PR-1 refresh"]);
    let later = now() + SignedDuration::from_mins(2);
    assert_eq!(
        console.order().await.payments[0].next_check_at,
        Some(later),
        "not at once: two hints are two questions"
    );
}
