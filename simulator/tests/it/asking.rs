//! payhook's own client asks the simulated providers, over HTTP.

use std::time::Duration;

use crate::world::{ask, ask_with, id, money, shop, simulator};
use payhook_provider::{Account, AskError, Client, Grant, PrivateKey};
use payhook_schema::{Clock, PaymentState, Provider};
use payhook_simulator::{AntomStatus, Fault, Keys, Options, Simulator, SimulatorError};
use secrecy::SecretString;

#[tokio::test]
async fn a_charges_numbers_add_up_as_omise_documents() {
    let simulator = simulator().await;
    let (omise, charge) = (simulator.omise(), simulator.omise().new_charge_id());
    omise.create(&charge, money("1500.00 THB"));
    omise.pay(&charge).unwrap();
    omise.refund(&charge, 150_000).unwrap();
    let shown = omise.charge(&charge).unwrap();
    let number = |field: &str| shown[field].as_i64().unwrap();
    assert_eq!(number("net"), number("funding_amount") - number("fee") - number("fee_vat") - number("interest"));
    assert_eq!(shown["voided"], true, "all of it at once is a void");
    assert_eq!(shown["status"], "successful", "and the status never becomes refunded");
    assert_eq!((shown["refunds"]["total"].as_i64(), shown["refundable"].as_bool()), (Some(1), Some(false)));
}

/// A simulator with one paid payment at each provider.
async fn paid() -> (Simulator, [(Provider, payhook_schema::PaymentId); 2]) {
    let simulator = simulator().await;
    let (pr, charge) = (id("PR-1"), simulator.omise().new_charge_id());
    simulator.antom().create(&pr, money("1500.00 THB"));
    simulator.antom().decide(&pr, AntomStatus::Success).unwrap();
    simulator.omise().create(&charge, money("1500.00 THB"));
    simulator.omise().pay(&charge).unwrap();
    (simulator, [(Provider::Antom, pr), (Provider::Omise, charge)])
}

#[tokio::test]
async fn trouble_of_every_kind_is_read_as_unavailable() {
    let (simulator, payments) = paid().await;
    let faults = [
        Fault::Down { status: 503 },
        Fault::Down { status: 500 },
        Fault::Close,
        Fault::Hang { at_most: Duration::from_millis(50) },
        Fault::HalfAnswer,
        Fault::OtherPayment,
    ];
    for (provider, id) in &payments {
        for fault in &faults {
            simulator.faults().set(*provider, fault.clone()).unwrap();
            let error = ask(&simulator, *provider, id).await.unwrap_err();
            assert!(matches!(error, AskError::Unavailable { connected: true, .. }), "{fault:?}: {error:?}");
        }
        simulator.faults().clear(*provider);
        assert_eq!(ask(&simulator, *provider, id).await.unwrap().state, PaymentState::Paid);
    }
    let calls = simulator.journal().calls(Provider::Antom);
    assert_eq!(calls.len(), faults.len() + 1);
    assert_eq!(calls[2].answered.as_deref(), Some("connection closed"));
    assert_eq!(calls[6].answered.as_deref(), Some("200 S SUCCESS, paymentStatus SUCCESS"));
}

#[tokio::test]
async fn a_dropped_simulator_lets_its_port_go() {
    let (simulator, _) = paid().await;
    let address = simulator.address();
    drop(simulator);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn wrong_keys_of_ours_are_told_from_trouble_of_theirs() {
    let (simulator, [(_, pr), (_, charge)]) = paid().await;
    let account = |change: &dyn Fn(&mut payhook_provider::AntomAccount)| {
        let accounts = simulator.accounts(&shop());
        let Account::Antom(known) = &*accounts.get(Provider::Antom, &shop()).unwrap() else { unreachable!() };
        let mut account = payhook_provider::AntomAccount {
            name: shop(),
            client_id: known.client_id.clone(),
            api: known.api.clone(),
            sandbox: true,
            private_key: Some(PrivateKey::parse(&simulator.keys().merchant().to_base64()).unwrap()),
            private_key_version: 1,
            apply_token: known.apply_token,
            public_keys: [(1, simulator.keys().antom().public_key())].into(),
            signature_age_max: known.signature_age_max,
            limits: known.limits,
        };
        change(&mut account);
        Account::Antom(account)
    };
    ask_with(&account(&|_| {}), &pr).await.unwrap();
    let strangers = PrivateKey::generate().to_base64();
    let changes: [&dyn Fn(&mut payhook_provider::AntomAccount); 3] = [
        &|account| account.client_id = "SANDBOX_5Y_OTHER".to_owned(),
        &|account| account.private_key = Some(PrivateKey::parse(&strangers).unwrap()),
        &|account| account.private_key_version = 2,
    ];
    for change in changes {
        let error = ask_with(&account(change), &pr).await.unwrap_err();
        assert!(matches!(error, AskError::Misconfigured { .. }), "{error:?}");
    }
    let codes: Vec<_> = simulator.journal().calls_for(&pr).into_iter().map(|call| call.answered.unwrap()).collect();
    let wanted = ["S SUCCESS, paymentStatus SUCCESS", "F INVALID_CLIENT, unsigned"];
    assert_eq!(codes[..2], wanted.map(|words| format!("200 {words}")));
    assert_eq!(codes[2..], ["200 F INVALID_SIGNATURE, unsigned", "200 F KEY_NOT_FOUND, unsigned"]);

    let accounts = simulator.accounts(&shop());
    let Account::Omise(known) = &*accounts.get(Provider::Omise, &shop()).unwrap() else { unreachable!() };
    let wrong = Account::Omise(payhook_provider::OmiseAccount {
        name: shop(),
        livemode: false,
        api: known.api.clone(),
        secret_key: Some("skey_test_of_another_shop".to_owned().into()),
        webhook_secrets: known.webhook_secrets.clone(),
        signature_age_max: known.signature_age_max,
        limits: known.limits,
    });
    assert!(matches!(ask_with(&wrong, &charge).await, Err(AskError::Misconfigured { .. })));
}

#[tokio::test]
async fn a_lagging_replica_tells_the_truth_and_then_the_past() {
    let (simulator, payments) = paid().await;
    for (provider, id) in &payments {
        simulator.faults().set(*provider, Fault::Flapping).unwrap();
        let mut states = [PaymentState::Awaiting; 4];
        for state in &mut states {
            *state = ask(&simulator, *provider, id).await.unwrap().state;
        }
        assert_eq!(states.map(|state| state == PaymentState::Paid), [true, false, true, false]);
    }
}

#[tokio::test]
async fn a_fault_for_the_next_calls_ends_by_itself() {
    let (simulator, [(provider, id), _]) = paid().await;
    simulator.faults().set_next(provider, Fault::Down { status: 502 }, 2).unwrap();
    assert!(ask(&simulator, provider, &id).await.is_err());
    assert!(ask(&simulator, provider, &id).await.is_err());
    assert!(ask(&simulator, provider, &id).await.is_ok());
}

#[tokio::test]
async fn a_slow_answer_tells_what_was_true_when_it_was_asked() {
    let (simulator, [_, (provider, id)]) = paid().await;
    simulator.faults().set(provider, Fault::Slow { by: Duration::from_millis(300) }).unwrap();
    let (facts, ()) = tokio::join!(ask(&simulator, provider, &id), async {
        while simulator.journal().calls(provider).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        simulator.omise().refund(&id, 1_000).unwrap();
    });
    assert_eq!(facts.unwrap().state, PaymentState::Paid);
}

#[tokio::test]
async fn the_journal_counts_calls_and_how_many_were_open_at_once() {
    let (simulator, [(provider, id), (_, charge)]) = paid().await;
    let journal = simulator.journal();
    assert_eq!((journal.calls(provider).len(), journal.calls_for(&id).len()), (0, 0));
    simulator.faults().set(provider, Fault::Slow { by: Duration::from_millis(200) }).unwrap();
    let unknown = crate::world::id("PR-2");
    let (a, b, c) = tokio::join!(
        ask(&simulator, provider, &id),
        ask(&simulator, provider, &id),
        ask(&simulator, provider, &unknown),
    );
    assert!(a.is_ok() && b.is_ok() && c.is_err());
    assert_eq!((journal.calls(provider).len(), journal.calls_for(&id).len()), (3, 2));
    assert_eq!(journal.in_flight_max(provider), 3);
    assert_eq!((journal.in_flight_max(Provider::Omise), journal.calls_for(&charge).len()), (0, 0));
    journal.clear();
    assert_eq!((journal.calls(provider).len() as u64, journal.in_flight_max(provider)), (0, 0));
}

#[tokio::test]
async fn only_the_loopback_is_listened_on() {
    let options = |listen: &str| Options {
        listen: listen.parse().unwrap(),
        clock: payhook_schema::Clock::system(),
        keys: Keys::generate(),
    };
    let refused = Simulator::start(options("0.0.0.0:0")).await.err().unwrap();
    assert!(matches!(refused, SimulatorError::NotLoopback(_)));
}

#[tokio::test]
async fn an_answer_lost_on_its_way_has_still_spent_the_code() {
    let simulator = simulator().await;
    let (antom, state, kplus) = (simulator.antom(), "AS-1".parse().unwrap(), "KPLUS".parse().unwrap());
    antom.consult(&state, &kplus);
    let code = SecretString::from(antom.agree(&state).unwrap());
    let account = simulator.accounts(&shop()).get(Provider::Antom, &shop()).unwrap();
    let client = Client::new(Clock::system()).unwrap();
    let apply = async || client.apply_token(&account, &kplus, Grant::Code(&code)).await;
    for fault in
        [Fault::Down { status: 502 }, Fault::Close, Fault::Throttle { retry_after: Some(Duration::from_secs(1)) }]
    {
        simulator.faults().set(Provider::Antom, fault.clone()).unwrap();
        apply().await.unwrap_err();
        assert_eq!(antom.exchanges(&state).unwrap(), 0, "{fault:?} comes before anything is done");
    }
    simulator.faults().set_next(Provider::Antom, Fault::HalfAnswer, 1).unwrap();
    let lost = apply().await.unwrap_err();
    assert!(matches!(lost, AskError::Unavailable { connected: true, .. }), "{lost:?}");
    assert!(matches!(apply().await, Err(AskError::Refused { .. })));
    assert!(antom.access_token(&state).unwrap().is_some(), "TOKEN_CREATED may still tell of it");
}
