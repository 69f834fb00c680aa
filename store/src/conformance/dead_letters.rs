use jiff::Timestamp;
use payhook_schema::{AccountName, DeadCause, Notification, Provider};
use uuid::Uuid;

use super::Harness;
use super::sample::{at, key, key_of, new_order, notification, order_id, registered, uuid};
use crate::{DeadLetter, DeadLetterFilter};

/// A dead letter about nothing in particular, last failed at `now`.
pub(super) fn letter(number: u64, now: Timestamp) -> DeadLetter {
    DeadLetter {
        id: uuid(number),
        cause: DeadCause::Poison,
        detail: "the envelope cannot be read".to_owned(),
        provider: None,
        account: None,
        payment: None,
        order: None,
        attempts: 1,
        first_failed_at: now,
        last_failed_at: now,
        bytes: b"\xff{\0".to_vec(),
        notification: None,
    }
}

pub async fn a_dead_letter_is_kept_once_and_found_by_every_filter(Harness { store, .. }: &Harness) {
    let about = key_of(Provider::Antom, "shop-sg", "p1");
    let unknown = DeadLetter {
        cause: DeadCause::UnknownPayment,
        provider: Some(about.provider),
        account: Some(about.account.clone()),
        payment: Some(about.clone()),
        attempts: u32::MAX,
        first_failed_at: at(1),
        ..letter(1, at(5))
    };
    let with_notification = DeadLetter {
        notification: Some(notification(90, Some(&about), at(0))),
        ..DeadLetter { id: uuid(2), ..unknown.clone() }
    };
    let elsewhere = DeadLetter { provider: Some(Provider::Omise), account: Some(key("x").account), ..letter(3, at(4)) };
    let poison = letter(4, at(6));
    let letters = [unknown.clone(), with_notification.clone(), elsewhere.clone(), poison.clone()];
    store.dead_letter_keep(&letters).await.unwrap();
    let changed = DeadLetter { detail: "another".to_owned(), ..unknown.clone() };
    store.dead_letter_keep(&[changed.clone(), changed]).await.unwrap();
    store.dead_letter_keep(&[]).await.unwrap();

    let all = DeadLetterFilter { limit: 10, ..DeadLetterFilter::default() };
    let listed = async |filter: &DeadLetterFilter| {
        let letters = store.dead_letter_list(filter).await.unwrap();
        letters.iter().map(|letter| (letter.id.as_u128() & 0xff) as u8).collect::<Vec<_>>()
    };
    assert_eq!(listed(&all).await, [4, 2, 1, 3], "latest failure first");
    let read = store.dead_letter_list(&all).await.unwrap();
    let as_kept = DeadLetter { notification: None, ..with_notification };
    assert_eq!(read, [poison, as_kept, unknown, elsewhere]);

    assert_eq!(listed(&DeadLetterFilter { ids: vec![uuid(3), uuid(1), uuid(77)], ..all.clone() }).await, [1, 3]);
    assert_eq!(listed(&DeadLetterFilter { cause: Some(DeadCause::UnknownPayment), ..all.clone() }).await, [2, 1]);
    assert_eq!(listed(&DeadLetterFilter { provider: Some(Provider::Omise), ..all.clone() }).await, [3]);
    let account = Some(AccountName::new("shop-sg").unwrap());
    assert_eq!(listed(&DeadLetterFilter { account: account.clone(), ..all.clone() }).await, [2, 1]);
    assert_eq!(listed(&DeadLetterFilter { since: Some(at(5)), ..all.clone() }).await, [4, 2, 1]);
    let several = DeadLetterFilter { account, since: Some(at(5)), ids: vec![uuid(1), uuid(4)], ..all.clone() };
    assert_eq!(listed(&several).await, [1]);
    let mut page = DeadLetterFilter { limit: 3, ..all.clone() };
    assert_eq!(listed(&page).await, [4, 2, 1]);
    page.before = Some(uuid(1));
    assert_eq!(listed(&page).await, [3]);
    page.before = Some(uuid(3));
    assert_eq!(listed(&page).await, [0_u8; 0]);

    // The notification inside was archived: registering its order finds it, and the letters then know their order.
    let mut new = new_order("A-1", &[]);
    new.payments = vec![about];
    let order = registered(&**store, &new, at(9)).await;
    assert_eq!(order.payments[0].next_check_at, Some(at(9)));
    let orders: Vec<_> = store.dead_letter_list(&all).await.unwrap().into_iter().map(|letter| letter.order).collect();
    assert_eq!(orders, [None, Some(order_id("A-1")), Some(order_id("A-1")), None]);
}

pub async fn a_dead_letter_is_kept_whatever_is_in_it(Harness { store, .. }: &Harness) {
    let unreadable = Notification { kind: "a\0b".to_owned(), ..notification(9, Some(&key("p1")), at(0)) };
    let odd = DeadLetter {
        detail: "it said \"\0\"".to_owned(),
        notification: Some(unreadable),
        bytes: vec![0; 70_000],
        payment: Some(key("p1")),
        ..letter(1, at(0))
    };
    store.dead_letter_keep(&[odd.clone(), letter(2, at(1))]).await.unwrap();
    let kept = store.dead_letter_list(&DeadLetterFilter { limit: 9, ..DeadLetterFilter::default() }).await.unwrap();
    assert_eq!(kept.iter().map(|letter| letter.id).collect::<Vec<Uuid>>(), [uuid(2), uuid(1)]);
    assert_eq!((kept[1].detail.as_str(), &kept[1].bytes), ("it said \"\u{fffd}\"", &odd.bytes));
    assert_eq!((kept[1].provider, &kept[1].payment), (Some(Provider::Omise), &odd.payment));
}
