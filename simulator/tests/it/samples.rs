//! Samples without a server, keys in a folder, and the configuration handed out.

use crate::world::{NOW, id, money, shop, simulator};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use payhook_provider::{Received, verify};
use payhook_schema::{About, Notification, Provider};
use payhook_simulator::{AntomKind, Keys, OmiseVersion, Simulator, sample};
use uuid::Uuid;

fn verified(
    simulator: &Simulator,
    provider: Provider,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Notification {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let at = NOW.parse().unwrap();
    let received = Received { path, query: None, headers: &map, body, at, id: Uuid::nil() };
    verify(&simulator.accounts(&shop()).get(provider, &shop()).unwrap(), &received).unwrap().into_inner()
}

#[tokio::test]
async fn a_signed_sample_of_every_kind_verifies() {
    let simulator = simulator().await;
    let (keys, now, path) = (simulator.keys(), NOW.parse().unwrap(), "/antom/shop/notifyPayment");
    for kind in sample::antom_kinds() {
        let body = sample::antom(kind, &id("PR-1"), money("1500.00 THB"), now).unwrap();
        let headers = sample::sign_antom(keys.antom(), 1, keys.client_id(), path, now, &body);
        verified(&simulator, Provider::Antom, path, &headers, &body);
        assert_eq!(kind.as_str().parse::<AntomKind>().unwrap(), kind);
    }
    for version in OmiseVersion::ALL {
        for key in sample::omise_kinds() {
            let body = sample::omise_in(version, key, &id("chrg_test_1"), money("1500.00 THB"), now).unwrap();
            let headers = sample::sign_omise(keys.webhook(), now, &body);
            let notification = verified(&simulator, Provider::Omise, "/omise/shop", &headers, &body);
            assert_eq!(notification.kind, *key);
            let ours = ["charge.", "refund.", "dispute."].iter().any(|family| key.starts_with(family));
            assert_eq!(notification.about == About::Payment(id("chrg_test_1")), ours, "{version} {key}");
        }
    }
    assert!(sample::omise("charge.complete", &id("PR-1"), money("1.00 THB"), now).is_err());
    for kind in [AntomKind::State, AntomKind::RefundState] {
        assert!(sample::antom(kind, &id("PR-1"), money("1.00 THB"), now).is_err());
    }
}

#[test]
fn two_samples_about_one_payment_name_the_same_one() {
    let body = |time: &str| {
        let body = sample::antom(AntomKind::Paid, &id("PR-1"), money("1500.00 THB"), time.parse().unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    };
    let (first, second) = (body("2026-01-01T00:00:00Z"), body("2026-01-01T09:00:00Z"));
    assert_eq!(first["paymentId"], second["paymentId"]);
    assert_eq!(first["paymentTime"], "2025-12-31T17:00:00-07:00");
    let event =
        |time: &str| sample::omise("charge.complete", &id("chrg_test_1"), money("1.00 THB"), time.parse().unwrap());
    let event = |time: &str| serde_json::from_slice::<serde_json::Value>(&event(time).unwrap()).unwrap()["id"].clone();
    assert_eq!(event("2026-01-01T00:00:00Z"), event("2026-01-01T00:00:00Z"));
    assert_ne!(event("2026-01-01T00:00:00Z"), event("2026-01-01T00:00:01Z"));
}

#[test]
fn keys_in_a_folder_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let (first, second) = (Keys::load_or_create(&keys).unwrap(), Keys::load_or_create(&keys).unwrap());
    assert_eq!(first.antom().to_base64(), second.antom().to_base64());
    assert_eq!(first.merchant().to_base64(), second.merchant().to_base64());
    assert_ne!(first.antom().to_base64(), first.merchant().to_base64());
    assert_eq!(first.client_id(), second.client_id());
    assert_eq!((first.secret_key(), first.webhook_secret()), (second.secret_key(), second.webhook_secret()));
    assert!(first.client_id().starts_with("SANDBOX_5Y") && first.secret_key().starts_with("skey_test_demo_"));
    std::fs::write(keys.join("antom_private_key"), "not a key").unwrap();
    let error = Keys::load_or_create(&keys).unwrap_err().to_string();
    assert!(error.contains("antom_private_key") && !error.contains("not a key"), "{error}");
}

#[tokio::test]
async fn the_configuration_names_both_accounts_and_every_key() {
    let simulator = simulator().await;
    let config: toml::Table = simulator.config_toml(&shop()).parse().unwrap();
    let (antom, omise) = (&config["antom"]["shop"], &config["omise"]["shop"]);
    assert_eq!(antom["api"].as_str().unwrap(), simulator.url());
    assert_eq!((antom["sandbox"].as_bool(), omise["livemode"].as_bool()), (Some(true), Some(false)));
    assert_eq!(antom["client_id"].as_str().unwrap(), simulator.keys().client_id());
    let private = payhook_provider::PrivateKey::parse(antom["private_key"].as_str().unwrap()).unwrap();
    assert_eq!(private.to_base64(), simulator.keys().merchant().to_base64());
    payhook_provider::PublicKey::parse(antom["public_keys"]["1"].as_str().unwrap()).unwrap();
    payhook_provider::omise::WebhookSecret::parse(omise["webhook_secrets"][0].as_str().unwrap()).unwrap();
    assert_eq!(omise["secret_key"].as_str().unwrap(), simulator.keys().secret_key());
}
