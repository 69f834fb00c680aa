//! The simulated providers notify, over HTTP; payhook's own `verify` judges what arrives.

use crate::world::{NotificationSink, id, money, refund_id, shop, simulator};
use payhook_schema::About;
use payhook_simulator::{AntomKind, AntomOutcome, AntomStatus, SimulatorError};

#[tokio::test]
async fn every_kind_of_antoms_notifications_verifies() {
    let simulator = simulator().await;
    let (ingress, antom, pr) = (NotificationSink::start(&simulator).await, simulator.antom(), id("PR-1"));
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
    assert_eq!(simulator.journal().calls(payhook_schema::Provider::Antom), [], "a notification is no call");
}

#[tokio::test]
async fn the_path_under_a_public_base_is_the_one_that_is_signed() {
    let simulator = simulator().await;
    let (ingress, antom, pr) = (NotificationSink::start(&simulator).await, simulator.antom(), id("PR-1"));
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
