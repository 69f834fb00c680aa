use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use payhook_schema::{AccountName, NewOrder, NewRefund, PaymentKey, PaymentState, Provider, RefundId};

use super::Harness;
use super::sample::{at, capture, entry, key, key_of, new_order, order_id, read, registered, uuid};
use crate::{AccountLimit, Asked, Backlog, PaymentCheck, Settled, Settlement, Store};

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

    // An answer that was compared before another one was written leaves that one's schedule alone, and time never goes back.
    assert_eq!(other.settle(&[unchanged("p1", 13, Some(at(10)), 900, 9)]).await.unwrap(), [Settled::Written]);
    assert_eq!(seen(0).await, (Some(at(13)), Some(at(120)), 2));
    assert_eq!(other.settle(&[unchanged("p1", 9, Some(at(13)), 130, 3)]).await.unwrap(), [Settled::Written]);
    assert_eq!(seen(0).await, (Some(at(13)), Some(at(130)), 3));

    // Nobody's decision is overturned by it, and a decision made before it does not take the time back.
    let timeline = store.order_timeline(&order.id).await.unwrap();
    assert_eq!(timeline.iter().filter(|entry| entry.text == "asked").count(), 5);
    assert_eq!(read(&**store, &order.id).await.revision, order.revision);
    let mut paid = capture(&order, &key("p1"), 12_000, at(14));
    paid.change.as_mut().unwrap().payment.asked_at = Some(at(5));
    assert_eq!(store.settle(&[paid]).await.unwrap(), [Settled::Written]);
    assert_eq!(seen(0).await.0, Some(at(13)));
}

pub async fn late_checks_are_due_apart_from_live_ones(Harness { store, .. }: &Harness) {
    let hold_for = Duration::from_mins(5);
    for n in 0..6 {
        let order = registered(&**store, &new_order(&format!("A-{n}"), &[&format!("p{n}")]), at(n)).await;
        if n % 2 == 0 {
            let mut paid = capture(&order, &order.payments[0].key, 12_000, at(n));
            let payment = &mut paid.change.as_mut().unwrap().payment;
            (payment.final_at, payment.next_check_at) = (Some(at(n)), Some(at(60 - n)));
            assert_eq!(store.settle(&[paid]).await.unwrap(), [Settled::Written]);
            assert_eq!(read(&**store, &order.id).await.payments[0].final_at, Some(at(n)));
        }
    }
    assert_eq!(store.payments_due(at(99), hold_for, 9, &[]).await.unwrap(), [key("p1"), key("p3"), key("p5")]);
    assert_eq!(store.payments_due_late(at(99), hold_for, 2).await.unwrap(), [key("p4"), key("p2")], "oldest first");
    assert_eq!(store.payments_due_late(at(99), hold_for, 9).await.unwrap(), [key("p0")]);
    assert_eq!(store.payments_due_late(at(99), hold_for, 9).await.unwrap(), []);
    assert_eq!(store.backlog().await.unwrap().payments_unfinished, 3, "nobody waits for a late check");

    // Something is expected of it again: its checks are live ones.
    let mut new = new_order("A-0", &[]);
    new.refunds = vec![NewRefund { payment: key("p0"), id: RefundId::new("RF-1").unwrap() }];
    registered(&**store, &new, at(100)).await;
    assert_eq!(store.payments_due(at(100), hold_for, 9, &[]).await.unwrap(), [key("p0")]);
}

pub async fn due_payments_are_handed_to_one_sweeper_at_a_time(Harness { store, other, .. }: &Harness) {
    for n in 0..40 {
        registered(&**store, &new_order(&format!("A-{n}"), &[&format!("p{n:02}")]), at(40 - n)).await;
    }
    let hold_for = Duration::from_mins(5);
    assert_eq!(store.payments_due(at(59), hold_for, 100, &[]).await.unwrap(), [], "nothing is due yet");
    let oldest = store.payments_due(at(63), hold_for, 2, &[]).await.unwrap();
    assert_eq!(oldest, [key("p39"), key("p38")], "oldest first, and no more than asked for");
    let sweepers = (0..8).map(|n| if n % 2 == 0 { store } else { other });
    let taken = join_all(sweepers.map(|store| store.payments_due(at(100), hold_for, 10, &[]))).await;
    let mut taken: Vec<_> = taken.into_iter().flat_map(Result::unwrap).collect();
    let rest = store.payments_due(at(100), hold_for, 100, &[]).await.unwrap();
    taken.extend(rest);
    taken.sort();
    assert_eq!(taken, (0..38).map(|n| key(&format!("p{n:02}"))).collect::<Vec<_>>());
    assert_eq!(store.payments_due(at(400), hold_for, 100, &[]).await.unwrap().len(), 40, "held no longer than said");
}

pub async fn an_account_with_many_due_payments_leaves_room_for_the_others(Harness { store, .. }: &Harness) {
    let register = async |order: &str, payment: PaymentKey, now| {
        let new = NewOrder { payments: vec![payment.clone()], ..new_order(order, &[]) };
        registered(&**store, &new, now).await;
        payment
    };
    for n in 0..30 {
        register(&format!("A-{n}"), key(&format!("p{n:02}")), at(n)).await;
    }
    // Due later than all of those, at another account of the same provider and at another provider.
    let other = register("B-1", key_of(Provider::Omise, "shop-2", "q1"), at(100)).await;
    let antom = register("C-1", key_of(Provider::Antom, "shop", "r1"), at(101)).await;
    let (hold_for, now) = (Duration::from_mins(5), at(400));
    let due = store.payments_due(now, hold_for, 6, &[]).await.unwrap();
    let crowd = |range: std::ops::Range<u32>| range.map(|n| key(&format!("p{n:02}"))).collect::<Vec<_>>();
    assert_eq!(due[..4], crowd(0..4), "what the others leave is taken, oldest first");
    assert_eq!(due[4..], [other.clone(), antom.clone()]);

    let limit = |account: &str, limit| {
        [AccountLimit { provider: Provider::Omise, account: AccountName::new(account).unwrap(), limit }]
    };
    assert_eq!(store.payments_due(now, hold_for, 6, &limit("shop", 0)).await.unwrap(), [], "left out");
    assert_eq!(store.payments_due(now, hold_for, 6, &limit("shop", 1)).await.unwrap(), crowd(4..5));
    assert_eq!(store.payments_due(now, hold_for, 9, &limit("shop-2", 0)).await.unwrap(), crowd(5..14));
    let later = store.payments_due(at(800), hold_for, 100, &limit("shop", 3)).await.unwrap();
    assert_eq!(later.len(), 5, "held no longer than said: {later:?}");
    assert!(later.contains(&other) && later.contains(&antom));
}

pub async fn a_refresh_makes_every_payment_due(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["paid", "failed", "awaiting"]), at(0)).await;
    assert_eq!(store.settle(&[capture(&order, &key("paid"), 12_000, at(1))]).await.unwrap(), [Settled::Written]);
    let order = read(&**store, &order.id).await;
    let mut failed = capture(&order, &key("failed"), 0, at(2));
    failed.change.as_mut().unwrap().payment.state = PaymentState::Failed;
    assert_eq!(store.settle(&[failed]).await.unwrap(), [Settled::Written]);
    assert!(store.order_refresh(&order.id, at(9)).await.unwrap());
    let hold_for = Duration::from_mins(1);
    assert_eq!(store.payments_due(at(9), hold_for, 10, &[]).await.unwrap(), [key("awaiting")]);
    let mut late = store.payments_due_late(at(9), hold_for, 10).await.unwrap();
    late.sort();
    assert_eq!(late, [key("failed"), key("paid")]);
    assert!(!store.order_refresh(&order_id("A-2"), at(9)).await.unwrap());
}

pub async fn the_backlog_counts_what_is_left(Harness { store, .. }: &Harness) {
    let nothing = Backlog { payments_unfinished: 0, silent_since: None, events_unpublished: 0, dead_letters: 0 };
    assert_eq!(store.backlog().await.unwrap(), nothing);
    let order = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    registered(&**store, &new_order("A-2", &["p3"]), at(5)).await;
    assert_eq!(store.settle(&[capture(&order, &key("p1"), 12_000, at(6))]).await.unwrap(), [Settled::Written]);
    store.dead_letter_keep(&[super::dead_letters::letter(1, at(7))]).await.unwrap();
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
