//! Tests what refunds and disputes in an answer do to an order.

use payhook_schema::{Dispute, DisputeId, DisputeState, EventType, Provider, Refund, RefundId, RefundState};

use super::tests::{answers, at, decided, facts, key, order, paid, thb};
use super::*;

fn refund(id: &str, state: RefundState, amount_minor: i64) -> Refund {
    Refund {
        state,
        amount: Some(thb(amount_minor)),
        reason: (state == RefundState::Failed).then(|| "PROCESS_FAIL".to_owned()),
        ..Refund::announced(RefundId::new(id).unwrap())
    }
}

fn dispute(state: DisputeState) -> Dispute {
    let id = DisputeId::new("D-1").unwrap();
    Dispute { id, state, amount: Some(thb(12_000)), reason: None, answer_by: None, occurred_at: Some(at(7)) }
}

fn with_refund(refund: Refund) -> PaymentFacts {
    PaymentFacts { refunds: vec![refund], ..paid() }
}

fn with_dispute(state: DisputeState) -> PaymentFacts {
    PaymentFacts { disputes: vec![dispute(state)], ..paid() }
}

#[test]
fn refunds_answered_one_at_a_time_add_up_whatever_the_inquiry_leaves_out() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    let first = with_refund(refund("RF-1", RefundState::Succeeded, 3_000));
    assert_eq!(answers(&mut order, "P1", &first), (Decided::Applied, vec![EventType::OrderRefunded]));
    let second = with_refund(refund("RF-2", RefundState::Succeeded, 9_000));
    assert_eq!(answers(&mut order, "P1", &second).1, [EventType::OrderRefunded]);
    assert_eq!((order.state, order.refunded_minor), (OrderState::Refunded, 12_000));
    for again in [&first, &second, &paid()] {
        assert_eq!(answers(&mut order, "P1", again), (Decided::Unchanged, vec![]));
    }
    assert_eq!(order.payments[0].refunds.len(), 2);
}

#[test]
fn a_refund_is_announced_with_its_own_time() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    let succeeded = |id, second| Refund { occurred_at: Some(at(second)), ..refund(id, RefundState::Succeeded, 1_000) };
    let answer = |refunds| PaymentFacts { refunds, asked_at: at(90), ..paid() };
    let first = decided(&order, &key("P1"), &answer(vec![succeeded("RF-1", 60), succeeded("RF-2", 70)]));
    let time = |decision: &Decision| decision.change.events[0].order().unwrap().occurred_at;
    assert_eq!((time(&first), first.change.events.len()), (at(70), 1), "not the payment's time");
    let order = Order { revision: order.revision + 1, ..first.change.order };
    let timeless = refund("RF-3", RefundState::Succeeded, 1_000);
    let second = decided(&order, &key("P1"), &answer(vec![timeless]));
    assert_eq!(time(&second), at(90), "when we asked, where nobody tells");
}

#[test]
fn a_failed_refund_is_announced_once_and_moves_no_money() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    let failed = with_refund(refund("RF-1", RefundState::Failed, 3_000));
    assert_eq!(answers(&mut order, "P1", &failed), (Decided::Applied, vec![EventType::RefundFailed]));
    assert_eq!(answers(&mut order, "P1", &failed), (Decided::Unchanged, vec![]));
    assert_eq!((order.state, order.refunded_minor), (OrderState::Paid, 0));
    let after_all = with_refund(refund("RF-1", RefundState::Succeeded, 3_000));
    assert_eq!(answers(&mut order, "P1", &after_all).1, [EventType::OrderRefunded]);
    assert_eq!(answers(&mut order, "P1", &failed), (Decided::Unchanged, vec![]), "money that went back stays gone");
    assert_eq!(order.refunded_minor, 3_000);
}

#[test]
fn a_refund_on_its_way_keeps_the_payment_under_watch() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    let a_day_later = Some(at(11 + 25 * 3600));
    assert_eq!(order.payments[0].next_check_at, a_day_later);
    answers(&mut order, "P1", &with_refund(refund("RF-1", RefundState::Pending, 3_000)));
    assert_eq!(order.payments[0].next_check_at, Some(at(100)));
    answers(&mut order, "P1", &with_refund(refund("RF-1", RefundState::Succeeded, 3_000)));
    assert_eq!(order.payments[0].next_check_at, a_day_later, "counted from when it was paid");
}

#[test]
fn a_dispute_lies_over_the_order_and_changes_neither_state_nor_money() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    assert_eq!(answers(&mut order, "P1", &with_dispute(DisputeState::Open)).1, [EventType::DisputeOpened]);
    assert_eq!(answers(&mut order, "P1", &with_dispute(DisputeState::Pending)), (Decided::Applied, vec![]));
    assert_eq!(answers(&mut order, "P1", &with_dispute(DisputeState::Lost)).1, [EventType::DisputeClosed]);
    for late in [DisputeState::Open, DisputeState::Pending, DisputeState::Won] {
        assert_eq!(answers(&mut order, "P1", &with_dispute(late)).1, [], "{late} after lost");
    }
    assert_eq!(order.payments[0].disputes[0].state, DisputeState::Lost);
    assert_eq!((order.state, order.captured_minor, order.refunded_minor), (OrderState::Paid, 12_000, 0));
}

#[test]
fn a_dispute_first_seen_when_it_is_over_is_announced_like_any_other() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    let events = answers(&mut order, "P1", &with_dispute(DisputeState::Won)).1;
    assert_eq!(events, [EventType::DisputeOpened, EventType::DisputeClosed]);
}

#[test]
fn only_a_dispute_whose_end_the_inquiry_carries_is_watched() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &with_dispute(DisputeState::Open));
    assert!(!order.payments[0].is_unfinished(), "Antom has no inquiry for disputes");
    order.payments[0].key.provider = Provider::Omise;
    assert!(order.payments[0].is_unfinished());
}

#[test]
fn an_answer_that_contradicts_the_payment_is_believed_in_nothing_but_a_dispute_no_answer_carries() {
    let failed = PaymentFacts {
        refunds: vec![refund("RF-1", RefundState::Failed, 1)],
        disputes: vec![dispute(DisputeState::Open)],
        ..facts(PaymentState::Failed, 0, 0)
    };
    let mut antom = order(&["P1"]);
    answers(&mut antom, "P1", &paid());
    let events = answers(&mut antom, "P1", &failed).1;
    assert_eq!(events, [EventType::OrderHeld, EventType::DisputeOpened], "its notification carried it, and is acked");
    assert_eq!((antom.payments[0].refunds.len(), antom.payments[0].disputes.len()), (0, 1));

    let mut omise = order(&["P1"]);
    omise.payments[0].key.provider = Provider::Omise;
    let key = omise.payments[0].key.clone();
    for (answer, disputes) in [(paid(), 0), (failed, 0)] {
        let decision = decided(&omise, &key, &answer);
        omise = Order { revision: omise.revision + 1, ..decision.change.order };
        assert_eq!(omise.payments[0].disputes.len(), disputes);
    }
}

#[test]
fn more_back_than_was_taken_or_in_another_currency_holds_the_order() {
    let mut too_much = order(&["P1"]);
    answers(&mut too_much, "P1", &with_refund(refund("RF-1", RefundState::Succeeded, 12_000)));
    let again = with_refund(refund("RF-2", RefundState::Succeeded, 12_000));
    assert_eq!(answers(&mut too_much, "P1", &again).1, [EventType::OrderHeld]);
    let hold = too_much.holds[0].clone();
    assert_eq!(hold.reason, HoldReason::AmountMismatch);
    assert!(hold.detail.contains("120.00 THB") && hold.detail.contains("240.00 THB"), "{}", hold.detail);

    let mut other = order(&["P1"]);
    answers(&mut other, "P1", &paid());
    let amount = "5.00 USD".parse().ok();
    let odd = Refund { amount, ..refund("RF-1", RefundState::Succeeded, 1) };
    assert_eq!(answers(&mut other, "P1", &with_refund(odd)).1, [EventType::OrderHeld]);
    assert_eq!(other.holds[0].reason, HoldReason::CurrencyMismatch);
}

#[test]
fn a_refund_that_is_known_to_be_anothers_is_not_booked_and_a_person_must_look() {
    let mut order = order(&["P1"]);
    answers(&mut order, "P1", &paid());
    let answer = with_refund(refund("RF-1", RefundState::Succeeded, 3_000));
    let foreign = [(RefundId::new("RF-1").unwrap(), key("P2"))];
    let (order, next) = (&order, NextCheck { at: at(100), checks: 1 });
    let decision = decide(&Question {
        order,
        key: &key("P1"),
        facts: &answer,
        foreign: &foreign,
        elsewhere: &[],
        next,
        now: at(11),
    });
    let types: Vec<EventType> = decision.change.events.iter().map(|event| event.event_type).collect();
    assert_eq!((types, decision.outcome), (vec![EventType::OrderHeld], Decided::Held));
    assert_eq!((decision.change.order.refunded_minor, decision.change.order.version), (0, 2));
}
