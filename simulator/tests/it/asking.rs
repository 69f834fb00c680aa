//! payhook's own client asks the simulated providers, over HTTP.

use std::time::Duration;

use crate::world::{ask, ask_with, id, money, shop, simulator};
use payhook_provider::{Account, AskError, PrivateKey};
use payhook_schema::{PaymentState, Provider};
use payhook_simulator::{AntomStatus, Fault, Keys, OmiseStatus, Options, Simulator, SimulatorError};

#[tokio::test]
async fn antoms_answers_follow_its_state() {
    let simulator = simulator().await;
    let (antom, pr) = (simulator.antom(), id("PR-1"));
    let unknown = ask(&simulator, Provider::Antom, &pr).await.unwrap_err();
    assert_eq!(unknown, AskError::NotThere { code: "ORDER_NOT_EXIST".to_owned() });

    antom.create(&pr, money("1500.00 THB"));
    for (status, state) in [
        (AntomStatus::Processing, PaymentState::Awaiting),
        (AntomStatus::Pending, PaymentState::Awaiting),
        (AntomStatus::Fail("RISK_REJECT".to_owned()), PaymentState::Failed),
        (AntomStatus::Cancelled, PaymentState::Cancelled),
        (AntomStatus::Success, PaymentState::Paid),
    ] {
        antom.decide(&pr, status.clone()).unwrap();
        let facts = ask(&simulator, Provider::Antom, &pr).await.unwrap();
        assert_eq!(facts.state, state);
        assert_eq!(facts.amount, Some(money("1500.00 THB")));
        assert_eq!(facts.captured_minor, if state == PaymentState::Paid { 150_000 } else { 0 });
        assert_eq!(facts.reason.as_deref(), (state == PaymentState::Failed).then_some("RISK_REJECT"));
    }
    let facts = ask(&simulator, Provider::Antom, &pr).await.unwrap();
    assert_eq!(facts.occurred_at, Some(crate::world::NOW.parse().unwrap()));

    antom.forget(&pr);
    assert!(matches!(ask(&simulator, Provider::Antom, &pr).await, Err(AskError::NotThere { .. })));
}

#[tokio::test]
async fn omises_answers_follow_its_state() {
    let simulator = simulator().await;
    let omise = simulator.omise();
    let facts = async |id| ask(&simulator, Provider::Omise, id).await.unwrap();

    let paid = omise.new_charge_id();
    let unknown = ask(&simulator, Provider::Omise, &paid).await.unwrap_err();
    assert_eq!(unknown, AskError::NotThere { code: "not_found".to_owned() });
    omise.create(&paid, money("39000 JPY"));
    let awaiting = facts(&paid).await;
    assert_eq!((awaiting.state, awaiting.captured_minor), (PaymentState::Awaiting, 0));
    assert!(awaiting.expires_at.is_some());
    omise.pay(&paid).unwrap();
    assert_eq!(facts(&paid).await.captured_minor, 39_000);
    omise.refund(&paid, 9_000).unwrap();
    let partly = facts(&paid).await;
    assert_eq!((partly.state, partly.refunded_minor), (PaymentState::PartlyRefunded, 9_000));
    omise.refund(&paid, 30_000).unwrap();
    assert_eq!(facts(&paid).await.state, PaymentState::Refunded);

    let held = omise.new_charge_id();
    omise.create(&held, money("100.00 THB"));
    omise.authorize(&held).unwrap();
    assert_eq!(facts(&held).await.state, PaymentState::Authorized);
    omise.capture(&held, 4_000).unwrap();
    let captured = facts(&held).await;
    assert_eq!((captured.state, captured.captured_minor), (PaymentState::Paid, 4_000));
    assert_eq!(captured.amount, Some(money("100.00 THB")), "the amount does not shrink");

    let released = omise.new_charge_id();
    omise.create(&released, money("100.00 THB"));
    omise.authorize(&released).unwrap();
    omise.reverse(&released).unwrap();
    assert_eq!(facts(&released).await.state, PaymentState::Cancelled);

    let lost = omise.new_charge_id();
    omise.create(&lost, money("100.00 THB"));
    omise.fail(&lost, "payment_rejected").unwrap();
    let failed = facts(&lost).await;
    assert_eq!((failed.state, failed.reason.as_deref()), (PaymentState::Failed, Some("payment_rejected")));
    omise.expire(&lost).unwrap();
    assert_eq!(facts(&lost).await.state, PaymentState::Expired);
    omise.pay(&lost).unwrap();
    assert_eq!(facts(&lost).await.state, PaymentState::Paid, "Omise's operations revive a charge");
}

#[tokio::test]
async fn omise_refuses_what_it_could_not_do() {
    let simulator = simulator().await;
    let (omise, charge) = (simulator.omise(), simulator.omise().new_charge_id());
    assert!(matches!(omise.pay(&charge), Err(SimulatorError::NoSuchPayment { .. })));
    omise.create(&charge, money("100.00 THB"));
    for refused in [omise.capture(&charge, 1), omise.reverse(&charge), omise.refund(&charge, 1).map(drop)] {
        assert!(matches!(refused, Err(SimulatorError::NotPossible(_))));
    }
    omise.pay(&charge).unwrap();
    for refused in
        [omise.pay(&charge), omise.fail(&charge, "x"), omise.expire(&charge), omise.refund(&charge, 10_001).map(drop)]
    {
        assert!(matches!(refused, Err(SimulatorError::NotPossible(_))));
    }
    assert_eq!(omise.status(&charge).unwrap(), OmiseStatus::Successful);
}

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
async fn a_stopped_simulator_refuses_connections() {
    let (simulator, [(_, id), _]) = paid().await;
    let accounts = simulator.accounts(&shop());
    let account = accounts.get(Provider::Antom, &shop()).unwrap().clone();
    simulator.stop().await;
    let error = ask_with(&account, &id).await.unwrap_err();
    assert!(matches!(error, AskError::Unavailable { connected: false, .. }), "{error:?}");
}

#[tokio::test]
async fn a_web_page_is_nobodys_answer() {
    let (simulator, payments) = paid().await;
    for (provider, id) in &payments {
        simulator.faults().set(*provider, Fault::HtmlPage).unwrap();
        let error = ask(&simulator, *provider, id).await.unwrap_err();
        // Antom's are signed: what is not looks like the gateway's refusal of a caller it does not know.
        let unsigned = *provider == Provider::Antom && matches!(error, AskError::Misconfigured { .. });
        assert!(unsigned || matches!(error, AskError::Unavailable { .. }), "{provider}: {error:?}");
    }
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
async fn throttling_is_read_with_and_without_its_delay() {
    let (simulator, payments) = paid().await;
    for (provider, id) in &payments {
        for retry_after in [None, Some(Duration::from_secs(7))] {
            simulator.faults().set(*provider, Fault::Throttle { retry_after }).unwrap();
            let error = ask(&simulator, *provider, id).await.unwrap_err();
            assert_eq!(error, AskError::Throttled { after: retry_after });
        }
    }
}

#[tokio::test]
async fn an_answer_with_a_strangers_signature_is_no_answer() {
    let (simulator, [(_, id), _]) = paid().await;
    simulator.faults().set(Provider::Antom, Fault::BadSignature).unwrap();
    let error = ask(&simulator, Provider::Antom, &id).await.unwrap_err();
    assert!(matches!(error, AskError::Unavailable { .. }), "{error:?}");
    simulator.faults().set(Provider::Antom, Fault::Unsigned).unwrap();
    let error = ask(&simulator, Provider::Antom, &id).await.unwrap_err();
    assert!(matches!(error, AskError::Misconfigured { .. }), "{error:?}");
    assert!(simulator.faults().set(Provider::Omise, Fault::Unsigned).is_err(), "Omise signs no answers");
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
    assert_eq!((journal.call_count(provider), journal.calls_for(&id).len()), (0, 0));
    simulator.faults().set(provider, Fault::Slow { by: Duration::from_millis(200) }).unwrap();
    let unknown = crate::world::id("PR-2");
    let (a, b, c) = tokio::join!(
        ask(&simulator, provider, &id),
        ask(&simulator, provider, &id),
        ask(&simulator, provider, &unknown),
    );
    assert!(a.is_ok() && b.is_ok() && c.is_err());
    assert_eq!((journal.call_count(provider), journal.calls_for(&id).len()), (3, 2));
    assert_eq!(journal.in_flight_max(provider), 3);
    assert_eq!((journal.in_flight_max(Provider::Omise), journal.calls_for(&charge).len()), (0, 0));
    journal.clear();
    assert_eq!((journal.call_count(provider), journal.in_flight_max(provider)), (0, 0));
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
