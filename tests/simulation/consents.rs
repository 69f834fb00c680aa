//! Auto Debit in a world: customers agree, a wallet gives one token to several of their authorizations, and takes it
//! back from all of them.

use jiff::SignedDuration;
use payhook_schema::{AuthState, AuthorizationId, AuthorizationState, Wallet};
use payhook_simulator::{AntomKind, SignedRequest};
use rand::RngExt;
use serde_json::json;

use crate::world::{BASE, SimulatedWorld, shop};

/// A wallet that gives no refresh token: its tokens stay as they are while time passes.
const WALLET: &str = "PAYPAY";

/// A customer's consent, and the requests that Antom signed about it when it happened.
pub(crate) struct SimulatedConsent {
    id: AuthorizationId,
    auth_state: AuthState,
    signed: Vec<SignedRequest>,
}

impl SimulatedWorld {
    /// A customer agrees: to something new, or again with a token that is or was another authorization's.
    pub(crate) async fn agree(&mut self) {
        let number = self.consents.len();
        let id = AuthorizationId::new(format!("AU-{number}")).expect("a good id");
        let auth_state = AuthState::new(format!("S-{number}")).expect("a good state");
        let antom = self.simulator.antom();
        antom.consult(&auth_state, &Wallet::new(WALLET).expect("a good name"));
        let shared = (number > 0 && self.rng.random_bool(0.7)).then(|| self.rng.random_range(0..number));
        // Antom signs to the second: a token that comes back was cancelled in an earlier one.
        self.time.pass(SignedDuration::from_secs(2));
        match shared {
            Some(of) => antom.share_token(&self.consents[of].auth_state, &auth_state).expect("it has a token"),
            None => drop(antom.issue_token(&auth_state).expect("the customer was asked")),
        }
        self.consents.push(SimulatedConsent { id, auth_state, signed: Vec::new() });
        if self.rng.random_bool(0.8) {
            self.register_consent(number).await;
        }
        self.signs(number, AntomKind::TokenCreated).await;
    }

    /// A customer takes a token back.
    pub(crate) async fn take_back(&mut self) {
        let live = (0..self.consents.len()).filter(|&number| !self.is_cancelled(number)).collect::<Vec<_>>();
        if live.is_empty() {
            return;
        }
        let number = live[self.rng.random_range(0..live.len())];
        self.simulator.antom().revoke(&self.consents[number].auth_state, Some("user request")).expect("there");
        self.signs(number, AntomKind::TokenCanceled).await;
    }

    async fn signs(&mut self, number: usize, kind: AntomKind) {
        let auth_state = &self.consents[number].auth_state;
        let signed = self.simulator.antom().signed_authorization(BASE, &shop("shop"), auth_state, kind);
        self.consents[number].signed.push(signed.expect("it happened"));
        if self.rng.random_bool(0.8) {
            self.tell_consent().await;
        }
    }

    /// Antom sends one of its notifications, for the first time or again.
    pub(crate) async fn tell_consent(&mut self) {
        if self.consents.is_empty() {
            return;
        }
        let number = self.rng.random_range(0..self.consents.len());
        let signed = &self.consents[number].signed;
        let signed = signed[self.rng.random_range(0..signed.len())].clone();
        self.receives(&signed).await;
    }

    async fn register_consent(&mut self, number: usize) {
        let SimulatedConsent { id, auth_state, .. } = &self.consents[number];
        let body = json!({ "account": shop("shop"), "auth_state": auth_state, "customer_belongs_to": WALLET });
        let path = format!("/v1/authorizations/{id}");
        let (status, problem) = self.call("PUT", &path, &body).await;
        assert!(matches!(status, 200 | 201), "{path}: {status} {problem}");
    }

    /// Antom sends every notification until it is acknowledged, and the merchant has registered everything.
    pub(crate) async fn finish_consents(&mut self) {
        for number in 0..self.consents.len() {
            self.register_consent(number).await;
        }
        let signed: Vec<_> = self.consents.iter().flat_map(|consent| consent.signed.clone()).collect();
        for signed in signed {
            self.receives(&signed).await;
        }
    }

    fn is_cancelled(&self, number: usize) -> bool {
        let shown = self.simulator.antom().authorization_shown(&self.consents[number].auth_state);
        shown.expect("there")["state"] == "cancelled"
    }

    /// Every authorization is in Antom's state, and each step made one event.
    pub(crate) async fn check_consents(&self, wrong: &mut Vec<String>) {
        let feed = self.look(async |store| store.events_after(0, 10_000).await).await;
        for (number, SimulatedConsent { id, .. }) in self.consents.iter().enumerate() {
            let Some(stored) = self.look(async |store| store.authorization_get(id).await).await else {
                wrong.push(format!("{id} is registered and not there"));
                continue;
            };
            let (state, told) = match self.is_cancelled(number) {
                true => (AuthorizationState::Cancelled, &["granted", "cancelled"][..]),
                false => (AuthorizationState::TokenIssued, &["granted"][..]),
            };
            let events = feed.iter().filter(|event| event.event.subject == id.as_str());
            let types: Vec<_> = events.map(|event| event.event.event_type.as_str()).collect();
            let expected = told.iter().map(|word| format!("payhook.authorization.{word}.v1")).collect::<Vec<_>>();
            if stored.state != state || types != expected {
                wrong.push(format!("{id} is {state}, and stored as {} with the events {types:?}", stored.state));
                let timeline = self.look(async |store| store.authorization_timeline(id).await).await;
                wrong.extend(timeline.iter().map(|it| format!("    {} {} {} {}", it.at, it.kind, it.text, it.detail)));
            }
        }
    }
}
