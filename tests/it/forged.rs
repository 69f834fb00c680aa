//! A stolen broker password: whoever can write to the queue is believed in nothing.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use payhook_schema::{Clock, PaymentId, Provider, new_id};
use payhook_simulator::{AntomKind, AntomStatus, SignedRequest};
use serde_json::{Value, json};

use crate::harness::{Plan, STRANGER, TestPayhook, money, shop};

impl TestPayhook {
    /// Puts a message on the work queue, past every ingress.
    async fn broker_has(&self, message: &Value) {
        self.broker_has_in("payhook.notifications", message).await;
    }

    /// Puts a message into any of the broker's queues.
    pub(crate) async fn broker_has_in(&self, queue: &str, message: &Value) {
        let vhost = self.vhost();
        let payload = BASE64_STANDARD.encode(message.to_string());
        let body = json!({
            "properties": { "delivery_mode": 2 }, "routing_key": "", "payload": payload, "payload_encoding": "base64",
        });
        let path = format!("/exchanges/{}/{queue}/publish", vhost.name);
        let answer = vhost.admin("POST", &path, Some(body)).await.unwrap();
        assert_eq!(answer["routed"], true, "{answer}");
    }
}

/// An envelope as an ingress would write it, had the request been genuine.
pub(crate) fn enveloped(request: &SignedRequest, payment: &PaymentId, received_at: &str) -> Value {
    let id = new_id(Clock::system().now());
    json!({ "v": 1, "id": id, "notification": {
        "id": id, "provider": "antom", "account": shop(), "kind": "DISPUTE_CREATED", "about": { "payment": payment },
        "idempotency_key": format!("forged-{id}"), "received_at": received_at, "signed_at": null,
        "verified_by": "keyVersion 1", "signed_path": request.path, "headers": request.headers,
        "body": BASE64_STANDARD.encode(&request.body),
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_notification_on_the_broker_is_not_believed_and_not_archived() {
    let Some(payhook) = Plan::usual().retry_delays(&["1s"]).cluster().await else { return };
    let payment = payhook.antom_order("F-1", "90.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("F-1", "paid").await;
    let asked = payhook.asked(&payment);

    let forged = payhook.antom_signed(&payment, AntomKind::Dispute).signed_by(&STRANGER);
    payhook.broker_has(&enveloped(&forged, &payment, "2026-11-28T00:00:00Z")).await;
    let letter = payhook.dies(&payment).await;
    assert_eq!((&letter["cause"], &letter["notification_id"]), (&json!("misconfigured"), &json!(null)), "{letter}");
    assert!(letter["detail"].as_str().unwrap().contains("somebody else wrote to the queue"), "{letter}");
    let order = payhook.order("F-1").await.unwrap();
    assert_eq!((&order["state"], &order["disputes"]), (&json!("paid"), &json!([])), "{order}");
    assert_eq!(payhook.asked(&payment), asked, "what is not proven makes nobody ask");
    payhook.events_are("F-1", &["order.paid"]).await;
    payhook.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_release_on_the_broker_releases_nothing() {
    let Some(payhook) = Plan::usual().cluster().await else { return };
    let charge = payhook.simulator.omise().new_charge_id();
    payhook.simulator.omise().create(&charge, money("50.00 THB"));
    payhook.registers("F-2", "500.00 THB", Provider::Omise, &charge).await;
    payhook.simulator.omise().pay(&charge).unwrap();
    payhook.omise_notifies(&charge, "charge.complete").await;
    let order = payhook.becomes("F-2", "held").await;

    let (id, old) = (new_id(Clock::system().now()), new_id(Clock::system().now()));
    payhook.broker_has(&json!({ "v": 1, "id": id, "release": { "order": "F-2", "id": id } })).await;
    let release = json!({ "order": "F-2", "hold": order["hold"], "who": "ann", "reason": "checked by hand" });
    payhook.broker_has(&json!({ "v": 1, "id": old, "release": release })).await;
    let letters = payhook
        .until("both are dead letters", async || {
            let letters = payhook.dead_letters().await?;
            if letters.len() == 2 { Ok(letters) } else { Err(format!("{letters:#?}")) }
        })
        .await;
    assert!(letters.iter().all(|letter| letter["cause"] == "poison"), "{letters:#?}");
    let details: String = letters.iter().filter_map(|letter| letter["detail"].as_str()).collect();
    assert!(details.contains("the store has no release") && details.contains("release the order again"), "{details}");
    assert_eq!(payhook.order("F-2").await.unwrap()["state"], "held");
    payhook.events_are("F-2", &["order.held"]).await;
    payhook.ends_well().await;
}
