//! The providers' own client libraries against the simulator and the ingress: what we sign they accept, and the other
//! way round.

use std::io::Write as _;
use std::process::{Command, Stdio};

use payhook_schema::{Currency, Provider, RefundId};
use payhook_simulator::{AntomKind, AntomOutcome, AntomStatus, SignedRequest};
use serde_json::{Value, json};

use crate::harness::{KEYS, TestPayhook, is_installed, python_with, shop};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_own_libraries_read_and_sign_as_we_do() {
    if !is_installed("python3", "python3-venv") {
        return;
    }
    let python = tokio::task::spawn_blocking(|| python_with("clients", &format!("{FOLDER}/requirements.txt")));
    let python = python.await.expect("the installation ends");
    let payhook = TestPayhook::one_file().await;
    let (antom, omise) = (payhook.simulator.antom(), payhook.simulator.omise());
    let pending = payhook.antom_order("C-1", "30.00 THB").await;
    let paid = payhook.antom_order("C-2", "39000 KRW").await;
    payhook.antom_decides(&paid, AntomStatus::Success);
    let refund = RefundId::new("RF-C-2").unwrap();
    antom.refund(&paid, &refund, 9_000).unwrap();
    antom.decide_refund(&refund, AntomOutcome::Success).unwrap();
    let charge = payhook.omise_order("C-3", "120.00 THB").await;
    omise.pay(&charge).unwrap();
    let notification = payhook.marked(antom.signed(&payhook.ingress(), &shop(), &paid, AntomKind::State).unwrap());

    let answer = ask(
        &python,
        &json!({
            "simulator": payhook.simulator.url(),
            "client_id": KEYS.client_id(),
            "merchant_key": KEYS.merchant().to_base64(),
            "antom_key": KEYS.antom().to_base64(),
            "antom_public_key": KEYS.antom().public_key_base64(),
            "secret_key": KEYS.secret_key(),
            "payments": [pending, paid, "PR-nobody-knows"],
            "refund": refund,
            "charge": charge,
            "notification": parts(&notification),
            "to_sign": parts(&notification),
        }),
    );
    assert_eq!(
        answer["payments"],
        json!([
            { "result": "S", "status": "PROCESSING", "amount": ["THB", "3000"], "refunds": 0 },
            { "result": "S", "status": "SUCCESS", "amount": ["KRW", "39000"], "refunds": 1 },
            { "result": "F", "status": null, "amount": null, "refunds": 0 },
        ])
    );
    assert_eq!(answer["refund"], json!({ "result": "S", "status": "SUCCESS" }));
    assert_eq!(answer["charge"], json!({ "status": "successful", "paid": true, "amount": ["THB", 12_000] }));
    assert_eq!(answer["genuine"], true);

    // Signed by Antom's library, taken by our ingress.
    let signature = format!("algorithm=RSA256,keyVersion=1,signature={}", answer["signature"].as_str().unwrap());
    let signed = payhook.known(notification.without_header("signature").with_header("signature", &signature));
    payhook.delivers(&signed).await;
    payhook.becomes("C-2", "partly_refunded").await;

    // The decimals of each currency Antom lists, and whole rupiah: `15000.50 IDR` is refused by both.
    for (code, decimals) in answer["minor_units"].as_object().unwrap() {
        assert_eq!(Currency::new(code).map(|it| u64::from(it.exponent())).ok(), decimals.as_u64(), "{code}");
    }
    assert_eq!(answer["multiples"], json!({ "IDR": "100" }));
    assert_eq!(payhook.order("C-3").await.unwrap()["payments"][0]["provider"], Provider::Omise.as_str());
}

fn parts(request: &SignedRequest) -> Value {
    json!({
        "path": request.path,
        "time": request.header("request-time"),
        "signature": request.header("signature"),
        "body": String::from_utf8(request.body.clone()).expect("JSON is text"),
    })
}

fn ask(python: &str, question: &Value) -> Value {
    let mut asking = Command::new(python);
    asking.arg("ask.py").current_dir(FOLDER).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "127.0.0.1");
    let mut asking = asking.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    asking.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let answered = asking.wait_with_output().unwrap();
    assert!(answered.status.success(), "{}", String::from_utf8_lossy(&answered.stderr));
    serde_json::from_slice(&answered.stdout).expect("it prints JSON")
}
