//! Tests the promises about the archive.

use jiff::Timestamp;
use payhook_schema::{
    About, AuthState, AuthorizationName, Notification, PaymentId, Provider, RefundId, SecretDigest, new_id,
};
use uuid::Uuid;

use crate::authorizations::promises::{by_state, naming};
use crate::conformance::Harness;
use crate::conformance::sample::{at, key, key_of, new_order, notification, registered, uuid};
use crate::dead_letters::promises::letter;
use crate::{Archived, AuthorizationSettlement, DeadLetter, NotificationFilter, Settled, Settlement, Store};

/// The first `limit`, newest first.
fn newest(limit: u32) -> NotificationFilter {
    NotificationFilter { limit, ..NotificationFilter::default() }
}

pub async fn archived_notifications_are_listed_newest_first_by_every_filter(Harness { store, .. }: &Harness) {
    let antom = key_of(Provider::Antom, "shop-sg", "p1");
    let refund = RefundId::new("RF-1").unwrap();
    let about = [
        (None, About::Payment(key("p1").id)),
        (Some(&antom), About::Payment(antom.id.clone())),
        (Some(&antom), About::Reference("2026 11".to_owned())),
        (Some(&antom), About::Refund { id: refund.clone(), payment: None }),
        (Some(&antom), About::Authorization(AuthorizationName::State(AuthState::new("state-1").unwrap()))),
        (Some(&antom), About::Authorization(AuthorizationName::Token(SecretDigest::of("token")))),
        (None, About::Other),
        (None, About::Payment(key("p2").id)),
    ];
    // Ids as they are made on receipt, ten minutes apart.
    let mut archived: Vec<Notification> = (0..)
        .zip(about)
        .map(|(n, (payment, about))| {
            let (number, received_at) = (n as u64, at(n * 600));
            Notification { id: new_id(received_at), about, ..notification(number, payment, received_at) }
        })
        .collect();
    archived[7].kind = String::from("refund.create");
    (archived[5].sealed_with, archived[5].signed_at) = (Some(3), None);
    let settlement = Settlement { notifications: archived.clone(), ..Settlement::default() };
    assert_eq!(store.settle(&[settlement]).await.unwrap(), [Settled::Written]);

    let listed = store.notification_list(&newest(100)).await.unwrap();
    let expected = archived.iter().rev().map(|it| once(Notification { body: Vec::new(), ..it.clone() }));
    assert_eq!(listed, expected.collect::<Vec<_>>(), "without their bodies");
    for notification in &archived {
        assert_eq!(
            store.notification_get(notification.id).await.unwrap(),
            Some(once(notification.clone())),
            "byte for byte"
        );
    }
    assert_eq!(store.notification_get(Uuid::nil()).await.unwrap(), None);

    let found = async |filter: NotificationFilter| {
        let listed = store.notification_list(&filter).await.unwrap();
        listed
            .iter()
            .map(|it| archived.iter().position(|known| known.id == it.notification.id).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(newest(3)).await, [7, 6, 5]);
    assert_eq!(found(NotificationFilter { before: Some(archived[5].id), ..newest(2) }).await, [4, 3]);
    assert_eq!(found(NotificationFilter { before: Some(archived[0].id), ..newest(2) }).await, [0_usize; 0]);
    let ids = vec![archived[2].id, Uuid::max(), archived[6].id];
    assert_eq!(found(NotificationFilter { ids: ids.clone(), ..newest(9) }).await, [6, 2]);
    assert_eq!(found(NotificationFilter { ids, provider: Some(Provider::Antom), ..newest(9) }).await, [2]);
    let kind = Some("refund.create".to_owned());
    assert_eq!(found(NotificationFilter { kind, ..newest(9) }).await, [7]);
    assert_eq!(found(NotificationFilter { provider: Some(Provider::Omise), ..newest(9) }).await, [7, 6, 0]);
    let account = Some(antom.account.clone());
    assert_eq!(found(NotificationFilter { account: account.clone(), ..newest(9) }).await, [5, 4, 3, 2, 1]);
    let payment = Some(PaymentId::new("p1").unwrap());
    assert_eq!(found(NotificationFilter { payment: payment.clone(), ..newest(9) }).await, [1, 0]);
    assert_eq!(found(NotificationFilter { account, payment, ..newest(9) }).await, [1]);
    assert_eq!(found(NotificationFilter { since: Some(at(3_000)), ..newest(9) }).await, [7, 6, 5]);
    assert_eq!(found(NotificationFilter { since: Some(at(90_000)), ..newest(9) }).await, [0_usize; 0]);

    // It names the payment that it was found to be about since, too.
    let linked =
        Settlement { notifications: vec![archived[3].clone()], about: Some(antom.clone()), ..Settlement::default() };
    assert_eq!(store.settle(&[linked]).await.unwrap(), [Settled::Written]);
    let known = store.notification_get(archived[3].id).await.unwrap().unwrap();
    assert_eq!(known.notification.about, About::Refund { id: refund, payment: Some(antom.id.clone()) });
    assert_eq!(found(NotificationFilter { payment: Some(antom.id), ..newest(9) }).await, [3, 1, 0]);
}

/// As it is archived when it came once.
fn once(notification: Notification) -> Archived {
    Archived { received: 1, last_received_at: notification.received_at, notification }
}

/// The same signed bytes again, received under another id.
fn again(first: &Notification, number: u64, received_at: Timestamp) -> Notification {
    Notification { id: uuid(number), received_at, ..first.clone() }
}

async fn archive(store: &dyn Store, notifications: Vec<Notification>) {
    let settlement = Settlement { notifications, ..Settlement::default() };
    assert_eq!(store.settle(&[settlement]).await.unwrap(), [Settled::Written]);
}

pub async fn a_repeat_is_counted_and_not_stored(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let first = notification(1, Some(&key("p1")), at(3));
    archive(&**store, vec![first.clone()]).await;
    assert_eq!(store.notification_get(first.id).await.unwrap(), Some(once(first.clone())));
    let repeats = vec![again(&first, 2, at(5)), again(&first, 3, at(6))];
    // One of them was overtaken; the first one itself counts once, however often it is tried.
    for notifications in [repeats, vec![first.clone()], vec![again(&first, 4, at(4))], vec![first.clone()]] {
        archive(&**store, notifications).await;
    }
    let counted = Archived { notification: first.clone(), received: 4, last_received_at: at(6) };
    assert_eq!(store.notification_get(first.id).await.unwrap(), Some(counted));
    assert_eq!(store.notification_get(uuid(2)).await.unwrap(), None);
    assert_eq!(store.notification_list(&newest(9)).await.unwrap().len(), 1);
    let signed = [first.signed_id.unwrap(), Uuid::from_u128(77), first.signed_id.unwrap()];
    assert_eq!(store.notifications_known(&signed).await.unwrap(), [Some(first.id), None, Some(first.id)]);
    assert_eq!(store.notifications_known(&[]).await.unwrap(), []);
    let timeline = store.order_timeline(&order.id).await.unwrap();
    let entries = timeline.iter().filter(|entry| entry.kind.as_str() == "notification").collect::<Vec<_>>();
    assert_eq!(entries.len(), 1, "{timeline:#?}");
    assert!(entries[0].text.ends_with(&format!("; the same bytes 4 times, last {}", at(6))), "{}", entries[0].text);
    assert_eq!(entries[0].detail["received"], 4);

    // Several at once that nobody saw before, in any order.
    let new = notification(20, Some(&key("p1")), at(7));
    archive(&**store, vec![again(&new, 21, at(9)), new.clone(), again(&new, 22, at(8)), new.clone()]).await;
    let counted = Archived { notification: new.clone(), received: 3, last_received_at: at(9) };
    assert_eq!(store.notification_get(new.id).await.unwrap(), Some(counted));

    // The first one is linked to the payment that a repeat is found to be about.
    let nameless =
        Notification { about: About::Reference("2026".to_owned()), ..notification(30, Some(&key("p1")), at(1)) };
    archive(&**store, vec![nameless.clone()]).await;
    let found = Settlement {
        notifications: vec![again(&nameless, 31, at(2))],
        about: Some(key("p1")),
        ..Settlement::default()
    };
    assert_eq!(store.settle(&[found]).await.unwrap(), [Settled::Written]);
    let of_payment = NotificationFilter { payment: Some(key("p1").id), ids: vec![nameless.id], ..newest(9) };
    assert_eq!(store.notification_list(&of_payment).await.unwrap()[0].received, 2);

    // Authorizations' are counted, too.
    let granted = naming(40, by_state("S-1"), at(1));
    for notifications in [vec![granted.clone()], vec![again(&granted, 41, at(2)), again(&granted, 42, at(3))]] {
        let settlement = AuthorizationSettlement { notifications, ..AuthorizationSettlement::default() };
        assert_eq!(store.authorization_settle(&settlement).await.unwrap(), Settled::Written);
    }
    assert_eq!(store.notification_get(granted.id).await.unwrap().unwrap().received, 3);

    // Those of before have no id of what was signed: each is one of its own.
    let old = |number| Notification { signed_id: None, ..again(&first, number, at(9)) };
    archive(&**store, vec![old(50), old(51)]).await;
    archive(&**store, vec![old(50), old(51)]).await;
    assert_eq!(store.notification_get(uuid(51)).await.unwrap(), Some(once(old(51))));
}

pub async fn the_dead_letter_of_a_repeat_names_what_is_archived(Harness { store, .. }: &Harness) {
    let first = notification(1, Some(&key("p1")), at(0));
    archive(&**store, vec![first.clone()]).await;
    let dies = |number, seconds| DeadLetter {
        attempts: 2,
        notification: Some(again(&first, number, at(seconds))),
        ..letter(9, at(seconds))
    };
    store.dead_letter_keep(&[dies(2, 5)]).await.unwrap();
    // The rest of a flood, some of it twice.
    store.dead_letter_keep(&[dies(3, 6), dies(4, 7), dies(4, 7)]).await.unwrap();
    store.dead_letter_keep(&[dies(3, 6)]).await.unwrap();
    let stored = store.dead_letter_get(uuid(9)).await.unwrap().unwrap();
    assert_eq!((stored.attempts, stored.first_failed_at, stored.last_failed_at), (6, at(5), at(7)), "one letter");
    assert_eq!(stored.notification_id, Some(first.id));
    // They were counted when they were settled.
    assert_eq!(store.notification_get(first.id).await.unwrap().unwrap().received, 1);
    // Notifications of which no copy was archived before.
    let new = notification(30, Some(&key("p1")), at(3));
    let dies = |number, seconds| DeadLetter {
        notification: Some(again(&new, number, at(seconds))),
        ..letter(10, at(seconds))
    };
    store.dead_letter_keep(&[dies(32, 9), dies(31, 8)]).await.unwrap();
    let stored = store.dead_letter_get(uuid(10)).await.unwrap().unwrap();
    let archived = store.notification_get(stored.notification_id.unwrap()).await.unwrap().unwrap();
    assert_eq!((archived.notification.id, archived.received), (uuid(31), 1));
}

pub async fn a_notification_is_archived_once_with_its_exact_bytes(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let mut first = notification(1, Some(&key("p1")), at(1));
    first.body = every_byte.repeat(8);
    let mut same_id = first.clone();
    same_id.body.clear();
    let nothing_ours = notification(2, None, at(1));
    let archiving = |notification| Settlement { notifications: vec![notification], ..Settlement::default() };
    let empty = {
        let mut empty = notification(3, Some(&key("p1")), at(2));
        empty.body.clear();
        empty.signed_at = None;
        empty
    };
    let batch = [archiving(first), archiving(same_id.clone()), archiving(nothing_ours), archiving(empty)];
    assert_eq!(store.settle(&batch).await.unwrap(), [const { Settled::Written }; 4]);
    assert_eq!(store.settle(&[archiving(same_id)]).await.unwrap(), [Settled::Written]);
    let timeline = store.order_timeline(&order.id).await.unwrap();
    let bytes: Vec<_> = timeline[1..].iter().map(|entry| entry.detail["body_bytes"].as_u64().unwrap()).collect();
    assert_eq!(bytes, [2_048, 0], "each once, the first one's bytes, and none that is not the order's");

    let archived = store.notification_get(uuid(1)).await.unwrap().unwrap();
    assert_eq!(archived.notification.body, every_byte.repeat(8));
    assert_eq!(store.notification_get(uuid(3)).await.unwrap().unwrap().notification.body, b"");

    // And those of a dead letter.
    let letter = DeadLetter { bytes: every_byte.clone(), ..crate::dead_letters::promises::letter(1, at(3)) };
    store.dead_letter_keep(&[letter]).await.unwrap();
    assert_eq!(store.dead_letter_get(uuid(1)).await.unwrap().unwrap().bytes, every_byte);
}
