//! A wallet may give one token to several authorizations of one customer.

use std::time::Duration;

use jiff::SignedDuration;
use payhook_schema::{
    AuthState, Authorization, AuthorizationId, AuthorizationState, NewAuthorization, TimelineKind, Wallet,
};
use payhook_simulator::{AntomKind, SignedRequest};
use payhook_store::{AuthorizationChange, AuthorizationSettlement, Settled, TimelineEntry, traits::*};

use crate::test_worker::{SOON, TestWorker, shop};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

impl TestWorker {
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

    /// Waits until the history of an authorization has so many notifications, repeats among them, and a refusal for
    /// each of `refusals`.
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
    async fn events_of(&self, id: &str) -> Vec<&'static str> {
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
    let worker = TestWorker::start().await;
    let [first, _] = worker.shares().await;
    worker.becomes(worker.now() + HOUR);
    worker.simulator.antom().revoke(&first, Some("user request")).unwrap();
    let cancelled = worker.signs(&first, AntomKind::TokenCanceled);
    worker.receives(&cancelled).await;
    let mut were = Vec::new();
    for id in ["AU-1", "AU-2"] {
        let it = worker.is(id, AuthorizationState::Cancelled).await;
        assert_eq!((it.reason.as_deref(), &it.token.as_ref().unwrap().access), (Some("user request"), &None), "{id}");
        were.push(it);
    }
    worker.becomes(worker.now() + HOUR);
    worker.receives(&cancelled).await;
    for (id, was) in ["AU-1", "AU-2"].into_iter().zip(were) {
        worker.history(id, 3, &[]).await;
        assert_eq!(worker.authorization(id).await, was, "a repeat changes nothing");
        assert_eq!(worker.events_of(id).await, [GRANTED, CANCELLED]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_that_was_written_for_one_of_two_is_finished_by_its_retry() {
    let worker = TestWorker::start().await;
    let [first, _] = worker.shares().await;
    worker.becomes(worker.now() + HOUR);
    worker.simulator.antom().revoke(&first, None).unwrap();
    // Somebody wrote the first, and died.
    let mut authorization = worker.authorization("AU-1").await;
    authorization.state = AuthorizationState::Cancelled;
    let change = Some(AuthorizationChange { authorization, events: Vec::new() });
    let half = AuthorizationSettlement { change, ..AuthorizationSettlement::default() };
    assert_eq!(worker.store.authorization_settle(&half).await.unwrap(), Settled::Written);
    let written = worker.authorization("AU-1").await;

    worker.receives(&worker.signs(&first, AntomKind::TokenCanceled)).await;
    worker.is("AU-2", AuthorizationState::Cancelled).await;
    worker.history("AU-1", 2, &[]).await;
    assert_eq!(worker.authorization("AU-1").await, written);
    assert_eq!(worker.events_of("AU-2").await, [GRANTED, CANCELLED]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_that_overtakes_the_token_of_the_second_reaches_it_all_the_same() {
    let worker = TestWorker::start().await;
    let [first, second] = [worker.consults("AU-1").await, worker.consults("AU-2").await];
    worker.simulator.antom().issue_token(&first).unwrap();
    worker.simulator.antom().share_token(&first, &second).unwrap();
    let late = worker.signs(&second, AntomKind::TokenCreated);
    worker.receives(&worker.signs(&first, AntomKind::TokenCreated)).await;
    worker.is("AU-1", AuthorizationState::TokenIssued).await;
    worker.becomes(worker.now() + HOUR);
    worker.revokes(&first).await;
    worker.is("AU-1", AuthorizationState::Cancelled).await;

    worker.receives(&late).await;
    worker.is("AU-2", AuthorizationState::Cancelled).await;
    assert_eq!(worker.events_of("AU-2").await, [GRANTED, CANCELLED]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_who_comes_back_keeps_a_token_that_was_cancelled_before() {
    let worker = TestWorker::start().await;
    let [first, _] = worker.shares().await;
    worker.becomes(worker.now() + HOUR);
    worker.simulator.antom().revoke(&first, None).unwrap();
    let old = worker.signs(&first, AntomKind::TokenCanceled);
    worker.receives(&old).await;
    worker.is("AU-2", AuthorizationState::Cancelled).await;

    worker.becomes(worker.now() + HOUR);
    let again = worker.consults("AU-3").await;
    worker.simulator.antom().share_token(&first, &again).unwrap();
    let created = worker.signs(&again, AntomKind::TokenCreated);
    worker.receives(&created).await;
    worker.is("AU-3", AuthorizationState::TokenIssued).await;
    worker.receives(&old).await;
    worker.history("AU-3", 3, &["its token was cancelled before the customer agreed to this; nothing changes"]).await;
    // A repeat of the grant looks for cancellations again, and finds the old one.
    worker.receives(&created).await;
    worker.history("AU-3", 4, &["its token was cancelled before the customer agreed to this; nothing changes"]).await;
    worker.is("AU-3", AuthorizationState::TokenIssued).await;
    assert_eq!(worker.events_of("AU-3").await, [GRANTED]);

    worker.becomes(worker.now() + HOUR);
    worker.revokes(&again).await;
    worker.is("AU-3", AuthorizationState::Cancelled).await;
    assert_eq!(worker.events_of("AU-1").await, [GRANTED, CANCELLED], "once, however often the token is cancelled");
}
