//! Omise's events in every API version, and their list.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::world::{NOW, money, shop, simulator, simulator_by};
use jiff::Timestamp;
use payhook_provider::{AskError, Client, EventsPage};
use payhook_schema::{Clock, Provider};
use payhook_simulator::{OmiseVersion, Simulator, sample};
use serde_json::Value;

async fn get(simulator: &Simulator, path: &str, key: &str, version: OmiseVersion) -> (u16, Value) {
    let request = reqwest::Client::new().get(format!("{}{path}", simulator.url())).basic_auth(key, Some(""));
    let response = request.header("omise-version", version.as_str()).send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
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

/// Asserts that an object has the documented fields, each absent or of the documented form.
fn alike(ours: &Value, documented: &Value, what: &str) {
    let (ours, documented) = (ours.as_object().unwrap(), documented.as_object().unwrap());
    assert_eq!(ours.keys().collect::<Vec<_>>(), documented.keys().collect::<Vec<_>>(), "{what}");
    for (name, value) in ours {
        let (form, documented) = (std::mem::discriminant(value), std::mem::discriminant(&documented[name]));
        let known = !value.is_null() && !matches!(name.as_str(), "card" | "source" | "dispute" | "offsite");
        assert!(!known || documented == std::mem::discriminant(&Value::Null) || form == documented, "{what}: {name}");
    }
}

#[test]
fn an_event_has_the_fields_that_its_api_version_documents() {
    let (charge, now) = ("chrg_test_1".parse().unwrap(), NOW.parse().unwrap());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../provider/fixtures/omise");
    for version in OmiseVersion::ALL {
        for (family, key) in [("charge", "charge.complete"), ("refund", "refund.create"), ("dispute", "dispute.create")]
        {
            let what = format!("event_{family}_{version}.json");
            let documented: Value = serde_json::from_slice(&std::fs::read(folder.join(&what)).unwrap()).unwrap();
            let ours = sample::omise_in(version, key, &charge, money("1500.00 THB"), now).unwrap();
            let ours: Value = serde_json::from_slice(&ours).unwrap();
            alike(&ours, &documented, &what);
            alike(&ours["data"], &documented["data"], &what);
            assert_eq!(ours["data"]["currency"], documented["data"]["currency"], "{what}");
        }
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// All there is at the time these simulators stand still.
async fn list(simulator: &Simulator, offset: u32) -> Result<EventsPage, AskError> {
    page(simulator, at(NOW), at(NOW), offset).await
}

async fn page(simulator: &Simulator, from: Timestamp, to: Timestamp, offset: u32) -> Result<EventsPage, AskError> {
    let account = simulator.accounts(&shop()).get(Provider::Omise, &shop()).unwrap();
    Client::new(Clock::system()).unwrap().events(&account, from, to, offset).await
}

#[tokio::test]
async fn both_ends_of_the_time_asked_for_are_included() {
    let start = at(NOW).as_second();
    let now = Arc::new(AtomicI64::new(start));
    let clock = Arc::clone(&now);
    let simulator =
        simulator_by(Clock::new(move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap())).await;
    let (omise, charge) = (simulator.omise(), simulator.omise().new_charge_id());
    omise.create(&charge, money("100.00 THB"));
    now.fetch_add(10, Ordering::SeqCst);
    omise.pay(&charge).unwrap();
    now.fetch_add(10, Ordering::SeqCst);
    omise.refund(&charge, 4_000).unwrap();

    let kinds = async |from: i64, to: i64| {
        let time = |seconds: i64| Timestamp::from_millisecond((start + seconds) * 1000 + 999).unwrap();
        let page = page(&simulator, time(from), time(to), 0).await.unwrap();
        let kinds: Vec<String> = page.events.iter().map(|event| event.kind.clone()).collect();
        kinds.join(" ")
    };
    assert_eq!(kinds(0, 20).await, "charge.create charge.complete refund.create");
    assert_eq!(kinds(0, 10).await, "charge.create charge.complete");
    assert_eq!(kinds(10, 20).await, "charge.complete refund.create");
    assert_eq!(kinds(10, 10).await, "charge.complete");
    assert_eq!(kinds(1, 9).await, "");
}

#[tokio::test]
async fn events_of_every_api_version_and_kind_name_the_charge_to_ask_about() {
    let simulator = simulator().await;
    let omise = simulator.omise();
    for version in OmiseVersion::ALL {
        omise.set_version(version);
        let charge = omise.new_charge_id();
        omise.create(&charge, money("100.00 THB"));
        omise.pay(&charge).unwrap();
        omise.refund(&charge, 4_000).unwrap();
        omise.dispute(&charge).unwrap();
        let transfer = omise.happen("transfer.create").unwrap();
        let page = list(&simulator, 0).await.unwrap();
        assert_eq!(page.unread, 0, "{version}");
        let [.., created, paid, refunded, disputed, transferred] = &page.events[..] else { panic!("{page:?}") };
        for (event, kind) in [
            (created, "charge.create"),
            (paid, "charge.complete"),
            (refunded, "refund.create"),
            (disputed, "dispute.create"),
        ] {
            assert_eq!((event.kind.as_str(), event.charge.as_ref()), (kind, Some(&charge)), "{version}");
        }
        assert_eq!((&transferred.id, &transferred.charge), (&transfer, &None), "{version}");
    }
}
