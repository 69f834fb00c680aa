//! The same verbs over HTTP, as a shell would use them.

use crate::world::{Ingress, ask, id, money, simulator};
use payhook_provider::AskError;
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
    assert_eq!(journal["calls"][0]["about"], "PR-1");
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

    let refund = json!({ "refund_minor": 1_000, "refund_settles": false });
    let (_, shown) = put(refund).await;
    assert_eq!((&shown["refunded_amount"], &shown["refunds"]["data"][0]["status"]), (&json!(0), &json!("pending")));
    let (_, shown) = put(json!({ "refund_settles": true })).await;
    assert_eq!((&shown["refunded_amount"], &shown["refunds"]["data"][0]["status"]), (&json!(1_000), &json!("closed")));

    let notify = json!({ "to": ingress.url, "account": "shop", "kind": "charge.complete", "saying": "failed" });
    let (status, shown) = call(&simulator, Method::POST, &format!("{charge}/notify"), notify).await;
    assert_eq!((status, &shown["replies"][0]["status"]), (200, &json!(200)));
    assert!(String::from_utf8(ingress.last().unwrap().body).unwrap().contains("failed_processing"));
}

#[tokio::test]
async fn a_shell_refunds_captures_and_disputes_at_antoms() {
    let simulator = simulator().await;
    let ingress = Ingress::start(&simulator).await;
    let put = async |path: &str, body| call(&simulator, Method::PUT, &format!("antom/{path}"), body).await;
    put("payments/PR-1", json!({ "amount_minor": 150_000, "currency": "THB", "status": "SUCCESS" })).await;
    let (status, shown) = put("refunds/RF-1", json!({ "payment": "PR-1", "amount_minor": 50_000 })).await;
    assert_eq!((status, &shown["refundStatus"]), (200, &json!("PROCESSING")));
    let notify = json!({ "to": ingress.url, "account": "shop" });
    let early = call(&simulator, Method::POST, "antom/refunds/RF-1/notify", notify.clone()).await;
    assert_eq!(early.0, 409, "{}", early.1);
    let (_, shown) = put("refunds/RF-1", json!({ "status": "fail", "code": "REFUND_NOT_SUPPORTED" })).await;
    assert_eq!(shown["refundStatus"], "FAIL");
    call(&simulator, Method::POST, "antom/refunds/RF-1/notify", notify).await;
    assert!(String::from_utf8(ingress.last().unwrap().body).unwrap().contains("REFUND_NOT_SUPPORTED"));
    let (_, shown) = put("payments/PR-1", json!({ "refund_minor": 1_000 })).await;
    assert_eq!(shown["transactions"][1]["transactionRequestId"], "RF-PR-1-1");
    let (_, shown) = put("habits", json!({ "refunds_listed": false })).await;
    assert_eq!(shown["access_token_lives_s"], 30 * 24 * 3600);
    let (_, shown) = call(&simulator, Method::GET, "antom/payments/PR-1", Value::Null).await;
    assert_eq!(shown["transactions"], Value::Null);

    put("payments/PR-2", json!({ "amount_minor": 9_000, "currency": "THB", "status": "SUCCESS" })).await;
    let (_, shown) = put("payments/PR-2", json!({ "capture_minor": 8_000, "dispute_minor": 500 })).await;
    assert_eq!(shown["transactions"][0]["transactionStatus"], "PROCESSING");
    let (_, shown) = put("payments/PR-2", json!({ "capture": "success" })).await;
    assert_eq!(shown["transactions"][0]["transactionStatus"], "SUCCESS");
    let notify = json!({ "to": ingress.url, "account": "shop", "kind": "dispute_accept_by_customer" });
    call(&simulator, Method::POST, "antom/payments/PR-2/notify", notify).await;
    assert!(String::from_utf8(ingress.last().unwrap().body).unwrap().contains(r#""disputeId":"DP-PR-2""#));
}

#[tokio::test]
async fn a_shell_changes_antoms_key() {
    let simulator = simulator().await;
    let (_, first) = call(&simulator, Method::GET, "antom/key", Value::Null).await;
    assert_eq!(first, json!({ "version": 1, "public_key": simulator.keys().antom().public_key_base64() }));
    let (_, next) = call(&simulator, Method::PUT, "antom/key", json!({ "version": 2 })).await;
    assert!(next["version"] == 2 && next["public_key"] != first["public_key"], "{next}");
    simulator.antom().create(&id("PR-1"), money("10.00 THB"));
    let answer = ask(&simulator, Provider::Antom, &id("PR-1")).await;
    assert!(matches!(answer, Err(AskError::Misconfigured { .. })), "keyVersion 2 is not configured");
}

#[tokio::test]
async fn a_shell_plays_the_customer_of_an_authorization() {
    let simulator = simulator().await;
    let ingress = Ingress::start(&simulator).await;
    let path = "antom/authorizations/AS-1";
    let put = async |body| call(&simulator, Method::PUT, path, body).await;
    let notify = json!({ "to": ingress.url, "account": "shop" });
    let steps = [
        (json!({ "wallet": "KPLUS", "step": "agree" }), "agreed", "AUTHCODE_CREATED"),
        (json!({ "step": "issue_token" }), "token_issued", "TOKEN_CREATED"),
        (json!({ "step": "cancel", "reason": "too dear" }), "cancelled", "TOKEN_CANCELED"),
    ];
    for (body, state, kind) in steps {
        let (status, shown) = put(body).await;
        assert_eq!((status, &shown["state"]), (200, &json!(state)), "{shown}");
        call(&simulator, Method::POST, &format!("{path}/notify"), notify.clone()).await;
        assert_eq!(ingress.last().unwrap().kind, kind);
    }
    let (_, shown) = call(&simulator, Method::GET, path, Value::Null).await;
    let token = simulator.antom().access_token(&"AS-1".parse().unwrap()).unwrap().unwrap();
    assert!(shown["accessTokenExpiryTime"].is_string() && !shown.to_string().contains(&token), "{shown}");
    assert_eq!(put(json!({ "step": "agree" })).await.0, 409);
}

#[tokio::test]
async fn a_shell_disputes_at_omises_and_makes_other_things_happen() {
    let simulator = simulator().await;
    let ingress = Ingress::start(&simulator).await;
    let put = async |path: &str, body| call(&simulator, Method::PUT, &format!("omise/{path}"), body).await;
    let at_once = json!({ "amount_minor": 9_000, "currency": "THB", "at_once": true });
    assert_eq!(put("charges/chrg_test_1", at_once).await.1["status"], "successful");
    for (word, status) in [("open", "open"), ("pending", "pending"), ("accepted", "pending"), ("lost", "lost")] {
        let (_, shown) = put("charges/chrg_test_1", json!({ "dispute": word })).await;
        assert_eq!(shown["dispute"]["status"], status);
    }
    assert_eq!(put("charges/chrg_test_1", json!({ "description": "tea" })).await.1["description"], "tea");
    let kbank = json!({ "amount_minor": 9_000, "currency": "THB", "source": "mobile_banking_kbank" });
    assert_eq!(put("charges/chrg_test_2", kbank).await.1["source"]["type"], "mobile_banking_kbank");
    assert_eq!(put("version", json!({ "version": "2017-11-02" })).await.1, json!({ "version": "2017-11-02" }));
    let key = json!({ "key": "transfer.create" });
    let (_, event) = call(&simulator, Method::POST, "omise/events", key).await;
    let path = format!("omise/events/{}/notify", event["id"].as_str().unwrap());
    let notify = json!({ "to": ingress.url, "account": "shop" });
    assert_eq!(call(&simulator, Method::POST, &path, notify).await.0, 200);
    let notification = ingress.last().unwrap();
    let body = String::from_utf8(notification.body).unwrap();
    assert!(notification.kind == "transfer.create" && body.contains("\"created\": "), "{body}");
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
        (Method::PUT, "antom/refunds/RF-1", json!({ "status": "SUCCESS" }), 404),
        (Method::PUT, "antom/refunds/RF-1", json!({ "payment": "PR-1" }), 400),
        (Method::PUT, "antom/refunds/RF-1", json!({ "status": "paid" }), 400),
        (Method::PUT, "antom/payments/PR-1", json!({ "capture": "maybe" }), 400),
        (Method::PUT, "antom/authorizations/AS-1", json!({ "step": "agree" }), 404),
        (Method::PUT, "antom/authorizations/AS-1", json!({ "wallet": "kplus" }), 422),
        (Method::PUT, "omise/charges/chrg_test_1", json!({ "source": "promptpay" }), 400),
        (Method::PUT, "omise/charges/chrg_test_1", json!({ "dispute": "maybe" }), 400),
        (Method::PUT, "omise/charges/chrg_test_1", json!({ "refund_settles": false }), 400),
        (Method::PUT, "omise/charges/chrg_test_1", json!({ "refund_settles": true }), 404),
        (Method::PUT, "omise/version", json!({ "version": "2020-01-01" }), 400),
        (Method::POST, "omise/events", json!({ "key": "charge.create" }), 409),
        (Method::POST, "omise/events/evnt_test_1/notify", json!({ "to": "http://127.0.0.1:1", "account": "a" }), 404),
        (Method::POST, "antom/habits", json!({}), 404),
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
