//! The money guard: finds every reason why an order must wait for a person.
//!
//! Providers say what was paid. Only the merchant knows what should have been paid. This module compares the two and
//! returns objections. It drops none: an order that is already held can be wrong for a second reason, and whoever
//! releases it must see both.
//!
//! Everything here is pure. Each objection names both sides and how far the money came, because its text is its
//! identity: a person who released an authorization has not looked at what is captured of it later.

use payhook_schema::{
    HoldReason, Money, Order, Payment, PaymentFacts, PaymentKey, PaymentState, RefundId, RefundState,
};

/// An objection before the order has it: the reason, and the sentence that names the fact.
pub(crate) type NewObjection = (HoldReason, String);

/// Compares money that was taken or authorized with the order it is meant to pay.
///
/// `payment` is the stored one, `facts` is the provider's answer about it. Facts that move no money break no rule.
///
/// | rule | objection |
/// |---|---|
/// | same currency as the order | `currency_mismatch` |
/// | same amount, authorized and captured | `amount_mismatch` |
/// | no other payment of the order still holds money | `double_payment` |
pub(crate) fn objections(order: &Order, payment: &Payment, facts: &PaymentFacts) -> Vec<NewObjection> {
    let counts = facts.state.took_money() || facts.state == PaymentState::Authorized;
    let Some(amount) = facts.amount.filter(|_| counts) else { return Vec::new() };
    let who = &payment.key;
    let captured = Money::new(facts.captured_minor, amount.currency);
    let came = match facts.state.took_money() {
        true => format!("captured {captured}"),
        false => facts.state.to_string(),
    };
    let mut objections = Vec::new();
    if amount.currency != order.amount.currency {
        let detail = format!("registered {}, {who} is in {amount}, {came}", order.amount);
        objections.push((HoldReason::CurrencyMismatch, detail));
    } else if amount != order.amount {
        let detail = format!("registered {}, {who} is for {amount}, {came}", order.amount);
        objections.push((HoldReason::AmountMismatch, detail));
    } else if facts.state.took_money() && captured != order.amount {
        objections.push((HoldReason::AmountMismatch, format!("registered {}, {who} {came}", order.amount)));
    }
    // A payment that went back entirely makes room for another one.
    let holds_money = |other: &&Payment| matches!(other.state, PaymentState::Paid | PaymentState::PartlyRefunded);
    let other = order.payments.iter().filter(|other| other.key != payment.key).find(holds_money);
    if let Some(other) = other.filter(|_| facts.state.took_money()) {
        objections.push((HoldReason::DoublePayment, format!("paid by {} and by {who}, which {came}", other.key)));
    }
    objections
}

/// Compares refunds with their payment: they are in its currency, and never more than was captured.
///
/// Objects only to what is new in `facts`: a person who released the order has looked at the rest.
pub(crate) fn refund_objections(payment: &Payment, facts: &PaymentFacts) -> Vec<NewObjection> {
    let Some(amount) = facts.amount.filter(|_| facts.state.took_money()) else { return Vec::new() };
    let money = |minor| Money::new(minor, amount.currency);
    let who = &payment.key;
    let mut objections = Vec::new();
    if facts.refunded_minor > facts.captured_minor && facts.refunded_minor > payment.refunded_minor {
        let (taken, back) = (money(facts.captured_minor), money(facts.refunded_minor));
        objections.push((HoldReason::AmountMismatch, format!("{who} captured {taken}, and {back} of it went back")));
    }
    let done = facts.refunds.iter().filter(|refund| refund.state == RefundState::Succeeded);
    let new = done.filter(|refund| !payment.refunds.contains(refund));
    for odd in new.filter(|refund| refund.amount.is_none_or(|back| back.currency != amount.currency)) {
        let back = odd.amount.map_or("an amount nobody names".to_owned(), |amount| amount.to_string());
        let detail = format!("{who} is in {}, its refund {} is of {back}", amount.currency, odd.id);
        objections.push((HoldReason::CurrencyMismatch, detail));
    }
    objections
}

/// Objects to refunds in an answer about `key` that are known to be of other payments.
pub(crate) fn foreign_refunds(key: &PaymentKey, foreign: &[(RefundId, PaymentKey)]) -> Option<NewObjection> {
    let named: Vec<String> = foreign.iter().map(|(refund, owner)| format!("{refund} of {owner}")).collect();
    let detail = format!("the answer about {key} lists refunds of other payments: {}", named.join(", "));
    (!foreign.is_empty()).then_some((HoldReason::ImpossibleTransition, detail))
}

/// Objects to money that was taken under another of our accounts than the payment is registered with.
pub(crate) fn other_account(registered: &Payment, key: &PaymentKey, facts: &PaymentFacts) -> Option<NewObjection> {
    let detail = || format!("registered under {}, paid under {key}", registered.key);
    facts.state.took_money().then(|| (HoldReason::AccountMismatch, detail()))
}
