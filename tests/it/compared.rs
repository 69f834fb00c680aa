//! Our orders beside the providers', and a captured request beside the signature it should have.

use payhook_schema::RefundId;
use payhook_simulator::{AntomKind, AntomOutcome, AntomStatus};

use crate::harness::{TestPayhook, journeys};

journeys! { Plan::usual();
    a_drift_report_names_what_the_provider_says_differently_and_changes_nothing,
    verify_says_why_a_captured_request_does_not_hold,
}

async fn a_drift_report_names_what_the_provider_says_differently_and_changes_nothing(payhook: &TestPayhook) {
    let mut payments = Vec::new();
    for n in 0..3 {
        let payment = payhook.antom_order(&format!("V-{n}"), "10.00 THB").await;
        payhook.antom_decides(&payment, AntomStatus::Success);
        payhook.antom_notifies(&payment, AntomKind::State).await;
        payhook.becomes(&format!("V-{n}"), "paid").await;
        payments.push(payment);
    }
    payhook.cli(&["drift", "--since", "1h"]).await.ends_with(0);
    // Refunded in the dashboard, and nobody told us.
    let (antom, refund) = (payhook.simulator.antom(), RefundId::new("RF-silent").unwrap());
    antom.refund(&payments[1], &refund, 400).unwrap();
    antom.decide_refund(&refund, AntomOutcome::Success).unwrap();
    let ran = payhook.cli(&["drift", "--since", "1h"]).await.ends_with(1);
    assert!(ran.stdout.contains("V-1") && !ran.stdout.contains("V-0"), "{}", ran.stdout);
    assert_eq!(payhook.order("V-1").await.unwrap()["state"], "paid", "a report changes nothing");
    // Less than was said before: what was shipped for it may never be paid.
    payhook.antom_decides(&payments[2], AntomStatus::Processing);
    let ran = payhook.cli(&["drift", "--since", "1h"]).await.ends_with(1);
    assert!(ran.stdout.contains("V-2") && !ran.stdout.contains("V-0"), "{}", ran.stdout);
}

async fn verify_says_why_a_captured_request_does_not_hold(payhook: &TestPayhook) {
    let charge = payhook.omise_order("V-9", "10.00 THB").await;
    let request = payhook.omise_signed(&charge, "charge.complete");
    let headers: Vec<String> = ["content-type", "omise-signature", "omise-signature-timestamp"]
        .iter()
        .filter_map(|name| Some(format!("{name}: {}", request.header(name)?)))
        .collect();
    let (headers_file, body_file) = (payhook.folder().join("headers.txt"), payhook.folder().join("body.json"));
    std::fs::write(&headers_file, headers.join("\n")).unwrap();
    let verify = async |body: &[u8]| {
        std::fs::write(&body_file, body).unwrap();
        let (headers, body) = (headers_file.to_str().unwrap(), body_file.to_str().unwrap());
        payhook.cli(&["verify", "omise", "--account", "shop", "--headers", headers, "--body", body, "--json"]).await
    };
    let holds = verify(&request.body).await.ends_with(0).json();
    assert_eq!(holds["holds"], true, "{holds}");
    let trimmed = request.body.trim_ascii_end();
    let ran = verify(trimmed).await.ends_with(1);
    assert!(ran.stdout.contains("final_newline_missing"), "{}", ran.stdout);
    assert!(!ran.stdout.contains(payhook.marker()), "a body is shown: {}", ran.stdout);
}
