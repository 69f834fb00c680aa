//! Answers may be applied in any order and any number of times, and some may be missing: after one true answer the
//! order is right, and fulfilment was events each thing once.

use payhook_schema::{Dispute, DisputeId, DisputeState, Event, EventType, Refund, RefundId, RefundState};
use proptest::prelude::*;

use super::tests::{at, decided, facts, key, order, thb};
use super::*;

/// A way that a payment can really go, step by step, along the arrows.
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
        let mut events: Vec<Event> = Vec::new();
        let mut amounts = (0, 0);
        let finally = PaymentFacts { asked_at: at(1_000), ..last.clone() };
        let applied = picks.iter().map(|pick| pick.get(&truth).clone()).chain([finally.clone()]);
        for answer in applied {
            let decision = decided(&order, &key("P1"), &answer);
            prop_assert!(decision.outcome != Decided::Held, "{:?}", decision.timeline);
            events.extend(decision.change.events);
            order = Order { revision: order.revision + 1, ..decision.change.order };
            let now = (order.captured_minor, order.refunded_minor);
            prop_assert!(now.0 >= amounts.0 && now.1 >= amounts.1, "money shrank: {amounts:?} -> {now:?}");
            amounts = now;
        }

        let again = decided(&order, &key("P1"), &finally);
        prop_assert!(only_asked(&order, &again.change).is_some(), "a repeated answer moves no revision: {again:?}");
        let payment = &order.payments[0];
        prop_assert_eq!((payment.state, amounts), (last.state, (last.captured_minor, last.refunded_minor)));
        let versions: Vec<i64> = events.iter().map(Event::version).collect();
        prop_assert_eq!(versions, (1..=events.len() as i64).collect::<Vec<_>>(), "versions from 1 without gaps");
        let count = |wanted| events.iter().filter(|event| event.event_type == wanted).count();
        prop_assert_eq!(count(EventType::OrderPaid), usize::from(last.state.took_money()));
        let refunds: Vec<i64> = events
            .iter()
            .filter(|event| event.event_type == EventType::OrderRefunded)
            .map(|event| event.order().unwrap().refunded_minor)
            .collect();
        prop_assert!(refunds.is_sorted_by(|earlier, later| earlier < later));
        prop_assert_eq!(refunds.last().copied().unwrap_or(0), last.refunded_minor);
        prop_assert_eq!(payment.final_at.is_some(), payment.state.is_final());
        prop_assert_eq!(payment.next_check_at.is_some_and(|at| at > self::at(2_000)), payment.state.is_final());
    }
}

/// The end of each of some refunds, and of a dispute; each is under way before it reaches its end.
type Endings = (Vec<(i64, bool)>, Option<DisputeState>);

fn endings() -> impl Strategy<Value = Endings> {
    let refunds = prop::collection::vec((1..4_000_i64, any::<bool>()), 0..4);
    let over = prop_oneof![Just(DisputeState::Won), Just(DisputeState::Lost), Just(DisputeState::Closed)];
    (refunds, prop::option::of(over))
}

/// Everything the provider may ever say about a paid payment on its way to `endings`: each refund and the dispute in
/// each of its states, events alone, and the whole truth last.
fn sayings((refunds, dispute): &Endings) -> Vec<PaymentFacts> {
    let paid = facts(PaymentState::Paid, 12_000, 0);
    let refund = |index: usize, state, amount_minor| Refund {
        state,
        amount: Some(thb(amount_minor)),
        ..Refund::announced(RefundId::new(format!("RF-{index}")).unwrap())
    };
    let id = DisputeId::new("D-1").unwrap();
    let disputed =
        |state| Dispute { id: id.clone(), state, amount: None, reason: None, answer_by: None, occurred_at: None };
    let ends = refunds.iter().enumerate().map(|(index, (amount, succeeds))| {
        refund(index, if *succeeds { RefundState::Succeeded } else { RefundState::Failed }, *amount)
    });
    let ends: Vec<Refund> = ends.collect();
    let begun = refunds.iter().enumerate().map(|(index, (amount, _))| refund(index, RefundState::Pending, *amount));
    let alone = begun.chain(ends.clone()).map(|refund| PaymentFacts { refunds: vec![refund], ..paid.clone() });
    let states = dispute.iter().flat_map(|end| [DisputeState::Open, DisputeState::Pending, *end]);
    let disputes = states.map(|state| PaymentFacts { disputes: vec![disputed(state)], ..paid.clone() });
    let disputes: Vec<PaymentFacts> = disputes.collect();
    let whole =
        PaymentFacts { refunds: ends, disputes: dispute.iter().map(|end| disputed(*end)).collect(), ..paid.clone() };
    [facts(PaymentState::Awaiting, 0, 0), paid.clone()]
        .into_iter()
        .chain(alone)
        .chain(disputes)
        .chain([whole])
        .collect()
}

proptest! {
    #[test]
    fn refunds_and_disputes_end_alike_whatever_is_answered_and_when(
        endings in endings(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let sayings = sayings(&endings);
        let whole = sayings.last().expect("the whole truth is always said").clone();
        let mut order = order(&["P1"]);
        let mut events: Vec<Event> = Vec::new();
        for answer in picks.iter().map(|pick| pick.get(&sayings).clone()).chain([whole]) {
            let decision = decided(&order, &key("P1"), &answer);
            prop_assert!(decision.outcome != Decided::Held, "{:?}", decision.timeline);
            events.extend(decision.change.events);
            order = Order { revision: order.revision + 1, ..decision.change.order };
        }
        let (refunds, dispute) = &endings;
        let refunded: i64 = refunds.iter().filter(|(_, succeeds)| *succeeds).map(|(amount, _)| amount).sum();
        prop_assert_eq!((order.captured_minor, order.refunded_minor), (12_000, refunded));
        let count = |wanted| events.iter().filter(|event| event.event_type == wanted).count();
        prop_assert_eq!(count(EventType::OrderPaid), 1);
        prop_assert_eq!(count(EventType::RefundFailed), refunds.iter().filter(|(_, succeeds)| !succeeds).count());
        prop_assert_eq!(count(EventType::DisputeOpened), usize::from(dispute.is_some()));
        prop_assert_eq!(count(EventType::DisputeClosed), usize::from(dispute.is_some()));
        let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.id).collect();
        prop_assert_eq!(ids.len(), events.len(), "every event is another fact");
        let next = order.payments[0].next_check_at;
        prop_assert!(next.is_some_and(|next| next > at(2_000)), "all is settled, and asked about a day later: {next:?}");
    }
}
