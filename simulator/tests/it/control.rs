//! The same verbs over HTTP, as a shell would use them.

use crate::world::{Ingress, ask, id, simulator};
use payhook_schema::{PaymentState, Provider};
use payhook_simulator::Simulator;
use reqwest::Method;
use serde_json::{Value, json};

async fn call(simulator: &Simulator, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = reqwest::Client::new().request(method, format!("{}/control/{path}", simulator.url()));
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn a_shell_tells_antoms_story() {
    let simulator = simulator().await;
    let ingress = Ingress::start(&simulator).await;
    let put = async |body| call(&simulator, Method::PUT, "antom/payments/PR-1", body).await;
    let (status, shown) = put(json!({ "amount_minor": 150_000, "currency": "THB", "status": "success" })).await;
    assert_eq!((status, &shown["paymentStatus"]), (200, &json!("SUCCESS")));
    let facts = ask(&simulator, Provider::Antom, &id("PR-1")).await.unwrap();
    assert_eq!((facts.state, facts.captured_minor), (PaymentState::Paid, 150_000));

    let notify = json!({ "to": ingress.url, "account": "shop", "times": 3, "together": true });
    let (status, shown) = call(&simulator, Method::POST, "antom/payments/PR-1/notify", notify).await;
    assert_eq!((status, shown["replies"].as_array().unwrap().len(), ingress.count()), (200, 3, 3));
    assert_eq!(shown["replies"][0]["acknowledged"], true);

    put(json!({ "status": "FAIL", "code": "RISK_REJECT" })).await;
    let facts = ask(&simulator, Provider::Antom, &id("PR-1")).await.unwrap();
    assert_eq!(facts.reason.as_deref(), Some("RISK_REJECT"));
    let (_, journal) = call(&simulator, Method::GET, "journal", Value::Null).await;
    assert_eq!(
        (journal["call_count"]["antom"].as_u64(), journal["notifications"].as_array().unwrap().len()),
        (Some(2), 3)
    );
    assert_eq!(journal["calls"][0]["payment"], "PR-1");
    assert_eq!(call(&simulator, Method::DELETE, "antom/payments/PR-1", Value::Null).await.0, 204);
    assert_eq!(call(&simulator, Method::GET, "antom/payments/PR-1", Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_shell_tells_omises_story() {
    let simulator = simulator().await;
    let ingress = Ingress::start(&simulator).await;
    let charge = "omise/charges/chrg_test_1";
    let put = async |body| call(&simulator, Method::PUT, charge, body).await;
    let (status, shown) = put(json!({ "amount_minor": 150_000, "currency": "THB" })).await;
    assert_eq!((status, &shown["status"]), (200, &json!("pending")));
    let (_, shown) = put(json!({ "status": "paid", "refund_minor": 50_000 })).await;
    assert_eq!((&shown["status"], &shown["refunded_amount"]), (&json!("successful"), &json!(50_000)));
    let (status, shown) = put(json!({ "status": "failed" })).await;
    assert_eq!(status, 409, "{shown}");
    let (_, shown) =
        put(json!({ "amount_minor": 9_000, "currency": "JPY", "status": "captured", "captured_minor": 4_000 })).await;
    assert_eq!((&shown["captured_amount"], &shown["capture"]), (&json!(4_000), &json!(false)));

    let notify = json!({ "to": ingress.url, "account": "shop", "kind": "charge.complete", "saying": "failed" });
    let (status, shown) = call(&simulator, Method::POST, &format!("{charge}/notify"), notify).await;
    assert_eq!((status, &shown["replies"][0]["status"]), (200, &json!(200)));
    assert!(String::from_utf8(ingress.last().unwrap().body).unwrap().contains("failed_processing"));
}

#[tokio::test]
async fn a_shell_switches_faults() {
    let simulator = simulator().await;
    let throttle = json!({ "fault": "throttle", "retry_after_s": 5, "times": 3 });
    assert_eq!(call(&simulator, Method::PUT, "faults/omise", throttle.clone()).await, (200, throttle.clone()));
    assert_eq!(call(&simulator, Method::GET, "faults/omise", Value::Null).await.1, throttle);
    assert!(ask(&simulator, Provider::Omise, &id("chrg_test_1")).await.is_err());
    let faults = "down close flapping half_answer html_page other_payment unsigned bad_signature";
    for fault in faults.split(' ') {
        let (status, shown) = call(&simulator, Method::PUT, "faults/antom", json!({ "fault": fault })).await;
        assert_eq!((status, &shown["fault"]), (200, &json!(fault)));
    }
    for fault in ["slow", "hang"] {
        let body = json!({ "fault": fault, "for_ms": 5 });
        assert_eq!(call(&simulator, Method::PUT, "faults/antom", body.clone()).await, (200, body));
    }
    assert_eq!(call(&simulator, Method::DELETE, "faults/antom", Value::Null).await.0, 204);
    assert_eq!(call(&simulator, Method::GET, "faults/antom", Value::Null).await.1, json!({ "fault": "none" }));
}

#[tokio::test]
async fn mistakes_are_told_in_json() {
    let simulator = simulator().await;
    let notify = json!({ "to": "http://127.0.0.1:1", "account": "shop" });
    let cases = [
        (Method::PUT, "antom/payments/PR-1", json!({ "status": "SUCCESS" }), 404),
        (Method::PUT, "antom/payments/PR-1", json!({ "amount_minor": 1 }), 400),
        (Method::PUT, "antom/payments/PR-1", json!({ "amount_minor": 1, "currency": "XXZ" }), 422),
        (Method::PUT, "antom/payments/PR-1", json!({ "amount_minor": 1, "currency": "THB", "status": "paid" }), 400),
        (Method::PUT, "omise/charges/PR-1", json!({ "amount_minor": 1, "currency": "THB" }), 400),
        (Method::PUT, "omise/charges/chrg_test_1", json!({ "status": "paid" }), 404),
        (Method::PUT, "omise/charges/chrg_test_1", json!({}), 404),
        (Method::PUT, "faults/paypal", json!({ "fault": "down" }), 400),
        (Method::PUT, "faults/omise", json!({ "fault": "unsigned" }), 409),
        (Method::PUT, "faults/antom", json!({ "fault": "slow" }), 400),
        (Method::PUT, "faults/antom", json!({ "fault": "earthquake" }), 400),
        (Method::POST, "antom/payments/PR-1/notify", notify, 404),
        (Method::POST, "journal", Value::Null, 404),
        (Method::GET, "nothing", Value::Null, 404),
        (Method::PUT, "faults/antom", Value::Null, 415),
    ];
    for (method, path, body, wanted) in cases {
        let (status, shown) = call(&simulator, method, path, body).await;
        assert_eq!(status, wanted, "{path}: {shown}");
        assert!(shown["error"].as_str().is_some_and(|text| !text.is_empty()), "{path}: {shown}");
    }
    let (_, journal) = call(&simulator, Method::GET, "journal", Value::Null).await;
    assert_eq!(journal["calls"], json!([]), "nothing of this reached a provider");
    assert!(simulator.antom().status(&id("PR-1")).is_err(), "a wrong status creates nothing");
}

#[tokio::test]
async fn omises_events_are_listed_by_pages() {
    let simulator = simulator().await;
    let omise = simulator.omise();
    for _ in 0..3 {
        let charge = omise.new_charge_id();
        omise.create(&charge, crate::world::money("100.00 THB"));
        omise.pay(&charge).unwrap();
    }
    let get = async |path: &str, key: &str| {
        let request = reqwest::Client::new().get(format!("{}{path}", simulator.url())).basic_auth(key, Some(""));
        let response = request.header("omise-version", "2019-05-29").send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap())
    };
    let key = simulator.keys().secret_key();
    let (_, all) = get("/events", key).await;
    assert_eq!(
        (all["total"].as_u64(), all["limit"].as_u64(), all["object"].as_str()),
        (Some(6), Some(20), Some("list"))
    );
    let (_, page) = get("/events?offset=4&limit=4&order=chronological", key).await;
    assert_eq!(page["data"].as_array().unwrap()[..], all["data"].as_array().unwrap()[4..]);
    let (_, back) = get("/events?order=reverse_chronological&limit=1", key).await;
    assert_eq!(back["data"][0], all["data"][5]);
    let (_, none) = get("/events?from=2026-01-01T00:00:01Z", key).await;
    assert_eq!(none["total"], 0);
    let (_, exact) = get("/events?from=2026-01-01T00:00:00Z&to=2026-01-01T07%3A00%3A00%2B07:00", key).await;
    assert_eq!(exact["total"], 6);
    let one = format!("/events/{}", all["data"][0]["id"].as_str().unwrap());
    assert_eq!(get(&one, key).await.1, all["data"][0]);
    assert_eq!(get("/events?limit=101", key).await.0, 400);
    let (status, error) = get("/events", "skey_test_wrong").await;
    assert_eq!((status, error["code"].as_str()), (401, Some("authentication_failure")));
}
