//! Tests the promises about refunds and disputes.

use payhook_schema::{
    About, Dispute, DisputeId, DisputeState, NewRefund, Notification, Order, Payment, PaymentKey, PaymentState,
    Provider, Refund, RefundId, RefundState,
};

use crate::conformance::Harness;
use crate::conformance::sample::{
    at, capture, key, key_of, new_order, notification, order_id, read, registered, thb, uuid,
};
use crate::{Found, OrderFilter, PaymentCheck, PaymentName, Registered, Settled, Settlement, Store};

fn refund_id(id: &str) -> RefundId {
    RefundId::new(id).unwrap()
}

fn announced(payment: &PaymentKey, id: &str) -> NewRefund {
    NewRefund { payment: payment.clone(), id: refund_id(id) }
}

fn refund(id: &str) -> Refund {
    Refund {
        provider_reference: Some("2024 \u{10ffff}'\"\\".to_owned()),
        state: RefundState::Failed,
        amount: Some(thb(i64::MAX)),
        voided: true,
        reason: Some("PROCESS_FAIL".to_owned()),
        occurred_at: Some(at(3)),
        ..Refund::announced(refund_id(id))
    }
}

fn dispute(id: &str) -> Dispute {
    Dispute {
        id: DisputeId::new(id).unwrap(),
        state: DisputeState::Open,
        amount: Some(thb(1)),
        reason: Some("4853 ไทย".to_owned()),
        answer_by: Some(at(900)),
        occurred_at: Some(at(-1)),
    }
}

/// A notification under `payment`'s account that names what `about` says.
fn nameless(number: u64, payment: &PaymentKey, about: About) -> Notification {
    Notification { about, ..notification(number, Some(payment), at(number as i64)) }
}

fn of_refund(id: &str) -> About {
    About::Refund { id: refund_id(id), payment: None }
}

/// Writes `payment` as the payment of `order` it is, with nothing else new but an event.
async fn settled(store: &dyn Store, order: &Order, payment: Payment) -> Vec<Settled> {
    let mut settlement = capture(order, &payment.key, 12_000, at(5));
    settlement.change.as_mut().unwrap().payment = payment;
    store.settle(&[settlement]).await.unwrap()
}

pub async fn refunds_and_disputes_are_stored_with_their_payment(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    assert!(order.payments.iter().all(|payment| payment.refunds.is_empty() && payment.disputes.is_empty()));
    let bare = Dispute { amount: None, reason: None, answer_by: None, occurred_at: None, ..dispute("D-1") };
    let first = Payment {
        refunds: vec![refund("RF-2"), Refund::announced(refund_id("RF-1"))],
        disputes: vec![dispute("D-2"), bare],
        ..order.payments[0].clone()
    };
    assert_eq!(settled(&**store, &order, first.clone()).await, [Settled::Written]);
    let order = read(&**store, &order.id).await;
    assert_eq!((&order.payments[0], order.payments[1].refunds.len()), (&first, 0));

    // Two payments may have the same dispute; what a change leaves out is still there.
    let second = Payment { refunds: vec![refund("RF-9")], disputes: vec![dispute("D-1")], ..order.payments[1].clone() };
    assert_eq!(settled(&**store, &order, second.clone()).await, [Settled::Written]);
    let done = Refund { state: RefundState::Succeeded, reason: None, amount: Some(thb(7)), ..refund("RF-1") };
    let order = read(&**store, &order.id).await;
    let later = Payment { refunds: vec![done.clone(), refund("RF-0")], disputes: Vec::new(), ..first.clone() };
    assert_eq!(settled(&**store, &order, later.clone()).await, [Settled::Written]);
    let read_now = read(&**store, &order.id).await;
    assert_eq!(read_now.payments[0].refunds, [refund("RF-2"), done, refund("RF-0")], "in the order they became known");
    assert_eq!((&read_now.payments[0].disputes, &read_now.payments[1]), (&first.disputes, &second));

    let listed = store.order_list(&OrderFilter { limit: 1, ..OrderFilter::default() }).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&read_now));
    let found = store.payments_find(&[key("p2"), key_of(Provider::Omise, "other", "p1")]).await.unwrap();
    let boxed = Box::new(read_now.clone());
    assert_eq!(found, [Found::Order(boxed.clone()), Found::OtherAccount(boxed)]);

    // Nothing of it where the settlement is not written.
    let unkept =
        Payment { refunds: vec![Refund { reason: Some("a\0b".to_owned()), ..refund("RF-5") }], ..later.clone() };
    assert!(matches!(settled(&**store, &read_now, unkept).await[..], [Settled::Refused(_)]));
    let stale = Payment { refunds: vec![refund("RF-6")], disputes: vec![dispute("D-6")], ..later };
    assert_eq!(settled(&**store, &order, stale).await, [Settled::Conflict]);
    assert_eq!(read(&**store, &order.id).await, read_now);
}

pub async fn an_announced_refund_makes_its_payment_due_at_once(Harness { store, .. }: &Harness) {
    let (payment, elsewhere) = (key("p1"), key_of(Provider::Omise, "other", "p1"));
    let order = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let mut paid = capture(&order, &payment, 12_000, at(1));
    paid.change.as_mut().unwrap().payment.state = PaymentState::Refunded;
    // They came before anybody knew of which payment the refund is.
    paid.notifications = vec![
        nameless(2, &payment, of_refund("RF-1")),
        nameless(3, &elsewhere, of_refund("RF-1")),
        nameless(4, &payment, of_refund("RF-10")),
        nameless(5, &payment, About::Reference("RF-1".to_owned())),
    ];
    assert_eq!(store.settle(&[paid]).await.unwrap(), [Settled::Written]);
    let before = read(&**store, &order.id).await;
    assert_eq!(before.payments[0].next_check_at, None);
    assert_eq!(store.order_timeline(&order.id).await.unwrap().len(), 2);

    let mut new = new_order("A-1", &[]);
    new.refunds = vec![announced(&payment, "RF-1"), announced(&payment, "RF-1")];
    let answer = store.order_register(&new, at(9)).await.unwrap();
    let Registered::Order { order, created: false, parked } = answer else { panic!("{answer:?}") };
    let mut expected = Order { revision: before.revision + 1, updated_at: at(9), ..before };
    expected.payments[0].refunds = vec![Refund::announced(refund_id("RF-1"))];
    expected.payments[0].next_check_at = Some(at(9));
    assert_eq!((&order, parked), (&expected, Vec::new()));
    let timeline = store.order_timeline(&order.id).await.unwrap();
    let entries: Vec<_> = timeline[1..].iter().map(|entry| (entry.kind.as_str(), entry.text.as_str())).collect();
    let received = "charge.complete received, genuine (secret 1)";
    assert_eq!(
        entries,
        [("inquiry", "awaiting -> paid"), ("notification", received), ("registered", "1 refund added")]
    );
    assert_eq!(timeline[2].detail["id"], uuid(2).to_string());
    assert_eq!(timeline[2].payment, Some(payment.clone()));
    assert_eq!(timeline[3].detail["refunds"][0]["id"], "RF-1");

    // Repeating changes nothing and makes nothing due again.
    let check = PaymentCheck { key: payment.clone(), next_check_at: None, checks: 0, asked: None };
    let checked = Settlement { check: Some(check), ..Settlement::default() };
    assert_eq!(store.settle(&[checked]).await.unwrap(), [Settled::Written]);
    let before = read(&**store, &order.id).await;
    let again = store.order_register(&new, at(20)).await.unwrap();
    assert_eq!(again, Registered::Order { order: before, created: false, parked: Vec::new() });
    assert_eq!(store.order_timeline(&order.id).await.unwrap().len(), 4);

    // Order, payment and refund may come together; a payment whose notification came before is still reported.
    let early = Settlement { notifications: vec![notification(7, Some(&key("p3")), at(7))], ..Settlement::default() };
    assert_eq!(store.settle(&[early]).await.unwrap(), [Settled::Written]);
    let mut together = new_order("A-2", &["p2", "p3"]);
    together.refunds = vec![announced(&key("p2"), "RF-2"), announced(&key("p2"), "RF-3")];
    let answer = store.order_register(&together, at(30)).await.unwrap();
    let Registered::Order { order, created: true, parked } = answer else { panic!("{answer:?}") };
    assert_eq!((order.revision, order.payments[0].next_check_at, parked), (1, Some(at(30)), vec![key("p3")]));
    assert_eq!(order.payments[0].refunds, ["RF-2", "RF-3"].map(|id| Refund::announced(refund_id(id))));
    assert_eq!(order, read(&**store, &order.id).await);
    let timeline = store.order_timeline(&order.id).await.unwrap();
    assert_eq!(timeline[1].text, "registered: 120.00 THB, 2 payments, 2 refunds");
}

pub async fn a_refund_belongs_to_one_payment(Harness { store, other, .. }: &Harness) {
    let mut new = new_order("A-1", &["p1", "p2"]);
    new.refunds = vec![announced(&key("p1"), "RF-1")];
    let order = registered(&**store, &new, at(0)).await;
    let taken = Registered::RefundTaken { refund: refund_id("RF-1"), payment: key("p1") };

    new.refunds = vec![announced(&key("p2"), "RF-2"), announced(&key("p2"), "RF-1")];
    assert_eq!(store.order_register(&new, at(1)).await.unwrap(), taken, "of the same order");
    let mut elsewhere = new_order("A-2", &["p3"]);
    elsewhere.refunds = vec![announced(&key("p3"), "RF-1")];
    assert_eq!(store.order_register(&elsewhere, at(1)).await.unwrap(), taken, "of another order");
    new.refunds = vec![announced(&key("p2"), "RF-3"), announced(&key("p1"), "RF-3")];
    let twice = Registered::RefundTaken { refund: refund_id("RF-3"), payment: key("p2") };
    assert_eq!(store.order_register(&new, at(1)).await.unwrap(), twice, "in one registration");
    elsewhere.refunds = vec![announced(&key("p3"), "RF-4"), announced(&key("p1"), "RF-5")];
    let nobodys = Registered::RefundOfNoPayment { refund: refund_id("RF-5"), payment: key("p1") };
    assert_eq!(store.order_register(&elsewhere, at(1)).await.unwrap(), nobodys);
    // A settlement can as little take it away.
    let thief = Payment { refunds: vec![refund("RF-8"), refund("RF-1")], ..order.payments[1].clone() };
    assert!(matches!(settled(&**store, &order, thief).await[..], [Settled::Refused(_)]));
    assert_eq!(read(&**store, &order.id).await, order, "nothing was changed");
    assert_eq!(store.order_get(&order_id("A-2")).await.unwrap(), None);

    // Another account's refund of the same name is another refund.
    let mut other_account = new_order("A-3", &[]);
    let payment = key_of(Provider::Omise, "other", "p1");
    other_account.payments = vec![payment.clone()];
    other_account.refunds = vec![announced(&payment, "RF-1")];
    assert_eq!(registered(&**store, &other_account, at(2)).await.payments[0].refunds.len(), 1);

    // Two orders that want the same refund at once: one has it.
    let wanting = |id: &str, payment: &str| {
        let mut new = new_order(id, &[payment]);
        new.refunds = vec![announced(&key(payment), "RF-7")];
        new
    };
    let (one, two) = (wanting("B-1", "q1"), wanting("B-2", "q2"));
    let (one, two) = tokio::join!(store.order_register(&one, at(3)), other.order_register(&two, at(3)));
    let mut owners = 0;
    for answer in [one.unwrap(), two.unwrap()] {
        match answer {
            Registered::Order { .. } => owners += 1,
            Registered::RefundTaken { refund, .. } => assert_eq!(refund, refund_id("RF-7")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(owners, 1);
}

pub async fn an_announced_refund_moves_to_the_payment_its_provider_names(Harness { store, .. }: &Harness) {
    let mut new = new_order("A-1", &["p1", "p2"]);
    new.refunds = vec![announced(&key("p1"), "RF-1")];
    let first = registered(&**store, &new, at(0)).await;
    let second = registered(&**store, &new_order("A-2", &["p3"]), at(0)).await;
    // Told of already, and still on its way: it moves as it is.
    let pending = Refund { state: RefundState::Pending, reason: None, ..refund("RF-1") };
    let payment = Payment { refunds: vec![pending.clone()], next_check_at: Some(at(50)), ..first.payments[0].clone() };
    assert_eq!(settled(&**store, &first, payment).await, [Settled::Written]);
    let first = read(&**store, &first.id).await;

    let assign = async |payment: &PaymentKey, id: &str, now| {
        store.refund_assign(&announced(payment, id), at(now)).await.unwrap()
    };
    assert!(assign(&key("p3"), "RF-1", 9).await);
    let moved = |order: &Order| Order { revision: order.revision + 1, updated_at: at(9), ..order.clone() };
    let (mut left, mut joined) = (moved(&first), moved(&second));
    left.payments[0].refunds.clear();
    joined.payments[0].refunds = vec![pending];
    (joined.payments[0].next_check_at, joined.payments[0].checks) = (Some(at(9)), 0);
    let now = async || (read(&**store, &first.id).await, read(&**store, &second.id).await);
    assert_eq!(now().await, (left.clone(), joined.clone()), "the other payment's schedule stays");
    let name = PaymentName::Refund { provider: Provider::Omise, account: key("p3").account, id: refund_id("RF-1") };
    assert_eq!(store.payment_named(&name).await.unwrap(), Some(key("p3")));
    for (order, payment) in [(&first, key("p1")), (&second, key("p3"))] {
        let entry = store.order_timeline(&order.id).await.unwrap().pop().unwrap();
        let (p1, p3) = (key("p1"), key("p3"));
        let text = format!("omise says that refund RF-1 is of {p3}, and not of {p1}, for which it was announced");
        assert_eq!((entry.at, entry.payment, entry.text), (at(9), Some(payment), text));
    }
    // A repeated announcement for the first payment changes nothing; one for a third payment names the owner.
    let again = store.order_register(&new, at(10)).await.unwrap();
    assert_eq!(again, Registered::Order { order: left.clone(), created: false, parked: Vec::new() });
    let mut third = new_order("A-1", &[]);
    third.refunds = vec![announced(&key("p2"), "RF-1")];
    let taken = Registered::RefundTaken { refund: refund_id("RF-1"), payment: key("p3") };
    assert_eq!(store.order_register(&third, at(10)).await.unwrap(), taken);
    // Decisions made before this are made again.
    for order in [&first, &second] {
        assert_eq!(settled(&**store, order, order.payments[0].clone()).await, [Settled::Conflict]);
    }

    // Repeating changes nothing, and a payment that is not registered is named in vain.
    assert!(assign(&key("p3"), "RF-1", 10).await);
    assert!(!assign(&key("p9"), "RF-1", 10).await && !assign(&key("p9"), "RF-9", 10).await);
    let elsewhere = key_of(Provider::Omise, "other", "p1");
    assert!(!assign(&elsewhere, "RF-1", 10).await, "another account's refund");
    assert_eq!(now().await, (left.clone(), joined));

    // Within an order it moves once; one that nobody knew is announced.
    assert!(assign(&key("p1"), "RF-1", 11).await && assign(&key("p2"), "RF-1", 12).await);
    assert!(assign(&key("p2"), "RF-2", 13).await);
    let (order, _) = now().await;
    assert_eq!((order.revision, order.payments[0].refunds.len()), (left.revision + 3, 0));
    let ids: Vec<_> = order.payments[1].refunds.iter().map(|refund| refund.id.as_str()).collect();
    assert_eq!((ids, order.payments[1].next_check_at), (vec!["RF-1", "RF-2"], Some(at(13))));
    let text = store.order_timeline(&order.id).await.unwrap().pop().unwrap().text;
    assert_eq!(text, format!("omise says that refund RF-2 is of {}", key("p2")));
}

pub async fn a_refund_that_is_settled_or_moved_is_decided_on_once(Harness { store, other, .. }: &Harness) {
    let another = registered(&**store, &new_order("B-1", &["q1"]), at(0)).await;
    for (n, state) in [RefundState::Succeeded, RefundState::Failed, RefundState::Succeeded].into_iter().enumerate() {
        let (id, payment) = (format!("A-{n}"), format!("p{n}"));
        let mut new = new_order(&id, &[&payment]);
        new.refunds = vec![announced(&key(&payment), &format!("RF-{n}"))];
        let order = registered(&**store, &new, at(0)).await;
        let known = Refund { state, ..refund(&format!("RF-{n}")) };
        let payment = Payment { refunds: vec![known.clone()], ..order.payments[0].clone() };
        let wanted = announced(&key("q1"), &format!("RF-{n}"));
        let (settled, moved) = match n {
            2 => tokio::join!(settled(&**store, &order, payment), other.refund_assign(&wanted, at(9))),
            _ => (settled(&**store, &order, payment).await, store.refund_assign(&wanted, at(9)).await),
        };
        let order = read(&**store, &order.id).await;
        if moved.unwrap() {
            assert_eq!((n, settled), (2, vec![Settled::Conflict]), "it moved first");
            assert_eq!(order.payments[0].refunds, []);
        } else {
            assert_eq!(
                (settled, &order.payments[0].refunds),
                (vec![Settled::Written], &vec![known]),
                "it stays for ever"
            );
            assert_eq!(store.order_timeline(&order.id).await.unwrap().len(), 2, "nothing was changed");
            assert!(read(&**store, &another.id).await.revision == another.revision || n == 2);
        }
    }
}

pub async fn a_notification_found_to_be_about_a_payment_is_in_its_timeline(Harness { store, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    let payment = key("p1");
    let capture_of_ours = nameless(1, &payment, About::Reference("2024".to_owned()));
    let refund_of_ours = nameless(2, &payment, of_refund("RF-1"));
    let another = nameless(3, &payment, of_refund("RF-2"));
    let before = Settlement {
        notifications: vec![capture_of_ours.clone(), another.clone()],
        order: Some(order.id.clone()),
        ..Settlement::default()
    };
    assert_eq!(store.settle(&[before]).await.unwrap(), [Settled::Written]);
    let shown = async || {
        let timeline = store.order_timeline(&order.id).await.unwrap();
        let notifications = timeline.into_iter().filter(|entry| entry.kind.as_str() == "notification");
        notifications.map(|entry| (entry.detail["id"].clone(), entry.payment.unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(shown().await, []);

    let mut stale = capture(&order, &payment, 12_000, at(5));
    stale.about = Some(payment.clone());
    stale.notifications = vec![capture_of_ours.clone()];
    stale.change.as_mut().unwrap().order.revision += 1;
    assert_eq!(store.settle(&[stale]).await.unwrap(), [Settled::Conflict]);
    assert_eq!(shown().await, [], "not where the settlement was not written");

    let names_its_own = notification(4, Some(&key("p2")), at(4));
    let nothing_ours = nameless(5, &payment, About::Other);
    let elsewhere = nameless(6, &key_of(Provider::Omise, "other", "p1"), of_refund("RF-1"));
    let known = nameless(7, &payment, About::Refund { id: refund_id("RF-3"), payment: Some(key("p2").id) });
    let mut found = capture(&order, &payment, 12_000, at(5));
    found.about = Some(payment.clone());
    found.notifications = vec![capture_of_ours.clone(), refund_of_ours, names_its_own, nothing_ours, elsewhere, known];
    let about_p2 = |notification| Settlement {
        notifications: vec![notification],
        about: Some(key("p2")),
        ..Settlement::default()
    };
    // The payment that was found first stays.
    let batch = [found, about_p2(capture_of_ours), about_p2(another)];
    assert_eq!(store.settle(&batch).await.unwrap(), [const { Settled::Written }; 3]);
    let expected = [(1, "p1"), (2, "p1"), (3, "p2"), (4, "p2"), (7, "p2")];
    let expected = expected.map(|(number, of)| (uuid(number).to_string().into(), key(of)));
    assert_eq!(shown().await, expected);
}

pub async fn a_payment_is_found_by_its_refund_and_by_its_providers_name_for_it(Harness { store, .. }: &Harness) {
    let antom = |id: &str| key_of(Provider::Antom, "shop", id);
    let mut new = new_order("A-1", &[]);
    new.payments = vec![antom("p1"), antom("p2"), antom("p3"), key("p4"), key_of(Provider::Antom, "other", "p5")];
    new.refunds = vec![announced(&antom("p1"), "RF-1")];
    let mut order = registered(&**store, &new, at(0)).await;
    for (n, reference) in ["2024", "2025", "2025", "2026", "2024"].into_iter().enumerate() {
        let payment = Payment { provider_reference: Some(reference.to_owned()), ..order.payments[n].clone() };
        assert_eq!(settled(&**store, &order, payment).await, [Settled::Written]);
        order = read(&**store, &order.id).await;
    }
    let with_refund = Payment { refunds: vec![refund("RF-4")], ..order.payments[3].clone() };
    assert_eq!(settled(&**store, &order, with_refund).await, [Settled::Written]);

    let by_refund = async |of: &PaymentKey, id: &str| {
        let name = PaymentName::Refund { provider: of.provider, account: of.account.clone(), id: refund_id(id) };
        store.payment_named(&name).await.unwrap()
    };
    assert_eq!(by_refund(&antom("any"), "RF-1").await, Some(antom("p1")));
    assert_eq!(by_refund(&key("any"), "RF-4").await, Some(key("p4")));
    assert_eq!(by_refund(&key("any"), "RF-1").await, None, "another provider's");
    assert_eq!(by_refund(&antom("any"), "RF-9").await, None);
    let by_reference = async |of: &PaymentKey, reference: &str| {
        let (provider, account, reference) = (of.provider, of.account.clone(), reference.to_owned());
        store.payment_named(&PaymentName::Reference { provider, account, reference }).await.unwrap()
    };
    assert_eq!(by_reference(&antom("any"), "2024").await, Some(antom("p1")));
    assert_eq!(by_reference(&antom("any"), "2025").await, None, "a name of two payments names none");
    assert_eq!(
        by_reference(&key_of(Provider::Antom, "other", "any"), "2024").await,
        Some(order.payments[4].key.clone())
    );
    assert_eq!(by_reference(&key("any"), "2026").await, None, "only Antom's notifications name a payment so");
    assert_eq!(by_reference(&antom("any"), "nobody's").await, None);
}

pub async fn payments_a_refund_may_be_of_are_found_newest_first(Harness { store, .. }: &Harness) {
    let antom = |id: &str| key_of(Provider::Antom, "shop", id);
    // (payment, registered at, state, captured, refunded)
    let payments = [
        (antom("old"), 0, PaymentState::Paid, 500, 0),
        (antom("p1"), 10, PaymentState::Paid, 500, 0),
        (antom("p2"), 11, PaymentState::PartlyRefunded, 500, 200),
        (antom("much"), 12, PaymentState::PartlyRefunded, 500, 201),
        (antom("back"), 13, PaymentState::Refunded, 500, 500),
        (antom("unpaid"), 14, PaymentState::Awaiting, 0, 0),
        (key("omise"), 15, PaymentState::Paid, 500, 0),
        (key_of(Provider::Antom, "other", "p3"), 16, PaymentState::Paid, 500, 0),
        (antom("p4"), 17, PaymentState::Paid, 300, 0),
        (antom("yen"), 18, PaymentState::Paid, 500, 0),
    ];
    for (n, (key, registered_at, state, captured_minor, refunded_minor)) in payments.into_iter().enumerate() {
        let mut new = new_order(&format!("A-{n}"), &[]);
        new.payments = vec![key.clone()];
        let order = registered(&**store, &new, at(registered_at)).await;
        let currency = if key.id.as_str() == "yen" { "JPY" } else { "THB" };
        let currency = payhook_schema::Currency::new(currency).unwrap();
        let payment = Payment { state, captured_minor, refunded_minor, currency, ..order.payments[0].clone() };
        assert_eq!(settled(&**store, &order, payment).await, [Settled::Written]);
    }
    // An attempt added later is as new as it is, and its order as old.
    registered(&**store, &new_order("A-1", &["p5"]), at(30)).await;
    let account = antom("any").account;
    let found = async |since, skip, limit| {
        store.payments_refundable(Provider::Antom, &account, thb(300), at(since), skip, limit).await
    };
    assert_eq!(found(10, 0, 10).await.unwrap(), [antom("p4"), antom("p2"), antom("p1")]);
    assert_eq!(found(10, 1, 1).await.unwrap(), [antom("p2")]);
    assert_eq!(found(10, 3, 5).await.unwrap(), []);
    assert_eq!(found(0, 3, 5).await.unwrap(), [antom("old")]);
    assert_eq!(store.payments_refundable(Provider::Antom, &account, thb(501), at(0), 0, 9).await.unwrap(), []);
}
