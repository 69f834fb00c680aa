//! Tests the promises about migrations, leases, watermarks, sealed things, and the backlog.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use payhook_schema::{Code, Notification, OrderId, Sealed, SealedPlace, SecretDigest};

use crate::authorizations::promises::{
    account, by_state, issue, naming, read as read_authorization, registered as authorized, sealed,
};
use crate::conformance::Harness;
use crate::conformance::sample::{at, capture, key, new_order, notification, order_id, read, registered, uuid};
use crate::{AuthorizationSettlement, Backlog, Resealed, SealedThing, Settled, Store, StoreError};

async fn listed(store: &dyn Store, newest: u32, limit: u32) -> Vec<SealedThing> {
    let mut things = store.sealed_list(newest, limit).await.unwrap();
    things.sort_by_key(|thing| thing.place.binding());
    things
}

pub async fn what_is_sealed_under_an_old_key_is_found_and_replaced_once(Harness { store, other, .. }: &Harness) {
    assert_eq!(store.sealed_count().await.unwrap(), []);
    assert_eq!(listed(&**store, 3, 10).await, []);
    let authorization = authorized(&**store, "AU-1", at(0)).await;
    let mut issued = issue(&authorization, "token", at(1));
    let change = issued.change.as_mut().unwrap();
    change.authorization.code = Some(Code { digest: SecretDigest::of("code"), sealed: Some(sealed(3, "code")) });
    let body = |number, key| Notification { sealed_with: Some(key), ..naming(number, by_state("S-AU-1"), at(1)) };
    issued.notifications = vec![body(1, 1), body(2, 3), body(3, 4), notification(4, Some(&key("p1")), at(1))];
    assert_eq!(store.authorization_settle(&issued).await.unwrap(), Settled::Written);
    // An authorization without secrets, and another whose secrets are gone.
    authorized(&**store, "AU-2", at(0)).await;
    let third = authorized(&**store, "AU-3", at(0)).await;
    let mut gone = issue(&third, "gone", at(1));
    let token = gone.change.as_mut().unwrap().authorization.token.as_mut().unwrap();
    (token.access, token.refresh) = (None, None);
    assert_eq!(store.authorization_settle(&gone).await.unwrap(), Settled::Written);

    assert_eq!(store.sealed_count().await.unwrap(), [(1, 2), (2, 1), (3, 2), (4, 1)]);
    let before = read_authorization(&**store, &authorization.id).await;
    let id = || before.id.clone();
    let text = |number: u64| Sealed { key: 1, bytes: notification(number, None, at(0)).body };
    let mut expected = vec![
        (SealedPlace::AccessToken(id()), sealed(1, "token")),
        (SealedPlace::RefreshToken(id()), sealed(2, "refresh")),
        (SealedPlace::NotificationBody(uuid(1)), text(1)),
        // A higher number than the newest's: it is an old key all the same.
        (SealedPlace::NotificationBody(uuid(3)), Sealed { key: 4, ..text(3) }),
    ];
    let things = |expected: &[(SealedPlace, Sealed)]| {
        let things =
            expected.iter().map(|(place, sealed)| SealedThing { place: place.clone(), sealed: sealed.clone() });
        let mut things: Vec<_> = things.collect();
        things.sort_by_key(|thing| thing.place.binding());
        things
    };
    assert_eq!(listed(&**store, 3, 10).await, things(&expected));
    assert_eq!(listed(&**store, 3, 2).await.len(), 2, "no more than asked for");
    expected.push((SealedPlace::Code(id()), sealed(3, "code")));
    expected.push((SealedPlace::NotificationBody(uuid(2)), Sealed { key: 3, ..text(2) }));
    assert_eq!(listed(&**store, 9, 10).await, things(&expected), "each at its own place");

    let anew = |thing: SealedThing| {
        let bytes = [b"anew ".as_slice(), &thing.sealed.bytes].concat();
        Resealed { place: thing.place, was: thing.sealed, now: Sealed { key: 3, bytes } }
    };
    let replacements: Vec<_> = listed(&**store, 3, 10).await.into_iter().map(anew).collect();
    // Of two that rotate at once, and of what has moved on meanwhile, each thing is replaced once.
    let mut moved_on = replacements.clone();
    for moved in &mut moved_on {
        moved.was.bytes.push(0);
    }
    assert_eq!(store.sealed_replace(&moved_on).await.unwrap(), 0);
    let (one, two) = tokio::join!(store.sealed_replace(&replacements), other.sealed_replace(&replacements));
    assert_eq!(one.unwrap() + two.unwrap(), 4);
    assert_eq!(listed(&**store, 3, 10).await, []);
    assert_eq!(store.sealed_count().await.unwrap(), [(3, 6)]);

    let placed: BTreeMap<_, _> = replacements.iter().map(|it| (it.place.binding(), &it.now)).collect();
    let after = read_authorization(&**store, &before.id).await;
    assert!(after.revision > before.revision, "who read it before has the old secrets");
    let token = after.token.unwrap();
    assert_eq!(token.access.as_ref(), Some(placed[&SealedPlace::AccessToken(id()).binding()]));
    assert_eq!(token.refresh.as_ref(), Some(placed[&SealedPlace::RefreshToken(id()).binding()]));
    assert_eq!(after.code, before.code);
    let archived = store.authorization_notifications(&account(), &by_state("S-AU-1")).await.unwrap();
    let of_first = placed[&SealedPlace::NotificationBody(uuid(1)).binding()];
    assert_eq!((archived[0].sealed_with, &archived[0].body), (Some(3), &of_first.bytes));
    // Written with what was read before, the old secrets would come back.
    let stale = issue(&before, "token", at(9));
    assert_eq!(store.authorization_settle(&stale).await.unwrap(), Settled::Conflict);
    let nothing = AuthorizationSettlement::default();
    assert_eq!(store.authorization_settle(&nothing).await.unwrap(), Settled::Written);
    assert_eq!(store.sealed_replace(&[]).await.unwrap(), 0);
}

pub async fn the_backlog_counts_what_is_left(Harness { store, .. }: &Harness) {
    let nothing = Backlog { payments_unfinished: 0, silent_since: None, events_unpublished: 0, dead_letters: 0 };
    assert_eq!(store.backlog().await.unwrap(), nothing);
    let order = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    registered(&**store, &new_order("A-2", &["p3"]), at(5)).await;
    assert_eq!(store.settle(&[capture(&order, &key("p1"), 12_000, at(6))]).await.unwrap(), [Settled::Written]);
    store.dead_letter_keep(&[crate::dead_letters::promises::letter(1, at(7))]).await.unwrap();
    let backlog = store.backlog().await.unwrap();
    let left = Backlog { payments_unfinished: 2, silent_since: Some(at(0)), events_unpublished: 1, dead_letters: 1 };
    assert_eq!(backlog, left);
}

pub async fn a_lease_has_one_holder_until_it_expires(Harness { store, other, .. }: &Harness) {
    let hold_for = Duration::from_secs(10);
    let (mine, theirs) = (uuid(1), uuid(2));
    let takers = [(store, mine), (other, theirs), (store, mine), (other, theirs)];
    let taken = join_all(takers.map(|(store, holder)| store.lease_take("race", holder, at(0), hold_for))).await;
    let taken: Vec<_> = taken.into_iter().map(Result::unwrap).collect();
    assert_ne!(taken[0], taken[1], "one of the two");
    assert_eq!(taken[..2], taken[2..]);

    assert!(store.lease_take("sweep", mine, at(0), hold_for).await.unwrap());
    assert!(!other.lease_take("sweep", theirs, at(9), hold_for).await.unwrap());
    assert!(other.lease_take("relay", theirs, at(9), hold_for).await.unwrap(), "another name is another lease");
    assert!(store.lease_take("sweep", mine, at(9), hold_for).await.unwrap(), "its holder renews it");
    assert!(!other.lease_take("sweep", theirs, at(18), hold_for).await.unwrap());
    assert!(other.lease_take("sweep", theirs, at(19), hold_for).await.unwrap(), "it is over when it is over");
    store.lease_release("sweep", mine).await.unwrap();
    assert!(!store.lease_take("sweep", mine, at(20), hold_for).await.unwrap(), "only its holder gives it up");
    other.lease_release("sweep", theirs).await.unwrap();
    assert!(store.lease_take("sweep", mine, at(20), hold_for).await.unwrap());
}

pub async fn several_leases_are_taken_at_once_each_by_itself(Harness { store, other, .. }: &Harness) {
    let hold_for = Duration::from_secs(10);
    let (mine, theirs) = (uuid(1), uuid(2));
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let take = async |store: &Arc<dyn Store>, list: &[&str], holder, now| {
        let mut taken = store.leases_take(&names(list), holder, at(now), hold_for).await.unwrap();
        taken.sort();
        taken
    };
    assert_eq!(take(store, &["a", "b"], mine, 0).await, ["a", "b"]);
    assert_eq!(take(other, &["a", "b", "c"], theirs, 1).await, ["c"], "those that are free");
    assert_eq!(take(store, &["c", "b", "b", "d"], mine, 5).await, ["b", "d"], "renewed, and one more");
    assert_eq!(take(other, &["a", "b", "c", "d"], theirs, 10).await, ["a", "c"], "the one that is over");
    assert_eq!(take(store, &[], mine, 10).await, [""; 0]);
    // Many at once, in whatever order they name them: each lease has one holder.
    let all: Vec<String> = (0..16).map(|n| format!("race/{n}")).collect();
    let taken = join_all((0..8).map(async |n: u64| {
        let mut wanted = all.clone();
        if n.is_multiple_of(2) {
            wanted.reverse();
        }
        let store = if n < 4 { store } else { other };
        store.leases_take(&wanted, uuid(10 + n), at(0), hold_for).await.unwrap()
    }));
    let mut taken: Vec<String> = taken.await.into_iter().flatten().collect();
    taken.sort();
    let mut all = all;
    all.sort();
    assert_eq!(taken, all);
}

pub async fn leases_are_counted_by_their_name(Harness { store, other, .. }: &Harness) {
    let hold_for = Duration::from_secs(10);
    for (n, name) in ["ask_%/1", "ask_%/2", "ask_%/3", "ASK_%/4", "askX5/", "sweep"].into_iter().enumerate() {
        assert!(store.lease_take(name, uuid(n as u64), at(n as i64), hold_for).await.unwrap());
    }
    let names = other.leases_held("ask_%/", at(9)).await.unwrap();
    assert_eq!(names, ["ask_%/1", "ask_%/2", "ask_%/3"], "sorted");
    let held = async |prefix: &str, seconds| other.leases_held(prefix, at(seconds)).await.unwrap().len();
    assert_eq!(held("ask_%/", 9).await, 3, "letter by letter");
    assert_eq!(held("ask", 9).await, 4);
    assert_eq!(held("", 9).await, 6);
    assert_eq!(held("nothing", 9).await, 0);
    assert_eq!(held("ask_%/", 11).await, 1, "those that are over are not held");
    store.lease_release("ask_%/3", uuid(2)).await.unwrap();
    assert_eq!(held("ask_%/", 9).await, 2);
}

pub async fn a_watermark_never_goes_back(Harness { store, other, .. }: &Harness) {
    assert_eq!(store.watermark_get("events/shop").await.unwrap(), None);
    for (set, is) in [(5, 5), (4, 5), (5, 5), (6, 6)] {
        store.watermark_set("events/shop", at(set), at(9)).await.unwrap();
        assert_eq!(other.watermark_get("events/shop").await.unwrap(), Some(at(is)));
    }
    join_all((0..8).map(|n| if n % 2 == 0 { store } else { other }.watermark_set("race", at(7 - n), at(9)))).await;
    assert_eq!(store.watermark_get("race").await.unwrap(), Some(at(7)));
    store.watermark_set("race", at(5), at(6)).await.unwrap();
    assert_eq!(store.watermark_get("race").await.unwrap(), Some(at(5)), "what is yet to come was never reached");
    assert_eq!(store.watermark_get("events").await.unwrap(), None);
}

pub async fn migrating_twice_does_no_harm(Harness { store, other, .. }: &Harness) {
    let outdated = store.check().await.unwrap_err();
    assert!(matches!(outdated, StoreError::Outdated { .. }), "{outdated:?}");
    let unmigrated = store.order_get(&order_id("A-1")).await.unwrap_err();
    assert!(matches!(unmigrated, StoreError::Outdated { .. }), "{unmigrated:?}");
    for migrated in join_all([store, other, store, other].map(|store| store.migrate())).await {
        migrated.unwrap();
    }
    let order = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    store.migrate().await.unwrap();
    store.check().await.unwrap();
    other.check().await.unwrap();
    let id: &OrderId = &order.id;
    assert_eq!(read(&**other, id).await, order);
}
