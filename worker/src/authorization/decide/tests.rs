//! Tests what each fact does to an authorization, in any order.

use payhook_schema::{AccountName, AuthState, AuthorizationId, EventType, Sealed, Wallet};
use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn authorization() -> Authorization {
    Authorization {
        id: AuthorizationId::new("AU-1").unwrap(),
        account: AccountName::new("shop").unwrap(),
        auth_state: AuthState::new("AS-1").unwrap(),
        wallet: Wallet::new("KPLUS").unwrap(),
        state: AuthorizationState::Awaiting,
        version: 0,
        revision: 1,
        code: None,
        token: None,
        reason: None,
        next_check_at: None,
        attempts: 0,
        created_at: at(0),
        updated_at: at(0),
    }
}

fn sealed() -> Sealed {
    Sealed { key: 1, bytes: vec![1, 2, 3] }
}

fn code(word: &str) -> AuthorizationFact {
    AuthorizationFact::Granted(Code { digest: SecretDigest::of(word), sealed: Some(sealed()) })
}

fn token(word: &str) -> Token {
    Token {
        digest: SecretDigest::of(word),
        access: Some(sealed()),
        refresh: Some(sealed()),
        expires_at: Some(at(100 + 30 * 86_400)),
        refresh_expires_at: None,
        issued_at: at(100),
    }
}

fn issued(word: &str) -> AuthorizationFact {
    AuthorizationFact::Issued { token: token(word), source: TokenSource::Notified }
}

fn cancelled(word: &str) -> AuthorizationFact {
    AuthorizationFact::Cancelled {
        token: Some(SecretDigest::of(word)),
        reason: Some("user request".to_owned()),
        is_old: false,
    }
}

/// Decides and makes the authorization what the store would make it; the events' types, none where nothing changed.
fn learns(authorization: &mut Authorization, fact: AuthorizationFact) -> Option<Vec<EventType>> {
    let change = decide(authorization, fact, at(100)).change?;
    assert_eq!(change.authorization.version - authorization.version, change.events.len() as i64);
    *authorization = Authorization { revision: authorization.revision + 1, ..change.authorization };
    Some(change.events.iter().map(|event| event.event_type).collect())
}

#[test]
fn a_code_grants_once_and_is_to_be_exchanged_at_once() {
    let mut known = authorization();
    assert_eq!(learns(&mut known, code("C")), Some(vec![EventType::AuthorizationGranted]));
    assert_eq!((known.state, known.next_check_at), (AuthorizationState::Granted, Some(at(100))));
    assert_eq!(learns(&mut known, code("C")), None);
}

#[test]
fn a_code_that_is_not_ours_to_exchange_grants_all_the_same() {
    let mut known = authorization();
    let code = AuthorizationFact::Granted(Code { digest: SecretDigest::of("C"), sealed: None });
    assert_eq!(learns(&mut known, code), Some(vec![EventType::AuthorizationGranted]));
    assert_eq!(known.next_check_at, None);
}

#[test]
fn a_token_ends_the_exchange_and_is_refreshed_before_it_expires() {
    let mut known = authorization();
    learns(&mut known, code("C"));
    assert_eq!(learns(&mut known, issued("T")), Some(vec![]));
    assert_eq!((known.state, known.code.as_ref().unwrap().sealed.as_ref()), (AuthorizationState::TokenIssued, None));
    assert_eq!(known.next_check_at, Some(at(100 + 27 * 86_400)), "a tenth of thirty days ahead");
    assert_eq!(learns(&mut known, code("C")), None, "a resend of the code");
    assert_eq!(learns(&mut known, issued("T")), None, "a resend of the token");
}

#[test]
fn a_token_without_a_code_grants_by_itself() {
    let mut known = authorization();
    assert_eq!(learns(&mut known, issued("T")), Some(vec![EventType::AuthorizationGranted]));
    assert_eq!(known.state, AuthorizationState::TokenIssued);
}

#[test]
fn what_a_notification_leaves_out_the_exchange_fills_in() {
    let mut known = authorization();
    let bare = Token { refresh: None, expires_at: None, ..token("T") };
    learns(&mut known, AuthorizationFact::Issued { token: bare, source: TokenSource::Notified });
    assert_eq!(known.next_check_at, None);
    assert_eq!(learns(&mut known, issued("T")), Some(vec![]));
    assert_eq!(known.next_check_at, refresh_at(&token("T")));
}

#[test]
fn a_cancelled_token_is_forgotten_and_nothing_comes_after_it() {
    let mut known = authorization();
    learns(&mut known, issued("T"));
    assert_eq!(learns(&mut known, cancelled("T")), Some(vec![EventType::AuthorizationCancelled]));
    let stored = known.token.clone().unwrap();
    assert_eq!((known.state, stored.access, stored.refresh), (AuthorizationState::Cancelled, None, None));
    for late in [code("C"), code("C2"), issued("T"), issued("T2"), cancelled("T")] {
        assert_eq!(learns(&mut known, late), None);
    }
}

#[test]
fn the_end_of_a_former_token_does_not_touch_the_one_that_counts() {
    let mut known = authorization();
    learns(&mut known, issued("T1"));
    assert_eq!(learns(&mut known, issued("T2")), Some(vec![]), "refreshed");
    assert_eq!(learns(&mut known, cancelled("T1")), None);
    assert_eq!(learns(&mut known, AuthorizationFact::Issued { token: token("T1"), source: TokenSource::Former }), None);
    assert_eq!((known.state, known.token.unwrap().digest), (AuthorizationState::TokenIssued, SecretDigest::of("T2")));
}

#[test]
fn a_cancellation_from_before_the_consent_does_not_touch_a_token_given_again() {
    let mut known = authorization();
    learns(&mut known, issued("T"));
    let old = AuthorizationFact::Cancelled { token: Some(SecretDigest::of("T")), reason: None, is_old: true };
    assert_eq!(learns(&mut known, old), None);
    assert_eq!(known.state, AuthorizationState::TokenIssued);
    assert_eq!(learns(&mut known, cancelled("T")), Some(vec![EventType::AuthorizationCancelled]));
}

#[test]
fn a_cancellation_of_the_old_token_during_its_refresh_does_not_drop_the_new_one() {
    let answered = |word| AuthorizationFact::Issued { token: token(word), source: TokenSource::Answered };
    let mut known = authorization();
    learns(&mut known, issued("T1"));
    assert_eq!(learns(&mut known, cancelled("T1")), Some(vec![EventType::AuthorizationCancelled]));
    assert_eq!(learns(&mut known, answered("T1")), None, "the cancelled token itself stays cancelled");
    assert_eq!(learns(&mut known, answered("T2")), Some(vec![EventType::AuthorizationGranted]));
    let now = known.token.clone().unwrap();
    assert_eq!(
        (known.state, now.digest, now.access),
        (AuthorizationState::TokenIssued, SecretDigest::of("T2"), Some(sealed()))
    );
    assert_eq!((known.next_check_at.is_some(), &known.reason), (true, &None), "refreshed like any other");
    assert_eq!(learns(&mut known, cancelled("T1")), None, "a repeat of the old token's cancellation");
    assert_eq!(known.state, AuthorizationState::TokenIssued);
    assert_eq!(learns(&mut known, cancelled("T2")), Some(vec![EventType::AuthorizationCancelled]));
}

#[test]
fn the_same_token_given_again_lives_as_long_as_it_now_says() {
    let mut known = authorization();
    learns(&mut known, issued("T"));
    let longer = Token { expires_at: Some(at(100 + 60 * 86_400)), refresh: None, ..token("T") };
    let again = AuthorizationFact::Issued { token: longer.clone(), source: TokenSource::Answered };
    assert_eq!(learns(&mut known, again), Some(vec![]));
    let stored = known.token.clone().unwrap();
    assert_eq!(
        (stored.expires_at, stored.refresh),
        (longer.expires_at, Some(sealed())),
        "a refresh token that is not repeated stays"
    );
    let short = Token { expires_at: Some(at(101)), ..token("T") };
    learns(&mut known, AuthorizationFact::Issued { token: short, source: TokenSource::Answered });
    assert_eq!(known.next_check_at, Some(at(100 + 3600)), "never a call every few minutes");
}

#[test]
fn a_refused_code_makes_room_for_another() {
    let mut known = authorization();
    learns(&mut known, code("C1"));
    assert_eq!(learns(&mut known, code("C2")), None, "the first is being exchanged");
    known.code.as_mut().unwrap().sealed = None;
    assert_eq!(learns(&mut known, code("C2")), Some(vec![]), "granted already, so nothing is announced again");
    assert!(known.next_check_at.is_some());
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_end_alike(picks in prop::collection::vec(0..3_usize, 0..12)) {
        let all = [code("C"), issued("T"), cancelled("T")];
        let mut known = authorization();
        let mut events = Vec::new();
        for pick in picks.into_iter().chain([0, 1, 2]) {
            // A token nobody knows yet names no authorization: its end waits in the queue.
            let waits = matches!(&all[pick], AuthorizationFact::Cancelled { .. }) && known.token.is_none();
            if !waits {
                events.extend(learns(&mut known, all[pick].clone()).unwrap_or_default());
            }
        }
        prop_assert_eq!(known.state, AuthorizationState::Cancelled);
        prop_assert_eq!(events, [EventType::AuthorizationGranted, EventType::AuthorizationCancelled]);
    }
}
