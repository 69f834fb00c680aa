//! Auto Debit: a customer's consent, its token, and what may never be seen of either.

use jiff::SignedDuration;
use payhook_schema::{AuthState, Provider, Wallet};
use payhook_simulator::{AntomHabits, AntomKind, Fault, SignedRequest};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{TestPayhook, journeys, shop, types_of};

journeys! { Plan::usual();
    a_code_is_exchanged_and_the_merchant_reads_the_token,
    the_same_code_held_by_many_is_exchanged_once,
    a_notification_before_its_authorization_waits_for_it,
    a_token_the_wallet_made_itself_is_kept_without_an_exchange,
    a_customer_who_takes_it_back_ends_it,
    authorizations_that_share_a_token_end_together,
    a_token_is_refreshed_before_it_expires,
    a_refused_code_ends_in_words_and_never_in_a_loop,
    an_exchange_waits_out_an_outage,
    an_authorization_is_registered_once,
    tokens_are_sealed_anew_under_a_new_key,
}

fn auth_state(text: &str) -> AuthState {
    AuthState::new(text).unwrap()
}

/// The merchant asks the customer, and has us know.
pub(crate) async fn consulted(payhook: &TestPayhook, id: &str, wallet: &str) -> AuthState {
    let state = auth_state(&format!("AS-{id}"));
    payhook.simulator.antom().consult(&state, &Wallet::new(wallet).unwrap());
    let (status, answer) = registered(payhook, id, &state, wallet).await;
    assert_eq!((status, &answer["state"]), (StatusCode::CREATED, &"awaiting".into()), "{answer}");
    state
}

async fn registered(payhook: &TestPayhook, id: &str, state: &AuthState, wallet: &str) -> (StatusCode, Value) {
    let body = json!({ "account": shop(), "auth_state": state, "customer_belongs_to": wallet });
    payhook.call(Method::PUT, &format!("/v1/authorizations/{id}"), Some(body)).await.unwrap()
}

/// The customer agrees; nobody was told yet.
pub(crate) fn agrees(payhook: &TestPayhook, state: &AuthState) {
    let code = payhook.simulator.antom().agree(state).unwrap();
    payhook.keep_secret("an auth code", &code);
}

fn signed(payhook: &TestPayhook, state: &AuthState, kind: AntomKind) -> SignedRequest {
    let signed = payhook.simulator.antom().signed_authorization(&payhook.ingress(), &shop(), state, kind);
    payhook.marked(signed.unwrap())
}

pub(crate) async fn notified(payhook: &TestPayhook, state: &AuthState, kind: AntomKind) {
    payhook.delivers(&signed(payhook, state, kind)).await;
}

async fn shown(payhook: &TestPayhook, id: &str) -> Result<Value, String> {
    match payhook.call(Method::GET, &format!("/v1/authorizations/{id}"), None).await? {
        (StatusCode::OK, answer) => Ok(answer),
        (status, answer) => Err(format!("{status} {answer}")),
    }
}

pub(crate) async fn becomes(payhook: &TestPayhook, id: &str, state: &str) -> Value {
    payhook
        .until(&format!("{id} is {state}"), async || {
            let seen = shown(payhook, id).await?;
            if seen["state"] == state { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await
}

async fn read_token(payhook: &TestPayhook, id: &str) -> (StatusCode, Value) {
    payhook.call(Method::POST, &format!("/v1/authorizations/{id}/token"), None).await.unwrap()
}

/// The token Antom made last, from now on a secret of every log.
pub(crate) fn tokens_are_secret(payhook: &TestPayhook, state: &AuthState) -> String {
    let token = payhook.simulator.antom().access_token(state).unwrap().expect("a token was made");
    payhook.keep_secret("an access token", &token);
    token
}

async fn events_are(payhook: &TestPayhook, id: &str, types: &[&str]) {
    let events = payhook
        .until(&format!("{types:?} in the feed for {id}"), async || {
            let events = payhook.events(id).await?;
            if events.len() >= types.len() { Ok(events) } else { Err(format!("{events:#?}")) }
        })
        .await;
    assert_eq!(types_of(&events), types, "{events:#?}");
}

pub(crate) async fn history(payhook: &TestPayhook, id: &str) -> String {
    let path = format!("/v1/authorizations/{id}/timeline");
    payhook.call(Method::GET, &path, None).await.unwrap().1.to_string()
}

async fn a_code_is_exchanged_and_the_merchant_reads_the_token(payhook: &TestPayhook) {
    let state = consulted(payhook, "AU-1", "KPLUS").await;
    let (status, answer) = read_token(payhook, "AU-1").await;
    assert_eq!(status, StatusCode::CONFLICT, "there is none yet: {answer}");
    agrees(payhook, &state);
    notified(payhook, &state, AntomKind::AuthcodeCreated).await;
    let seen = becomes(payhook, "AU-1", "token_issued").await;
    assert!(seen["expires_at"].is_string() && seen["next_check_at"].is_string(), "{seen}");

    let token = tokens_are_secret(payhook, &state);
    let (status, answer) = read_token(payhook, "AU-1").await;
    assert_eq!((status, &answer["access_token"]), (StatusCode::OK, &token.as_str().into()));
    assert_eq!(payhook.simulator.antom().exchanges(&state).unwrap(), 1);
    events_are(payhook, "AU-1", &["authorization.granted"]).await;
    let history = history(payhook, "AU-1").await;
    assert!(history.contains("AUTHCODE_CREATED") && history.contains("token_issued"), "{history}");
    for shown in [&history, &seen.to_string()] {
        assert!(!shown.contains(&token), "a token is given by one route alone: {shown}");
    }

    let (status, audit) = payhook.call(Method::GET, "/v1/audit", None).await.unwrap();
    let audit = audit.to_string();
    assert_eq!(status, StatusCode::OK);
    assert!(audit.contains("token.read") && audit.contains("AU-1") && !audit.contains(&token), "{audit}");
    payhook.nothing_at_rest_holds(&token);
}

async fn the_same_code_held_by_many_is_exchanged_once(payhook: &TestPayhook) {
    let state = consulted(payhook, "AU-2", "KPLUS").await;
    agrees(payhook, &state);
    let notified = [(); 6].map(|()| signed(payhook, &state, AntomKind::AuthcodeCreated));
    futures_util::future::join_all(notified.iter().map(|request| payhook.delivers(request))).await;
    becomes(payhook, "AU-2", "token_issued").await;
    payhook.outcomes("unchanged", 5).await;
    tokens_are_secret(payhook, &state);
    assert_eq!(payhook.simulator.antom().exchanges(&state).unwrap(), 1);
    events_are(payhook, "AU-2", &["authorization.granted"]).await;
}

async fn a_notification_before_its_authorization_waits_for_it(payhook: &TestPayhook) {
    let state = auth_state("AS-AU-3");
    payhook.simulator.antom().consult(&state, &Wallet::new("GCASH").unwrap());
    agrees(payhook, &state);
    notified(payhook, &state, AntomKind::AuthcodeCreated).await;
    payhook.outcomes("parked", 1).await;
    let (status, answer) = registered(payhook, "AU-3", &state, "GCASH").await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    becomes(payhook, "AU-3", "token_issued").await;
    tokens_are_secret(payhook, &state);
    assert_eq!(payhook.simulator.antom().exchanges(&state).unwrap(), 1);
}

async fn a_token_the_wallet_made_itself_is_kept_without_an_exchange(payhook: &TestPayhook) {
    let state = consulted(payhook, "AU-4", "TRUEMONEY").await;
    let token = payhook.simulator.antom().issue_token(&state).unwrap();
    payhook.keep_secret("an access token", &token);
    notified(payhook, &state, AntomKind::TokenCreated).await;
    becomes(payhook, "AU-4", "token_issued").await;
    assert_eq!(read_token(payhook, "AU-4").await.1["access_token"], token);
    assert_eq!(payhook.simulator.antom().exchanges(&state).unwrap(), 0);
    events_are(payhook, "AU-4", &["authorization.granted"]).await;
}

async fn a_customer_who_takes_it_back_ends_it(payhook: &TestPayhook) {
    let state = consulted(payhook, "AU-5", "KPLUS").await;
    agrees(payhook, &state);
    notified(payhook, &state, AntomKind::AuthcodeCreated).await;
    becomes(payhook, "AU-5", "token_issued").await;
    tokens_are_secret(payhook, &state);
    payhook.simulator.antom().revoke(&state, Some("user request")).unwrap();
    for _ in 0..2 {
        notified(payhook, &state, AntomKind::TokenCanceled).await;
    }
    let seen = becomes(payhook, "AU-5", "cancelled").await;
    assert_eq!((&seen["reason"], &seen["next_check_at"]), (&"user request".into(), &Value::Null), "{seen}");
    let (status, answer) = read_token(payhook, "AU-5").await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    // A late resend of what came first changes nothing.
    notified(payhook, &state, AntomKind::AuthcodeCreated).await;
    payhook.outcomes("unchanged", 2).await;
    events_are(payhook, "AU-5", &["authorization.granted", "authorization.cancelled"]).await;
    assert_eq!(shown(payhook, "AU-5").await.unwrap()["state"], "cancelled");
}

async fn authorizations_that_share_a_token_end_together(payhook: &TestPayhook) {
    let antom = payhook.simulator.antom();
    let shares = async |id: &str, with: Option<&AuthState>| {
        let state = consulted(payhook, id, "TRUEMONEY").await;
        match with {
            Some(other) => antom.share_token(other, &state).unwrap(),
            None => drop(antom.issue_token(&state).unwrap()),
        }
        tokens_are_secret(payhook, &state);
        notified(payhook, &state, AntomKind::TokenCreated).await;
        becomes(payhook, id, "token_issued").await;
        state
    };
    let first = shares("AU-13", None).await;
    shares("AU-14", Some(&first)).await;
    antom.revoke(&first, Some("user request")).unwrap();
    let cancelled = signed(payhook, &first, AntomKind::TokenCanceled);
    for _ in 0..2 {
        payhook.delivers(&cancelled).await;
    }
    for id in ["AU-13", "AU-14"] {
        let seen = becomes(payhook, id, "cancelled").await;
        assert_eq!(seen["reason"], "user request", "{seen}");
    }
    payhook.outcomes("unchanged", 1).await;
    for id in ["AU-13", "AU-14"] {
        events_are(payhook, id, &["authorization.granted", "authorization.cancelled"]).await;
    }

    // Antom's times are to the second.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    shares("AU-15", Some(&first)).await;
    payhook.delivers(&cancelled).await;
    payhook.outcomes("unchanged", 2).await;
    let history = history(payhook, "AU-15").await;
    assert!(history.contains("cancelled before the customer agreed"), "{history}");
    assert_eq!(shown(payhook, "AU-15").await.unwrap()["state"], "token_issued");
    events_are(payhook, "AU-15", &["authorization.granted"]).await;
}

async fn a_token_is_refreshed_before_it_expires(payhook: &TestPayhook) {
    let antom = payhook.simulator.antom();
    antom.set_habits(AntomHabits { access_token_lives: SignedDuration::from_secs(12), ..antom.habits() });
    let state = consulted(payhook, "AU-6", "KPLUS").await;
    agrees(payhook, &state);
    notified(payhook, &state, AntomKind::AuthcodeCreated).await;
    becomes(payhook, "AU-6", "token_issued").await;
    let first = tokens_are_secret(payhook, &state);
    payhook
        .until("the token is refreshed", async || match antom.refreshes(&state).unwrap() {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        })
        .await;
    antom.set_habits(AntomHabits { access_token_lives: SignedDuration::from_hours(24), ..antom.habits() });
    payhook
        .until("the new token is given", async || {
            let (status, answer) = read_token(payhook, "AU-6").await;
            let token = tokens_are_secret(payhook, &state);
            let new = status == StatusCode::OK && answer["access_token"] == token.as_str() && token != first;
            if new { Ok(()) } else { Err(format!("{status}")) }
        })
        .await;
    events_are(payhook, "AU-6", &["authorization.granted"]).await;
}

async fn a_refused_code_ends_in_words_and_never_in_a_loop(payhook: &TestPayhook) {
    let state = consulted(payhook, "AU-7", "KPLUS").await;
    agrees(payhook, &state);
    let request = signed(payhook, &state, AntomKind::AuthcodeCreated);
    // The customer changed their mind meanwhile: Antom refuses the code.
    payhook.simulator.antom().revoke(&state, None).unwrap();
    payhook.delivers(&request).await;
    let seen = payhook
        .until("the refusal is shown", async || {
            let seen = shown(payhook, "AU-7").await?;
            if seen["reason"].is_string() { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await;
    assert_eq!((&seen["state"], &seen["next_check_at"]), (&"granted".into(), &Value::Null), "{seen}");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(payhook.simulator.antom().exchanges(&state).unwrap(), 1, "a final no is not asked again");
}

async fn an_exchange_waits_out_an_outage(payhook: &TestPayhook) {
    let state = consulted(payhook, "AU-8", "KPLUS").await;
    agrees(payhook, &state);
    payhook.simulator.faults().set_next(Provider::Antom, Fault::Down { status: 503 }, 2).unwrap();
    notified(payhook, &state, AntomKind::AuthcodeCreated).await;
    becomes(payhook, "AU-8", "token_issued").await;
    tokens_are_secret(payhook, &state);
    let history = history(payhook, "AU-8").await;
    assert!(history.contains("exchange failed"), "{history}");
}

async fn an_authorization_is_registered_once(payhook: &TestPayhook) {
    let state = consulted(payhook, "AU-9", "KPLUS").await;
    assert_eq!(registered(payhook, "AU-9", &state, "KPLUS").await.0, StatusCode::OK);
    assert_eq!(registered(payhook, "AU-9", &state, "GCASH").await.0, StatusCode::CONFLICT);
    assert_eq!(registered(payhook, "AU-10", &state, "KPLUS").await.0, StatusCode::CONFLICT);
    let missing = payhook.call(Method::GET, "/v1/authorizations/AU-11", None).await.unwrap();
    assert_eq!(missing.0, StatusCode::NOT_FOUND);
}

async fn tokens_are_sealed_anew_under_a_new_key(payhook: &TestPayhook) {
    let state = consulted(payhook, "AU-12", "KPLUS").await;
    agrees(payhook, &state);
    notified(payhook, &state, AntomKind::AuthcodeCreated).await;
    becomes(payhook, "AU-12", "token_issued").await;
    let token = tokens_are_secret(payhook, &state);
    payhook.takes_up_token_keys(&[1, 2]);
    let rotates = async || {
        let rotated = payhook.cli(&["keys", "rotate", "--json"]).await.ends_with(0).json();
        if rotated["newest"] == 2 { Ok(rotated) } else { Err(rotated.to_string()) }
    };
    let rotated = payhook.until("the new key is taken up", rotates).await;
    assert_eq!((&rotated["unopened"], &rotated["left"]), (&0.into(), &json!({ "1": 0 })), "{rotated}");
    assert!(
        rotated["resealed"].as_u64().is_some_and(|count| count >= 3),
        "token, refresh token, notification: {rotated}"
    );

    // The old key can go now.
    payhook.takes_up_token_keys(&[2]);
    assert_eq!(payhook.cli(&["keys", "rotate", "--json"]).await.ends_with(0).json()["resealed"], 0);
    let (status, answer) = read_token(payhook, "AU-12").await;
    assert_eq!((status, &answer["access_token"]), (StatusCode::OK, &token.as_str().into()), "{answer}");
}
