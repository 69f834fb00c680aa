//! Omise's list of events, as payhook's own client pages through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::world::{NOW, money, shop, simulator, simulator_by};
use jiff::Timestamp;
use payhook_provider::{Account, AskError, Client, EventsPage, Limits, OmiseAccount};
use payhook_schema::{Clock, PaymentId, Provider};
use payhook_simulator::{Fault, OmiseVersion, Simulator};

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
async fn every_event_is_listed_once_page_by_page_and_oldest_first() {
    let simulator = simulator().await;
    let omise = simulator.omise();
    let charges: Vec<PaymentId> = (0..125).map(|_| omise.new_charge_id()).collect();
    for charge in &charges {
        omise.create(charge, money("100.00 THB"));
        omise.pay(charge).unwrap();
    }
    let (mut listed, mut offset) = (Vec::new(), 0);
    loop {
        let page = list(&simulator, offset).await.unwrap();
        assert_eq!((page.total, page.unread), (250, 0));
        offset += page.entries();
        listed.extend(page.events);
        if offset >= page.total {
            break;
        }
    }
    let wanted: Vec<(&str, &PaymentId)> =
        charges.iter().flat_map(|charge| [("charge.create", charge), ("charge.complete", charge)]).collect();
    let told: Vec<_> = listed.iter().map(|event| (event.kind.as_str(), event.charge.as_ref().unwrap())).collect();
    assert_eq!(told, wanted);
    assert_eq!(listed[1].id, omise.event_ids(&charges[0], "charge.complete")[0]);
    assert!(listed.iter().all(|event| event.created_at == at(NOW)));
    let past_the_end = list(&simulator, 250).await.unwrap();
    assert_eq!((past_the_end.entries(), past_the_end.total), (0, 250));
    let calls = simulator.journal().calls(Provider::Omise);
    let words: Vec<&str> = calls.iter().map(|call| call.answered.as_deref().unwrap()).collect();
    let pages = [(100, 0), (100, 100), (50, 200), (0, 250)];
    assert_eq!(words, pages.map(|(count, offset)| format!("200 {count} of 250 events, from offset {offset}")));
    assert!(calls.iter().all(|call| call.what == "GET /events"));
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

#[tokio::test]
async fn a_list_that_is_not_whole_or_not_ours_tells_nothing() {
    let simulator = simulator().await;
    let (omise, charge) = (simulator.omise(), simulator.omise().new_charge_id());
    omise.create(&charge, money("100.00 THB"));
    for fault in [Fault::HalfAnswer, Fault::HtmlPage, Fault::Close, Fault::Down { status: 503 }] {
        simulator.faults().set_next(Provider::Omise, fault.clone(), 1).unwrap();
        let error = list(&simulator, 0).await.unwrap_err();
        assert!(matches!(error, AskError::Unavailable { connected: true, .. }), "{fault:?}: {error:?}");
    }
    let after = Some(Duration::from_secs(7));
    simulator.faults().set_next(Provider::Omise, Fault::Throttle { retry_after: after }, 1).unwrap();
    assert_eq!(list(&simulator, 0).await.unwrap_err(), AskError::Throttled { after });
    assert_eq!(list(&simulator, 0).await.unwrap().entries(), 1);

    let account = |secret_key: &str, livemode| {
        Account::Omise(OmiseAccount {
            name: shop(),
            livemode,
            api: simulator.url(),
            secret_key: Some(secret_key.to_owned().into()),
            webhook_secrets: Vec::new(),
            signature_age_max: payhook_provider::AgeLimit::Off,
            limits: Limits::OMISE,
        })
    };
    let client = Client::new(Clock::system()).unwrap();
    let asked = async |account| client.events(&account, at(NOW), at(NOW), 0).await.unwrap_err();
    let wrong = asked(account("skey_test_of_another_shop", false)).await;
    assert!(matches!(wrong, AskError::Misconfigured { .. }), "{wrong}");
    let other_mode = asked(account(simulator.keys().secret_key(), true)).await;
    assert!(matches!(&other_mode, AskError::Unavailable { what, .. } if what.contains("test mode")), "{other_mode}");
}

#[tokio::test]
async fn antom_has_no_list() {
    let simulator = simulator().await;
    let account = simulator.accounts(&shop()).get(Provider::Antom, &shop()).unwrap();
    let refused = Client::new(Clock::system()).unwrap().events(&account, at(NOW), at(NOW), 0).await.unwrap_err();
    assert_eq!(refused.to_string(), "the answer is outside the documented tables: Antom has no list of notifications");
    assert_eq!(simulator.journal().call_count(Provider::Antom), 0);
}
