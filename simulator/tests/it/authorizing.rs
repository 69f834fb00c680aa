//! Auto Debit: codes and tokens, asked for by payhook's own client.

use std::time::Duration;

use crate::world::{Ingress, auth_state, shop, simulator};
use jiff::SignedDuration;
use payhook_provider::{AskError, Client, Grant, IssuedToken};
use payhook_schema::{About, AuthorizationName, Clock, Provider, SecretDigest, Wallet};
use payhook_simulator::{AntomHabits, AntomKind, Fault, Simulator, SimulatorError};
use secrecy::{ExposeSecret, SecretString};

fn wallet(code: &str) -> Wallet {
    Wallet::new(code).unwrap()
}

async fn apply(simulator: &Simulator, wallet: &Wallet, grant: Grant<'_>) -> Result<IssuedToken, AskError> {
    let account = simulator.accounts(&shop()).get(Provider::Antom, &shop()).unwrap();
    Client::new(Clock::system()).unwrap().apply_token(&account, wallet, grant).await
}

fn refused(answer: &Result<IssuedToken, AskError>) -> bool {
    matches!(answer, Err(AskError::Refused { .. }))
}

#[tokio::test]
async fn a_code_is_exchanged_once() {
    let simulator = simulator().await;
    let (antom, state, kplus) = (simulator.antom(), auth_state("AS-1"), wallet("KPLUS"));
    antom.consult(&state, &kplus);
    let code = SecretString::from(antom.agree(&state).unwrap());
    assert!(refused(&apply(&simulator, &wallet("DANA"), Grant::Code(&code)).await), "another wallet's customer");
    let token = apply(&simulator, &kplus, Grant::Code(&code)).await.unwrap();
    assert_eq!(antom.access_token(&state).unwrap().as_deref(), Some(token.access.expose_secret()));
    assert!(token.refresh.is_some() && token.expires_at < token.refresh_expires_at);
    assert!(refused(&apply(&simulator, &kplus, Grant::Code(&code)).await), "the second time");
    assert_eq!(antom.exchanges(&state).unwrap(), 3);
    assert!(refused(&apply(&simulator, &kplus, Grant::Code(&"nobody's".to_owned().into())).await));
    let calls = simulator.journal().calls_about("AS-1");
    assert_eq!(calls.len(), 3, "the journal names the authorization, never the code");
    assert!(calls.iter().all(|call| call.what == "applyToken"));
    let journal = serde_json::to_string(&simulator.journal().calls(Provider::Antom)).unwrap();
    assert!(!journal.contains(code.expose_secret()) && !journal.contains(token.access.expose_secret()));
}

#[tokio::test]
async fn a_refresh_replaces_both_tokens() {
    let simulator = simulator().await;
    let (antom, state, kplus) = (simulator.antom(), auth_state("AS-1"), wallet("KPLUS"));
    let (short, long) = (SignedDuration::from_secs(60), SignedDuration::from_secs(120));
    antom.set_habits(AntomHabits { access_token_lives: short, refresh_token_lives: long, ..antom.habits() });
    antom.consult(&state, &kplus);
    let code = SecretString::from(antom.agree(&state).unwrap());
    let first = apply(&simulator, &kplus, Grant::Code(&code)).await.unwrap();
    let now = crate::world::NOW.parse::<jiff::Timestamp>().unwrap();
    assert_eq!((first.expires_at, first.refresh_expires_at), (Some(now + short), Some(now + long)));
    let refresh = first.refresh.unwrap();
    let second = apply(&simulator, &kplus, Grant::Refresh(&refresh)).await.unwrap();
    assert_ne!(first.access.expose_secret(), second.access.expose_secret());
    assert_eq!(antom.access_token(&state).unwrap().as_deref(), Some(second.access.expose_secret()));
    assert!(refused(&apply(&simulator, &kplus, Grant::Refresh(&refresh)).await), "the old one is worth nothing");
    assert_eq!((antom.refreshes(&state).unwrap(), antom.exchanges(&state).unwrap()), (1, 1));

    antom.set_habits(AntomHabits { refresh_token_lives: SignedDuration::ZERO, ..antom.habits() });
    let third = apply(&simulator, &kplus, Grant::Refresh(&second.refresh.unwrap())).await.unwrap();
    assert!(refused(&apply(&simulator, &kplus, Grant::Refresh(&third.refresh.unwrap())).await), "it has lapsed");
}

#[tokio::test]
async fn some_wallets_give_nothing_to_refresh_with() {
    let simulator = simulator().await;
    for code in ["ZALOPAY", "PAYPAY"] {
        let (antom, state, wallet) = (simulator.antom(), auth_state(code), wallet(code));
        antom.consult(&state, &wallet);
        let code = SecretString::from(antom.agree(&state).unwrap());
        let token = apply(&simulator, &wallet, Grant::Code(&code)).await.unwrap();
        assert!(token.refresh.is_none() && token.refresh_expires_at.is_none() && token.expires_at.is_some());
    }
}

#[tokio::test]
async fn what_the_customer_took_back_is_worth_nothing() {
    let simulator = simulator().await;
    let (antom, state, kplus) = (simulator.antom(), auth_state("AS-1"), wallet("KPLUS"));
    assert!(matches!(antom.agree(&state), Err(SimulatorError::Unknown(_))), "nobody consulted");
    antom.consult(&state, &kplus);
    let code = SecretString::from(antom.agree(&state).unwrap());
    let token = apply(&simulator, &kplus, Grant::Code(&code)).await.unwrap();
    antom.revoke(&state, Some("too dear")).unwrap();
    assert!(refused(&apply(&simulator, &kplus, Grant::Refresh(&token.refresh.unwrap())).await));
    assert!(matches!(antom.agree(&state), Err(SimulatorError::NotPossible(_))), "a new consent is a new one");
    antom.consult(&state, &kplus);
    assert_eq!((antom.exchanges(&state).unwrap(), antom.access_token(&state).unwrap()), (0, None));
}

#[tokio::test]
async fn each_step_of_an_authorization_is_notified() {
    let simulator = simulator().await;
    let (ingress, antom, state) = (Ingress::start(&simulator).await, simulator.antom(), auth_state("AS-1"));
    antom.consult(&state, &wallet("ALIPAY_HK"));
    let early = antom.signed_authorization(&ingress.url, &shop(), &state, AntomKind::AuthcodeCreated);
    assert!(matches!(early, Err(SimulatorError::NotPossible(_))));
    let notify = async |kind| {
        antom.notify_authorization(&ingress.url, &shop(), &state, kind).await.unwrap();
        let notification = ingress.last().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&notification.body).unwrap();
        (notification, body)
    };
    let code = antom.agree(&state).unwrap();
    let (notification, body) = notify(AntomKind::AuthcodeCreated).await;
    assert_eq!(notification.about, About::Authorization(AuthorizationName::State(state.clone())));
    assert_eq!((body["authCode"].as_str(), &body["accessToken"]), (Some(code.as_str()), &serde_json::Value::Null));
    let token = antom.issue_token(&state).unwrap();
    let (notification, body) = notify(AntomKind::TokenCreated).await;
    assert_eq!(notification.about, About::Authorization(AuthorizationName::State(state.clone())));
    assert_eq!((body["accessToken"].as_str(), body["authState"].as_str()), (Some(token.as_str()), Some("AS-1")));
    antom.revoke(&state, Some("too dear")).unwrap();
    let (notification, body) = notify(AntomKind::TokenCanceled).await;
    let by_token = AuthorizationName::Token(SecretDigest::of(&token));
    assert_eq!(notification.about, About::Authorization(by_token), "it knows only the token");
    assert_eq!((body["reason"].as_str(), &body["authState"]), (Some("too dear"), &serde_json::Value::Null));
}

#[tokio::test]
async fn an_answer_lost_on_its_way_has_still_spent_the_code() {
    let simulator = simulator().await;
    let (antom, state, kplus) = (simulator.antom(), auth_state("AS-1"), wallet("KPLUS"));
    antom.consult(&state, &kplus);
    let code = SecretString::from(antom.agree(&state).unwrap());
    for fault in
        [Fault::Down { status: 502 }, Fault::Close, Fault::Throttle { retry_after: Some(Duration::from_secs(1)) }]
    {
        simulator.faults().set(Provider::Antom, fault.clone()).unwrap();
        apply(&simulator, &kplus, Grant::Code(&code)).await.unwrap_err();
        assert_eq!(antom.exchanges(&state).unwrap(), 0, "{fault:?} comes before anything is done");
    }
    simulator.faults().set_next(Provider::Antom, Fault::HalfAnswer, 1).unwrap();
    let lost = apply(&simulator, &kplus, Grant::Code(&code)).await.unwrap_err();
    assert!(matches!(lost, AskError::Unavailable { connected: true, .. }), "{lost:?}");
    assert!(refused(&apply(&simulator, &kplus, Grant::Code(&code)).await));
    assert!(antom.access_token(&state).unwrap().is_some(), "TOKEN_CREATED may still tell of it");
}
