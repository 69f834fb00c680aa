//! The verbs over HTTP, as a shell would use them.

use payhook_schema::{PaymentState, Provider};
use payhook_simulator::Simulator;
use serde_json::{Value, json};

use crate::world::{NotificationSink, ask, id, simulator};

async fn call(simulator: &Simulator, verb: Value) -> (u16, Value) {
    let response =
        reqwest::Client::new().post(format!("{}/control", simulator.url())).json(&verb).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// Carries out each verb, and shows the last answer.
async fn does(simulator: &Simulator, verbs: &[Value]) -> Value {
    let mut shown = Value::Null;
    for verb in verbs {
        let (status, answer) = call(simulator, verb.clone()).await;
        assert_eq!(status, 200, "{verb}: {answer}");
        shown = answer;
    }
    shown
}

#[tokio::test]
async fn a_shell_plays_antom() {
    let simulator = simulator().await;
    let ingress = NotificationSink::start(&simulator).await;
    let notifies = |id: &str, kind: Value| json!({ "do": "antom_notifies", "id": id, "kind": kind, "to": ingress.url, "account": "shop" });
    let shown = does(
        &simulator,
        &[
            json!({ "do": "antom_pays", "id": "PR-1", "amount_minor": 150_000, "currency": "THB" }),
            notifies("PR-1", Value::Null),
            json!({ "do": "antom_refunds", "id": "RF-1", "payment": "PR-1", "amount_minor": 50_000 }),
            json!({ "do": "antom_decides_refund", "id": "RF-1", "outcome": "FAIL", "code": "REFUND_NOT_SUPPORTED" }),
            notifies("RF-1", json!("refund_state")),
            json!({ "do": "antom_disputes", "id": "DP-1", "payment": "PR-1", "amount_minor": 500 }),
            notifies("PR-1", json!("dispute")),
            json!({ "do": "antom_consults", "auth_state": "AS-1", "wallet": "KPLUS" }),
            json!({ "do": "antom_agrees", "auth_state": "AS-1" }),
            notifies("AS-1", json!("authcode_created")),
            json!({ "do": "antom_creates", "id": "PR-2", "amount_minor": 9_000, "currency": "THB" }),
            json!({ "do": "antom_decides", "id": "PR-2", "status": "FAIL", "code": "RISK_REJECT" }),
        ],
    )
    .await;
    assert_eq!(shown["paymentStatus"], "FAIL");
    assert_eq!(ingress.count(), 4);
    let facts = ask(&simulator, Provider::Antom, &id("PR-1")).await.unwrap();
    assert_eq!((facts.state, facts.captured_minor), (PaymentState::Paid, 150_000));
    let journal = does(&simulator, &[json!({ "do": "journal" })]).await;
    assert_eq!(
        (&journal["calls"][0]["about"], journal["notifications"].as_array().map(Vec::len)),
        (&json!("PR-1"), Some(4))
    );
}

#[tokio::test]
async fn a_shell_plays_omise_and_switches_faults() {
    let simulator = simulator().await;
    let ingress = NotificationSink::start(&simulator).await;
    let charge = "chrg_test_1";
    let shown = does(
        &simulator,
        &[
            json!({ "do": "omise_creates", "id": charge, "amount_minor": 9_000, "currency": "THB" }),
            json!({ "do": "omise_decides", "id": charge, "status": "successful" }),
            json!({ "do": "omise_refunds", "id": charge, "amount_minor": 4_000 }),
        ],
    )
    .await;
    assert_eq!((&shown["status"], &shown["refunded_amount"]), (&json!("successful"), &json!(4_000)));
    let notifies = json!({ "do": "omise_notifies", "id": charge, "to": ingress.url, "account": "shop", "times": 3 });
    assert_eq!(does(&simulator, &[notifies]).await["replies"].as_array().map(Vec::len), Some(3));
    let asked = async || ask(&simulator, Provider::Omise, &id(charge)).await.is_ok();
    does(&simulator, &[json!({ "do": "fault", "provider": "omise", "fault": "throttle", "times": 1 })]).await;
    assert_eq!((asked().await, asked().await), (false, true), "the next call, and no other");
    for fault in "down close flapping half_answer html_page other_payment none".split(' ') {
        does(&simulator, &[json!({ "do": "fault", "provider": "omise", "fault": fault })]).await;
    }
    assert!(asked().await);
}

#[tokio::test]
async fn mistakes_are_answered_with_their_reason() {
    let simulator = simulator().await;
    let pays = |id: &str, amount: i64, currency: &str| json!({ "do": "antom_pays", "id": id, "amount_minor": amount, "currency": currency });
    for (verb, wanted) in [
        (json!({ "do": "dance" }), 422),
        (pays("PR-1", 0, "THB"), 400),
        (pays("PR-1", 1, "XXZ"), 422),
        (json!({ "do": "antom_decides", "id": "PR-1", "status": "SUCCESS" }), 404),
        (json!({ "do": "antom_decides", "id": "PR-1", "status": "paid" }), 400),
        (json!({ "do": "antom_agrees", "auth_state": "AS-1" }), 404),
        (json!({ "do": "omise_creates", "id": "PR-1", "amount_minor": 1, "currency": "THB" }), 400),
        (json!({ "do": "omise_decides", "id": "chrg_test_1", "status": "successful" }), 404),
        (json!({ "do": "fault", "provider": "omise", "fault": "earthquake" }), 400),
        (json!({ "do": "fault", "provider": "antom", "fault": "slow" }), 400),
        (json!({ "do": "fault", "provider": "omise", "fault": "unsigned" }), 409),
        (json!({ "do": "journal", "more": 1 }), 422),
    ] {
        let (status, shown) = call(&simulator, verb.clone()).await;
        assert_eq!(status, wanted, "{verb}: {shown}");
        assert!(shown["error"].as_str().is_some_and(|text| !text.is_empty()), "{verb}: {shown}");
    }
    let journal = does(&simulator, &[json!({ "do": "journal" })]).await;
    assert_eq!(journal["calls"], json!([]), "nothing of this reached a provider");
    assert!(simulator.antom().status(&id("PR-1")).is_err(), "a wrong amount creates nothing");
}
