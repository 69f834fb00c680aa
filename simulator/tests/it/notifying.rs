//! The simulated providers notify, over HTTP; payhook's own `verify` judges what arrives.

use std::time::Duration;

use crate::world::{Ingress, id, money, refund_id, shop, simulator};
use payhook_provider::Refusal;
use payhook_schema::About;
use payhook_simulator::{AntomKind, AntomOutcome, AntomStatus, Keys, OmiseStatus, SignedRequest, SimulatorError};

#[tokio::test]
async fn every_kind_of_antoms_notifications_verifies() {
    let simulator = simulator().await;
    let (ingress, antom, pr) = (Ingress::start(&simulator).await, simulator.antom(), id("PR-1"));
    antom.create(&pr, money("1500.00 THB"));
    antom.decide(&pr, AntomStatus::Success).unwrap();
    antom.capture(&pr, 150_000).unwrap();
    antom.decide_capture(&pr, AntomOutcome::Success).unwrap();
    antom.refund(&pr, &refund_id("RF-1"), 1_000).unwrap();
    antom.decide_refund(&refund_id("RF-1"), AntomOutcome::Success).unwrap();
    let theirs = antom.payment(&pr).unwrap()["paymentId"].as_str().unwrap().to_owned();
    for kind in AntomKind::ALL {
        let reply = antom.notify(&ingress.url, &shop(), &pr, kind).await.unwrap();
        assert!(reply.acknowledged(), "{kind}: {reply:?}");
        let notification = ingress.last().unwrap();
        let (word, about) = match kind {
            AntomKind::State | AntomKind::Paid | AntomKind::Failed | AntomKind::SubscriptionPayment => {
                ("PAYMENT_RESULT", "payment")
            }
            AntomKind::Pending => ("PAYMENT_PENDING", "payment"),
            AntomKind::AmountUpdated => ("UPDATE_AMOUNT_RESULT", "payment"),
            AntomKind::Capture | AntomKind::CaptureFailed => ("CAPTURE_RESULT", "reference"),
            AntomKind::RefundState | AntomKind::Refund | AntomKind::RefundFailed => ("REFUND_RESULT", "refund"),
            AntomKind::AuthcodeCreated => ("AUTHCODE_CREATED", "authorization"),
            AntomKind::TokenCreated => ("TOKEN_CREATED", "authorization"),
            AntomKind::TokenCanceled => ("TOKEN_CANCELED", "authorization"),
            AntomKind::Dispute => ("DISPUTE_CREATED", "payment"),
            AntomKind::DefenseDueAlert => ("DEFENSE_DUE_ALERT", "payment"),
            AntomKind::DefenseSupplied => ("DEFENSE_SUPPLIED", "payment"),
            AntomKind::DisputeJudged(_) => ("DISPUTE_JUDGED", "payment"),
            AntomKind::DisputeAccepted => ("DISPUTE_ACCEPTED", "payment"),
            AntomKind::DisputeCancelled => ("DISPUTE_CANCELLED", "payment"),
            AntomKind::RdrResolved => ("RDR_RESOLVED", "payment"),
            AntomKind::Subscription(step) => (step.word(), "other"),
            AntomKind::Vaulting => ("VAULTING", "other"),
            AntomKind::Unknown => ("NOVELTY_RESULT", "other"),
        };
        assert_eq!(notification.kind, word);
        let named = match &notification.about {
            About::Payment(id) if *id == pr => "payment",
            About::Reference(name) if *name == theirs => "reference",
            About::Refund { id, payment: None } if id.as_str() == "RF-1" => "refund",
            About::Authorization(_) => "authorization",
            About::Other => "other",
            wrong => panic!("{kind}: {wrong:?}"),
        };
        assert_eq!(named, about, "{kind}");
        assert!(
            !notification.body.contains(&b'\n') && notification.signed_at == Some(crate::world::NOW.parse().unwrap())
        );
    }
    assert_eq!(simulator.journal().call_count(payhook_schema::Provider::Antom), 0, "telling is not asking");
}

#[tokio::test]
async fn antom_says_what_its_state_says_and_is_silent_without_an_outcome() {
    let simulator = simulator().await;
    let (ingress, antom, pr) = (Ingress::start(&simulator).await, simulator.antom(), id("PR-1"));
    antom.create(&pr, money("1500.00 THB"));
    let silent = antom.notify(&ingress.url, &shop(), &pr, AntomKind::State).await;
    assert!(matches!(silent, Err(SimulatorError::NotPossible(_))));
    antom.decide(&pr, AntomStatus::Fail("RISK_REJECT".to_owned())).unwrap();
    antom.notify(&ingress.url, &shop(), &pr, AntomKind::State).await.unwrap();
    let body = String::from_utf8(ingress.last().unwrap().body).unwrap();
    assert!(body.contains(r#""resultCode":"RISK_REJECT","resultStatus":"F""#), "{body}");
    // The lie: it says paid although the state is failed, and the signature is true.
    antom.notify(&ingress.url, &shop(), &pr, AntomKind::Paid).await.unwrap();
    let body = String::from_utf8(ingress.last().unwrap().body).unwrap();
    assert!(body.contains(r#""resultCode":"SUCCESS","resultStatus":"S""#), "{body}");
    assert_eq!(antom.status(&pr).unwrap().word(), "FAIL");
}

#[tokio::test]
async fn the_path_under_a_public_base_is_the_one_that_is_signed() {
    let simulator = simulator().await;
    let (ingress, antom, pr) = (Ingress::start(&simulator).await, simulator.antom(), id("PR-1"));
    antom.create(&pr, money("1500.00 THB"));
    let base = format!("{}/pay/", ingress.url);
    let request = antom.signed(&base, &shop(), &pr, AntomKind::Paid).unwrap();
    assert_eq!(request.path, "/pay/antom/shop/notifyPayment");
    assert_eq!(request.send().await.unwrap().status, 200);
    let mut moved = request.clone();
    moved.path = "/antom/shop/notifyPayment".to_owned();
    assert_eq!(moved.send().await.unwrap().status, 401);
    assert_eq!(moved.signed_again().send().await.unwrap().status, 200);
    assert!(matches!(antom.signed("shop.example", &shop(), &pr, AntomKind::Paid), Err(SimulatorError::BaseUrl(_))));
}

#[tokio::test]
async fn every_event_of_omises_verifies_and_a_repeat_is_the_same_event() {
    let simulator = simulator().await;
    let (ingress, omise) = (Ingress::start(&simulator).await, simulator.omise());
    let charge = omise.new_charge_id();
    omise.create(&charge, money("1500.00 THB"));
    omise.authorize(&charge).unwrap();
    omise.capture(&charge, 120_000).unwrap();
    omise.refund(&charge, 1_000).unwrap();
    for key in
        ["charge.create", "charge.complete", "charge.capture", "refund.create", "charge.update", "dispute.create"]
    {
        let first = omise.notify(&ingress.url, &shop(), &charge, key).await.unwrap();
        assert_eq!(first.status, 200, "{key}: {:?}", ingress.last());
        let notification = ingress.last().unwrap();
        assert_eq!((notification.kind.as_str(), &notification.about), (key, &About::Payment(charge.clone())));
        assert!(notification.body.ends_with(b"}\n") && notification.body.starts_with(b"{\n  \"object\": \"event\""));
        omise.notify(&ingress.url, &shop(), &charge, key).await.unwrap();
        assert_eq!(ingress.last().unwrap().idempotency_key, notification.idempotency_key);
    }
    omise.notify(&ingress.url, &shop(), &charge, "transfer.create").await.unwrap();
    assert_eq!(ingress.last().unwrap().about, About::Other);
    let silent = omise.signed(&ingress.url, &shop(), &charge, "charge.expire").unwrap().send().await.unwrap();
    assert_eq!(silent.status, 200, "an event nobody made yet is made from the state");
}

#[tokio::test]
async fn an_event_keeps_the_snapshot_of_its_time_and_may_also_lie() {
    let simulator = simulator().await;
    let (ingress, omise) = (Ingress::start(&simulator).await, simulator.omise());
    let charge = omise.new_charge_id();
    omise.create(&charge, money("1500.00 THB"));
    omise.fail(&charge, "payment_rejected").unwrap();
    let status = |body: &[u8]| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        body["data"]["status"].as_str().unwrap().to_owned()
    };
    let early = omise.signed(&ingress.url, &shop(), &charge, "charge.create").unwrap();
    assert_eq!(status(&early.body), "pending");
    let lie = omise.signed_saying(&ingress.url, &shop(), &charge, "charge.complete", OmiseStatus::Successful).unwrap();
    assert_eq!((status(&lie.body), lie.send().await.unwrap().status), ("successful".to_owned(), 200));
    assert_eq!(omise.status(&charge).unwrap(), OmiseStatus::Failed("payment_rejected".to_owned()));
    // Begun anew, it has nothing to tell of its former life.
    omise.create(&charge, money("1500.00 THB"));
    let anew = omise.signed(&ingress.url, &shop(), &charge, "charge.complete").unwrap();
    assert_eq!(status(&anew.body), "pending");
}

/// Sends a good request with each alteration, and returns the status of each.
async fn altered(request: &SignedRequest, strangers: &Keys) -> Vec<(&'static str, u16)> {
    let signature = if request.header("signature").is_some() { "signature" } else { "omise-signature" };
    let cases = [
        ("flipped", request.clone().flipped(20)),
        ("trimmed", request.clone().trimmed()),
        ("re-encoded", request.clone().reencoded()),
        ("without a signature", request.clone().without_header(signature)),
        ("with an empty signature", request.clone().with_header(signature, "x")),
        ("signed by a stranger", request.clone().signed_by(strangers)),
    ];
    let mut statuses = Vec::new();
    for (what, case) in cases {
        statuses.push((what, case.send().await.unwrap().status));
    }
    statuses
}

#[tokio::test]
async fn whatever_is_altered_is_refused() {
    let simulator = simulator().await;
    let ingress = Ingress::start(&simulator).await;
    let (pr, charge) = (id("PR-1"), simulator.omise().new_charge_id());
    simulator.antom().create(&pr, money("1500.00 THB"));
    simulator.omise().create(&charge, money("1500.00 THB"));
    let strangers = Keys::generate();
    let antom = simulator.antom().signed(&ingress.url, &shop(), &pr, AntomKind::Paid).unwrap();
    let omise = simulator.omise().signed(&ingress.url, &shop(), &charge, "charge.create").unwrap();
    for request in [&antom, &omise] {
        for (what, status) in altered(request, &strangers).await {
            assert_eq!(status, 401, "{request:?} {what}");
        }
        assert_eq!(request.send().await.unwrap().status, 200, "and the original still holds");
    }
    assert_eq!(antom.clone().for_client("SANDBOX_5Y_OTHER").send().await.unwrap().status, 401);
    assert!(matches!(ingress.last(), Err(Refusal::NotGenuine(why)) if why.contains("client-id")));
}

#[tokio::test]
async fn a_notification_is_sent_often_at_once_and_until_it_is_acknowledged() {
    let simulator = simulator().await;
    let (ingress, pr) = (Ingress::start(&simulator).await, id("PR-1"));
    simulator.antom().create(&pr, money("1500.00 THB"));
    let request = simulator.antom().signed(&ingress.url, &shop(), &pr, AntomKind::Paid).unwrap();
    assert!(request.send_times(3).await.iter().all(|reply| reply.as_ref().unwrap().acknowledged()));
    assert!(request.send_together(5).await.iter().all(|reply| reply.as_ref().unwrap().acknowledged()));
    assert_eq!(ingress.count(), 8);
    ingress.unwilling(2);
    let replies = request.send_until_acknowledged(&[Duration::from_millis(1); 8]).await;
    let statuses: Vec<_> = replies.into_iter().map(|reply| reply.unwrap().status).collect();
    assert_eq!(statuses, [503, 503, 200]);
    let sent = simulator.journal().notifications();
    assert_eq!((sent.len(), sent[10].status, sent[10].about.as_str()), (11, Some(200), pr.as_str()));
    assert_eq!(sent[10].url, format!("{}/antom/shop/notifyPayment", ingress.url));
}

#[tokio::test]
async fn what_nobody_takes_is_an_error_and_in_the_journal() {
    let simulator = simulator().await;
    let pr = id("PR-1");
    simulator.antom().create(&pr, money("1500.00 THB"));
    let nobody = simulator.antom().notify("http://127.0.0.1:1", &shop(), &pr, AntomKind::Paid).await;
    assert!(matches!(nobody, Err(SimulatorError::Undelivered(_))));
    assert_eq!(simulator.journal().notifications()[0].status, None);
}
