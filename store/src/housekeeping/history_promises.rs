//! Tests the promises about the end of history.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{
    About, AuthorizationState, EventType, Hold, HoldReason, NewOrder, Notification, Order, OrderState, PaymentKey,
    ReplayState,
};

use crate::authorizations::promises::{
    by_state, issue, naming, read as read_authorization, registered as registered_authorization,
};
use crate::conformance::Harness;
use crate::conformance::sample::{at, capture, event, key, new_order, notification, order_id, read, registered, uuid};
use crate::dead_letters::promises::letter;
use crate::replays::promises::{create, replay};
use crate::{
    Act, AuditEntry, AuthorizationChange, AuthorizationSettlement, DeadLetter, DeadLetterFilter, History, NewReplay,
    NotificationFilter, OrderEvents, Place, Release, Selection, SentBefore, Settled, Settlement, Steer, Store,
};

/// Older rows end: by [`NOW`], all from before the 900th second.
const AGE: Duration = Duration::from_secs(100);
const NOW: i64 = 1_000;

/// Goes through one kind, a few rows at a time; returns how many were deleted, and how many old ones stayed.
async fn pass(store: &dyn Store, history: History, now: Timestamp) -> (u64, u64) {
    const LIMIT: u32 = 3;
    let (mut from, mut total) = (Place::START, (0, 0));
    for _ in 0..1_000 {
        let batch = store.history_delete(history, AGE, now, from, LIMIT).await.unwrap();
        // A replay goes with its last items.
        assert!(batch.deleted + batch.needed <= u64::from(LIMIT) + 1, "{batch:?}");
        total = (total.0 + batch.deleted, total.1 + batch.needed);
        match batch.next {
            Some(next) => from = next,
            None => return total,
        }
    }
    panic!("a pass through {history:?} has no end: {total:?}");
}

/// An order that was paid, and has nothing to wait for.
async fn at_rest(store: &dyn Store, id: &str, payment: &str, since: i64) -> Order {
    let order = registered(store, &new_order(id, &[payment]), at(0)).await;
    assert_eq!(store.settle(&[capture(&order, &key(payment), 12_000, at(since))]).await.unwrap(), [Settled::Written]);
    read(store, &order.id).await
}

/// Holds an order, with an event.
async fn hold(store: &dyn Store, order: &Order, payment: &str, since: i64) {
    let mut held = capture(order, &key(payment), 12_000, at(since));
    let change = held.change.as_mut().unwrap();
    let reason = HoldReason::DoublePayment;
    change.order.holds = vec![Hold { reason, detail: "paid twice".to_owned(), since: at(since) }];
    change.order.state = OrderState::Held;
    change.events = vec![event(&change.order, &key(payment), EventType::OrderHeld, at(since))];
    assert_eq!(store.settle(&[held]).await.unwrap(), [Settled::Written]);
}

/// Four orders: `rest`, one that is `held`, one that is `awaiting` its payment, and one that changed a `minute` ago.
async fn four_orders(store: &dyn Store) {
    at_rest(store, "rest", "p1", 1).await;
    let order = at_rest(store, "held", "p2", 1).await;
    hold(store, &order, "p2", 2).await;
    registered(store, &new_order("awaiting", &["p3"]), at(0)).await;
    at_rest(store, "minute", "p4", NOW - 60).await;
}

const FOUR: [&str; 4] = ["rest", "held", "awaiting", "minute"];

async fn archive(store: &dyn Store, notifications: Vec<Notification>) {
    let settlement = Settlement { notifications, ..Settlement::default() };
    assert_eq!(store.settle(&[settlement]).await.unwrap(), [Settled::Written]);
}

fn act(seconds: i64) -> Act {
    Act { who: "ann".to_owned(), reason: "a test of ours".to_owned(), at: at(seconds) }
}

fn ids(numbers: &[u64]) -> DeadLetterFilter {
    let ids = numbers.iter().map(|number| uuid(*number)).collect();
    DeadLetterFilter { ids, limit: 100, ..DeadLetterFilter::default() }
}

pub async fn archived_notifications_end_unless_something_needs_them(Harness { store, .. }: &Harness) {
    let store = &**store;
    four_orders(store).await;
    at_rest(store, "letter", "p5", 1).await;
    at_rest(store, "replay", "p6", 1).await;
    let about = |payment: &str, number| notification(number, Some(&key(payment)), at(1));
    let (parked, nothing) = (about("p7", 7), notification(8, None, at(1)));
    let consent = naming(10, by_state("nobody"), at(1));
    let mut archived: Vec<Notification> = (1..=6).map(|number| about(&format!("p{number}"), number)).collect();
    archived.extend([parked, nothing, notification(9, None, at(NOW - 60)), consent]);
    archive(store, archived.clone()).await;
    let named = DeadLetter { notification: Some(archived[4].clone()), payment: Some(key("p5")), ..letter(50, at(1)) };
    store.dead_letter_keep(&[named]).await.unwrap();
    let filter = NotificationFilter { ids: vec![uuid(6)], ..NotificationFilter::default() };
    create(store, &NewReplay { selection: Selection::Notifications(filter), ..replay(60) }).await;

    let left = async || {
        let mut left = Vec::new();
        for number in 1..=10 {
            left.extend(store.notification_get(uuid(number)).await.unwrap().map(|_| number));
        }
        left
    };
    assert_eq!(pass(store, History::Notifications, at(100)).await, (0, 0), "nothing is old yet");
    assert_eq!(pass(store, History::Notifications, at(NOW)).await, (2, 7));
    assert_eq!(left().await, [2, 3, 4, 5, 6, 7, 9, 10]);

    // It comes again, is stored once more, and changes nothing of its order.
    let before = read(store, &order_id("rest")).await;
    archive(store, vec![archived[0].clone()]).await;
    assert_eq!(read(store, &order_id("rest")).await, before);
    assert_eq!(left().await, [1, 2, 3, 4, 5, 6, 7, 9, 10]);

    // An unknown payment may still be registered, for a month.
    let late = at(NOW) + SignedDuration::from_hours(31 * 24);
    assert_eq!(pass(store, History::Notifications, late).await, (5, 4));
    assert_eq!(left().await, [2, 3, 5, 6]);
    store.dead_letter_discard(&ids(&[50]), &act(NOW)).await.unwrap();
    assert_eq!(pass(store, History::DeadLetters, late).await, (1, 0));
    store.replay_steer(uuid(60), Steer::Cancel, at(NOW)).await.unwrap();
    assert_eq!(pass(store, History::Replays, late).await, (2, 0));
    assert_eq!(pass(store, History::Notifications, late).await, (2, 2));
    assert_eq!(left().await, [2, 3]);
}

pub async fn a_timeline_ends_with_its_releases_once_its_order_is_at_rest(Harness { store, .. }: &Harness) {
    let store = &**store;
    four_orders(store).await;
    for (number, order) in (1..).zip(FOUR) {
        let (who, reason) = ("ann".to_owned(), "checked".to_owned());
        let release = Release {
            id: uuid(number),
            order: order_id(order),
            version: 1,
            holds: Vec::new(),
            returned: Vec::new(),
            who,
            reason,
            at: at(1),
        };
        store.release_write(&release, &audited(number, 1)).await.unwrap();
    }
    let lengths = async || {
        let mut lengths = Vec::new();
        for order in FOUR {
            lengths.push(store.order_timeline(&order_id(order)).await.unwrap().len());
        }
        lengths
    };
    let before = lengths().await;
    let (deleted, needed) = pass(store, History::Timeline, at(NOW)).await;
    assert_eq!((deleted as usize, lengths().await), (before[0], [&[0], &before[1..]].concat()));
    assert!(needed >= 4, "{needed}");
    for (number, there) in [(1, false), (2, true), (3, true), (4, true)] {
        assert_eq!(store.release_get(uuid(number)).await.unwrap().is_some(), there, "release {number}");
    }
    assert_eq!(pass(store, History::Timeline, at(NOW)).await.0, 0);
}

pub async fn the_history_of_an_authorization_ends_once_it_is_cancelled(Harness { store, .. }: &Harness) {
    let store = &**store;
    for id in ["granted", "cancelled", "lately"] {
        let authorization = registered_authorization(store, id, at(0)).await;
        store.authorization_settle(&issue(&authorization, id, at(1))).await.unwrap();
    }
    for (id, cancelled_at) in [("cancelled", 2), ("lately", NOW - 60)] {
        let mut authorization = read_authorization(store, &crate::authorizations::promises::authorization_id(id)).await;
        (authorization.state, authorization.updated_at) = (AuthorizationState::Cancelled, at(cancelled_at));
        let change = Some(AuthorizationChange { authorization, events: Vec::new() });
        let settlement = AuthorizationSettlement { change, ..AuthorizationSettlement::default() };
        assert_eq!(store.authorization_settle(&settlement).await.unwrap(), Settled::Written);
    }
    assert_eq!(pass(store, History::AuthorizationTimeline, at(NOW)).await, (2, 4));
    for (id, length) in [("granted", 2), ("cancelled", 0), ("lately", 2)] {
        let id = crate::authorizations::promises::authorization_id(id);
        assert_eq!(store.authorization_timeline(&id).await.unwrap().len(), length, "{id}");
    }
}

pub async fn published_events_end_and_what_fulfilment_saw_is_remembered(Harness { store, .. }: &Harness) {
    let store = &**store;
    four_orders(store).await;
    let authorization = registered_authorization(store, "AU-1", at(0)).await;
    store.authorization_settle(&issue(&authorization, "token", at(1))).await.unwrap();
    store.events_sequence(100, at(2)).await.unwrap();
    let feed = store.events_after(0, 100).await.unwrap();
    assert_eq!(feed.len(), 5, "{feed:#?}");
    assert_eq!(pass(store, History::Events, at(NOW)).await.0, 0, "none is published");
    let published: Vec<_> = feed.iter().map(|event| event.event.id).collect();
    store.events_mark_published(&published, at(3)).await.unwrap();
    // One that is not published keeps those before it.
    let unpublished = at_rest(store, "unpublished", "p9", 1).await;
    hold(store, &unpublished, "p9", 2).await;
    assert_eq!(store.events_deleted_to().await.unwrap(), 0);

    assert_eq!(pass(store, History::Events, at(NOW)).await.0, 2);
    let left = store.events_after(0, 100).await.unwrap();
    let of = |subject: &str| left.iter().filter(|event| event.event.subject == subject).count();
    assert_eq!((of("rest"), of("AU-1"), of("held"), of("minute")), (0, 0, 2, 1));
    let gone = feed.iter().filter(|event| ["rest", "AU-1"].contains(&event.event.subject.as_str()));
    assert_eq!(store.events_deleted_to().await.unwrap(), gone.map(|event| event.seq).max().unwrap());
    let rest = read(store, &order_id("rest")).await;
    let deleted = SentBefore { state: OrderState::Paid, captured_minor: 12_000, refunded_minor: 0 };
    assert_eq!(store.events_of(&rest.id).await.unwrap(), OrderEvents { deleted: Some(deleted), events: Vec::new() });
    assert_eq!(store.events_of(&order_id("held")).await.unwrap().deleted, None);

    // The order goes on: what it sends from now on comes after what is remembered.
    hold(store, &rest, "p1", NOW).await;
    let sent = store.events_of(&rest.id).await.unwrap();
    assert_eq!((sent.deleted, sent.events.len(), sent.events[0].version()), (Some(deleted), 1, 2));
    store.events_sequence(100, at(NOW)).await.unwrap();
    let last = store.events_after(feed[4].seq, 100).await.unwrap();
    assert_eq!(
        last.iter().filter(|event| event.event.subject == "rest").count(),
        1,
        "a reader that came so far goes on"
    );
}

pub async fn closed_dead_letters_end_and_open_ones_stay(Harness { store, .. }: &Harness) {
    let store = &**store;
    let letters: Vec<_> = (1..=5).map(|number| letter(number, at(number as i64))).collect();
    store.dead_letter_keep(&letters).await.unwrap();
    store.dead_letter_discard(&ids(&[2, 4]), &act(10)).await.unwrap();
    store.dead_letter_discard(&ids(&[3]), &act(NOW - 60)).await.unwrap();
    let filter = DeadLetterFilter { ids: vec![uuid(5)], ..DeadLetterFilter::default() };
    create(store, &NewReplay { selection: Selection::DeadLetters(filter), ..replay(60) }).await;
    // It died again since, so it is open.
    store.dead_letter_keep(&[letter(4, at(20))]).await.unwrap();

    let left = async || {
        let mut left = Vec::new();
        for number in 1..=5 {
            left.extend(store.dead_letter_get(uuid(number)).await.unwrap().map(|_| number));
        }
        left
    };
    assert_eq!(pass(store, History::DeadLetters, at(100)).await.0, 0);
    assert_eq!(pass(store, History::DeadLetters, at(NOW)).await, (1, 4));
    assert_eq!(left().await, [1, 3, 4, 5], "open, closed a minute ago, died again, and in a replay");
    store.replay_steer(uuid(60), Steer::Cancel, at(NOW)).await.unwrap();
    store.dead_letter_discard(&ids(&[1, 5]), &act(NOW)).await.unwrap();
    let late = at(3 * NOW);
    assert_eq!(pass(store, History::DeadLetters, late).await, (2, 2), "the replay still names one");
    assert_eq!(left().await, [4, 5]);
    assert_eq!(pass(store, History::Replays, late).await, (2, 0));
    assert_eq!(pass(store, History::DeadLetters, late).await, (1, 1));
    assert_eq!(left().await, [4], "open for as long as it takes");
}

fn audited(number: u64, seconds: i64) -> AuditEntry {
    AuditEntry {
        id: uuid(number),
        at: at(seconds),
        who: "ann".to_owned(),
        role: "operator".to_owned(),
        action: "order.release".to_owned(),
        subject: "A-1".to_owned(),
        count: 1,
        reason: None,
    }
}

pub async fn audit_entries_end(Harness { store, .. }: &Harness) {
    for number in 1..=9 {
        store.audit_write(&audited(number, if number < 8 { 1 } else { NOW - 60 })).await.unwrap();
    }
    assert_eq!(pass(&**store, History::Audit, at(NOW)).await, (7, 0));
    let left = store.audit_list(None, 100).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.id).collect::<Vec<_>>(), [uuid(9), uuid(8)]);
}

pub async fn finished_replays_end_with_their_items(Harness { store, .. }: &Harness) {
    let store = &**store;
    let letters: Vec<_> = (1..=7).map(|number| letter(number, at(1))).collect();
    store.dead_letter_keep(&letters).await.unwrap();
    let of =
        |number: u64, letters: &[u64]| NewReplay { selection: Selection::DeadLetters(ids(letters)), ..replay(number) };
    create(store, &of(60, &[1, 2, 3, 4])).await;
    store.replay_steer(uuid(60), Steer::Cancel, at(10)).await.unwrap();
    let act = Act { at: at(10), ..act(10) };
    create(store, &NewReplay { act: act.clone(), ..of(61, &[77]) }).await;
    create(store, &NewReplay { act: act.clone(), ..of(62, &[5]) }).await;
    create(store, &NewReplay { act: act.clone(), ..of(63, &[6]) }).await;
    store.replay_steer(uuid(63), Steer::Pause, at(10)).await.unwrap();
    create(store, &of(64, &[7])).await;
    store.replay_steer(uuid(64), Steer::Cancel, at(NOW - 60)).await.unwrap();

    assert_eq!(pass(store, History::Replays, at(NOW)).await, (4 + 1 + 1, 0), "four items and two replays");
    let states = [
        (60, None),
        (61, None),
        (62, Some(ReplayState::Running)),
        (63, Some(ReplayState::Paused)),
        (64, Some(ReplayState::Cancelled)),
    ];
    for (number, state) in states {
        let left = store.replay_get(uuid(number)).await.unwrap();
        assert_eq!(left.map(|replay| replay.state), state, "replay {number}");
        let items = store.replay_items(uuid(number), 0, 100).await.unwrap();
        assert_eq!(items.len(), usize::from(state.is_some()), "replay {number}");
    }
}

pub async fn what_stays_holds_up_nothing_behind_it(Harness { store, .. }: &Harness) {
    let store = &**store;
    let payments = |n: usize| -> Vec<PaymentKey> { vec![key(&format!("w{n}"))] };
    for n in 0..20 {
        let id = format!("awaiting-{n}");
        registered(store, &NewOrder { payments: payments(n), ..new_order(&id, &[]) }, at(0)).await;
        archive(
            store,
            vec![Notification {
                about: About::Payment(key(&format!("w{n}")).id),
                ..notification(n as u64 + 1, None, at(1))
            }],
        )
        .await;
    }
    at_rest(store, "rest", "p1", 1).await;
    archive(store, vec![notification(99, Some(&key("p1")), at(1))]).await;
    assert_eq!(pass(store, History::Timeline, at(NOW)).await, (2, 20));
    assert_eq!(pass(store, History::Notifications, at(NOW)).await, (1, 20));
    assert_eq!(store.notification_get(uuid(99)).await.unwrap(), None);
}
