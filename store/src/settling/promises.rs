//! Tests the promises about settlements.

use futures_util::future::join_all;
use payhook_schema::{EventType, Order, PaymentState};

use crate::conformance::Harness;
use crate::conformance::sample::{
    at, capture, entry, event, key, new_order, notification, order_event, order_id, read, registered,
};
use crate::{Asked, PaymentCheck, Settled, Settlement, Store};

/// Everything an order's settlements leave behind, to see whether it changed.
async fn traces(store: &dyn Store, order: &Order) -> (Order, usize, usize) {
    store.events_sequence(1_000, at(0)).await.unwrap();
    let timeline = store.order_timeline(&order.id).await.unwrap().len();
    (read(store, &order.id).await, timeline, store.events_after(0, 1_000).await.unwrap().len())
}

pub async fn a_settlement_is_written_whole_or_not_at_all(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    let mut whole = capture(&order, &key("p1"), 12_000, at(5));
    whole.notifications.push(notification(1, Some(&key("p1")), at(4)));
    whole.check = Some(PaymentCheck { key: key("p2"), next_check_at: Some(at(90)), checks: 2, asked: None });
    let change = whole.change.as_mut().unwrap();
    change.payment.provider_reference = Some("trxn_1".to_owned());
    change.payment.reason = Some("none".to_owned());

    // Two events of the same fact: the second cannot be written, and so nothing is.
    let mut half = whole.clone();
    let twice = half.change.as_mut().unwrap();
    let mut second = event(&twice.order, &key("p1"), EventType::OrderPaid, at(5));
    order_event(&mut second).version += 1;
    twice.order.version += 1;
    twice.events.push(second);
    let before = traces(&**store, &order).await;
    assert!(matches!(store.settle(&[half]).await.unwrap()[..], [Settled::Refused(_)]));
    assert_eq!(traces(&**store, &order).await, before);

    assert_eq!(store.settle(&[whole.clone()]).await.unwrap(), [Settled::Written]);
    let (now, timeline, events) = traces(&**store, &order).await;
    let change = whole.change.unwrap();
    let mut expected = change.order.clone();
    expected.revision += 1;
    expected.payments[0] = change.payment;
    (expected.payments[1].next_check_at, expected.payments[1].checks) = (Some(at(90)), 2);
    assert_eq!(now, expected);
    assert_eq!((timeline, events), (before.1 + 2, before.2 + 1));
    assert_eq!(store.events_after(0, 10).await.unwrap()[0].event, change.events[0]);
}

pub async fn a_settlement_decided_on_an_older_revision_is_a_conflict(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    assert_eq!(store.settle(&[capture(&order, &key("p1"), 12_000, at(1))]).await.unwrap(), [Settled::Written]);
    let before = traces(&**store, &order).await;
    let mut stale = capture(&order, &key("p2"), 12_000, at(2));
    stale.notifications.push(notification(7, Some(&key("p2")), at(2)));
    stale.check = Some(PaymentCheck { key: key("p2"), next_check_at: None, checks: 9, asked: None });
    assert_eq!(store.settle(&[stale]).await.unwrap(), [Settled::Conflict]);
    let mut unknown = capture(&order, &key("p1"), 1, at(2));
    unknown.order = None;
    let change = unknown.change.as_mut().unwrap();
    change.order.id = order_id("A-2");
    order_event(&mut change.events[0]).order_id = order_id("A-2");
    assert_eq!(store.settle(&[unknown]).await.unwrap(), [Settled::Conflict]);
    assert_eq!(traces(&**store, &order).await, before);
}

pub async fn two_settlements_of_one_order_at_once_write_one(Harness { store, other, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    let both = [capture(&order, &key("p1"), 12_000, at(1)), capture(&order, &key("p2"), 12_000, at(1))];
    assert_eq!(store.settle(&both).await.unwrap(), [Settled::Written, Settled::Conflict], "in one batch");

    let order = read(&**store, &order.id).await;
    let again = [capture(&order, &key("p1"), 12_000, at(2)), capture(&order, &key("p2"), 12_000, at(2))];
    let (one, two) = tokio::join!(store.settle(&again[..1]), other.settle(&again[1..]));
    let mut settled = [one.unwrap(), two.unwrap()].concat();
    settled.sort_by_key(|settled| *settled != Settled::Written);
    assert_eq!(settled, [Settled::Written, Settled::Conflict], "by two workers");
}

pub async fn many_writers_of_one_order_write_each_revision_once(Harness { store, other, .. }: &Harness) {
    const WRITERS: usize = 8;
    const EACH: usize = 6;
    let orders = [new_order("A-1", &["p1"]), new_order("A-2", &["p2"])];
    for new in &orders {
        registered(&**store, new, at(0)).await;
    }
    let writers = (0..WRITERS).map(|writer| {
        let (store, orders) = (if writer % 2 == 0 { store } else { other }, &orders);
        async move {
            let mut written = 0;
            while written < EACH {
                // Both orders in one batch, in either order: batches that meet must not stand in each other's way for
                // ever.
                let mut batch = Vec::new();
                for new in orders {
                    let order = read(&**store, &new.id).await;
                    batch.push(capture(&order, &new.payments[0], order.captured_minor + 1, at(order.revision)));
                }
                if writer % 4 < 2 {
                    batch.reverse();
                }
                let settled = store.settle(&batch).await.unwrap();
                written += settled.iter().filter(|settled| **settled == Settled::Written).count();
            }
            written
        }
    });
    let written: usize = join_all(writers).await.into_iter().sum();
    let mut changes = 0;
    store.events_sequence(10_000, at(0)).await.unwrap();
    let feed = store.events_after(0, 10_000).await.unwrap();
    for new in &orders {
        let order = read(&**store, &new.id).await;
        assert_eq!((order.revision - 1, order.captured_minor), (order.version, order.version));
        let versions: Vec<_> = feed.iter().filter(|event| event.event.subject == new.id.as_str()).collect();
        let versions: Vec<_> = versions.iter().map(|event| event.event.version()).collect();
        assert_eq!(versions, (1..=order.version).collect::<Vec<_>>());
        changes += order.version as usize;
    }
    assert_eq!(written, changes, "what was answered as written was written, and nothing else");
}

pub async fn a_batch_is_as_if_each_were_settled_alone_and_in_order(Harness { store, .. }: &Harness) {
    let one = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let two = registered(&**store, &new_order("A-2", &["p2"]), at(0)).await;
    let mut after_one = one.clone();
    after_one.revision += 1;
    after_one.version = 1;
    after_one.payments[0].captured_minor = 5_000;
    let batch = [
        capture(&two, &key("p2"), 12_000, at(1)),
        capture(&one, &key("p1"), 5_000, at(1)),
        // Decided on what the one before it makes of the order.
        capture(&after_one, &key("p1"), 12_000, at(2)),
        capture(&one, &key("p1"), 7_000, at(3)),
        Settlement {
            check: Some(PaymentCheck { key: key("p1"), next_check_at: Some(at(70)), checks: 3, asked: None }),
            ..Settlement::default()
        },
    ];
    assert_eq!(
        store.settle(&batch).await.unwrap(),
        [Settled::Written, Settled::Written, Settled::Written, Settled::Conflict, Settled::Written]
    );
    let payment = read(&**store, &one.id).await.payments.remove(0);
    assert_eq!((payment.captured_minor, payment.next_check_at, payment.checks), (12_000, Some(at(70)), 3));
    assert_eq!(store.settle(&[]).await.unwrap(), []);
}

pub async fn a_settlement_that_cannot_be_stored_is_refused_alone(Harness { store, .. }: &Harness) {
    let mut orders = Vec::new();
    for n in 0..7 {
        let id = format!("A-{n}");
        orders.push(registered(&**store, &new_order(&id, &[&format!("p{n}")]), at(0)).await);
    }
    let mut batch: Vec<_> = orders.iter().map(|order| capture(order, &order.payments[0].key, 12_000, at(1))).collect();
    batch[1].timeline[0].text.push('\0');
    batch[2].timeline[0].detail = serde_json::json!([{ "a\0b": 1 }]);
    batch[3].change.as_mut().unwrap().order.captured_minor = -1;
    batch[4].order = Some(order_id("nobody's"));
    batch[5].change.as_mut().unwrap().payment.key = key("p6");
    order_event(&mut batch[6].change.as_mut().unwrap().events[0]).version = 3;
    let settled = store.settle(&batch).await.unwrap();
    assert_eq!(settled[0], Settled::Written);
    for (n, settled) in settled.iter().enumerate().skip(1) {
        assert!(matches!(settled, Settled::Refused(_)), "{n}: {settled:?}");
        assert_eq!(read(&**store, &orders[n].id).await, orders[n]);
    }
}

pub async fn a_schedule_moves_without_a_conflict(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let check = |key, next_check_at, checks| Settlement {
        check: Some(PaymentCheck { key, next_check_at, checks, asked: None }),
        ..Settlement::default()
    };
    let unknown = check(key("nobody's"), None, 1);
    let settled = store.settle(&[check(key("p1"), Some(at(300)), 4), unknown]).await.unwrap();
    assert_eq!(settled, [Settled::Written, Settled::Written]);
    let payment = read(&**store, &order.id).await.payments.remove(0);
    assert_eq!((payment.next_check_at, payment.checks), (Some(at(300)), 4));
    // The schedule is no part of what a settlement is decided on.
    let mut paid = capture(&order, &key("p1"), 12_000, at(5));
    paid.check = check(key("p1"), Some(at(400)), 0).check;
    assert_eq!(store.settle(&[paid]).await.unwrap(), [Settled::Written]);
    let payment = read(&**store, &order.id).await.payments.remove(0);
    assert_eq!((payment.state, payment.next_check_at, payment.checks), (PaymentState::Paid, Some(at(400)), 0));
}

pub async fn an_answer_that_changes_nothing_moves_no_revision(Harness { store, other, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    let unchanged = |id, at_second, before, next_check_at, checks| {
        let asked = Some(Asked { at: at(at_second), before });
        Settlement {
            order: Some(order.id.clone()),
            timeline: vec![entry("asked", Some(key(id)), at(at_second))],
            check: Some(PaymentCheck { key: key(id), next_check_at: Some(at(next_check_at)), checks, asked }),
            ..Settlement::default()
        }
    };
    // Of two payments of one order, in one batch and by another worker at once.
    let batch = [unchanged("p1", 10, None, 100, 1), unchanged("p2", 11, None, 110, 1)];
    let again = [unchanged("p1", 12, Some(at(10)), 120, 2)];
    assert_eq!(store.settle(&batch).await.unwrap(), [const { Settled::Written }; 2]);
    assert_eq!(other.settle(&again).await.unwrap(), [Settled::Written]);
    let seen = async |n: usize| {
        let order = read(&**store, &order.id).await;
        let payment = &order.payments[n];
        (payment.asked_at, payment.next_check_at, payment.checks)
    };
    assert_eq!(seen(0).await, (Some(at(12)), Some(at(120)), 2));
    assert_eq!(seen(1).await, (Some(at(11)), Some(at(110)), 1));

    // An answer that was compared before another one was written leaves that one's schedule alone, and time never goes
    // back.
    assert_eq!(other.settle(&[unchanged("p1", 13, Some(at(10)), 900, 9)]).await.unwrap(), [Settled::Written]);
    assert_eq!(seen(0).await, (Some(at(13)), Some(at(120)), 2));
    assert_eq!(other.settle(&[unchanged("p1", 9, Some(at(13)), 130, 3)]).await.unwrap(), [Settled::Written]);
    assert_eq!(seen(0).await, (Some(at(13)), Some(at(130)), 3));

    // It is no conflict for a decision, and a decision made before it does not take the time back.
    let timeline = store.order_timeline(&order.id).await.unwrap();
    assert_eq!(timeline.iter().filter(|entry| entry.text == "asked").count(), 5);
    assert_eq!(read(&**store, &order.id).await.revision, order.revision);
    let mut paid = capture(&order, &key("p1"), 12_000, at(14));
    paid.change.as_mut().unwrap().payment.asked_at = Some(at(5));
    assert_eq!(store.settle(&[paid]).await.unwrap(), [Settled::Written]);
    assert_eq!(seen(0).await.0, Some(at(13)));
}
