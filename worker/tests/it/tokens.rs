//! A wallet may give one token to several authorizations of one customer.

use std::time::Duration;

use jiff::SignedDuration;
use payhook_schema::{
    AuthState, Authorization, AuthorizationId, AuthorizationState, NewAuthorization, TimelineKind, Wallet,
};
use payhook_simulator::{AntomKind, SignedRequest};
use payhook_store::{AuthorizationChange, AuthorizationSettlement, Settled, TimelineEntry, traits::*};

use crate::house::{House, SOON, shop};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

impl House {
    /// The merchant asks the customer, and has us know.
    async fn consults(&self, id: &str) -> AuthState {
        let (auth_state, wallet) = (AuthState::new(format!("S-{id}")).unwrap(), Wallet::new("KPLUS").unwrap());
        self.simulator.antom().consult(&auth_state, &wallet);
        let id = AuthorizationId::new(id).unwrap();
        let new = NewAuthorization { id, account: shop(), auth_state: auth_state.clone(), wallet };
        self.store.authorization_register(&new, self.now()).await.unwrap();
        auth_state
    }

    fn signs(&self, of: &AuthState, kind: AntomKind) -> SignedRequest {
        self.simulator.antom().signed_authorization("http://payhook.test", &shop(), of, kind).unwrap()
    }

    /// The customer takes the consent back, and Antom notifies of it.
    async fn revokes(&self, of: &AuthState) {
        self.simulator.antom().revoke(of, None).unwrap();
        self.receives(&self.signs(of, AntomKind::TokenCanceled)).await;
    }

    /// Two authorizations with one token.
    async fn shares(&self) -> [AuthState; 2] {
        let [first, second] = [self.consults("AU-1").await, self.consults("AU-2").await];
        self.simulator.antom().issue_token(&first).unwrap();
        self.simulator.antom().share_token(&first, &second).unwrap();
        for (id, of) in [("AU-1", &first), ("AU-2", &second)] {
            self.receives(&self.signs(of, AntomKind::TokenCreated)).await;
            self.is(id, AuthorizationState::TokenIssued).await;
        }
        [first, second]
    }

    async fn authorization(&self, id: &str) -> Authorization {
        self.store.authorization_get(&AuthorizationId::new(id).unwrap()).await.unwrap().unwrap()
    }

    async fn is(&self, id: &str, state: AuthorizationState) -> Authorization {
        let started = tokio::time::Instant::now();
        loop {
            let now = self.authorization(id).await;
            if now.state == state {
                return now;
            }
            assert!(started.elapsed() < SOON, "waited for {id} to be {state}: {now:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the history of an authorization has so many notifications, repeats among them, and a refusal for each of `refusals`.
    async fn history(&self, id: &str, notifications: u64, refusals: &[&str]) {
        let (id, started) = (AuthorizationId::new(id).unwrap(), tokio::time::Instant::now());
        loop {
            let timeline = self.store.authorization_timeline(&id).await.unwrap();
            let of = |kind| timeline.iter().filter(move |entry| entry.kind == kind);
            let texts: Vec<_> = of(TimelineKind::Refusal).map(|entry| entry.text.as_str()).collect();
            let received = |entry: &TimelineEntry| entry.detail["received"].as_u64().expect("a count");
            if of(TimelineKind::Notification).map(received).sum::<u64>() == notifications && texts == refusals {
                return;
            }
            assert!(started.elapsed() < SOON, "waited for the history of {id}: {timeline:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the types of the events that tell the merchant's programs of an authorization.
    async fn told(&self, id: &str) -> Vec<&'static str> {
        self.store.events_sequence(100, self.now()).await.unwrap();
        let events = self.store.events_after(0, 100).await.unwrap();
        let of = events.iter().filter(|event| event.event.subject == id);
        of.map(|event| event.event.event_type.as_str()).collect()
    }
}

const GRANTED: &str = "payhook.authorization.granted.v1";
const CANCELLED: &str = "payhook.authorization.cancelled.v1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_authorization_that_shares_a_token_learns_of_its_cancellation() {
    let house = House::start().await;
    let [first, _] = house.shares().await;
    house.becomes(house.now() + HOUR);
    house.simulator.antom().revoke(&first, Some("user request")).unwrap();
    let cancelled = house.signs(&first, AntomKind::TokenCanceled);
    house.receives(&cancelled).await;
    let mut were = Vec::new();
    for id in ["AU-1", "AU-2"] {
        let it = house.is(id, AuthorizationState::Cancelled).await;
        assert_eq!((it.reason.as_deref(), &it.token.as_ref().unwrap().access), (Some("user request"), &None), "{id}");
        were.push(it);
    }
    house.becomes(house.now() + HOUR);
    house.receives(&cancelled).await;
    for (id, was) in ["AU-1", "AU-2"].into_iter().zip(were) {
        house.history(id, 3, &[]).await;
        assert_eq!(house.authorization(id).await, was, "a repeat changes nothing");
        assert_eq!(house.told(id).await, [GRANTED, CANCELLED]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_that_was_written_for_one_of_two_is_finished_by_its_retry() {
    let house = House::start().await;
    let [first, _] = house.shares().await;
    house.becomes(house.now() + HOUR);
    house.simulator.antom().revoke(&first, None).unwrap();
    // Somebody wrote the first, and died.
    let mut authorization = house.authorization("AU-1").await;
    authorization.state = AuthorizationState::Cancelled;
    let change = Some(AuthorizationChange { authorization, events: Vec::new() });
    let half = AuthorizationSettlement { change, ..AuthorizationSettlement::default() };
    assert_eq!(house.store.authorization_settle(&half).await.unwrap(), Settled::Written);
    let written = house.authorization("AU-1").await;

    house.receives(&house.signs(&first, AntomKind::TokenCanceled)).await;
    house.is("AU-2", AuthorizationState::Cancelled).await;
    house.history("AU-1", 2, &[]).await;
    assert_eq!(house.authorization("AU-1").await, written);
    assert_eq!(house.told("AU-2").await, [GRANTED, CANCELLED]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_that_overtakes_the_token_of_the_second_reaches_it_all_the_same() {
    let house = House::start().await;
    let [first, second] = [house.consults("AU-1").await, house.consults("AU-2").await];
    house.simulator.antom().issue_token(&first).unwrap();
    house.simulator.antom().share_token(&first, &second).unwrap();
    let late = house.signs(&second, AntomKind::TokenCreated);
    house.receives(&house.signs(&first, AntomKind::TokenCreated)).await;
    house.is("AU-1", AuthorizationState::TokenIssued).await;
    house.becomes(house.now() + HOUR);
    house.revokes(&first).await;
    house.is("AU-1", AuthorizationState::Cancelled).await;

    house.receives(&late).await;
    house.is("AU-2", AuthorizationState::Cancelled).await;
    assert_eq!(house.told("AU-2").await, [GRANTED, CANCELLED]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_who_comes_back_keeps_a_token_that_was_cancelled_before() {
    let house = House::start().await;
    let [first, _] = house.shares().await;
    house.becomes(house.now() + HOUR);
    house.simulator.antom().revoke(&first, None).unwrap();
    let old = house.signs(&first, AntomKind::TokenCanceled);
    house.receives(&old).await;
    house.is("AU-2", AuthorizationState::Cancelled).await;

    house.becomes(house.now() + HOUR);
    let again = house.consults("AU-3").await;
    house.simulator.antom().share_token(&first, &again).unwrap();
    let created = house.signs(&again, AntomKind::TokenCreated);
    house.receives(&created).await;
    house.is("AU-3", AuthorizationState::TokenIssued).await;
    house.receives(&old).await;
    house.history("AU-3", 3, &["its token was cancelled before the customer agreed to this; nothing changes"]).await;
    // A repeat of the grant looks for cancellations again, and finds the old one.
    house.receives(&created).await;
    house.history("AU-3", 4, &["its token was cancelled before the customer agreed to this; nothing changes"]).await;
    house.is("AU-3", AuthorizationState::TokenIssued).await;
    assert_eq!(house.told("AU-3").await, [GRANTED]);

    house.becomes(house.now() + HOUR);
    house.revokes(&again).await;
    house.is("AU-3", AuthorizationState::Cancelled).await;
    assert_eq!(house.told("AU-1").await, [GRANTED, CANCELLED], "once, however often the token is cancelled");
}
