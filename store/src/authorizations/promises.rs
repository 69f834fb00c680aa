//! Tests the promises about authorizations.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use payhook_schema::{
    About, AccountName, AuthState, Authorization, AuthorizationEvent, AuthorizationId, AuthorizationName,
    AuthorizationState, Code, Event, EventType, NewAuthorization, Notification, Provider, Sealed, SecretDigest, Token,
    Wallet,
};

use crate::conformance::Harness;
use crate::conformance::sample::{
    at, capture, entry, key, new_order, notification, order_id, registered as registered_order, uuid,
};
use crate::{AuthorizationChange, AuthorizationRegistered, AuthorizationSettlement, Settled, Store};

pub(crate) fn authorization_id(id: &str) -> AuthorizationId {
    AuthorizationId::new(id).unwrap()
}

pub(crate) fn account() -> AccountName {
    AccountName::new("shop").unwrap()
}

pub(crate) fn by_state(state: &str) -> AuthorizationName {
    AuthorizationName::State(AuthState::new(state).unwrap())
}

pub(crate) fn by_token(token: &str) -> AuthorizationName {
    AuthorizationName::Token(SecretDigest::of(token))
}

/// An authorization `id` whose auth state is `S-<id>`.
pub(crate) fn new_authorization(id: &str) -> NewAuthorization {
    NewAuthorization {
        id: authorization_id(id),
        account: account(),
        auth_state: AuthState::new(format!("S-{id}")).unwrap(),
        wallet: Wallet::new("KPLUS").unwrap(),
    }
}

/// Registers an authorization and returns it.
pub(crate) async fn registered(store: &dyn Store, id: &str, now: Timestamp) -> Authorization {
    match store.authorization_register(&new_authorization(id), now).await.unwrap() {
        AuthorizationRegistered::Authorization { authorization, .. } => authorization,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn read(store: &dyn Store, id: &AuthorizationId) -> Authorization {
    store.authorization_get(id).await.unwrap().unwrap()
}

pub(crate) fn sealed(key: u32, secret: &str) -> Sealed {
    Sealed { key, bytes: [b"\0\xff".as_slice(), secret.as_bytes()].concat() }
}

/// A settlement that issues `token` to `authorization`, with one event and one entry.
pub(crate) fn issue(authorization: &Authorization, token: &str, now: Timestamp) -> AuthorizationSettlement {
    let mut authorization = authorization.clone();
    authorization.state = AuthorizationState::TokenIssued;
    authorization.version += 1;
    authorization.token = Some(Token {
        digest: SecretDigest::of(token),
        access: Some(sealed(1, token)),
        refresh: Some(sealed(2, "refresh")),
        expires_at: Some(now),
        refresh_expires_at: None,
        issued_at: now,
    });
    authorization.updated_at = now;
    let events = vec![event(&authorization, now)];
    let timeline = Some((authorization.id.clone(), vec![entry("awaiting -> token_issued", None, now)]));
    AuthorizationSettlement {
        notifications: Vec::new(),
        change: Some(AuthorizationChange { authorization, events }),
        timeline,
    }
}

fn event(authorization: &Authorization, now: Timestamp) -> Event {
    let data = AuthorizationEvent {
        authorization_id: authorization.id.clone(),
        version: authorization.version,
        provider: Provider::Antom,
        account: authorization.account.clone(),
        customer_belongs_to: authorization.wallet.clone(),
        occurred_at: now,
        reason: None,
    };
    Event::of_authorization(EventType::AuthorizationGranted, data, now)
}

/// A notification under the account that names an authorization.
pub(crate) fn naming(number: u64, name: AuthorizationName, now: Timestamp) -> Notification {
    Notification {
        provider: Provider::Antom,
        kind: "AUTHCODE_CREATED".to_owned(),
        about: About::Authorization(name),
        ..notification(number, None, now)
    }
}

pub async fn an_authorization_is_registered_once_and_found_by_state_and_token(Harness { store, other, .. }: &Harness) {
    let new = new_authorization("AU-1");
    let racing = (0..8).map(|n| if n % 2 == 0 { store } else { other }.authorization_register(&new, at(0)));
    let mut first = Vec::new();
    for answer in join_all(racing).await {
        match answer.unwrap() {
            AuthorizationRegistered::Authorization { authorization, created, parked: false } => {
                first.extend(created.then_some(authorization));
            }
            other => panic!("{other:?}"),
        }
    }
    let [registered_once] = &first[..] else { panic!("{first:?}") };
    let expected = Authorization {
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
        next_check_at: None,
        attempts: 0,
        created_at: at(0),
        updated_at: at(0),
    };
    assert_eq!(*registered_once, expected);
    let timeline = store.authorization_timeline(&new.id).await.unwrap();
    assert_eq!(timeline.len(), 1);
    assert_eq!((timeline[0].kind.as_str(), &*timeline[0].text), ("registered", "registered: KPLUS under shop"));
    assert!(!format!("{timeline:?}").contains("S-AU-1"), "the auth state is the merchant's own");

    let elsewhere = AccountName::new("other").unwrap();
    let renamed = AuthState::new("S-AU-9").unwrap();
    for different in [
        NewAuthorization { account: elsewhere.clone(), ..new.clone() },
        NewAuthorization { auth_state: renamed, ..new.clone() },
        NewAuthorization { wallet: Wallet::new("GCASH").unwrap(), ..new.clone() },
    ] {
        let answer = store.authorization_register(&different, at(1)).await.unwrap();
        assert_eq!(answer, AuthorizationRegistered::Differs);
    }
    let taken = NewAuthorization { id: authorization_id("AU-2"), ..new.clone() };
    let answer = store.authorization_register(&taken, at(1)).await.unwrap();
    assert_eq!(answer, AuthorizationRegistered::AuthStateTaken { by: new.id.clone() });
    assert_eq!(store.authorization_get(&taken.id).await.unwrap(), None);
    let of_another_account = NewAuthorization { account: elsewhere.clone(), ..taken };
    assert!(matches!(
        store.authorization_register(&of_another_account, at(1)).await.unwrap(),
        AuthorizationRegistered::Authorization { created: true, .. }
    ));
    assert_eq!(read(&**store, &new.id).await, expected);

    let issued = issue(&expected, "token", at(2));
    assert_eq!(store.authorization_settle(&issued).await.unwrap(), Settled::Written);
    let expected = read(&**store, &new.id).await;
    let find = async |account: &AccountName, name| store.authorization_find(account, &name).await.unwrap();
    assert_eq!(find(&account(), by_state("S-AU-1")).await, std::slice::from_ref(&expected));
    assert_eq!(find(&account(), by_token("token")).await, [expected]);
    assert_eq!(find(&elsewhere, by_token("token")).await, []);
    assert_eq!(find(&account(), by_state("nobody's")).await, []);
    let digest = SecretDigest::of("token");
    assert_eq!(find(&account(), by_state(digest.as_str())).await, [], "a state that is spelled like a token");
}

pub async fn an_authorization_moves_from_the_revision_it_was_decided_on(Harness { store, other, .. }: &Harness) {
    let before = registered(&**store, "AU-1", at(0)).await;
    let mut whole = issue(&before, "token", at(3));
    let change = whole.change.as_mut().unwrap();
    change.authorization.code = Some(Code { digest: SecretDigest::of("code"), sealed: Some(sealed(u32::MAX, "code")) });
    change.authorization.reason = Some("KEY_NOT_FOUND ไทย".to_owned());
    change.authorization.next_check_at = Some(at(90));
    change.authorization.attempts = i32::MAX;
    whole.notifications = vec![naming(1, by_state("S-AU-1"), at(2))];
    whole.timeline.as_mut().unwrap().1[0].detail = serde_json::json!({ "attempts": 1 });

    // A settlement that contradicts itself or cannot be stored leaves nothing behind.
    let broken: [fn(&mut AuthorizationSettlement); 6] = [
        |it| it.change.as_mut().unwrap().authorization.version += 1,
        |it| it.change.as_mut().unwrap().authorization.reason = Some("a\0b".to_owned()),
        |it| it.change.as_mut().unwrap().authorization.attempts = -1,
        |it| it.timeline.as_mut().unwrap().1[0].text.push('\0'),
        |it| it.timeline.as_mut().unwrap().1[0].payment = Some(key("p1")),
        |it| it.notifications[0].kind.push('\0'),
    ];
    for (n, break_it) in broken.into_iter().enumerate() {
        let mut broken = whole.clone();
        break_it(&mut broken);
        let settled = store.authorization_settle(&broken).await.unwrap();
        assert!(matches!(settled, Settled::Refused(_)), "{n}: {settled:?}");
    }
    let mut of_nobody = whole.clone();
    let change = of_nobody.change.as_mut().unwrap();
    change.authorization.id = authorization_id("nobody's");
    change.events = vec![event(&change.authorization, at(3))];
    assert_eq!(store.authorization_settle(&of_nobody).await.unwrap(), Settled::Conflict);
    assert_eq!(read(&**store, &before.id).await, before);
    assert_eq!(store.authorization_timeline(&before.id).await.unwrap().len(), 1);
    assert_eq!(store.authorization_find(&account(), &by_token("token")).await.unwrap(), []);

    assert_eq!(store.authorization_settle(&whole).await.unwrap(), Settled::Written);
    let after = read(&**store, &before.id).await;
    let written = whole.change.as_ref().unwrap().authorization.clone();
    assert_eq!(after, Authorization { revision: before.revision + 1, ..written });
    let timeline = store.authorization_timeline(&before.id).await.unwrap();
    let entries: Vec<_> = timeline.iter().map(|entry| (entry.at, entry.kind.as_str())).collect();
    assert_eq!(entries, [(at(0), "registered"), (at(2), "notification"), (at(3), "inquiry")]);
    assert_eq!(timeline[2], whole.timeline.as_ref().unwrap().1[0]);
    assert_eq!(store.authorization_settle(&whole).await.unwrap(), Settled::Conflict, "it was decided on what was");

    // Secrets do not come back: the code once exchanged, the token once cancelled.
    let mut cancelled = issue(&after, "token", at(4));
    let change = cancelled.change.as_mut().unwrap();
    change.authorization.state = AuthorizationState::Cancelled;
    change.authorization.code.as_mut().unwrap().sealed = None;
    let token = change.authorization.token.as_mut().unwrap();
    (token.access, token.refresh, token.expires_at) = (None, None, None);
    (change.authorization.reason, change.authorization.next_check_at) = (None, None);
    let twin = cancelled.clone();
    let (one, two) = tokio::join!(store.authorization_settle(&cancelled), other.authorization_settle(&twin));
    let mut settled = [one.unwrap(), two.unwrap()];
    settled.sort_by_key(|settled| *settled != Settled::Written);
    assert_eq!(settled, [Settled::Written, Settled::Conflict], "by two workers");
    let written = cancelled.change.unwrap().authorization;
    assert_eq!(read(&**store, &before.id).await, Authorization { revision: after.revision + 1, ..written });

    // Without a change there is nothing to conflict with.
    let entry_alone = AuthorizationSettlement {
        notifications: vec![naming(2, by_token("token"), at(5))],
        change: None,
        timeline: Some((before.id.clone(), vec![entry("nothing new", None, at(5))])),
    };
    assert_eq!(store.authorization_settle(&entry_alone).await.unwrap(), Settled::Written);
    assert_eq!(read(&**store, &before.id).await.revision, after.revision + 1);
    let timeline = store.authorization_timeline(&before.id).await.unwrap();
    assert_eq!(timeline[timeline.len() - 2].detail["id"], uuid(2).to_string());
    let unknown = authorization_id("nobody's");
    let to_nobody = AuthorizationSettlement { timeline: Some((unknown, vec![entry("?", None, at(6))])), ..entry_alone };
    assert!(matches!(store.authorization_settle(&to_nobody).await.unwrap(), Settled::Refused(_)));
}

pub async fn a_former_token_still_names_its_authorization(Harness { store, .. }: &Harness) {
    let mut authorization = registered(&**store, "AU-1", at(0)).await;
    for (n, token) in ["first", "second", "second", "third"].into_iter().enumerate() {
        let issued = issue(&authorization, token, at(n as i64));
        assert_eq!(store.authorization_settle(&issued).await.unwrap(), Settled::Written);
        authorization = read(&**store, &authorization.id).await;
    }
    for token in ["first", "second", "third"] {
        let found = store.authorization_find(&account(), &by_token(token)).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&authorization), "{token}");
    }
    assert_eq!(store.authorization_find(&account(), &by_token("fourth")).await.unwrap(), []);
    // A notification that names any of them is in the history.
    let named = AuthorizationSettlement {
        notifications: vec![naming(1, by_token("second"), at(20)), naming(2, by_token("fourth"), at(20))],
        ..AuthorizationSettlement::default()
    };
    assert_eq!(store.authorization_settle(&named).await.unwrap(), Settled::Written);
    let timeline = store.authorization_timeline(&authorization.id).await.unwrap();
    let received: Vec<_> = timeline.iter().filter(|entry| entry.kind.as_str() == "notification").collect();
    assert!(received.len() == 1 && received[0].detail["id"] == uuid(1).to_string(), "{received:?}");
}

pub async fn a_token_names_each_authorization_that_was_issued_it(Harness { store, .. }: &Harness) {
    let shared = async || store.authorization_find(&account(), &by_token("shared")).await.unwrap();
    let mut holders = Vec::new();
    for (n, id) in ["AU-3", "AU-1", "AU-2"].into_iter().enumerate() {
        let issued = issue(&registered(&**store, id, at(n as i64)).await, "shared", at(n as i64));
        assert_eq!(store.authorization_settle(&issued).await.unwrap(), Settled::Written);
        holders.push(read(&**store, &authorization_id(id)).await);
        holders.sort_by(|left, right| left.id.cmp(&right.id));
        assert_eq!(shared().await, holders, "by id");
    }
    // Another account's token that is spelled alike is another token.
    let elsewhere = NewAuthorization { account: AccountName::new("other").unwrap(), ..new_authorization("AU-9") };
    store.authorization_register(&elsewhere, at(3)).await.unwrap();
    let issued = issue(&read(&**store, &elsewhere.id).await, "shared", at(3));
    assert_eq!(store.authorization_settle(&issued).await.unwrap(), Settled::Written);
    assert_eq!(shared().await, holders);
    assert_eq!(store.authorization_find(&elsewhere.account, &by_token("shared")).await.unwrap().len(), 1);

    // Neither a cancellation nor a newer token takes it away from any of them.
    let mut cancelled = issue(&holders[0], "shared", at(4));
    cancelled.change.as_mut().unwrap().authorization.state = AuthorizationState::Cancelled;
    let refreshed = issue(&holders[1], "newer", at(4));
    for settlement in [cancelled, refreshed] {
        assert_eq!(store.authorization_settle(&settlement).await.unwrap(), Settled::Written);
    }
    let found = shared().await;
    assert_eq!(found.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["AU-1", "AU-2", "AU-3"]);
    assert_eq!(found[0].state, AuthorizationState::Cancelled, "each as it is now");

    // A notification that names it is in the history of each, once.
    let named = AuthorizationSettlement {
        notifications: vec![naming(1, by_token("shared"), at(20))],
        ..AuthorizationSettlement::default()
    };
    assert_eq!(store.authorization_settle(&named).await.unwrap(), Settled::Written);
    for holder in &found {
        let timeline = store.authorization_timeline(&holder.id).await.unwrap();
        let received = timeline.iter().filter(|entry| entry.kind.as_str() == "notification").count();
        assert_eq!(received, 1, "{}", holder.id);
    }
}

pub async fn an_authorization_is_claimed_by_one_at_a_time(Harness { store, other, .. }: &Harness) {
    let (mine, theirs, hold_for) = (uuid(1), uuid(2), Duration::from_secs(10));
    let idle = registered(&**store, "AU-1", at(0)).await;
    assert_eq!(store.authorization_claim(&idle.id, mine, at(0), hold_for).await.unwrap(), None, "nothing to do");
    let nobodys = authorization_id("nobody's");
    assert_eq!(store.authorization_claim(&nobodys, mine, at(0), hold_for).await.unwrap(), None);
    let mut waiting = issue(&idle, "token", at(1));
    waiting.change.as_mut().unwrap().authorization.next_check_at = Some(at(1_000));
    assert_eq!(store.authorization_settle(&waiting).await.unwrap(), Settled::Written);
    let waiting = read(&**store, &idle.id).await;

    let claims = (0..8).map(|n| {
        let store = if n % 2 == 0 { store } else { other };
        store.authorization_claim(&waiting.id, uuid(10 + n), at(2), hold_for)
    });
    let claimed: Vec<_> = join_all(claims).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(claimed, std::slice::from_ref(&waiting), "as it is, its revision too");
    assert_eq!(read(&**store, &waiting.id).await, waiting);

    let claim = async |holder, seconds| {
        let claimed = store.authorization_claim(&waiting.id, holder, at(seconds), hold_for).await;
        claimed.unwrap().is_some()
    };
    assert!(!claim(mine, 11).await);
    assert!(claim(mine, 12).await, "it is over when it is over");
    assert!(!claim(theirs, 21).await);
    assert!(claim(mine, 21).await, "its holder renews it");
    assert!(!claim(theirs, 30).await);
    // Whatever was written about it has changed what is to be done.
    let mut moved = issue(&waiting, "token 2", at(30));
    moved.change.as_mut().unwrap().authorization.next_check_at = Some(at(2_000));
    assert_eq!(store.authorization_settle(&moved).await.unwrap(), Settled::Written);
    assert!(claim(theirs, 30).await);
    let entry_alone = AuthorizationSettlement {
        timeline: Some((waiting.id.clone(), vec![entry("looked", None, at(30))])),
        ..AuthorizationSettlement::default()
    };
    assert_eq!(store.authorization_settle(&entry_alone).await.unwrap(), Settled::Written);
    assert!(!claim(mine, 30).await, "an entry alone is no change");
}

pub async fn due_authorizations_are_handed_to_one_sweeper_at_a_time(Harness { store, other, .. }: &Harness) {
    registered(&**store, "idle", at(0)).await;
    for n in 0..20 {
        let authorization = registered(&**store, &format!("AU-{n:02}"), at(0)).await;
        let mut due = issue(&authorization, &format!("token {n}"), at(1));
        due.change.as_mut().unwrap().authorization.next_check_at = Some(at(40 - n));
        assert_eq!(store.authorization_settle(&due).await.unwrap(), Settled::Written);
    }
    let hold_for = Duration::from_mins(5);
    assert_eq!(store.authorizations_due(at(20), hold_for, 100).await.unwrap(), [], "nothing is due yet");
    let before = read(&**store, &authorization_id("AU-19")).await;
    let oldest = store.authorizations_due(at(23), hold_for, 2).await.unwrap();
    assert_eq!(oldest, ["AU-19", "AU-18"].map(authorization_id), "oldest first, and no more than asked for");
    let after = read(&**store, &before.id).await;
    assert_eq!(after, Authorization { next_check_at: Some(at(23 + 300)), ..before }, "its revision stays");
    let sweepers = (0..6).map(|n| if n % 2 == 0 { store } else { other });
    let taken = join_all(sweepers.map(|store| store.authorizations_due(at(100), hold_for, 5))).await;
    let mut taken: Vec<_> = taken.into_iter().flat_map(Result::unwrap).collect();
    taken.extend(store.authorizations_due(at(100), hold_for, 100).await.unwrap());
    taken.sort();
    assert_eq!(taken, (0..18).map(|n| authorization_id(&format!("AU-{n:02}"))).collect::<Vec<_>>());
    assert_eq!(
        store.authorizations_due(at(400), hold_for, 100).await.unwrap().len(),
        20,
        "held no longer than requested"
    );
}

pub async fn notifications_before_their_authorization_are_found_when_it_is_registered(Harness { store, .. }: &Harness) {
    let in_the_clear = naming(2, by_state("S-AU-1"), at(2));
    let under_a_key = Notification {
        sealed_with: Some(u32::MAX),
        signed_at: None,
        body: (0..=u8::MAX).collect(),
        headers: vec![("signature".to_owned(), "a=\"b\", ไทย".to_owned()), ("signature".to_owned(), String::new())],
        ..naming(1, by_state("S-AU-1"), at(2))
    };
    let latest = Notification { received_at: at(3), ..naming(3, by_state("S-AU-1"), at(1)) };
    let digest = SecretDigest::of("token");
    let others = [
        naming(4, by_token("token"), at(1)),
        naming(5, by_state(digest.as_str()), at(1)),
        Notification { account: AccountName::new("other").unwrap(), ..naming(6, by_state("S-AU-1"), at(1)) },
        Notification { about: About::Other, ..naming(7, by_state("S-AU-1"), at(1)) },
    ];
    let early = AuthorizationSettlement {
        notifications: [vec![latest.clone(), in_the_clear.clone(), under_a_key.clone()], others.to_vec()].concat(),
        ..AuthorizationSettlement::default()
    };
    assert_eq!(store.authorization_settle(&early).await.unwrap(), Settled::Written);
    let twice = Notification { body: Vec::new(), ..in_the_clear.clone() };
    let again = AuthorizationSettlement { notifications: vec![twice.clone(), twice], ..early };
    assert_eq!(store.authorization_settle(&again).await.unwrap(), Settled::Written);

    let archived = async |name| store.authorization_notifications(&account(), &name).await.unwrap();
    assert_eq!(archived(by_state("S-AU-1")).await, [under_a_key, in_the_clear, latest], "identical, oldest first");
    assert_eq!(archived(by_token("token")).await, others[..1]);
    assert_eq!(archived(by_state(digest.as_str())).await, others[1..2]);
    assert_eq!(archived(by_state("S-AU-2")).await, []);

    let answer = store.authorization_register(&new_authorization("AU-1"), at(9)).await.unwrap();
    let AuthorizationRegistered::Authorization { authorization, created: true, parked: true } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(authorization.next_check_at, Some(at(9)), "whoever registered it may be gone before it says so");
    let due = store.authorizations_due(at(9), Duration::ZERO, 9).await.unwrap();
    assert_eq!(due, std::slice::from_ref(&authorization.id));
    let again = store.authorization_register(&new_authorization("AU-1"), at(10)).await.unwrap();
    let repeated =
        AuthorizationRegistered::Authorization { authorization: authorization.clone(), created: false, parked: false };
    assert_eq!(again, repeated);
    let timeline = store.authorization_timeline(&authorization.id).await.unwrap();
    assert_eq!(timeline.iter().map(|entry| entry.at).collect::<Vec<_>>(), [at(2), at(2), at(3), at(9)]);

    let many = (0..120).map(|n| naming(1_000 + n, by_state("S-AU-3"), at(n as i64))).collect();
    let many = AuthorizationSettlement { notifications: many, ..AuthorizationSettlement::default() };
    assert_eq!(store.authorization_settle(&many).await.unwrap(), Settled::Written);
    assert_eq!(archived(by_state("S-AU-3")).await, many.notifications[..100]);
}

pub async fn events_of_authorizations_are_in_the_feed_with_those_of_orders(Harness { store, .. }: &Harness) {
    // An authorization may be called what an order is called.
    let order = registered_order(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let authorization = registered(&**store, "A-1", at(0)).await;
    let mut issued = issue(&authorization, "token", at(1));
    let change = issued.change.as_mut().unwrap();
    change.authorization.version += 1;
    change.events.push(event(&change.authorization, at(1)));
    assert_eq!(store.authorization_settle(&issued).await.unwrap(), Settled::Written);
    let paid = capture(&order, &key("p1"), 12_000, at(2));
    assert_eq!(store.settle(std::slice::from_ref(&paid)).await.unwrap(), [Settled::Written]);
    let authorization = read(&**store, &authorization.id).await;
    let more = issue(&authorization, "token 2", at(3));
    assert_eq!(store.authorization_settle(&more).await.unwrap(), Settled::Written);
    assert_eq!(store.backlog().await.unwrap().events_unpublished, 4);

    assert_eq!(store.events_sequence(10, at(0)).await.unwrap(), 4);
    let feed = store.events_after(0, 10).await.unwrap();
    let mut expected = issued.change.unwrap().events;
    expected.extend(paid.change.unwrap().events);
    expected.extend(more.change.unwrap().events);
    assert!(feed.is_sorted_by(|earlier, later| earlier.seq < later.seq) && feed.len() == 4);
    for of_authorization in [true, false] {
        let of = |event: &&Event| event.order().is_none() == of_authorization;
        let sequenced: Vec<_> = feed.iter().map(|event| &event.event).filter(of).collect();
        assert_eq!(sequenced, expected.iter().filter(of).collect::<Vec<_>>(), "in version order");
    }
    assert_eq!(store.events_unpublished(0, 10).await.unwrap(), feed);

    let ids: Vec<_> = feed.iter().map(|event| event.event.id).collect();
    store.events_mark_published(&ids, at(9)).await.unwrap();
    let published = |timeline: Vec<crate::TimelineEntry>| {
        let published = timeline.into_iter().filter(|entry| entry.kind.as_str() == "publish");
        published.map(|entry| (entry.text, entry.payment)).collect::<Vec<_>>()
    };
    let of_order = published(store.order_timeline(&order_id("A-1")).await.unwrap());
    assert_eq!(of_order, [("order.paid.v1 published, version 1".to_owned(), Some(key("p1")))]);
    let of_authorization = published(store.authorization_timeline(&authorization.id).await.unwrap());
    let granted = |version| (format!("authorization.granted.v1 published, version {version}"), None);
    assert_eq!(of_authorization, [granted(1), granted(2), granted(3)]);
}
