use payhook_schema::{Hold, HoldReason, Order, Payment, PaymentFacts, PaymentState, RefundState};

/// What keeps money that was taken or authorized from paying an order: it must be the order's amount, in the order's currency,
/// and the first.
///
/// `payment` is the stored one, `facts` what the provider now says about it. Both sides are named in the hold, with how far the money came:
/// whoever let an authorization go on has not looked at what is taken of it later.
pub(crate) fn objection(order: &Order, payment: &Payment, facts: &PaymentFacts) -> Option<Hold> {
    let counts = facts.state.took_money() || facts.state == PaymentState::Authorized;
    let amount = facts.amount.filter(|_| counts)?;
    let hold = |reason, detail| Some(Hold { reason, detail });
    let who = &payment.key;
    let captured = payhook_schema::Money::new(facts.captured_minor, amount.currency);
    let came = match facts.state.took_money() {
        true => format!("captured {captured}"),
        false => facts.state.to_string(),
    };
    if amount.currency != order.amount.currency {
        let detail = format!("registered {}, {who} is in {amount}, {came}", order.amount);
        return hold(HoldReason::CurrencyMismatch, detail);
    }
    if amount != order.amount {
        return hold(HoldReason::AmountMismatch, format!("registered {}, {who} is for {amount}, {came}", order.amount));
    }
    if facts.state.took_money() && facts.captured_minor != order.amount.amount_minor {
        return hold(HoldReason::AmountMismatch, format!("registered {}, {who} {came}", order.amount));
    }
    // A payment that went back entirely makes room for another one.
    let kept = |other: &&Payment| matches!(other.state, PaymentState::Paid | PaymentState::PartlyRefunded);
    let other = order.payments.iter().filter(|other| other.key != payment.key).find(kept);
    match other {
        Some(other) if facts.state.took_money() => {
            hold(HoldReason::DoublePayment, format!("paid by {} and by {who}, which {came}", other.key))
        }
        _ => None,
    }
}

/// What keeps refunds from being booked as told: they are of the payment's currency, and no more than was taken. Only what is new is objected
/// to: a person who released the order has looked at the rest.
pub(crate) fn refund_objection(payment: &Payment, facts: &PaymentFacts) -> Option<Hold> {
    let amount = facts.amount.filter(|_| facts.state.took_money())?;
    let money = |minor| payhook_schema::Money::new(minor, amount.currency);
    let who = &payment.key;
    if facts.refunded_minor > facts.captured_minor && facts.refunded_minor > payment.refunded_minor {
        let (taken, back) = (money(facts.captured_minor), money(facts.refunded_minor));
        let detail = format!("{who} captured {taken}, and {back} of it went back");
        return Some(Hold { reason: HoldReason::AmountMismatch, detail });
    }
    let done = facts.refunds.iter().filter(|refund| refund.state == RefundState::Succeeded);
    let mut new = done.filter(|refund| !payment.refunds.contains(refund));
    let odd = new.find(|refund| refund.amount.is_none_or(|back| back.currency != amount.currency))?;
    let back = odd.amount.map_or("an amount nobody tells".to_owned(), |amount| amount.to_string());
    let detail = format!("{who} is in {}, its refund {} is of {back}", amount.currency, odd.id);
    Some(Hold { reason: HoldReason::CurrencyMismatch, detail })
}
