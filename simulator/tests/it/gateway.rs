//! Antom's gateway, called with any body.

use crate::world::{id, money, refund_id, simulator};
use payhook_provider::{PrivateKey, antom};
use payhook_simulator::{AntomStatus, Simulator};

/// Calls the gateway with any body, signed as payhook signs.
async fn call(simulator: &Simulator, endpoint: &str, key: &PrivateKey, body: &str) -> serde_json::Value {
    let (path, client_id) = (antom::api_path(true, endpoint), simulator.keys().client_id().to_owned());
    let message = antom::signed_message(&path, &client_id, "0", body.as_bytes());
    let request = reqwest::Client::new().post(format!("{}{path}", simulator.url())).body(body.to_owned());
    let request = request.header("content-type", "application/json").header("client-id", client_id);
    let request = request.header("request-time", "0").header("signature", antom::sign(key, 1, &message));
    serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_refund_is_found_by_antoms_own_name_which_wins_and_signatures_are_checked() {
    let simulator = simulator().await;
    simulator.antom().create(&id("PR-1"), money("1500.00 THB"));
    simulator.antom().decide(&id("PR-1"), AntomStatus::Success).unwrap();
    let (antom, ours) = (simulator.antom(), simulator.keys().merchant());
    let theirs = antom.refund(&id("PR-1"), &refund_id("dashboard-7"), 50_000).unwrap();
    let ask = async |key: &PrivateKey, body: &str| call(&simulator, "v1/payments/inquiryRefund", key, body).await;
    let both = format!(r#"{{"refundId":"{theirs}","refundRequestId":"RF-9"}}"#);
    assert_eq!(ask(ours, &both).await["refundRequestId"], "dashboard-7");
    assert_eq!(ask(ours, "{}").await["result"]["resultCode"], "PARAM_ILLEGAL");
    let strangers = PrivateKey::generate();
    for endpoint in ["v1/payments/inquiryRefund", "v1/authorizations/applyToken"] {
        let answer = call(&simulator, endpoint, &strangers, &both).await;
        assert_eq!(answer["result"]["resultCode"], "INVALID_SIGNATURE", "{endpoint}");
    }
    let no_code = r#"{"grantType":"AUTHORIZATION_CODE","customerBelongsTo":"KPLUS"}"#;
    let answer = call(&simulator, "v1/authorizations/applyToken", ours, no_code).await;
    assert_eq!(answer["result"]["resultCode"], "PARAM_ILLEGAL");
}
