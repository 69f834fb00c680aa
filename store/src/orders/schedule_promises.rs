//! Tests the promises about due payments.

use std::time::Duration;

use futures_util::future::join_all;
use payhook_schema::{AccountName, NewOrder, NewRefund, PaymentKey, PaymentState, Provider, RefundId};

use crate::conformance::Harness;
use crate::conformance::sample::{at, capture, key, key_of, new_order, order_id, read, registered};
use crate::{AccountLimit, Settled};

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
    assert_eq!(
        store.payments_due(at(400), hold_for, 100, &[]).await.unwrap().len(),
        40,
        "held no longer than requested"
    );
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
    assert_eq!(later.len(), 5, "held no longer than requested: {later:?}");
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
