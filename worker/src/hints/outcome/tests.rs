//! Tests what an outcome writes, and when the payment is asked about next.

use payhook_schema::{PaymentFacts, PaymentState};
use payhook_store::Asked;

use super::*;
use crate::money::decide::tests::{at, facts, key, order, paid};
use crate::money::decide::{Question, decide};
use crate::schedule::NextCheck;

fn group(order: &Order) -> Group<'_> {
    Group { order: Some(order), key: Some(key("P1")), deliveries: Vec::new() }
}

/// Returns the settlement of an answer, and applies it to the order as the store does.
fn settled(order: &mut Order, facts: &PaymentFacts) -> Settlement {
    let next = NextCheck { at: at(100), checks: order.payments[0].checks + 1 };
    let (key, now) = (&key("P1"), at(11));
    let decision = decide(&Question { order, key, facts, foreign: &[], elsewhere: &[], next, now });
    let after = decision.change.order.clone();
    let settlement = HintOutcome::decided(group(order), decision).settlement;
    if settlement.change.is_some() {
        *order = Order { revision: order.revision + 1, ..after };
    }
    settlement
}

#[test]
fn only_an_answer_that_changes_something_moves_the_revision() {
    let mut order = order(&["P1", "P2"]);
    let awaiting = facts(PaymentState::Awaiting, 0, 0);
    let failed = facts(PaymentState::Failed, 0, 0);
    for (answer, changes) in [
        (&awaiting, false),
        (&paid(), true),
        (&paid(), false),
        (&awaiting, false),
        (&failed, true),
        (&failed, false),
        (&facts(PaymentState::PartlyRefunded, 12_000, 1), true),
        (&facts(PaymentState::PartlyRefunded, 12_000, 1), false),
    ] {
        let before = order.payments[0].clone();
        let settlement = settled(&mut order, answer);
        assert_eq!(settlement.change.is_some(), changes, "{answer:?}");
        assert!(!settlement.timeline.is_empty(), "it was asked, and the timeline has it");
        let Some(check) = settlement.check else { continue };
        let asked = Some(Asked { at: at(10), before: before.asked_at });
        assert_eq!((check.asked, check.checks), (asked, before.checks + 1));
        assert_eq!(check.next_check_at.is_some_and(|next| next > at(100)), before.state.is_final());
    }
    assert_eq!(order.revision, 4);
}

#[test]
fn what_is_paused_or_unanswered_is_no_reason_to_ask_a_finished_payment_sooner() {
    let schedule = Schedule::new(vec![Duration::from_secs(1)]);
    let mut order = order(&["P1"]);
    settled(&mut order, &paid());
    let held_for_a_hint = at(25 * 3600 + 60);
    order.payments[0].next_check_at = Some(held_for_a_hint);
    let outcomes = Outcomes { schedule: &schedule, now: at(11 + 25 * 3600) };
    let (after, lasted) = (Duration::from_mins(1), Duration::ZERO);
    let wait = HintWait { after, why: Pause::Unreachable, lasted, first: false };
    let failure = HintFailure { class: Class::Transient, detail: "no answer".to_owned() };
    let paused = outcomes.paused(group(&order), &wait);
    let unanswered = outcomes.unanswered(group(&order), &failure, false);
    for outcome in [paused, unanswered] {
        let next = outcome.settlement.check.unwrap().next_check_at.unwrap();
        assert_eq!(next, at(11 + 49 * 3600), "a day later");
    }
}
