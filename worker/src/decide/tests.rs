use payhook_schema::{AccountName, Currency, Event, EventType, Money, OrderId, PaymentId, Provider};

use super::*;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn key(id: &str) -> PaymentKey {
    PaymentKey {
        provider: Provider::Antom,
        account: AccountName::new("shop").unwrap(),
        id: PaymentId::new(id).unwrap(),
    }
}

pub(crate) fn thb(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::new("THB").unwrap())
}

pub(crate) fn order(ids: &[&str]) -> Order {
    let payment = |id: &&str| Payment {
        key: key(id),
        state: PaymentState::Awaiting,
        captured_minor: 0,
        refunded_minor: 0,
        currency: thb(0).currency,
        provider_reference: None,
        reason: None,
        asked_at: None,
        next_check_at: Some(at(60)),
        checks: 0,
        refunds: Vec::new(),
        disputes: Vec::new(),
        created_at: at(0),
    };
    Order {
        id: OrderId::new("A-1").unwrap(),
        amount: thb(12_000),
        state: OrderState::Pending,
        captured_minor: 0,
        refunded_minor: 0,
        version: 0,
        hold: None,
        revision: 1,
        created_at: at(0),
        updated_at: at(0),
        payments: ids.iter().map(payment).collect(),
    }
}

pub(crate) fn facts(state: PaymentState, captured_minor: i64, refunded_minor: i64) -> PaymentFacts {
    PaymentFacts {
        state,
        amount: Some(thb(12_000)),
        captured_minor,
        refunded_minor,
        refunds: Vec::new(),
        disputes: Vec::new(),
        provider_reference: Some("2024".to_owned()),
        reason: (state == PaymentState::Failed).then(|| "USER_BALANCE_NOT_ENOUGH".to_owned()),
        occurred_at: Some(at(5)),
        expires_at: None,
        asked_at: at(10),
        answer: state.to_string(),
    }
}

pub(crate) fn paid() -> PaymentFacts {
    facts(PaymentState::Paid, 12_000, 0)
}

/// Decides and makes the order what the store would make it.
pub(crate) fn told(order: &mut Order, id: &str, facts: &PaymentFacts) -> (Decided, Vec<EventType>) {
    let next = NextCheck { at: at(100), checks: 1 };
    let decision = decide(order, &key(id), facts, next, at(11), &[]);
    *order = Order { revision: order.revision + 1, ..decision.change.order };
    let versions: Vec<i64> = decision.change.events.iter().map(Event::version).collect();
    assert_eq!(
        versions.last().copied().unwrap_or(order.version),
        order.version,
        "the last event has the order's version"
    );
    (decision.outcome, decision.change.events.iter().map(|event| event.event_type).collect())
}

#[test]
fn money_pays_the_order_once_however_often_it_is_told() {
    let mut order = order(&["P1"]);
    assert_eq!(told(&mut order, "P1", &paid()), (Decided::Applied, vec![EventType::OrderPaid]));
    assert_eq!((order.state, order.captured_minor, order.version), (OrderState::Paid, 12_000, 1));
    assert_eq!(order.payments[0].next_check_at, None, "final: nobody needs to ask again");
    for _ in 0..5 {
        assert_eq!(told(&mut order, "P1", &paid()), (Decided::Unchanged, vec![]));
    }
    assert_eq!(order.version, 1);
}

#[test]
fn one_attempt_may_fail_and_the_next_one_pay() {
    let mut order = order(&["P1", "P2"]);
    let failed = facts(PaymentState::Failed, 0, 0);
    assert_eq!(told(&mut order, "P1", &failed), (Decided::Applied, vec![EventType::PaymentFailed]));
    assert_eq!(order.state, OrderState::Pending);
    assert_eq!(told(&mut order, "P2", &paid()).1, [EventType::OrderPaid]);
    assert_eq!(order.state, OrderState::Paid);
}

#[test]
fn a_late_failure_of_one_attempt_never_touches_an_order_paid_by_another() {
    let mut order = order(&["P1", "P2"]);
    told(&mut order, "P2", &paid());
    assert_eq!(told(&mut order, "P1", &facts(PaymentState::Failed, 0, 0)).1, [EventType::PaymentFailed]);
    assert_eq!((order.state, order.captured_minor), (OrderState::Paid, 12_000));
}

#[test]
fn another_amount_or_currency_holds_the_order_with_both_sides_shown() {
    for (amount, captured, reason) in [
        (thb(11_999), 11_999, HoldReason::AmountMismatch),
        (thb(12_001), 12_001, HoldReason::AmountMismatch),
        (thb(12_000), 3_000, HoldReason::AmountMismatch),
        (Money::new(12_000, Currency::new("USD").unwrap()), 12_000, HoldReason::CurrencyMismatch),
    ] {
        let mut order = order(&["P1"]);
        let answer = PaymentFacts { amount: Some(amount), captured_minor: captured, ..paid() };
        assert_eq!(told(&mut order, "P1", &answer), (Decided::Held, vec![EventType::OrderHeld]));
        let hold = order.hold.clone().unwrap();
        assert_eq!((order.state, hold.reason), (OrderState::Held, reason));
        assert!(hold.detail.contains("120.00 THB"), "{}", hold.detail);
        assert_eq!(order.payments[0].state, PaymentState::Paid, "the payment is what the provider says");
        assert_eq!(told(&mut order, "P1", &answer).1, [], "and is held once");
    }
}

#[test]
fn two_paid_payments_hold_the_order() {
    let mut order = order(&["P1", "P2"]);
    told(&mut order, "P1", &paid());
    assert_eq!(told(&mut order, "P2", &paid()), (Decided::Held, vec![EventType::OrderHeld]));
    assert_eq!(order.hold.as_ref().unwrap().reason, HoldReason::DoublePayment);
    assert_eq!(order.captured_minor, 24_000);
}

#[test]
fn a_payment_that_went_back_makes_room_for_another() {
    let mut order = order(&["P1", "P2"]);
    told(&mut order, "P1", &paid());
    assert_eq!(told(&mut order, "P1", &facts(PaymentState::Refunded, 12_000, 12_000)).1, [EventType::OrderRefunded]);
    assert_eq!(told(&mut order, "P2", &paid()).1, [EventType::OrderPaid]);
    assert_eq!((order.state, order.hold), (OrderState::Paid, None));
}

#[test]
fn each_growth_of_the_refunded_amount_is_told_and_it_never_shrinks() {
    let mut order = order(&["P1"]);
    told(&mut order, "P1", &paid());
    for refunded in [3_000, 5_000] {
        let partly = facts(PaymentState::PartlyRefunded, 12_000, refunded);
        assert_eq!(told(&mut order, "P1", &partly).1, [EventType::OrderRefunded]);
        assert_eq!((order.state, order.refunded_minor), (OrderState::PartlyRefunded, refunded));
    }
    let behind = facts(PaymentState::PartlyRefunded, 12_000, 3_000);
    assert_eq!(told(&mut order, "P1", &behind), (Decided::Refused, vec![]));
    assert_eq!(order.refunded_minor, 5_000);
}

#[test]
fn a_refund_seen_before_the_payment_tells_both_in_order() {
    let mut order = order(&["P1"]);
    let decision = decide(
        &order,
        &key("P1"),
        &facts(PaymentState::Refunded, 12_000, 12_000),
        NextCheck { at: at(1), checks: 0 },
        at(11),
        &[],
    );
    let told: Vec<_> =
        decision.change.events.iter().map(|event| (event.event_type, event.order().unwrap().refunded_minor)).collect();
    assert_eq!(told, [(EventType::OrderPaid, 0), (EventType::OrderRefunded, 12_000)]);
    order = decision.change.order;
    assert_eq!((order.state, order.version), (OrderState::Refunded, 2));
}

#[test]
fn an_answer_behind_what_is_known_changes_nothing() {
    let mut order = order(&["P1"]);
    told(&mut order, "P1", &paid());
    for behind in [PaymentState::Awaiting, PaymentState::Authorized] {
        assert_eq!(told(&mut order, "P1", &facts(behind, 0, 0)), (Decided::Refused, vec![]));
    }
    let earlier = PaymentFacts { asked_at: at(9), ..facts(PaymentState::Failed, 0, 0) };
    assert_eq!(
        told(&mut order, "P1", &earlier),
        (Decided::Refused, vec![]),
        "asked for before the answer that was applied"
    );
    assert_eq!((order.state, order.hold), (OrderState::Paid, None));
}

#[test]
fn a_provider_that_takes_back_its_word_holds_the_order_and_loses_no_money() {
    for told_now in [PaymentState::Failed, PaymentState::Expired, PaymentState::Cancelled] {
        let mut order = order(&["P1"]);
        told(&mut order, "P1", &paid());
        assert_eq!(told(&mut order, "P1", &facts(told_now, 0, 0)), (Decided::Held, vec![EventType::OrderHeld]));
        assert_eq!(order.hold.as_ref().unwrap().reason, HoldReason::ImpossibleTransition);
        assert_eq!((order.payments[0].state, order.captured_minor), (PaymentState::Paid, 12_000));
    }
}

#[test]
fn money_after_a_final_no_is_taken_and_alarmed() {
    for no in [PaymentState::Failed, PaymentState::Expired, PaymentState::Cancelled] {
        let mut order = order(&["P1"]);
        told(&mut order, "P1", &facts(no, 0, 0));
        assert_eq!(told(&mut order, "P1", &paid()), (Decided::Revived, vec![EventType::OrderPaid]));
        assert_eq!(order.state, OrderState::Paid);
    }
}

#[test]
fn a_clock_that_went_back_does_not_hide_what_is_new() {
    let mut order = order(&["P1"]);
    told(&mut order, "P1", &PaymentFacts { asked_at: at(50), ..paid() });
    let refunded = PaymentFacts { asked_at: at(40), ..facts(PaymentState::PartlyRefunded, 12_000, 3_000) };
    assert_eq!(told(&mut order, "P1", &refunded), (Decided::Applied, vec![EventType::OrderRefunded]));
    assert_eq!(order.payments[0].asked_at, Some(at(50)));
}

#[test]
fn a_second_attempt_authorized_after_a_refund_is_told() {
    let mut order = order(&["P1", "P2"]);
    told(&mut order, "P1", &facts(PaymentState::Refunded, 12_000, 12_000));
    assert_eq!(told(&mut order, "P2", &facts(PaymentState::Authorized, 0, 0)).1, [EventType::OrderAuthorized]);
}

#[test]
fn an_authorization_is_told_and_its_release_returns_the_order_to_pending() {
    let mut order = order(&["P1"]);
    assert_eq!(told(&mut order, "P1", &facts(PaymentState::Authorized, 0, 0)).1, [EventType::OrderAuthorized]);
    assert!(order.payments[0].next_check_at.is_some(), "a hold lapses: it is watched");
    assert_eq!(told(&mut order, "P1", &facts(PaymentState::Cancelled, 0, 0)).1, [EventType::PaymentCancelled]);
    assert_eq!(order.state, OrderState::Pending);
}

#[test]
fn a_payment_still_waiting_is_looked_at_again_and_never_called_failed() {
    let mut order = order(&["P1"]);
    assert_eq!(told(&mut order, "P1", &facts(PaymentState::Awaiting, 0, 0)), (Decided::Unchanged, vec![]));
    let payment = &order.payments[0];
    assert_eq!((payment.state, payment.next_check_at, payment.checks), (PaymentState::Awaiting, Some(at(100)), 1));
}

#[test]
fn money_under_another_account_holds_the_order() {
    let order = order(&["P1"]);
    let elsewhere = PaymentKey { account: AccountName::new("other").unwrap(), ..key("P1") };
    assert_eq!(decide_other_account(&order, &elsewhere, &facts(PaymentState::Failed, 0, 0), at(11), &[]), None);
    let decision = decide_other_account(&order, &elsewhere, &paid(), at(11), &[]).unwrap();
    assert_eq!(decision.change.order.hold.unwrap().reason, HoldReason::AccountMismatch);
    assert_eq!(decision.change.order.captured_minor, 0, "nothing is booked");
    assert_eq!(decision.change.events.len(), 1);
}

#[test]
fn a_held_order_stays_held_for_its_first_reason() {
    let mut order = order(&["P1", "P2"]);
    told(&mut order, "P1", &PaymentFacts { amount: Some(thb(1)), captured_minor: 1, ..paid() });
    told(&mut order, "P2", &paid());
    assert_eq!(order.hold.unwrap().reason, HoldReason::AmountMismatch);
    assert_eq!(order.version, 1, "held once");
}

#[test]
fn an_order_is_not_held_again_for_the_very_same_that_a_person_let_it_go_on_with() {
    let mut order = order(&["P1"]);
    told(&mut order, "P1", &paid());
    let (failed, next) = (facts(PaymentState::Failed, 0, 0), NextCheck { at: at(100), checks: 1 });
    let held = decide(&order, &key("P1"), &failed, next, at(11), &[]);
    let hold = held.change.order.hold.clone().unwrap();
    assert_eq!((held.outcome, hold.reason), (Decided::Held, HoldReason::ImpossibleTransition));

    let again = decide(&order, &key("P1"), &failed, next, at(12), std::slice::from_ref(&hold));
    assert_eq!((again.outcome, &again.change.order.hold, &again.change.events[..]), (Decided::Refused, &None, &[][..]));
    assert!(again.timeline.last().unwrap().text.contains("a person has looked at this"), "{:?}", again.timeline);
    // Another contradiction is another matter.
    let expired = facts(PaymentState::Expired, 0, 0);
    assert_eq!(decide(&order, &key("P1"), &expired, next, at(12), &[hold]).outcome, Decided::Held);

    // Who let an authorization go on has not looked at what is taken of it.
    let short = |state, captured| PaymentFacts { amount: Some(thb(9_000)), ..facts(state, captured, 0) };
    let mut other = self::order(&["P1"]);
    let held = decide(&other, &key("P1"), &short(PaymentState::Authorized, 0), next, at(11), &[]);
    let released = [held.change.order.hold.clone().unwrap()];
    other = Order { hold: None, state: OrderState::Authorized, ..held.change.order };
    let taken = decide(&other, &key("P1"), &short(PaymentState::Paid, 4_000), next, at(12), &released);
    assert_eq!(taken.outcome, Decided::Held, "{:?}", taken.timeline);

    let foreign = [(RefundId::new("RF-1").unwrap(), key("P2"))];
    let decision = decide(&order, &key("P1"), &paid(), next, at(11), &[]);
    let held = hold_for_foreign_refunds(decision.clone(), &key("P1"), &foreign, at(11), &[]);
    let released = [held.change.order.hold.unwrap()];
    let again = hold_for_foreign_refunds(decision, &key("P1"), &foreign, at(11), &released);
    assert_eq!((again.outcome, again.change.order.hold), (Decided::Unchanged, None));

    let elsewhere = PaymentKey { account: AccountName::new("other").unwrap(), ..key("P1") };
    let held = decide_other_account(&order, &elsewhere, &paid(), at(11), &[]).unwrap();
    let released = [held.change.order.hold.unwrap()];
    assert_eq!(decide_other_account(&order, &elsewhere, &paid(), at(11), &released), None);
}
