//! Tests the promises about orders and their timelines.

use futures_util::future::join_all;
use jiff::Timestamp;
use payhook_schema::{
    EventType, Hold, HoldReason, NewOrder, Notification, Order, OrderState, PAYMENTS_MAX, PaymentKey, PaymentState,
    Provider,
};

use crate::conformance::Harness;
use crate::conformance::sample::{
    at, capture, entry, event, key, key_of, new_order, notification, order_id, read, registered, thb,
};
use crate::{Change, Found, OrderFilter, Registered, Settled, Settlement};

pub async fn registering_the_same_order_twice_changes_nothing(Harness { store, .. }: &Harness) {
    let mut new = new_order("A-1", &["p1", "p2"]);
    let first = store.order_register(&new, at(0)).await.unwrap();
    let Registered::Order { order, created: true, parked } = first else { panic!("{first:?}") };
    assert!(parked.is_empty());
    assert_eq!((order.state, order.revision, order.version, order.amount), (OrderState::Pending, 1, 0, thb(12_000)));
    assert_eq!(order.payments.iter().map(|payment| &payment.key).collect::<Vec<_>>(), [&key("p1"), &key("p2")]);
    assert!(order.payments.iter().all(|payment| payment.state == PaymentState::Awaiting && payment.checks == 0));
    assert!(order.payments.iter().all(|payment| payment.next_check_at == Some(at(60))));

    new.payments.push(key("p1"));
    let again = store.order_register(&new, at(9)).await.unwrap();
    assert_eq!(again, Registered::Order { order: order.clone(), created: false, parked: Vec::new() });
    assert_eq!(read(&**store, &order.id).await, order);
    assert_eq!(store.order_timeline(&order.id).await.unwrap().len(), 1);
    assert_eq!(store.order_get(&order_id("A-2")).await.unwrap(), None);
}

pub async fn registering_another_amount_is_a_conflict_and_changes_nothing(Harness { store, .. }: &Harness) {
    let mut new = new_order("A-1", &["p1"]);
    let order = registered(&**store, &new, at(0)).await;
    for other in [thb(12_001), "120.00 MYR".parse().unwrap()] {
        new.amount = other;
        new.payments = vec![key("p2")];
        let differs = store.order_register(&new, at(1)).await.unwrap();
        assert_eq!(differs, Registered::AmountDiffers { registered: thb(12_000) });
    }
    assert_eq!(read(&**store, &order.id).await, order);
    assert_eq!(store.payments_find(&[key("p2")]).await.unwrap(), [Found::Unknown]);
}

pub async fn attempts_can_be_added_to_a_registered_order(Harness { store, .. }: &Harness) {
    let before = registered(&**store, &new_order("A-1", &["p9"]), at(0)).await;
    let more = store.order_register(&new_order("A-1", &["p5", "p9", "p1"]), at(5)).await.unwrap();
    let Registered::Order { order, created: false, .. } = more else { panic!("{more:?}") };
    assert_eq!(order.payments.iter().map(|payment| payment.key.id.as_str()).collect::<Vec<_>>(), ["p9", "p5", "p1"]);
    assert_eq!((order.revision, order.updated_at, order.created_at), (before.revision + 1, at(5), at(0)));
    assert_eq!(order.payments[1].next_check_at, Some(at(65)));
    assert_eq!(order.payments[0], before.payments[0]);
    // A decision from before the attempt was added is a conflict.
    let stale = capture(&before, &key("p9"), 12_000, at(6));
    assert_eq!(store.settle(&[stale]).await.unwrap(), [Settled::Conflict]);
    let timeline = store.order_timeline(&order.id).await.unwrap();
    assert_eq!(
        timeline.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(),
        ["registered: 120.00 THB, 1 payment", "2 payments added"]
    );
}

pub async fn a_payment_belongs_to_one_order(Harness { store, .. }: &Harness) {
    let first = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let taken = store.order_register(&new_order("A-2", &["p2", "p1"]), at(1)).await.unwrap();
    assert_eq!(taken, Registered::PaymentTaken { payment: key("p1"), order: first.id.clone() });
    assert_eq!(store.order_get(&order_id("A-2")).await.unwrap(), None, "nothing was written");
    assert_eq!(store.payments_find(&[key("p2")]).await.unwrap(), [Found::Unknown]);
    assert_eq!(read(&**store, &first.id).await, first);
}

pub async fn an_order_has_a_hundred_payments_at_most(Harness { store, other, .. }: &Harness) {
    let some = |range: std::ops::Range<usize>| {
        let ids: Vec<String> = range.map(|n| format!("p{n}")).collect();
        new_order("A-1", &ids.iter().map(String::as_str).collect::<Vec<_>>())
    };
    registered(&**store, &some(0..60), at(0)).await;
    let full = registered(&**store, &some(40..PAYMENTS_MAX), at(1)).await;
    assert_eq!(full.payments.len(), PAYMENTS_MAX, "those it has already do not count again");
    for (range, added) in [(PAYMENTS_MAX..PAYMENTS_MAX + 1, 1), (90..103, 3)] {
        let refused = store.order_register(&some(range), at(2)).await.unwrap();
        assert_eq!(refused, Registered::TooManyPayments { registered: PAYMENTS_MAX, added });
    }
    assert_eq!(read(&**store, &full.id).await, full);
    assert_eq!(store.payments_find(&[key("p100")]).await.unwrap(), [Found::Unknown]);
    assert_eq!(registered(&**store, &some(0..PAYMENTS_MAX), at(3)).await, full, "repeating is fine");

    // Two registrations at once that fit alone and not together.
    let room = |range: std::ops::Range<usize>| {
        let mut new = some(range);
        (new.id, new.payments) = (order_id("A-2"), new.payments.iter().map(|it| key(&format!("q{}", it.id))).collect());
        new
    };
    let (one, two) = (room(0..60), room(60..120));
    let (one, two) = tokio::join!(store.order_register(&one, at(4)), other.order_register(&two, at(4)));
    let refused = [one.unwrap(), two.unwrap()].into_iter().filter(|it| !matches!(it, Registered::Order { .. }));
    assert_eq!(refused.collect::<Vec<_>>(), [Registered::TooManyPayments { registered: 60, added: 60 }]);
    assert_eq!(read(&**store, &order_id("A-2")).await.payments.len(), 60);
}

pub async fn registrations_of_one_order_at_once_all_succeed(Harness { store, other, .. }: &Harness) {
    // The same payments in other orders, too, so that they also meet there.
    let orders: Vec<_> =
        (0..24).map(|n| new_order("A-1", if n % 2 == 0 { &["p1", "p2"] } else { &["p2", "p1"] })).collect();
    let registrations = orders.iter().enumerate().map(|(n, new)| {
        let store = if n % 3 == 0 { other } else { store };
        store.order_register(new, at(0))
    });
    let mut created = 0;
    for registered in join_all(registrations).await {
        match registered.unwrap() {
            Registered::Order { created: first, .. } => created += usize::from(first),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(read(&**store, &order_id("A-1")).await.payments.len(), 2);
}

pub async fn a_payment_is_found_by_its_key_and_under_another_account(Harness { store, .. }: &Harness) {
    let first = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    let mut new = new_order("A-2", &["p3"]);
    new.payments.push(key_of(Provider::Omise, "other", "p1"));
    let second = registered(&**store, &new, at(1)).await;
    let (first, second) = (Box::new(first), Box::new(second));
    let keys = [
        key("p2"),
        key_of(Provider::Omise, "other", "p1"),
        key("p1"),
        key_of(Provider::Antom, "shop", "p1"),
        key_of(Provider::Omise, "third", "p3"),
        key("p2"),
    ];
    assert_eq!(
        store.payments_find(&keys).await.unwrap(),
        [
            Found::Order(first.clone()),
            Found::Order(second.clone()),
            Found::Order(first.clone()),
            Found::Unknown,
            Found::OtherAccount(second.clone()),
            Found::Order(first),
        ]
    );
    assert_eq!(store.payments_find(&[]).await.unwrap(), []);
}

pub async fn a_notification_before_its_order_is_linked_when_the_order_is_registered(Harness { store, .. }: &Harness) {
    let early = notification(1, Some(&key("p2")), at(0));
    let elsewhere = notification(2, Some(&key_of(Provider::Omise, "other", "p1")), at(0));
    let archived = Settlement { notifications: vec![early, elsewhere], ..Settlement::default() };
    assert_eq!(store.settle(&[archived]).await.unwrap(), [Settled::Written]);
    let registered = store.order_register(&new_order("A-1", &["p1", "p2"]), at(5)).await.unwrap();
    let Registered::Order { order, parked, .. } = registered else { panic!("{registered:?}") };
    assert_eq!(parked, [key("p2")]);
    assert_eq!(order.payment(&key("p2")).unwrap().next_check_at, Some(at(5)));
    assert_eq!(order.payment(&key("p1")).unwrap().next_check_at, Some(at(65)));
    let timeline = store.order_timeline(&order.id).await.unwrap();
    assert_eq!(timeline[0].text, "charge.complete received, genuine (secret 1)");
    assert_eq!(timeline.len(), 2);
}

pub async fn orders_are_listed_newest_first_in_pages_that_do_not_overlap(Harness { store, .. }: &Harness) {
    for n in 0..9 {
        let mut new = new_order(&format!("A-{n}"), &[]);
        let account = if n % 2 == 0 { "shop" } else { "other" };
        new.payments = (0..2).map(|p| key_of(Provider::Omise, account, &format!("p{n}-{p}"))).collect();
        // Three of the same microsecond at a time.
        registered(&**store, &new, at(n / 3)).await;
    }
    let order = read(&**store, &order_id("A-4")).await;
    let paid = capture(&order, &order.payments[0].key, 12_000, at(50));
    assert_eq!(store.settle(&[paid]).await.unwrap(), [Settled::Written]);

    let pages = async |filter: OrderFilter| {
        let (mut ids, mut filter) = (Vec::new(), filter);
        loop {
            let page = store.order_list(&filter).await.unwrap();
            assert!(page.len() <= filter.limit as usize);
            let Some(last) = page.last() else { return ids };
            filter.before = Some(last.id.clone());
            for order in page {
                assert_eq!(order, read(&**store, &order.id).await);
                ids.push(order.id.to_string());
            }
        }
    };
    let newest_first = ["A-8", "A-7", "A-6", "A-5", "A-4", "A-3", "A-2", "A-1", "A-0"];
    let all = OrderFilter { limit: 4, ..OrderFilter::default() };
    assert_eq!(pages(all.clone()).await, newest_first);
    let other = Some(payhook_schema::AccountName::new("other").unwrap());
    let other = OrderFilter { account: other, provider: Some(Provider::Omise), limit: 3, ..all.clone() };
    assert_eq!(pages(other).await, ["A-7", "A-5", "A-3", "A-1"]);
    assert_eq!(pages(OrderFilter { provider: Some(Provider::Antom), ..all.clone() }).await, [""; 0]);
    assert_eq!(pages(OrderFilter { state: Some(OrderState::Paid), ..all.clone() }).await, ["A-4"]);
    let pending = pages(OrderFilter { state: Some(OrderState::Pending), ..all.clone() }).await;
    assert_eq!(pending, newest_first.into_iter().filter(|id| *id != "A-4").collect::<Vec<_>>());
    let unknown = OrderFilter { before: Some(order_id("A-99")), ..all };
    assert_eq!(store.order_list(&unknown).await.unwrap(), []);
}

pub async fn the_timeline_has_everything_oldest_first(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let asked = Settlement {
        notifications: vec![notification(1, Some(&key("p1")), at(3))],
        order: Some(order.id.clone()),
        timeline: vec![entry("asked", Some(key("p1")), at(3)), entry("nothing new", None, at(3))],
        ..Settlement::default()
    };
    let repeat = Notification { idempotency_key: "evnt_1".to_owned(), ..notification(2, Some(&key("p1")), at(4)) };
    let mut paid = capture(&order, &key("p1"), 12_000, at(5));
    paid.notifications.push(repeat);
    paid.timeline[0].detail = serde_json::json!({ "answer": "successful", "captured_minor": i64::MAX });
    assert_eq!(store.settle(&[asked, paid.clone()]).await.unwrap(), [Settled::Written, Settled::Written]);
    assert_eq!(store.events_sequence(10, at(0)).await.unwrap(), 1);
    let event = &paid.change.as_ref().unwrap().events[0];
    store.events_mark_published(&[event.id], at(6)).await.unwrap();

    let timeline = store.order_timeline(&order.id).await.unwrap();
    let entries: Vec<_> = timeline.iter().map(|entry| (entry.at, entry.kind.as_str(), entry.text.as_str())).collect();
    assert_eq!(
        entries,
        [
            (at(0), "registered", "registered: 120.00 THB, 1 payment"),
            (at(3), "notification", "charge.complete received, genuine (secret 1)"),
            (at(3), "inquiry", "asked"),
            (at(3), "inquiry", "nothing new"),
            (at(4), "notification", "charge.complete received, genuine (secret 1); a repeat"),
            (at(5), "inquiry", "awaiting -> paid"),
            (at(6), "publish", "order.paid.v1 published, version 1"),
        ]
    );
    assert_eq!(timeline[5], paid.timeline[0]);
    assert_eq!(timeline[4].payment, Some(key("p1")));
    assert_eq!(timeline[4].detail["repeat"], true);
    assert_eq!(timeline[1].detail["repeat"], false);
    assert_eq!(timeline[1].detail["body_bytes"], 9);
    assert_eq!(timeline[1].detail["idempotency_key"], "evnt_1");
    let printed = format!("{timeline:?}");
    assert!(!printed.contains("omise-signature"), "{printed}");
    assert_eq!(store.order_timeline(&order_id("A-2")).await.unwrap(), []);
}

pub async fn a_timeline_is_read_in_pages(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let mut paid = capture(&order, &key("p1"), 12_000, at(3));
    paid.notifications.extend((1..=5).map(|n| notification(n, Some(&key("p1")), at(3 + n as i64 / 3))));
    paid.timeline.extend((0..4).map(|n| entry("asked", Some(key("p1")), at(4 - n))));
    assert_eq!(store.settle(&[paid.clone()]).await.unwrap(), [Settled::Written]);
    store.events_sequence(10, at(0)).await.unwrap();
    store.events_mark_published(&[paid.change.as_ref().unwrap().events[0].id], at(4)).await.unwrap();

    let whole = store.order_timeline(&order.id).await.unwrap();
    assert_eq!(whole.len(), 12);
    assert!(whole.is_sorted_by_key(|entry| entry.at), "{whole:#?}");
    for limit in 1..=13 {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = store.order_timeline_page(&order.id, after, limit).await.unwrap();
            assert!(page.next.is_none() || page.entries.len() == limit as usize);
            assert!(!page.entries.is_empty(), "nobody is sent to an empty page");
            read.extend(page.entries);
            // As a reader gets it.
            after = page.next.map(|place| place.to_string().parse().unwrap());
            if after.is_none() {
                break;
            }
        }
        assert_eq!(read, whole, "{limit} at a time");
    }
}

pub async fn an_orders_objections_are_read_back(Harness { store, other, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let hold = |detail: &str, seconds| Hold {
        reason: HoldReason::AmountMismatch,
        detail: detail.to_owned(),
        since: at(seconds),
    };
    let held = Order {
        state: OrderState::Held,
        holds: vec![hold("1.00 THB, not 2.00 THB", 1), hold("ไทย '\"\\", 2)],
        released: vec![hold("looked at", 3)],
        ..order.clone()
    };
    let change = Change { payment: order.payments[0].clone(), order: held.clone(), events: Vec::new() };
    let settlement = Settlement { change: Some(change), ..Settlement::default() };
    assert_eq!(store.settle(&[settlement]).await.unwrap(), [Settled::Written]);
    let read = other.order_get(&order.id).await.unwrap().unwrap();
    assert_eq!((&read.holds, &read.released), (&held.holds, &held.released));
    let change = Change {
        payment: order.payments[0].clone(),
        order: Order { state: OrderState::Pending, holds: Vec::new(), ..read },
        events: Vec::new(),
    };
    let settlement = Settlement { change: Some(change), ..Settlement::default() };
    assert_eq!(store.settle(&[settlement]).await.unwrap(), [Settled::Written]);
    let read = store.order_get(&order.id).await.unwrap().unwrap();
    assert_eq!((read.holds, read.released), (Vec::new(), held.released));
}

pub async fn money_and_times_are_exact(Harness { store, .. }: &Harness) {
    let far = Timestamp::from_microsecond(253_402_207_199_999_999).unwrap();
    let early = Timestamp::from_microsecond(-62_135_596_800_000_000 + 1).unwrap();
    let times = [Timestamp::UNIX_EPOCH, at(0), far, early, Timestamp::from_microsecond(-1).unwrap()];
    for (n, &time) in times.iter().enumerate() {
        let key: PaymentKey = key(&format!("p{n}"));
        let new = NewOrder {
            id: order_id(&format!("A-{n}")),
            amount: thb(i64::MAX - n as i64),
            payments: vec![key.clone()],
            refunds: Vec::new(),
        };
        let order = registered(&**store, &new, at(n as i64)).await;
        let mut settlement = capture(&order, &key, i64::MAX, time);
        let change = settlement.change.as_mut().unwrap();
        change.payment.refunded_minor = i64::MAX - 1;
        change.payment.next_check_at = Some(time);
        change.payment.checks = i32::MAX;
        change.payment.state = PaymentState::PartlyRefunded;
        change.payment.currency = payhook_schema::Currency::new("KWD").unwrap();
        change.order.refunded_minor = i64::MAX - 1;
        change.order.state = OrderState::Held;
        let detail = "12,000 THB ≠ 12,000 KWD: \u{10ffff}'\"\\".to_owned();
        change.order.holds = vec![payhook_schema::Hold { reason: HoldReason::CurrencyMismatch, detail, since: time }];
        change.events = vec![event(&change.order, &key, EventType::OrderHeld, time)];
        settlement.timeline.push(entry("at", None, time));
        assert_eq!(store.settle(std::slice::from_ref(&settlement)).await.unwrap(), [Settled::Written]);

        let change = settlement.change.unwrap();
        let mut expected = change.order;
        expected.revision += 1;
        expected.payments[0] = change.payment;
        assert_eq!(read(&**store, &order.id).await, expected);
        store.events_sequence(1, at(0)).await.unwrap();
        assert_eq!(store.events_after(0, 100).await.unwrap()[n].event, change.events[0]);
        let timeline = store.order_timeline(&order.id).await.unwrap();
        assert_eq!(timeline.iter().filter(|entry| entry.at == time && entry.text == "at").count(), 1);
    }
    // A finer time than the store keeps becomes the microsecond it is in, on every backend.
    let order = registered(&**store, &new_order("A-9", &["p9"]), at(0)).await;
    let finer = at(1) + jiff::SignedDuration::from_nanos(999);
    assert_eq!(store.settle(&[capture(&order, &key("p9"), 1, finer)]).await.unwrap(), [Settled::Written]);
    assert_eq!(read(&**store, &order.id).await.updated_at, at(1));
}
