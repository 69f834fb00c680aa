//! Antom's refunds, captures and disputes: what it answers about them to payhook's own client, and what it notifies.

use std::time::Duration;

use crate::world::{Ingress, ask, id, money, refund_id, shop, simulator};
use payhook_provider::{AskError, Client, PrivateKey, RefundAnswer, antom};
use payhook_schema::{About, Clock, DisputeId, PaymentState, Provider, RefundId, RefundState};
use payhook_simulator::{
    AntomHabits, AntomKind, AntomOutcome, AntomStatus, Fault, Judgement, Simulator, SimulatorError,
};

async fn paid() -> Simulator {
    let simulator = simulator().await;
    simulator.antom().create(&id("PR-1"), money("1500.00 THB"));
    simulator.antom().decide(&id("PR-1"), AntomStatus::Success).unwrap();
    simulator
}

async fn ask_refund(simulator: &Simulator, refund: &RefundId) -> Result<RefundAnswer, AskError> {
    let account = simulator.accounts(&shop()).get(Provider::Antom, &shop()).unwrap();
    Client::new(Clock::system()).unwrap().ask_refund(&account, refund).await
}

fn failed(code: &str) -> AntomOutcome {
    AntomOutcome::Fail(code.to_owned())
}

#[tokio::test]
async fn a_refund_is_asked_about_by_the_merchants_name_for_it() {
    let simulator = paid().await;
    let (antom, rf) = (simulator.antom(), refund_id("RF-1"));
    let unknown = ask_refund(&simulator, &rf).await.unwrap_err();
    assert_eq!(unknown, AskError::NotThere { code: "REFUND_NOT_EXIST".to_owned() });
    let reference = antom.refund(&id("PR-1"), &rf, 50_000).unwrap();
    for (outcome, state) in [
        (AntomOutcome::Processing, RefundState::Pending),
        (failed("REFUND_WINDOW_EXCEED"), RefundState::Failed),
        (AntomOutcome::Success, RefundState::Succeeded),
    ] {
        antom.decide_refund(&rf, outcome).unwrap();
        let answer = ask_refund(&simulator, &rf).await.unwrap();
        assert_eq!((answer.refund.state, answer.refund.amount), (state, Some(money("500.00 THB"))));
        assert_eq!(answer.refund.provider_reference.as_deref(), Some(reference.as_str()));
        assert_eq!((answer.payment, answer.reference), (None, None), "the answer names no payment");
    }
    let calls = simulator.journal().calls_about("RF-1");
    assert_eq!(calls.len(), 4);
    assert_eq!(calls[3].what, "inquiryRefund");
    assert_eq!(calls[3].answered.as_deref(), Some("200 S SUCCESS, refundStatus SUCCESS"));
}

#[tokio::test]
async fn a_payment_lists_its_refunds_and_stays_a_success() {
    let simulator = paid().await;
    let (antom, pr) = (simulator.antom(), id("PR-1"));
    assert!(antom.payment(&pr).unwrap()["transactions"].is_null(), "left out while there are none");
    antom.refund(&pr, &refund_id("RF-1"), 50_000).unwrap();
    antom.refund(&pr, &refund_id("RF-2"), 100_000).unwrap();
    antom.decide_refund(&refund_id("RF-1"), AntomOutcome::Success).unwrap();
    let facts = ask(&simulator, Provider::Antom, &pr).await.unwrap();
    assert_eq!((facts.state, facts.refunded_minor), (PaymentState::PartlyRefunded, 50_000));
    assert_eq!(antom.payment(&pr).unwrap()["paymentStatus"], "SUCCESS");
    let states: Vec<_> = facts.refunds.iter().map(|refund| (refund.id.as_str(), refund.state)).collect();
    assert_eq!(states, [("RF-1", RefundState::Succeeded), ("RF-2", RefundState::Pending)]);
    antom.decide_refund(&refund_id("RF-2"), failed("PROCESS_FAIL")).unwrap();
    let facts = ask(&simulator, Provider::Antom, &pr).await.unwrap();
    assert_eq!(facts.refunds[1].reason.as_deref(), Some("PROCESS_FAIL"));
    // What failed can be refunded again.
    antom.refund(&pr, &refund_id("RF-3"), 100_000).unwrap();
    antom.decide_refund(&refund_id("RF-3"), AntomOutcome::Success).unwrap();
    assert_eq!(ask(&simulator, Provider::Antom, &pr).await.unwrap().state, PaymentState::Refunded);
}

#[tokio::test]
async fn an_older_gateway_leaves_refunds_out_and_still_answers_about_them() {
    let simulator = paid().await;
    let (antom, pr, rf) = (simulator.antom(), id("PR-1"), refund_id("RF-1"));
    antom.set_habits(AntomHabits { refunds_listed: false, ..antom.habits() });
    antom.refund(&pr, &rf, 50_000).unwrap();
    antom.decide_refund(&rf, AntomOutcome::Success).unwrap();
    let facts = ask(&simulator, Provider::Antom, &pr).await.unwrap();
    assert_eq!((facts.state, facts.refunded_minor, facts.refunds.len()), (PaymentState::Paid, 0, 0));
    assert_eq!(ask_refund(&simulator, &rf).await.unwrap().refund.state, RefundState::Succeeded);
}

#[tokio::test]
async fn antom_refuses_refunds_it_could_not_make() {
    let simulator = paid().await;
    let (antom, pr) = (simulator.antom(), id("PR-1"));
    antom.refund(&pr, &refund_id("RF-1"), 50_000).unwrap();
    antom.create(&id("PR-2"), money("1.00 THB"));
    let refused = [
        antom.refund(&pr, &refund_id("RF-1"), 1),
        antom.refund(&pr, &refund_id("RF-2"), 100_001),
        antom.refund(&pr, &refund_id("RF-2"), 0),
        antom.refund(&id("PR-2"), &refund_id("RF-2"), 1),
    ];
    assert!(refused.iter().all(|refused| matches!(refused, Err(SimulatorError::NotPossible(_)))), "{refused:?}");
    let nobodys = antom.decide_refund(&refund_id("RF-9"), AntomOutcome::Success);
    assert!(matches!(nobodys, Err(SimulatorError::Unknown(_))));
    antom.forget(&pr);
    assert!(ask_refund(&simulator, &refund_id("RF-1")).await.is_err(), "a forgotten payment's refunds are forgotten");
}

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
    let simulator = paid().await;
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

#[tokio::test]
async fn faults_bend_what_is_said_of_refunds_too() {
    let simulator = paid().await;
    let (antom, rf) = (simulator.antom(), refund_id("RF-1"));
    antom.refund(&id("PR-1"), &rf, 50_000).unwrap();
    antom.decide_refund(&rf, AntomOutcome::Success).unwrap();
    for fault in
        [Fault::Down { status: 503 }, Fault::Close, Fault::HalfAnswer, Fault::OtherPayment, Fault::BadSignature]
    {
        simulator.faults().set(Provider::Antom, fault.clone()).unwrap();
        let error = ask_refund(&simulator, &rf).await.unwrap_err();
        assert!(matches!(error, AskError::Unavailable { .. }), "{fault:?}: {error:?}");
    }
    let after = Some(Duration::from_secs(3));
    simulator.faults().set(Provider::Antom, Fault::Throttle { retry_after: after }).unwrap();
    assert_eq!(ask_refund(&simulator, &rf).await.unwrap_err(), AskError::Throttled { after });
    simulator.faults().set(Provider::Antom, Fault::Flapping).unwrap();
    let (first, second) = (ask_refund(&simulator, &rf).await.unwrap(), ask_refund(&simulator, &rf).await.unwrap());
    assert_eq!((first.refund.state, second.refund.state), (RefundState::Succeeded, RefundState::Pending));
}

#[tokio::test]
async fn antom_tells_of_each_refund_by_its_name_and_may_also_lie() {
    let simulator = paid().await;
    let (ingress, antom, rf) = (Ingress::start(&simulator).await, simulator.antom(), refund_id("RF-1"));
    antom.refund(&id("PR-1"), &rf, 50_000).unwrap();
    antom.refund(&id("PR-1"), &refund_id("RF-2"), 1).unwrap();
    let silent = antom.notify_refund(&ingress.url, &shop(), &rf, AntomKind::RefundState).await;
    assert!(matches!(silent, Err(SimulatorError::NotPossible(_))), "it is still on its way");
    antom.decide_refund(&rf, failed("REFUND_NOT_SUPPORTED")).unwrap();
    for (kind, status) in
        [(AntomKind::RefundState, "FAIL"), (AntomKind::Refund, "SUCCESS"), (AntomKind::RefundFailed, "FAIL")]
    {
        antom.notify_refund(&ingress.url, &shop(), &rf, kind).await.unwrap();
        let notification = ingress.last().unwrap();
        assert_eq!(notification.about, About::Refund { id: rf.clone(), payment: None });
        let body: serde_json::Value = serde_json::from_slice(&notification.body).unwrap();
        assert_eq!(body["refundStatus"], status, "{kind}");
    }
    let wrong = antom.signed_refund(&ingress.url, &shop(), &rf, AntomKind::Paid);
    assert!(matches!(wrong, Err(SimulatorError::NotPossible(_))));
    assert_eq!(antom.refund_shown(&rf).unwrap()["refundStatus"], "FAIL");
}

#[tokio::test]
async fn a_payment_captured_by_hand_is_authorized_until_its_capture_succeeds() {
    let simulator = paid().await;
    let (ingress, antom, pr) = (Ingress::start(&simulator).await, simulator.antom(), id("PR-1"));
    let request_id = antom.capture(&pr, 120_000).unwrap();
    let facts = async || ask(&simulator, Provider::Antom, &pr).await.unwrap();
    assert_eq!(facts().await.state, PaymentState::Authorized);
    assert!(antom.refund(&pr, &refund_id("RF-1"), 1).is_err(), "nothing is captured yet");
    antom.decide_capture(&pr, failed("PROCESS_FAIL")).unwrap();
    assert_eq!(facts().await.state, PaymentState::Authorized);
    antom.capture(&pr, 120_000).unwrap();
    antom.decide_capture(&pr, AntomOutcome::Success).unwrap();
    let captured = facts().await;
    assert_eq!((captured.state, captured.captured_minor), (PaymentState::Paid, 120_000));
    assert!(antom.refund(&pr, &refund_id("RF-1"), 120_001).is_err(), "no more than was captured");
    antom.notify(&ingress.url, &shop(), &pr, AntomKind::Capture).await.unwrap();
    let body = String::from_utf8(ingress.last().unwrap().body).unwrap();
    assert!(body.contains(r#""captureRequestId":"CP-PR-1-2""#) && !body.contains("paymentRequestId"), "{body}");
    assert_eq!(request_id, "CP-PR-1-1");
}

#[tokio::test]
async fn a_dispute_is_told_from_its_opening_to_its_judgement() {
    let simulator = paid().await;
    let (ingress, antom, pr) = (Ingress::start(&simulator).await, simulator.antom(), id("PR-1"));
    antom.dispute(&pr, &DisputeId::new("DP-7").unwrap(), 50_000).unwrap();
    assert!(antom.dispute(&pr, &DisputeId::new("DP-8").unwrap(), 150_001).is_err());
    for (kind, word) in [
        (AntomKind::Dispute, None),
        (AntomKind::DefenseSupplied, None),
        (AntomKind::DisputeJudged(Judgement::AcceptByMerchant), Some("ACCEPT_BY_MERCHANT")),
        (AntomKind::DisputeJudged(Judgement::ValidateFail), Some("VALIDATE_FAIL")),
    ] {
        antom.notify(&ingress.url, &shop(), &pr, kind).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&ingress.last().unwrap().body).unwrap();
        assert_eq!((&body["disputeId"], &body["disputeAmount"]["value"]), (&"DP-7".into(), &"50000".into()));
        assert_eq!(body["disputeJudgedResult"].as_str(), word);
    }
    assert_eq!(ask(&simulator, Provider::Antom, &pr).await.unwrap().state, PaymentState::Paid);
}
