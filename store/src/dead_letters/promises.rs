//! Tests the promises about dead letters.

use jiff::Timestamp;
use payhook_schema::{
    AccountName, DeadCause, DeadLetterState, NewOrder, Notification, OrderState, Provider, TimelineKind,
};
use uuid::Uuid;

use crate::conformance::Harness;
use crate::conformance::sample::{at, capture, key, key_of, new_order, notification, order_id, registered, thb, uuid};
use crate::{Act, DeadLetter, DeadLetterFilter, DeadLetterGroup, NewReplay, Selection, Settled, Steer};

/// A dead letter about nothing in particular, last failed at `now`.
pub(crate) fn letter(number: u64, now: Timestamp) -> DeadLetter {
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
        notification_id: None,
        state: DeadLetterState::Open,
        note: None,
        order_now: None,
    }
}

pub async fn a_dead_letter_is_stored_once_and_found_by_every_filter(Harness { store, .. }: &Harness) {
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
    let as_kept = DeadLetter { notification: None, notification_id: Some(uuid(90)), ..with_notification };
    let expected = [poison, as_kept, unknown, elsewhere];
    let without_bytes = expected.clone().map(|letter| DeadLetter { bytes: Vec::new(), ..letter });
    assert_eq!(read, without_bytes, "nobody reads all bodies for a listing");
    for letter in expected {
        assert_eq!(store.dead_letter_get(letter.id).await.unwrap(), Some(letter));
    }
    assert_eq!(store.dead_letter_get(uuid(77)).await.unwrap(), None);

    assert_eq!(listed(&DeadLetterFilter { ids: vec![uuid(3), uuid(1), uuid(77)], ..all.clone() }).await, [1, 3]);
    assert_eq!(listed(&DeadLetterFilter { cause: Some(DeadCause::UnknownPayment), ..all.clone() }).await, [2, 1]);
    assert_eq!(listed(&DeadLetterFilter { provider: Some(Provider::Omise), ..all.clone() }).await, [3]);
    let account = Some(AccountName::new("shop-sg").unwrap());
    assert_eq!(listed(&DeadLetterFilter { account: account.clone(), ..all.clone() }).await, [2, 1]);
    assert_eq!(listed(&DeadLetterFilter { since: Some(at(5)), ..all.clone() }).await, [4, 2, 1]);
    assert_eq!(listed(&DeadLetterFilter { state: Some(DeadLetterState::Open), ..all.clone() }).await, [4, 2, 1, 3]);
    assert_eq!(listed(&DeadLetterFilter { state: Some(DeadLetterState::Replayed), ..all.clone() }).await, [0_u8; 0]);
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
    let known = store.dead_letter_list(&all).await.unwrap().into_iter();
    let is = || (Some(order_id("A-1")), Some((OrderState::Pending, thb(12_000))));
    let known: Vec<_> = known.map(|letter| (letter.order, letter.order_now)).collect();
    assert_eq!(known, [(None, None), is(), is(), (None, None)]);
}

pub async fn a_dead_letter_is_stored_whatever_is_in_it(Harness { store, .. }: &Harness) {
    let unreadable = Notification { kind: "a\0b".to_owned(), ..notification(9, Some(&key("p1")), at(0)) };
    let odd = DeadLetter {
        detail: "it said \"\0\"".to_owned(),
        notification: Some(unreadable),
        bytes: vec![0; 70_000],
        payment: Some(key("p1")),
        ..letter(1, at(0))
    };
    store.dead_letter_keep(&[odd.clone(), letter(2, at(1))]).await.unwrap();
    let stored = store.dead_letter_list(&DeadLetterFilter { limit: 9, ..DeadLetterFilter::default() }).await.unwrap();
    assert_eq!(stored.iter().map(|letter| letter.id).collect::<Vec<Uuid>>(), [uuid(2), uuid(1)]);
    let whole = store.dead_letter_get(uuid(1)).await.unwrap().unwrap();
    assert_eq!((stored[1].detail.as_str(), &whole.bytes), ("it said \"\u{fffd}\"", &odd.bytes));
    assert_eq!((stored[1].provider, &stored[1].payment), (Some(Provider::Omise), &odd.payment));
}

/// All of them.
fn all() -> DeadLetterFilter {
    DeadLetterFilter { limit: 100, ..DeadLetterFilter::default() }
}

fn act(seconds: i64) -> Act {
    Act { who: "ann".to_owned(), reason: "a test of ours\0".to_owned(), at: at(seconds) }
}

pub async fn dead_letters_are_grouped_with_the_money_at_stake(Harness { store, .. }: &Harness) {
    assert_eq!(store.dead_letter_groups(&all()).await.unwrap(), []);
    registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    let ringgit = NewOrder { amount: "50.00 MYR".parse().unwrap(), ..new_order("A-2", &["p3"]) };
    registered(&**store, &ringgit, at(0)).await;
    let paid = registered(&**store, &new_order("A-3", &["p4"]), at(0)).await;
    registered(&**store, &NewOrder { amount: thb(1), ..new_order("A-5", &["p6"]) }, at(0)).await;
    assert_eq!(store.settle(&[capture(&paid, &key("p4"), 12_000, at(1))]).await.unwrap(), [Settled::Written]);

    let exhausted = |number: u64, payment: &str| DeadLetter {
        cause: DeadCause::AttemptsExhausted,
        payment: Some(key(payment)),
        first_failed_at: at(-(number as i64)),
        ..letter(number, at(number as i64))
    };
    let about = ["p1", "p2", "p1", "p3", "p4", "nobody's", "p6"];
    let mut letters: Vec<_> = (1..).zip(about).map(|(number, payment)| exhausted(number, payment)).collect();
    letters.extend([letter(20, at(20)), letter(21, at(21)), exhausted(30, "p1")]);
    letters.push(DeadLetter { account: Some(AccountName::new("other").unwrap()), ..letter(22, at(22)) });
    store.dead_letter_keep(&letters).await.unwrap();
    let gone = DeadLetterFilter { ids: vec![uuid(30)], ..all() };
    assert_eq!(store.dead_letter_discard(&gone, &act(40)).await.unwrap(), 1);

    let of_payments = DeadLetterGroup {
        cause: DeadCause::AttemptsExhausted,
        provider: Some(Provider::Omise),
        account: Some(key("p1").account),
        count: 7,
        first_failed_at: at(-7),
        last_failed_at: at(7),
        at_stake: vec!["50.00 MYR".parse().unwrap(), thb(12_001)],
        paid_meanwhile: 1,
    };
    let poison = |account: Option<&str>, count, first, last| DeadLetterGroup {
        cause: DeadCause::Poison,
        provider: None,
        account: account.map(|name| AccountName::new(name).unwrap()),
        count,
        first_failed_at: at(first),
        last_failed_at: at(last),
        at_stake: Vec::new(),
        paid_meanwhile: 0,
    };
    let (nobodys, others) = (poison(None, 2, 20, 21), poison(Some("other"), 1, 22, 22));
    let everything = [of_payments.clone(), nobodys.clone(), others];
    assert_eq!(store.dead_letter_groups(&all()).await.unwrap(), everything, "the largest first, and only open ones");
    let some = DeadLetterFilter { limit: 1, ..all() };
    assert_eq!(store.dead_letter_groups(&some).await.unwrap(), everything, "all are counted");
    let since = DeadLetterFilter { since: Some(at(5)), cause: Some(DeadCause::AttemptsExhausted), ..all() };
    let late = DeadLetterGroup { count: 3, first_failed_at: at(-7), at_stake: vec![thb(1)], ..of_payments };
    assert_eq!(store.dead_letter_groups(&since).await.unwrap(), [late]);
    let discarded = DeadLetterFilter { state: Some(DeadLetterState::Discarded), ..all() };
    assert_eq!(store.dead_letter_groups(&discarded).await.unwrap(), []);
}

pub async fn a_discarded_dead_letter_stays_and_is_marked(Harness { store, .. }: &Harness) {
    registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let about = DeadLetter { payment: Some(key("p1")), ..letter(1, at(1)) };
    let letters = [about, letter(2, at(2)), DeadLetter { cause: DeadCause::UnknownPayment, ..letter(3, at(3)) }];
    store.dead_letter_keep(&letters).await.unwrap();
    let of = async |state| {
        let listed = store.dead_letter_list(&DeadLetterFilter { state: Some(state), ..all() }).await.unwrap();
        listed.iter().map(|letter| letter.id).collect::<Vec<_>>()
    };
    let poison = DeadLetterFilter { cause: Some(DeadCause::Poison), limit: 1, ..all() };
    assert_eq!(store.dead_letter_discard(&poison, &act(9)).await.unwrap(), 1, "no more than the filter says");
    assert_eq!(of(DeadLetterState::Discarded).await, [uuid(2)], "the first of the list");
    assert_eq!(store.dead_letter_discard(&poison, &act(9)).await.unwrap(), 1);
    assert_eq!(store.dead_letter_discard(&poison, &act(10)).await.unwrap(), 0);
    assert_eq!(
        (of(DeadLetterState::Discarded).await, of(DeadLetterState::Open).await),
        (vec![uuid(2), uuid(1)], vec![uuid(3)])
    );
    assert_eq!(store.backlog().await.unwrap().dead_letters, 1);
    let stored = store.dead_letter_get(uuid(1)).await.unwrap().unwrap();
    assert_eq!((stored.state, &stored.bytes), (DeadLetterState::Discarded, &letters[0].bytes));
    let timeline = store.order_timeline(&order_id("A-1")).await.unwrap();
    let entries: Vec<_> = timeline.iter().filter(|entry| entry.kind == TimelineKind::Operator).collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].at, entries[0].text.as_str(), &entries[0].payment),
        (at(9), "discarded by ann: a test of ours\u{fffd}", &Some(key("p1")))
    );
    assert_eq!(entries[0].detail["dead_letter_id"], uuid(1).to_string());

    // A letter that is being replayed is not discarded meanwhile; a plan does not prevent it.
    let selection = Selection::DeadLetters(all());
    let new = NewReplay { id: uuid(101), selection, plan: false, rate_per_s: 1, canary: 0, limit: 9, act: act(11) };
    store.replay_create(&NewReplay { id: uuid(102), plan: true, ..new.clone() }).await.unwrap();
    assert_eq!(store.replay_create(&new).await.unwrap().0.total, 1);
    assert_eq!(store.dead_letter_discard(&all(), &act(12)).await.unwrap(), 0);
    store.replay_steer(uuid(101), Steer::Cancel, at(13)).await.unwrap();
    assert_eq!(store.dead_letter_discard(&all(), &act(14)).await.unwrap(), 1);

    // A letter that dies again is open again, with its new failure; a redelivery of the old death changes nothing.
    let again = |seconds, detail: &str| DeadLetter {
        detail: detail.to_owned(),
        cause: DeadCause::Misconfigured,
        attempts: 7,
        ..letter(2, at(seconds))
    };
    store.dead_letter_keep(&[again(2, "a redelivery"), again(1, "late")]).await.unwrap();
    assert_eq!(of(DeadLetterState::Open).await, [] as [Uuid; 0]);
    store.dead_letter_keep(&[again(20, "once more"), again(30, "and again"), again(25, "late")]).await.unwrap();
    let open = store.dead_letter_get(uuid(2)).await.unwrap().unwrap();
    let once_more = again(30, "and again");
    let expected =
        DeadLetter { first_failed_at: at(2), bytes: letters[1].bytes.clone(), attempts: 1 + 7 + 7, ..once_more };
    assert_eq!(open, expected);
}

pub async fn a_note_stays_with_its_dead_letter(Harness { store, .. }: &Harness) {
    store.dead_letter_keep(&[letter(1, at(1)), letter(2, at(2)), letter(3, at(3))]).await.unwrap();
    let notes = async || {
        let listed = store.dead_letter_list(&all()).await.unwrap();
        listed.into_iter().map(|letter| letter.note).collect::<Vec<_>>()
    };
    let note = async |ids: &[u64], text: &str| {
        let filter = DeadLetterFilter { ids: ids.iter().map(|&number| uuid(number)).collect(), ..all() };
        store.dead_letter_note(&filter, text).await.unwrap()
    };
    assert_eq!(note(&[1, 3, 77], "asked the bank").await, 2);
    let asked = || Some("asked the bank".to_owned());
    assert_eq!(notes().await, [asked(), None, asked()]);
    assert_eq!(store.dead_letter_discard(&DeadLetterFilter { ids: vec![uuid(1)], ..all() }, &act(5)).await.unwrap(), 1);
    assert_eq!(note(&[3], "ไทย \0").await, 1);
    assert_eq!(notes().await, [Some("ไทย \u{fffd}".to_owned()), None, asked()], "whatever was done about it");
    assert_eq!(note(&[3], "").await, 1);
    store.dead_letter_keep(&[letter(1, at(9))]).await.unwrap();
    assert_eq!(notes().await, [asked(), None, None], "it died again: latest failure first, and the note is still so");
    let first = DeadLetterFilter { limit: 2, ..all() };
    assert_eq!(store.dead_letter_note(&first, "these").await.unwrap(), 2);
    assert_eq!(notes().await, [Some("these".to_owned()), Some("these".to_owned()), None]);
}
