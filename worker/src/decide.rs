//! Decides what an answer of a provider does to an order. A pure function of what was registered, what is stored, and what was answered.

use jiff::Timestamp;
use payhook_schema::{
    Hold, HoldReason, Order, OrderState, Payment, PaymentFacts, PaymentKey, PaymentState, RefundId, Step, TimelineKind,
};
use payhook_store::{Change, TimelineEntry};

use crate::announce::{Before, announce};
use crate::guard::{self, Objection};
use crate::schedule::late_check;

/// The effect of one answer of the provider on an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) change: Change,
    pub(crate) timeline: Vec<TimelineEntry>,
    pub(crate) outcome: Decided,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    Applied,
    /// The answer was not new: a repeat, or a payment that still waits.
    Unchanged,
    /// The answer is behind what we know, or contradicts it.
    Refused,
    /// Money arrived for a payment that had ended without: taken, and worth a person's look.
    Revived,
    /// The order now waits for a person.
    Held,
}

impl Decided {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Revived => "revived",
            Self::Held => "held",
        }
    }
}

/// The time of the next look, unless the payment is final by then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextCheck {
    pub(crate) at: Timestamp,
    pub(crate) checks: i32,
}

/// The provider's answer about a payment, and everything the decision depends on.
pub(crate) struct Case<'a> {
    /// Has the payment `key`; the caller looked it up by it.
    pub(crate) order: &'a Order,
    pub(crate) key: &'a PaymentKey,
    pub(crate) facts: &'a PaymentFacts,
    /// Refunds in the answer that are known to be of other payments, and of which. Their money is not booked here.
    pub(crate) foreign: &'a [(RefundId, PaymentKey)],
    pub(crate) next: NextCheck,
    pub(crate) now: Timestamp,
}

/// Compares the provider's answer with the registered order and returns what is to be written.
pub(crate) fn decide(case: &Case<'_>) -> Decision {
    let Case { key, next, now, .. } = *case;
    let stored = case.order.payment(key).expect("the order was found by this payment");
    let facts = &without_foreign(case).with_refunds(&stored.refunds);
    let entry = |kind, text: String| TimelineEntry::new(now, kind, Some(key.clone()), text);
    let mut timeline = vec![entry(TimelineKind::Inquiry, format!("asked {}: {}", key.provider, facts.answer))];
    let mut payment = Payment { checks: next.checks, next_check_at: Some(next.at), ..stored.clone() };
    payment.asked_at = stored.asked_at.max(Some(facts.asked_at));
    let mut objections: Vec<Objection> = Vec::new();

    let verdict = compare(stored, facts);
    let mut outcome = match verdict {
        Verdict::Nothing => Decided::Unchanged,
        Verdict::Stale => {
            let text = "a newer answer was applied meanwhile; this one changes nothing".to_owned();
            timeline.push(entry(TimelineKind::Refusal, text));
            Decided::Refused
        }
        Verdict::Behind => {
            let text =
                format!("the answer `{}` is behind what is known, `{}`; nothing changes", facts.state, stored.state);
            timeline.push(entry(TimelineKind::Refusal, text));
            Decided::Refused
        }
        Verdict::Contradiction => {
            let detail = contradiction(stored, facts);
            timeline.push(entry(TimelineKind::Refusal, format!("{detail}; nothing changes, a person must look")));
            objections.push((HoldReason::ImpossibleTransition, detail));
            Decided::Refused
        }
        Verdict::Forward { revived } => {
            apply(&mut payment, facts);
            timeline.push(entry(TimelineKind::Transition, moved(stored, &payment, revived)));
            // Money is judged when it comes, not again each time some of it goes back.
            if facts.captured_minor > stored.captured_minor || !stored.state.took_money() {
                objections.extend(guard::objections(case.order, stored, facts));
            }
            if revived { Decided::Revived } else { Decided::Applied }
        }
    };
    // Refunds and disputes go their own way, forward only; an answer that contradicts the payment is believed in nothing. Disputes
    // that no answer carries come from verified notifications.
    let believed = !matches!(verdict, Verdict::Stale | Verdict::Contradiction);
    if believed {
        objections.extend(guard::refund_objections(stored, facts));
        payment.refunds.clone_from(&facts.refunds);
    }
    if believed || !key.provider.profile().has_disputes_in_answers {
        payment.disputes = facts.disputes_after(&stored.disputes);
    }
    objections.extend(guard::foreign_refunds(key, case.foreign));
    let overlay = overlay_moved(stored, &payment);
    if matches!(outcome, Decided::Unchanged | Decided::Refused) && !overlay.is_empty() {
        outcome = Decided::Applied;
    }
    timeline.extend(overlay.into_iter().map(|text| entry(TimelineKind::Transition, text)));

    let mut order = case.order.clone();
    let raised = raise(&mut order, objections, now, &mut timeline, &entry);
    if !raised.is_empty() {
        outcome = Decided::Held;
    }
    payment.final_at = final_at(stored, &payment, now);
    if !payment.is_unfinished() {
        payment.next_check_at = late_check(&payment, now);
    }
    if outcome != Decided::Unchanged {
        order.updated_at = now;
    }
    let before = Before::of(case.order, stored);
    replace(&mut order, &payment);
    let events = follow(&mut order, &before, &payment, &raised, facts, now);
    if order.state != before.state && order.state != OrderState::Held {
        timeline.push(entry(TimelineKind::Transition, format!("order {} -> {}", before.state, order.state)));
    }
    Decision { change: Change { order, payment, events }, timeline, outcome }
}

/// Decides about money that was taken under another of our accounts than registered: the order waits for a person. Returns `None` when the
/// answer says nothing about money, or objects to nothing new.
pub(crate) fn decide_other_account(
    order: &Order,
    key: &PaymentKey,
    facts: &PaymentFacts,
    now: Timestamp,
) -> Option<Decision> {
    let registered =
        order.payments.iter().find(|payment| (payment.key.provider, &payment.key.id) == (key.provider, &key.id))?;
    if !facts.state.took_money() {
        return None;
    }
    let entry = |kind, text: String| TimelineEntry::new(now, kind, Some(key.clone()), text);
    let mut timeline =
        vec![entry(TimelineKind::Inquiry, format!("asked {} as {}: {}", key.provider, key.account, facts.answer))];
    let before = Before::of(order, registered);
    let detail = format!("registered under {}, paid under {}", registered.key, key);
    let mut order = Order { updated_at: now, ..order.clone() };
    let raised = raise(&mut order, vec![(HoldReason::AccountMismatch, detail)], now, &mut timeline, &entry);
    if raised.is_empty() {
        return None;
    }
    let payment = registered.clone();
    let events = follow(&mut order, &before, &payment, &raised, facts, now);
    Some(Decision { change: Change { order, payment, events }, timeline, outcome: Decided::Held })
}

fn without_foreign(case: &Case<'_>) -> PaymentFacts {
    let ids: Vec<RefundId> = case.foreign.iter().map(|(id, _)| id.clone()).collect();
    if ids.is_empty() { case.facts.clone() } else { case.facts.clone().without_refunds(&ids) }
}

fn contradiction(stored: &Payment, facts: &PaymentFacts) -> String {
    let side = |state: PaymentState, captured: i64, refunded: i64| {
        format!("{state} (captured {captured}, refunded {refunded})")
    };
    let was = side(stored.state, stored.captured_minor, stored.refunded_minor);
    let says = side(facts.state, facts.captured_minor, facts.refunded_minor);
    format!("{} was {was} and the provider now says {says}", stored.key)
}

fn moved(stored: &Payment, payment: &Payment, revived: bool) -> String {
    match stored.state == payment.state {
        true => format!("payment {}: {}", payment.state, amounts(payment)),
        false => format!("payment {} -> {}{}", stored.state, payment.state, if revived { ", revived" } else { "" }),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Nothing,
    Stale,
    Behind,
    Contradiction,
    Forward { revived: bool },
}

/// Amounts only grow, and states only go along the arrows: that alone decides, whatever the clocks of the machines say. An answer asked
/// for before the one we applied is excused for contradicting it, and nothing more.
fn compare(stored: &Payment, facts: &PaymentFacts) -> Verdict {
    let older = stored.asked_at.is_some_and(|asked_at| facts.asked_at < asked_at);
    let grew = facts.captured_minor > stored.captured_minor || facts.refunded_minor > stored.refunded_minor;
    let shrank = facts.captured_minor < stored.captured_minor || facts.refunded_minor < stored.refunded_minor;
    match stored.state.step(facts.state) {
        Step::Impossible if older => Verdict::Stale,
        Step::Impossible => Verdict::Contradiction,
        Step::Older => Verdict::Behind,
        Step::Move | Step::Revive if shrank && older => Verdict::Stale,
        Step::Move | Step::Revive if shrank => Verdict::Contradiction,
        Step::Stay if shrank => Verdict::Behind,
        Step::Stay if !grew => Verdict::Nothing,
        Step::Stay | Step::Move => Verdict::Forward { revived: false },
        Step::Revive => Verdict::Forward { revived: true },
    }
}

fn apply(payment: &mut Payment, facts: &PaymentFacts) {
    payment.state = facts.state;
    payment.captured_minor = facts.captured_minor;
    payment.refunded_minor = facts.refunded_minor;
    payment.reason.clone_from(&facts.reason);
    if let Some(amount) = facts.amount {
        payment.currency = amount.currency;
    }
    if facts.provider_reference.is_some() {
        payment.provider_reference.clone_from(&facts.provider_reference);
    }
}

/// Returns the time since which a payment is final as it now is. Money that goes back after it was taken does not
/// change it.
fn final_at(stored: &Payment, payment: &Payment, now: Timestamp) -> Option<Timestamp> {
    let kind = |state: PaymentState| (state.is_final(), state.took_money());
    let began = if kind(stored.state) == kind(payment.state) {
        // One that became final before this was stored was hardly asked about since.
        stored.final_at.or(stored.asked_at).unwrap_or(stored.created_at)
    } else {
        now
    };
    payment.state.is_final().then_some(began)
}

fn amounts(payment: &Payment) -> String {
    let money = |minor| payhook_schema::Money::new(minor, payment.currency);
    format!("captured {}, refunded {}", money(payment.captured_minor), money(payment.refunded_minor))
}

/// Opens each objection that is neither open nor released yet, and returns the new ones. None replaces another.
fn raise(
    order: &mut Order,
    objections: Vec<Objection>,
    now: Timestamp,
    timeline: &mut Vec<TimelineEntry>,
    entry: &dyn Fn(TimelineKind, String) -> TimelineEntry,
) -> Vec<Hold> {
    let mut raised = Vec::new();
    for (reason, detail) in objections {
        let hold = Hold { reason, detail, since: now };
        let is_in = |holds: &[Hold]| holds.iter().any(|known| known.is_same(&hold));
        if is_in(&order.holds) {
            continue;
        }
        if is_in(&order.released) {
            let text = format!("{reason}: {}: released before, the order goes on", hold.detail);
            timeline.push(entry(TimelineKind::Refusal, text));
            continue;
        }
        timeline.push(entry(TimelineKind::Transition, format!("order held: {reason}: {}", hold.detail)));
        order.holds.push(hold.clone());
        raised.push(hold);
    }
    raised
}

/// Lists what is new about refunds and disputes, one sentence each.
fn overlay_moved(stored: &Payment, payment: &Payment) -> Vec<String> {
    let amount = |amount: Option<payhook_schema::Money>| amount.map_or(String::new(), |amount| format!(", {amount}"));
    let word = |reason: &Option<String>| reason.as_ref().map_or(String::new(), |word| format!(" ({word})"));
    let refunds = payment.refunds.iter().filter(|refund| !stored.refunds.contains(refund)).map(|refund| {
        let what = if refund.voided { "void" } else { "refund" };
        format!("{what} {} {}{}{}", refund.id, refund.state, amount(refund.amount), word(&refund.reason))
    });
    let disputes = payment.disputes.iter().filter(|dispute| !stored.disputes.contains(dispute)).map(|dispute| {
        format!("dispute {} {}{}{}", dispute.id, dispute.state, amount(dispute.amount), word(&dispute.reason))
    });
    refunds.chain(disputes).collect()
}

/// Replaces one payment of the order, and sums up its money again.
pub(crate) fn replace(order: &mut Order, payment: &Payment) {
    for slot in &mut order.payments {
        if slot.key == payment.key {
            slot.clone_from(payment);
        }
    }
    let counted = order.payments.iter().filter(|payment| payment.currency == order.amount.currency);
    let sums = counted.fold((0, 0), |(captured, refunded): (i64, i64), payment| {
        (captured.saturating_add(payment.captured_minor), refunded.saturating_add(payment.refunded_minor))
    });
    (order.captured_minor, order.refunded_minor) = sums;
}

/// Lets the order follow its payments, and makes the events of that.
fn follow(
    order: &mut Order,
    before: &Before<'_>,
    payment: &Payment,
    raised: &[Hold],
    facts: &PaymentFacts,
    now: Timestamp,
) -> Vec<payhook_schema::Event> {
    order.state = if order.holds.is_empty() { state_of(&order.payments) } else { OrderState::Held };
    announce(order, before, payment, raised, facts.occurred_at.unwrap_or(facts.asked_at), now)
}

/// An order is what its payments make it: one of them may fail and the next one pay.
pub(crate) fn state_of(payments: &[Payment]) -> OrderState {
    let any = |state| payments.iter().any(|payment| payment.state == state);
    if any(PaymentState::PartlyRefunded) {
        OrderState::PartlyRefunded
    } else if any(PaymentState::Paid) {
        OrderState::Paid
    } else if any(PaymentState::Authorized) {
        OrderState::Authorized
    } else if any(PaymentState::Refunded) {
        OrderState::Refunded
    } else {
        OrderState::Pending
    }
}

#[cfg(test)]
mod overlay_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;
