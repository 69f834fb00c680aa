//! Holds authorizations against a plain model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{
    About, AuthState, Authorization, AuthorizationId, AuthorizationName, AuthorizationState, Event, NewAuthorization,
    Notification, SecretDigest, TimelineKind,
};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use crate::authorizations::promises::{
    account, authorization_id, by_state, by_token, issue, naming, new_authorization,
};
use crate::conformance::sample::{entry, uuid};
use crate::settling::model::{brief, is_free};
use crate::{AuthorizationRegistered, AuthorizationSettlement, Settled, Store, TimelineEntry};

/// The part of the plain model that is about authorizations. Their events are in the one feed, and so with the other
/// part.
#[derive(Default)]
pub(crate) struct AuthorizationModel {
    all: BTreeMap<AuthorizationId, Authorization>,
    claims: BTreeMap<AuthorizationId, (Uuid, Timestamp)>,
    tokens: BTreeMap<SecretDigest, BTreeSet<AuthorizationId>>,
    written: Vec<(AuthorizationId, TimelineEntry)>,
    notifications: BTreeMap<Uuid, Notification>,
    /// As they were some time ago, to decide on what is no longer so.
    old: Vec<Authorization>,
}

impl AuthorizationModel {
    /// Does one random operation on both, compares the answers, and returns the events it made.
    pub(crate) async fn operate(&mut self, store: &dyn Store, random: &mut StdRng, now: Timestamp) -> Vec<Event> {
        let hold_for = Duration::from_secs(random.random_range(0..900));
        let until = now + SignedDuration::try_from(hold_for).unwrap();
        match random.random_range(0..100) {
            0..25 => {
                let new = some_new(random);
                let answer = store.authorization_register(&new, now).await.unwrap();
                assert_eq!(answer, self.register(&new, now), "{new:?}");
            }
            25..70 => {
                let settlement = self.settlement(random, now);
                let settled = store.authorization_settle(&settlement).await.unwrap();
                assert_eq!(settled, self.settle(&settlement), "{settlement:#?}");
                let change = settlement.change.filter(|_| settled == Settled::Written);
                return change.map(|change| change.events).unwrap_or_default();
            }
            70..90 => {
                let (id, holder) = (some_id(random), uuid(random.random_range(0..3)));
                let claimed = store.authorization_claim(&id, holder, now, hold_for).await.unwrap();
                let free = self.claims.get(&id).is_none_or(|claim| is_free(*claim, holder, now, hold_for));
                let expected = self.all.get(&id).filter(|it| free && it.next_check_at.is_some());
                assert_eq!(claimed.as_ref(), expected);
                if expected.is_some() {
                    self.claims.insert(id, (holder, until));
                }
            }
            _ => {
                let limit = random.random_range(0..4);
                let due = store.authorizations_due(now, hold_for, limit).await.unwrap();
                let mut waiting: Vec<_> = self.all.values().filter_map(|it| it.next_check_at).collect();
                waiting.retain(|at| *at <= now);
                waiting.sort();
                waiting.truncate(limit as usize);
                let taken: Vec<_> = due.iter().map(|id| self.all[id].next_check_at.unwrap()).collect();
                assert_eq!(taken, waiting);
                for id in due {
                    self.all.get_mut(&id).unwrap().next_check_at = Some(until);
                }
            }
        }
        Vec::new()
    }

    fn register(&mut self, new: &NewAuthorization, now: Timestamp) -> AuthorizationRegistered {
        if let Some(known) = self.all.get(&new.id) {
            return if known.auth_state == new.auth_state {
                AuthorizationRegistered::Authorization { authorization: known.clone(), created: false, parked: false }
            } else {
                AuthorizationRegistered::Differs
            };
        }
        if let Some(other) = self.all.values().find(|other| other.auth_state == new.auth_state) {
            return AuthorizationRegistered::AuthStateTaken { by: other.id.clone() };
        }
        let about = About::Authorization(AuthorizationName::State(new.auth_state.clone()));
        let parked = self.notifications.values().any(|notification| notification.about == about);
        let authorization = Authorization {
            id: new.id.clone(),
            account: new.account.clone(),
            auth_state: new.auth_state.clone(),
            wallet: new.wallet.clone(),
            state: AuthorizationState::Awaiting,
            version: 0,
            revision: 1,
            code: None,
            token: None,
            reason: None,
            next_check_at: parked.then_some(now),
            attempts: 0,
            created_at: now,
            updated_at: now,
        };
        let registered = TimelineEntry { kind: TimelineKind::Registered, ..entry("", None, now) };
        self.written.push((new.id.clone(), registered));
        self.all.insert(new.id.clone(), authorization.clone());
        AuthorizationRegistered::Authorization { authorization, created: true, parked }
    }

    /// Any settlement at all: decided on what is so or was so, with or without a change, now and then one nobody can
    /// keep.
    fn settlement(&mut self, random: &mut StdRng, now: Timestamp) -> AuthorizationSettlement {
        let current: Vec<_> = self.all.values().cloned().collect();
        let decided_on = if random.random_ratio(1, 5) { self.old.choose(random) } else { current.choose(random) };
        let mut settlement = AuthorizationSettlement::default();
        if let Some(authorization) = decided_on
            && random.random_ratio(3, 4)
        {
            settlement = issue(authorization, some_token(random), now);
            let change = settlement.change.as_mut().unwrap();
            change.authorization.next_check_at =
                random.random_bool(0.7).then(|| now + SignedDuration::from_secs(random.random_range(0..900)));
            if random.random_ratio(1, 10) {
                change.authorization.reason = Some("\0".to_owned());
            }
        } else if let Some(authorization) = current.choose(random) {
            settlement.timeline = Some((authorization.id.clone(), vec![entry("looked", None, now)]));
        }
        self.old.extend(current.choose(random).cloned());
        for _ in 0..random.random_range(0..3) {
            let name =
                if random.random_bool(0.5) { by_state(some_state(random)) } else { by_token(some_token(random)) };
            settlement.notifications.push(naming(random.random_range(400..440), name, now));
        }
        settlement
    }

    fn settle(&mut self, settlement: &AuthorizationSettlement) -> Settled {
        if let Some(change) = &settlement.change {
            let new = &change.authorization;
            if new.reason.is_some() {
                return Settled::Refused("a text has a NUL character in it".to_owned());
            }
            let known = self.all.get_mut(&new.id).expect("authorizations are never deleted");
            if known.revision != new.revision {
                return Settled::Conflict;
            }
            *known = Authorization { revision: new.revision + 1, ..new.clone() };
            self.claims.remove(&new.id);
            let token = new.token.as_ref().expect("a change issues a token");
            self.tokens.entry(token.digest.clone()).or_default().insert(new.id.clone());
        }
        for notification in &settlement.notifications {
            self.notifications.entry(notification.id).or_insert_with(|| notification.clone());
        }
        if let Some((id, entries)) = &settlement.timeline {
            self.written.extend(entries.iter().map(|entry| (id.clone(), entry.clone())));
        }
        Settled::Written
    }

    /// Compares all that can be read; `events` are those of the model, with when they were published.
    pub(crate) async fn compare(&self, store: &dyn Store, events: &[(Event, Option<i64>, Option<Timestamp>)]) {
        for id in (0..6).map(|n| authorization_id(&format!("AU-{n}"))) {
            assert_eq!(store.authorization_get(&id).await.unwrap().as_ref(), self.all.get(&id));
            let entries = store.authorization_timeline(&id).await.unwrap();
            assert_eq!(entries.iter().map(brief).collect::<Vec<_>>(), self.timeline(&id, events), "{id}");
        }
        for name in STATES.map(by_state).into_iter().chain(TOKENS.map(by_token)) {
            let found = store.authorization_find(&account(), &name).await.unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), self.find(&name), "{name:?}");
            let archived = store.authorization_notifications(&account(), &name).await.unwrap();
            assert_eq!(archived.iter().collect::<Vec<_>>(), self.naming(|of| *of == name));
        }
    }

    /// By id, as the map has them.
    fn find(&self, name: &AuthorizationName) -> Vec<&Authorization> {
        let is_named = |it: &&Authorization| match name {
            AuthorizationName::State(state) => it.auth_state == *state,
            AuthorizationName::Token(digest) => self.tokens.get(digest).is_some_and(|ids| ids.contains(&it.id)),
        };
        self.all.values().filter(is_named).collect()
    }

    /// The notifications that name what is `wanted`, oldest first.
    fn naming(&self, wanted: impl Fn(&AuthorizationName) -> bool) -> Vec<&Notification> {
        let wanted = |it: &&Notification| matches!(&it.about, About::Authorization(name) if wanted(name));
        let mut naming: Vec<_> = self.notifications.values().filter(wanted).collect();
        naming.sort_by_key(|it| (it.received_at, it.id));
        naming
    }

    fn timeline(
        &self,
        id: &AuthorizationId,
        events: &[(Event, Option<i64>, Option<Timestamp>)],
    ) -> Vec<(Timestamp, &'static str, String)> {
        let mut seen = BTreeSet::new();
        let notifications = self.naming(|name| self.find(name).iter().any(|it| it.id == *id)).into_iter().map(|it| {
            let first = seen.insert(it.idempotency_key.clone());
            (it.received_at, "notification", (!first).to_string())
        });
        let written = self.written.iter().filter(|(of, _)| of == id).map(|(_, entry)| brief(entry));
        let events = events.iter().filter(|(event, ..)| event.subject == id.as_str());
        let published = events.filter_map(|(event, _, at)| Some(((*at)?, "publish", event.id.to_string())));
        let mut all: Vec<_> = notifications.chain(written).chain(published).collect();
        all.sort_by_key(|(at, ..)| *at);
        all
    }
}

const STATES: [&str; 7] = ["S-AU-0", "S-AU-1", "S-AU-2", "S-AU-3", "S-AU-4", "S-AU-5", "S-other"];
const TOKENS: [&str; 6] = ["t0", "t1", "t2", "t3", "t4", "t5"];

fn some_state(random: &mut StdRng) -> &'static str {
    STATES.choose(random).unwrap()
}

fn some_token(random: &mut StdRng) -> &'static str {
    TOKENS.choose(random).unwrap()
}

fn some_id(random: &mut StdRng) -> AuthorizationId {
    authorization_id(&format!("AU-{}", random.random_range(0..6)))
}

/// Mostly with its own auth state, so that most registrations succeed.
fn some_new(random: &mut StdRng) -> NewAuthorization {
    let mut new = new_authorization(some_id(random).as_str());
    if random.random_ratio(1, 5) {
        new.auth_state = AuthState::new(some_state(random)).unwrap();
    }
    new
}
