use std::collections::BTreeMap;

use payhook_schema::{Code, Notification, Sealed, SealedPlace, SecretDigest};

use super::Harness;
use super::authorizations::{account, by_state, issue, naming, read, registered, sealed};
use super::sample::{at, key, notification, uuid};
use crate::{AuthorizationSettlement, Resealed, SealedThing, Settled, Store};

async fn listed(store: &dyn Store, newest: u32, limit: u32) -> Vec<SealedThing> {
    let mut things = store.sealed_list(newest, limit).await.unwrap();
    things.sort_by_key(|thing| thing.place.binding());
    things
}

pub async fn what_is_sealed_under_an_old_key_is_found_and_replaced_once(Harness { store, other, .. }: &Harness) {
    assert_eq!(store.sealed_count().await.unwrap(), []);
    assert_eq!(listed(&**store, 3, 10).await, []);
    let authorization = registered(&**store, "AU-1", at(0)).await;
    let mut issued = issue(&authorization, "token", at(1));
    let change = issued.change.as_mut().unwrap();
    change.authorization.code = Some(Code { digest: SecretDigest::of("code"), sealed: Some(sealed(3, "code")) });
    let body = |number, key| Notification { sealed_with: Some(key), ..naming(number, by_state("S-AU-1"), at(1)) };
    issued.notifications = vec![body(1, 1), body(2, 3), body(3, 4), notification(4, Some(&key("p1")), at(1))];
    assert_eq!(store.authorization_settle(&issued).await.unwrap(), Settled::Written);
    // One that has nothing sealed, and one whose secrets are gone.
    registered(&**store, "AU-2", at(0)).await;
    let third = registered(&**store, "AU-3", at(0)).await;
    let mut gone = issue(&third, "gone", at(1));
    let token = gone.change.as_mut().unwrap().authorization.token.as_mut().unwrap();
    (token.access, token.refresh) = (None, None);
    assert_eq!(store.authorization_settle(&gone).await.unwrap(), Settled::Written);

    assert_eq!(store.sealed_count().await.unwrap(), [(1, 2), (2, 1), (3, 2), (4, 1)]);
    let before = read(&**store, &authorization.id).await;
    let id = || before.id.clone();
    let text = |number: u64| Sealed { key: 1, bytes: notification(number, None, at(0)).body };
    let mut expected = vec![
        (SealedPlace::AccessToken(id()), sealed(1, "token")),
        (SealedPlace::RefreshToken(id()), sealed(2, "refresh")),
        (SealedPlace::NotificationBody(uuid(1)), text(1)),
        // Whatever its number: it is not the newest.
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
    let after = read(&**store, &before.id).await;
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
