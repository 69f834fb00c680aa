//! Omise's charges and what happens to them: events in every API version, listed whether or not they were sent.

use crate::world::{Ingress, ask, money, shop, simulator};
use payhook_schema::{About, DisputeState, PaymentState, Provider, RefundState};
use payhook_simulator::{Fault, OmiseDispute, OmiseStatus, OmiseVersion, Simulator, SimulatorError};
use serde_json::{Value, json};

async fn get(simulator: &Simulator, path: &str, key: &str, version: OmiseVersion) -> (u16, Value) {
    let request = reqwest::Client::new().get(format!("{}{path}", simulator.url())).basic_auth(key, Some(""));
    let response = request.header("omise-version", version.as_str()).send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn keys(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|event| event["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn omises_events_are_listed_by_pages() {
    let simulator = simulator().await;
    let omise = simulator.omise();
    for _ in 0..3 {
        let charge = omise.new_charge_id();
        omise.create(&charge, money("100.00 THB"));
        omise.pay(&charge).unwrap();
    }
    let get = async |path: &str, key: &str| get(&simulator, path, key, OmiseVersion::V2019).await;
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

#[tokio::test]
async fn every_verb_makes_the_event_omise_would_make_even_if_nothing_is_sent() {
    let simulator = simulator().await;
    let (omise, thb) = (simulator.omise(), money("100.00 THB"));
    let ids: Vec<_> = (0..5).map(|_| omise.new_charge_id()).collect();
    omise.create(&ids[0], thb);
    omise.authorize(&ids[0]).unwrap();
    omise.capture(&ids[0], 4_000).unwrap();
    omise.refund(&ids[0], 1_000).unwrap();
    omise.update(&ids[0], "two coffees").unwrap();
    omise.create(&ids[1], thb);
    omise.authorize(&ids[1]).unwrap();
    omise.reverse(&ids[1]).unwrap();
    omise.create_with_source(&ids[2], thb, "mobile_banking_kbank");
    omise.expire(&ids[2]).unwrap();
    omise.create_decided(&ids[3], thb, OmiseStatus::Successful);
    omise.dispute(&ids[3]).unwrap();
    omise.update_dispute(&ids[3]).unwrap();
    omise.accept_dispute(&ids[3]).unwrap();
    omise.close_dispute(&ids[3], OmiseDispute::Lost).unwrap();
    omise.happen("transfer.send").unwrap();
    assert!(matches!(omise.happen("charge.create"), Err(SimulatorError::NotPossible(_))));
    let (_, list) = get(&simulator, "/events?limit=100", simulator.keys().secret_key(), OmiseVersion::V2019).await;
    let wanted = [
        "charge.create",
        "charge.complete",
        "charge.capture",
        "refund.create",
        "charge.update",
        "charge.create",
        "charge.complete",
        "charge.reverse",
        "charge.create",
        "charge.expire",
        "charge.create",
        "dispute.create",
        "dispute.update",
        "dispute.accept",
        "dispute.close",
        "transfer.send",
    ];
    assert_eq!(keys(&list), wanted);
    assert_eq!(list["data"][10]["data"]["status"], "successful", "without 3-D Secure the first event is the last");
    assert_eq!(simulator.journal().notifications().len(), 0);
    assert_eq!(omise.event_ids(&ids[0], "charge.capture"), [list["data"][2]["id"].as_str().unwrap()]);
}

#[tokio::test]
async fn a_missed_event_is_sent_later_as_it_was() {
    let simulator = simulator().await;
    let (ingress, omise) = (Ingress::start(&simulator).await, simulator.omise());
    let charge = omise.new_charge_id();
    omise.create(&charge, money("100.00 THB"));
    omise.fail(&charge, "payment_rejected").unwrap();
    omise.pay(&charge).unwrap();
    let ids = omise.event_ids(&charge, "charge.complete");
    for (id, status) in ids.iter().zip(["failed", "successful"]) {
        omise.signed_event(&ingress.url, &shop(), id).unwrap().send().await.unwrap();
        let notification = ingress.last().unwrap();
        assert_eq!(notification.about, About::Payment(charge.clone()));
        let body: Value = serde_json::from_slice(&notification.body).unwrap();
        assert_eq!((body["id"].as_str(), body["data"]["status"].as_str()), (Some(id.as_str()), Some(status)));
    }
    let transfer = omise.happen("transfer.create").unwrap();
    omise.signed_event(&ingress.url, &shop(), &transfer).unwrap().send().await.unwrap();
    assert_eq!(ingress.last().unwrap().about, About::Other);
    assert!(matches!(omise.signed_event(&ingress.url, &shop(), "evnt_test_9"), Err(SimulatorError::Unknown(_))));
}

#[tokio::test]
async fn refunds_and_a_dispute_are_embedded_in_the_charge() {
    let simulator = simulator().await;
    let omise = simulator.omise();
    let facts = async |id| ask(&simulator, Provider::Omise, id).await.unwrap();
    let partly = omise.new_charge_id();
    omise.create(&partly, money("100.00 THB"));
    omise.pay(&partly).unwrap();
    let refund = omise.refund(&partly, 4_000).unwrap();
    let told = facts(&partly).await;
    assert_eq!((told.refunds.len(), told.refunds[0].id.clone(), told.refunds[0].voided), (1, refund, false));
    assert_eq!((told.refunds[0].state, told.refunds[0].amount), (RefundState::Succeeded, Some(money("40.00 THB"))));

    let voided = omise.new_charge_id();
    omise.create_decided(&voided, money("100.00 THB"), OmiseStatus::Successful);
    omise.refund(&voided, 10_000).unwrap();
    let told = facts(&voided).await;
    assert_eq!((told.state, told.refunds[0].voided), (PaymentState::Refunded, true));

    let id = omise.dispute(&partly).unwrap();
    assert!(omise.refund(&partly, 1).is_err(), "a disputed charge is not refunded");
    assert!(omise.dispute(&partly).is_err(), "nor disputed twice");
    omise.update_dispute(&partly).unwrap();
    let told = facts(&partly).await;
    assert_eq!((told.disputes.len(), &told.disputes[0].id, told.disputes[0].state), (1, &id, DisputeState::Pending));
    assert_eq!(told.disputes[0].amount, Some(money("60.00 THB")), "what was left");
    assert!(omise.close_dispute(&partly, OmiseDispute::Open).is_err());
    omise.close_dispute(&partly, OmiseDispute::Won).unwrap();
    assert_eq!(facts(&partly).await.disputes[0].state, DisputeState::Won);
    assert!(omise.close_dispute(&partly, OmiseDispute::Lost).is_err(), "it is over");
    assert_eq!(omise.charge(&partly).unwrap()["dispute"]["status"], "won");
    assert_eq!(omise.charge(&voided).unwrap()["dispute"], Value::Null);
    omise.refund(&partly, 1_000).unwrap();
}

#[tokio::test]
async fn mobile_banking_takes_nothing_back() {
    let simulator = simulator().await;
    let (omise, charge) = (simulator.omise(), simulator.omise().new_charge_id());
    omise.create_with_source(&charge, money("100.00 THB"), "mobile_banking_kbank");
    omise.pay(&charge).unwrap();
    let shown = omise.charge(&charge).unwrap();
    assert_eq!((&shown["source"]["type"], &shown["card"]), (&json!("mobile_banking_kbank"), &Value::Null));
    assert_eq!((&shown["source"]["flow"], &shown["refundable"]), (&json!("app_redirect"), &json!(false)));
    assert!(omise.refund(&charge, 1).is_err() && omise.dispute(&charge).is_err());
    assert_eq!(ask(&simulator, Provider::Omise, &charge).await.unwrap().state, PaymentState::Paid);
}

#[tokio::test]
async fn an_event_keeps_the_api_version_of_its_time() {
    let simulator = simulator().await;
    let (ingress, omise) = (Ingress::start(&simulator).await, simulator.omise());
    for version in OmiseVersion::ALL {
        omise.set_version(version);
        let charge = omise.new_charge_id();
        omise.create(&charge, money("100.00 THB"));
        omise.pay(&charge).unwrap();
        omise.refund(&charge, 4_000).unwrap();
        omise.dispute(&charge).unwrap();
        let body = async |key| {
            omise.notify(&ingress.url, &shop(), &charge, key).await.unwrap();
            let notification = ingress.last().unwrap();
            assert_eq!(notification.about, About::Payment(charge.clone()), "{version} {key}");
            serde_json::from_slice::<Value>(&notification.body).unwrap()
        };
        let (paid, refund) = (body("charge.complete").await, body("refund.create").await);
        let (dispute, latest) = (body("dispute.create").await, version == OmiseVersion::V2019);
        for object in [&paid, &paid["data"], &refund["data"], &dispute["data"]] {
            assert_eq!((object.get("created_at").is_some(), object.get("created").is_some()), (latest, !latest));
        }
        let charge = &paid["data"];
        assert_eq!(charge["currency"], if latest { "THB" } else { "thb" });
        assert_eq!(charge.get("refunded_amount").is_some(), latest);
        assert_eq!(charge.get("net").is_some(), latest);
        let flag = if version == OmiseVersion::V2014 { "captured" } else { "paid" };
        assert_eq!((&charge[flag], charge[format!("{flag}_at")].is_string()), (&json!(true), true));
        assert_eq!(charge.get("source_of_fund").is_some(), version == OmiseVersion::V2015);
        assert_eq!(charge.get("source").is_some(), version >= OmiseVersion::V2017);
        assert_eq!(refund["data"].get("status").is_some(), latest);
        assert_eq!(refund["data"].get("voided").is_some(), version != OmiseVersion::V2014);
        assert_eq!(
            (dispute["data"]["transactions"].is_array(), dispute["data"]["transaction"].is_string()),
            (latest, !latest)
        );
    }
    // Read back, the envelope is in the version asked for, and what is in it is not.
    let (_, list) = get(&simulator, "/events", simulator.keys().secret_key(), OmiseVersion::V2019).await;
    assert!(list["data"][0]["created_at"].is_string() && list["data"][0]["data"]["created"].is_string());
    let one = format!("/events/{}", list["data"][0]["id"].as_str().unwrap());
    let (_, event) = get(&simulator, &one, simulator.keys().secret_key(), OmiseVersion::V2017).await;
    assert!(event["created"].is_string() && event.get("created_at").is_none());
}

#[tokio::test]
async fn a_charge_is_answered_in_the_version_asked_for_whatever_the_accounts_is() {
    let simulator = simulator().await;
    let omise = simulator.omise();
    omise.set_version(OmiseVersion::V2015);
    let charge = omise.new_charge_id();
    omise.create_with_source(&charge, money("100.00 THB"), "internet_banking_scb");
    omise.pay(&charge).unwrap();
    assert_eq!(ask(&simulator, Provider::Omise, &charge).await.unwrap().state, PaymentState::Paid);
    let (path, key) = (format!("/charges/{charge}"), simulator.keys().secret_key());
    let (_, older) = get(&simulator, &path, key, OmiseVersion::V2015).await;
    assert_eq!((&older["source_of_fund"], &older["offsite"]), (&json!("offsite"), &json!("internet_banking_scb")));
    let unnamed = reqwest::Client::new().get(format!("{}{path}", simulator.url())).basic_auth(key, Some(""));
    let unnamed = unnamed.send().await.unwrap();
    assert_eq!(unnamed.headers()["omise-version"], "2015-11-17");
    assert_eq!(serde_json::from_str::<Value>(&unnamed.text().await.unwrap()).unwrap(), older);
}

#[tokio::test]
async fn faults_bend_the_list_of_events_too() {
    let simulator = simulator().await;
    simulator.faults().set_next(Provider::Omise, Fault::Throttle { retry_after: None }, 1).unwrap();
    let key = simulator.keys().secret_key();
    assert_eq!(get(&simulator, "/events", key, OmiseVersion::V2019).await.0, 429);
    assert_eq!(get(&simulator, "/events", key, OmiseVersion::V2019).await.0, 200);
    assert_eq!(simulator.journal().calls(Provider::Omise)[0].what, "GET /events");
}
