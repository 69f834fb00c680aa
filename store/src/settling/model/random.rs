//! Picks the orders, payments and refunds that the random operations are about.

use jiff::Timestamp;
use payhook_schema::{
    Dispute, DisputeId, DisputeState, NewOrder, NewRefund, OrderId, PaymentKey, Provider, Refund, RefundId, RefundState,
};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::upserted;
use crate::conformance::sample::{key_of, notification, order_id, thb};
use crate::dead_letters::promises::letter;
use crate::{DeadLetter, Settlement};

pub(crate) fn some_order(random: &mut StdRng) -> OrderId {
    order_id(&format!("A-{}", random.random_range(0..12)))
}

/// The `n`th of the few payments all the operations are about. No two accounts share an id with two orders at once.
pub(crate) fn some_key(n: u64, prefix: &str) -> PaymentKey {
    let provider = if n.is_multiple_of(2) { Provider::Antom } else { Provider::Omise };
    key_of(provider, "shop", &format!("{prefix}{n}"))
}

pub(crate) fn some_payment(random: &mut StdRng) -> PaymentKey {
    some_key(random.random_range(0..12), ["p", "q"].choose(random).unwrap())
}

/// A refund that is of `payment`, whoever tells of it.
pub(crate) fn some_refund(payment: &PaymentKey, random: &mut StdRng) -> RefundId {
    RefundId::new(format!("RF-{}-{}", payment.id, random.random_range(0..3))).unwrap()
}

/// Has the change tell of a refund or a dispute of its payment; sometimes of a new one, sometimes leaving out a known
/// one.
pub(crate) fn report_more(settlement: &mut Settlement, random: &mut StdRng, now: Timestamp) {
    let payment = &mut settlement.change.as_mut().expect("it changes something").payment;
    if random.random_ratio(1, 3) {
        let refund = Refund {
            provider_reference: random.random_bool(0.5).then(|| "trxn".to_owned()),
            state: *RefundState::ALL.choose(random).unwrap(),
            amount: random.random_bool(0.5).then(|| thb(random.random_range(0..9))),
            voided: random.random_bool(0.5),
            reason: random.random_bool(0.5).then(|| "PROCESS_FAIL \"ไทย\"".to_owned()),
            occurred_at: random.random_bool(0.5).then_some(now),
            ..Refund::announced(some_refund(&payment.key, random))
        };
        let known = if random.random_bool(0.9) { std::mem::take(&mut payment.refunds) } else { Vec::new() };
        payment.refunds = upserted(known, &[refund], |left, right| left.id == right.id);
    }
    if random.random_ratio(1, 5) {
        let dispute = Dispute {
            id: DisputeId::new(format!("D-{}", random.random_range(0..3))).unwrap(),
            state: *DisputeState::ALL.choose(random).unwrap(),
            amount: random.random_bool(0.5).then(|| thb(random.random_range(0..9))),
            reason: random.random_bool(0.5).then(|| "fraud".to_owned()),
            answer_by: random.random_bool(0.5).then_some(now),
            occurred_at: random.random_bool(0.5).then_some(now),
        };
        let known = std::mem::take(&mut payment.disputes);
        payment.disputes = upserted(known, &[dispute], |left, right| left.id == right.id);
    }
}

pub(crate) fn new_order(random: &mut StdRng) -> NewOrder {
    let n = random.random_range(0..12);
    // Mostly its own payments, so that most registrations succeed.
    let mut payments = vec![some_key(n, "p")];
    payments.extend(random.random_ratio(1, 3).then(|| some_key(n, "q")));
    payments.extend(random.random_ratio(1, 8).then(|| some_payment(random)));
    let mut refunds = Vec::new();
    for _ in 0..random.random_range(0..3) {
        let payment = payments.choose(random).unwrap().clone();
        refunds.push(NewRefund { id: some_refund(&payment, random), payment });
    }
    if random.random_ratio(1, 8) {
        // Nobody's or anybody's.
        let id = RefundId::new(format!("RF-{}", random.random_range(0..3))).unwrap();
        refunds.push(NewRefund { id, payment: some_payment(random) });
    }
    let amount = thb(12_000 + i64::from(random.random_ratio(1, 9)));
    NewOrder { id: order_id(&format!("A-{n}")), amount, payments, refunds }
}

pub(crate) fn dead_letter(random: &mut StdRng, now: Timestamp) -> DeadLetter {
    let payment = random.random_bool(0.7).then(|| some_payment(random));
    let number = random.random_range(200..240);
    DeadLetter {
        provider: payment.as_ref().map(|key| key.provider),
        account: payment.as_ref().map(|key| key.account.clone()),
        notification: payment.as_ref().map(|key| notification(number, Some(key), now)),
        payment,
        ..letter(number, now)
    }
}
