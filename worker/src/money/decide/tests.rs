//! Tests what an answer does to an order, its holds and its events.

use payhook_schema::{AccountName, Currency, Event, EventType, Hold, Money, OrderId, PaymentId, Provider};

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
        final_at: None,
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
        holds: Vec::new(),
        released: Vec::new(),
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

/// Decides about an answer, with nothing foreign in it.
pub(crate) fn decided(order: &Order, key: &PaymentKey, facts: &PaymentFacts) -> Decision {
    let next = NextCheck { at: at(100), checks: 1 };
    decide(&Question { order, key, facts, foreign: &[], elsewhere: &[], next, now: at(11) })
}

/// Decides and makes the order what the store would make it; returns the events.
pub(crate) fn answers_with_events(order: &mut Order, id: &str, facts: &PaymentFacts) -> (Decided, Vec<Event>) {
    let decision = decided(order, &key(id), facts);
    *order = Order { revision: order.revision + 1, ..decision.change.order };
    let last = decision.change.events.last().map_or(order.version, Event::version);
    assert_eq!(last, order.version, "the last event has the order's version");
    (decision.outcome, decision.change.events)
}

/// The same, with the types of the events alone.
pub(crate) fn answers(order: &mut Order, id: &str, facts: &PaymentFacts) -> (Decided, Vec<EventType>) {
    let (outcome, events) = answers_with_events(order, id, facts);
    (outcome, events.iter().map(|event| event.event_type).collect())
}

#[test]
fn money_pays_the_order_once_however_often_it_is_answered() {
    let mut order = order(&["P1"]);
    assert_eq!(answers(&mut order, "P1", &paid()), (Decided::Applied, vec![EventType::OrderPaid]));
    assert_eq!((order.state, order.captured_minor, order.version), (OrderState::Paid, 12_000, 1));
    assert_eq!(order.payments[0].final_at, Some(at(11)));
    assert_eq!(order.payments[0].next_check_at, Some(at(11 + 25 * 3600)), "final, and not for ever");
    for _ in 0..5 {
        assert_eq!(answers(&mut order, "P1", &paid()), (Decided::Unchanged, vec![]));
    }
    assert_eq!(order.version, 1);
}

#[test]
fn one_attempt_may_fail_and_the_next_one_pay() {
    let mut order = order(&["P1", "P2"]);
    let failed = facts(PaymentState::Failed, 0, 0);
    assert_eq!(answers(&mut order, "P1", &failed), (Decided::Applied, vec![EventType::PaymentFailed]));
    assert_eq!(order.state, OrderState::Pending);
    assert_eq!(answers(&mut order, "P2", &paid()).1, [EventType::OrderPaid]);
    assert_eq!(order.state, OrderState::Paid);
}

#[test]
fn a_late_failure_of_one_attempt_never_touches_an_order_paid_by_another() {
    let mut order = order(&["P1", "P2"]);
    answers(&mut order, "P2", &paid());
    assert_eq!(answers(&mut order, "P1", &facts(PaymentState::Failed, 0, 0)).1, [EventType::PaymentFailed]);
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
        assert_eq!(answers(&mut order, "P1", &answer), (Decided::Held, vec![EventType::OrderHeld]));
        let hold = order.holds[0].clone();
        assert_eq!((order.state, hold.reason), (OrderState::Held, reason));
        assert!(hold.detail.contains("120.00 THB"), "{}", hold.detail);
        assert_eq!(order.payments[0].state, PaymentState::Paid, "the payment is what the provider says");
        assert_eq!(answers(&mut order, "P1", &answer).1, [], "and is held once");
    }
}

#[test]
fn two_paid_payments_hold_the_order() {
    let mut order = order(&["P1", "P2"]);
    answers(&mut order, "P1", &paid());
    assert_eq!(answers(&mut order, "P2", &paid()), (Decided::Held, vec![EventType::OrderHeld]));
    assert_eq!(order.holds[0].reason, HoldReason::DoublePayment);
    assert_eq!(order.captured_minor, 24_000);
}

#[test]
fn a_payment_that_went_back_makes_room_for_another() {
    let mut order = order(&["P1", "P2"]);
    answers(&mut order, "P1", &paid());
    assert_eq!(answers(&mut order, "P1", &facts(PaymentState::Refunded, 12_000, 12_000)).1, [EventType::OrderRefunded]);
    assert_eq!(answers(&mut order, "P2", &paid()).1, [EventType::OrderPaid]);
    assert_eq!((order.state, order.holds.len()), (OrderState::Paid, 0));
}

#[test]
fn each_growth_of_the_refunded_amount_is_announced_and_it_never_shrinks() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    for refunded in [3_000, 5_000] {
        let partly = facts(PaymentState::PartlyRefunded, 12_000, refunded);
        assert_eq!(answers(&mut order, "P1", &partly).1, [EventType::OrderRefunded]);
        assert_eq!((order.state, order.refunded_minor), (OrderState::PartlyRefunded, refunded));
    }
    let behind = facts(PaymentState::PartlyRefunded, 12_000, 3_000);
    assert_eq!(answers(&mut order, "P1", &behind), (Decided::Refused, vec![]));
    assert_eq!(order.refunded_minor, 5_000);
}

#[test]
fn a_refund_seen_before_the_payment_announces_both_in_order() {
    let mut order = order(&["P1"]);
    let (_, events) = answers_with_events(&mut order, "P1", &facts(PaymentState::Refunded, 12_000, 12_000));
    let refunded: Vec<_> =
        events.iter().map(|event| (event.event_type, event.order().unwrap().refunded_minor)).collect();
    assert_eq!(refunded, [(EventType::OrderPaid, 0), (EventType::OrderRefunded, 12_000)]);
    let states = |event: &Event| event.order().map(|data| (data.previous_state, data.state));
    assert_eq!(states(&events[0]), Some((Some(OrderState::Pending), Some(OrderState::Refunded))));
    assert_eq!((order.state, order.version), (OrderState::Refunded, 2));
}

#[test]
fn an_answer_behind_what_is_known_changes_nothing() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    for behind in [PaymentState::Awaiting, PaymentState::Authorized] {
        assert_eq!(answers(&mut order, "P1", &facts(behind, 0, 0)), (Decided::Refused, vec![]));
    }
    let earlier = PaymentFacts { asked_at: at(9), ..facts(PaymentState::Failed, 0, 0) };
    assert_eq!(
        answers(&mut order, "P1", &earlier),
        (Decided::Refused, vec![]),
        "asked for before the answer that was applied"
    );
    assert_eq!((order.state, order.holds.len()), (OrderState::Paid, 0));
}

#[test]
fn a_provider_that_takes_back_its_word_holds_the_order_and_loses_no_money() {
    for now_says in [PaymentState::Failed, PaymentState::Expired, PaymentState::Cancelled] {
        let mut order = order(&["P1"]);
        answers(&mut order, "P1", &paid());
        assert_eq!(answers(&mut order, "P1", &facts(now_says, 0, 0)), (Decided::Held, vec![EventType::OrderHeld]));
        assert_eq!(order.holds[0].reason, HoldReason::ImpossibleTransition);
        assert_eq!((order.payments[0].state, order.captured_minor), (PaymentState::Paid, 12_000));
    }
}

#[test]
fn money_after_a_final_no_is_taken_and_alarmed() {
    for no in [PaymentState::Failed, PaymentState::Expired, PaymentState::Cancelled] {
        let mut order = order(&["P1"]);
        answers(&mut order, "P1", &facts(no, 0, 0));
        assert_eq!(answers(&mut order, "P1", &paid()), (Decided::Revived, vec![EventType::OrderPaid]));
        assert_eq!(order.state, OrderState::Paid);
    }
}

#[test]
fn a_clock_that_went_back_does_not_hide_what_is_new() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &PaymentFacts { asked_at: at(50), ..paid() });
    let refunded = PaymentFacts { asked_at: at(40), ..facts(PaymentState::PartlyRefunded, 12_000, 3_000) };
    assert_eq!(answers(&mut order, "P1", &refunded), (Decided::Applied, vec![EventType::OrderRefunded]));
    assert_eq!(order.payments[0].asked_at, Some(at(50)));
}

#[test]
fn a_second_attempt_authorized_after_a_refund_is_announced() {
    let mut order = order(&["P1", "P2"]);
    answers(&mut order, "P1", &facts(PaymentState::Refunded, 12_000, 12_000));
    assert_eq!(answers(&mut order, "P2", &facts(PaymentState::Authorized, 0, 0)).1, [EventType::OrderAuthorized]);
}

#[test]
fn an_authorization_is_announced_and_its_release_returns_the_order_to_pending() {
    let mut order = order(&["P1"]);
    assert_eq!(answers(&mut order, "P1", &facts(PaymentState::Authorized, 0, 0)).1, [EventType::OrderAuthorized]);
    assert!(order.payments[0].next_check_at.is_some(), "a hold lapses: it is watched");
    assert_eq!(answers(&mut order, "P1", &facts(PaymentState::Cancelled, 0, 0)).1, [EventType::PaymentCancelled]);
    assert_eq!(order.state, OrderState::Pending);
}

#[test]
fn a_payment_still_waiting_is_asked_about_again_and_never_called_failed() {
    let mut order = order(&["P1"]);
    assert_eq!(answers(&mut order, "P1", &facts(PaymentState::Awaiting, 0, 0)), (Decided::Unchanged, vec![]));
    let payment = &order.payments[0];
    assert_eq!((payment.state, payment.next_check_at, payment.checks), (PaymentState::Awaiting, Some(at(100)), 1));
}

#[test]
fn money_under_another_account_holds_the_order() {
    let order = order(&["P1"]);
    let elsewhere = PaymentKey { account: AccountName::new("other").unwrap(), ..key("P1") };
    let nothing = decided(&order, &elsewhere, &facts(PaymentState::Failed, 0, 0));
    assert_eq!((nothing.outcome, nothing.change.order == order), (Decided::OtherAccounts, true));
    let decision = decided(&order, &elsewhere, &paid());
    assert_eq!(decision.change.order.holds[0].reason, HoldReason::AccountMismatch);
    assert_eq!(decision.change.order.captured_minor, 0, "nothing is booked");
    assert_eq!(decision.change.events.len(), 1);
}

#[test]
fn every_broken_rule_is_an_objection_of_its_own() {
    let mut order = order(&["P1", "P2"]);
    answers(&mut order, "P1", &paid());
    let in_dollars =
        PaymentFacts { amount: Some(Money::new(5, Currency::new("USD").unwrap())), captured_minor: 5, ..paid() };
    let (outcome, events) = answers_with_events(&mut order, "P2", &in_dollars);
    assert_eq!((outcome, order.version), (Decided::Held, 3));
    let reasons = |holds: &[Hold]| holds.iter().map(|hold| hold.reason).collect::<Vec<_>>();
    let both = [HoldReason::CurrencyMismatch, HoldReason::DoublePayment];
    assert_eq!(reasons(&order.holds), both);
    for (index, event) in events.iter().enumerate() {
        let data = event.order().unwrap();
        assert_eq!(data.reason.as_deref(), Some(both[index].as_str()));
        assert_eq!(reasons(&data.holds), both[..=index], "those that are open by then");
    }
}

#[test]
fn what_arrives_while_an_order_is_held_is_objected_to_as_well() {
    let mut order = order(&["P1", "P2"]);
    answers(&mut order, "P1", &PaymentFacts { amount: Some(thb(9_900)), captured_minor: 9_900, ..paid() });
    let too_much = PaymentFacts { amount: Some(thb(9_900)), ..facts(PaymentState::Refunded, 9_900, 10_000) };
    assert_eq!(answers(&mut order, "P1", &too_much).1, [EventType::OrderHeld]);
    assert_eq!(answers(&mut order, "P2", &paid()).1, [], "the first went back: P2 alone pays");
    let elsewhere = PaymentKey { account: AccountName::new("other").unwrap(), ..key("P2") };
    let decision = decided(&order, &elsewhere, &paid());
    assert_eq!(decision.change.order.holds.len(), 3);
    order = Order { revision: order.revision + 1, ..decision.change.order };
    assert_eq!(decided(&order, &elsewhere, &paid()).outcome, Decided::OtherAccounts, "the same fact again");
    let foreign = [(RefundId::new("RF-1").unwrap(), key("P9"))];
    let next = NextCheck { at: at(100), checks: 1 };
    let (order, key, facts) = (&order, &key("P2"), &paid());
    let decision = decide(&Question { order, key, facts, foreign: &foreign, elsewhere: &[], next, now: at(12) });
    assert_eq!((decision.outcome, decision.change.order.holds.len()), (Decided::Held, 4));
}

fn lifted(order: &Order) -> Order {
    let mut order = order.clone();
    holds::lift(&mut order);
    order
}

#[test]
fn a_released_objection_is_not_raised_again_for_the_same_fact() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    let failed = facts(PaymentState::Failed, 0, 0);
    let held = decided(&order, &key("P1"), &failed);
    assert_eq!((held.outcome, held.change.order.holds[0].reason), (Decided::Held, HoldReason::ImpossibleTransition));

    order = lifted(&held.change.order);
    let again = decided(&order, &key("P1"), &failed);
    assert_eq!((again.outcome, again.change.order.holds.len(), again.change.events.len()), (Decided::Refused, 0, 0));
    assert!(again.timeline.last().unwrap().text.contains("released before"), "{:?}", again.timeline);
    // Another contradiction is another fact.
    assert_eq!(decided(&order, &key("P1"), &facts(PaymentState::Expired, 0, 0)).outcome, Decided::Held);

    // A person who released an authorization has not looked at what is captured of it.
    let short = |state, captured| PaymentFacts { amount: Some(thb(9_000)), ..facts(state, captured, 0) };
    let held = decided(&self::order(&["P1"]), &key("P1"), &short(PaymentState::Authorized, 0));
    let captured = decided(&lifted(&held.change.order), &key("P1"), &short(PaymentState::Paid, 4_000));
    assert_eq!(captured.outcome, Decided::Held, "{:?}", captured.timeline);
}

#[test]
fn a_refunded_payment_that_its_provider_cancels_is_no_contradiction() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &facts(PaymentState::Refunded, 12_000, 12_000));
    for no in [PaymentState::Failed, PaymentState::Expired, PaymentState::Cancelled] {
        assert_eq!(
            answers(&mut order, "P1", &facts(no, 0, 0)),
            (Decided::Refused, vec![]),
            "nothing is the merchant's"
        );
    }
}
