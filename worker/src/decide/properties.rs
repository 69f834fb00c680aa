//! Whatever order answers are applied in, however often, whichever are missing: after one true answer the order is right, and
//! fulfilment was told each thing once.

use proptest::prelude::*;

use super::tests::{at, facts, key, order};
use super::*;

/// One way a payment can really go, step by step, along the arrows.
fn truth() -> impl Strategy<Value = Vec<PaymentFacts>> {
    use PaymentState::{Authorized, Awaiting, Cancelled, Expired, Failed, Paid};
    let start = prop_oneof![Just(vec![Awaiting]), Just(vec![Awaiting, Authorized])];
    let end = prop_oneof![
        Just(vec![]),
        Just(vec![Failed]),
        Just(vec![Expired]),
        Just(vec![Cancelled]),
        Just(vec![Paid]),
        Just(vec![Failed, Paid]),
        Just(vec![Expired, Paid]),
    ];
    let refunds = prop::collection::vec(1..5_000_i64, 0..4);
    (start, end, refunds).prop_map(|(start, end, refunds)| {
        let mut steps: Vec<(PaymentState, i64, i64)> =
            start.into_iter().chain(end).map(|state| (state, if state == Paid { 12_000 } else { 0 }, 0)).collect();
        if steps.last().is_some_and(|last| last.0 == Paid) {
            let mut refunded = 0;
            for refund in refunds {
                refunded = (refunded + refund).min(12_000);
                let state = if refunded == 12_000 { PaymentState::Refunded } else { PaymentState::PartlyRefunded };
                steps.push((state, 12_000, refunded));
            }
        }
        let asked = |(index, (state, captured, refunded)): (usize, _)| PaymentFacts {
            asked_at: at(index as i64 + 1),
            ..facts(state, captured, refunded)
        };
        steps.into_iter().enumerate().map(asked).collect()
    })
}

proptest! {
    #[test]
    fn any_order_any_repetition_and_one_true_answer_end_alike(
        truth in truth(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let last = truth.last().expect("a payment starts somewhere").clone();
        let mut order = order(&["P1"]);
        let mut told: Vec<Event> = Vec::new();
        let mut amounts = (0, 0);
        let finally = PaymentFacts { asked_at: at(1_000), ..last.clone() };
        let applied = picks.iter().map(|pick| pick.get(&truth).clone()).chain([finally]);
        for answer in applied {
            let decision = decide(&order, &key("P1"), &answer, NextCheck { at: at(2_000), checks: 1 }, at(1_001));
            prop_assert!(decision.outcome != Decided::Held, "{:?}", decision.timeline);
            told.extend(decision.change.events);
            order = Order { revision: order.revision + 1, ..decision.change.order };
            let now = (order.captured_minor, order.refunded_minor);
            prop_assert!(now.0 >= amounts.0 && now.1 >= amounts.1, "money shrank: {amounts:?} -> {now:?}");
            amounts = now;
        }

        let payment = &order.payments[0];
        prop_assert_eq!((payment.state, amounts), (last.state, (last.captured_minor, last.refunded_minor)));
        let versions: Vec<i64> = told.iter().map(|event| event.data.version).collect();
        prop_assert_eq!(versions, (1..=told.len() as i64).collect::<Vec<_>>(), "versions from 1 without gaps");
        let count = |wanted| told.iter().filter(|event| event.event_type == wanted).count();
        prop_assert_eq!(count(EventType::OrderPaid), usize::from(last.state.took_money()));
        let refunds: Vec<i64> = told
            .iter()
            .filter(|event| event.event_type == EventType::OrderRefunded)
            .map(|event| event.data.refunded_minor)
            .collect();
        prop_assert!(refunds.is_sorted_by(|earlier, later| earlier < later));
        prop_assert_eq!(refunds.last().copied().unwrap_or(0), last.refunded_minor);
        prop_assert_eq!(payment.next_check_at.is_none(), payment.state.is_final());
    }
}
