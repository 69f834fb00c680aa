use jiff::Timestamp;
use payhook_schema::{
    Hold, HoldReason, Order, OrderState, Payment, PaymentFacts, PaymentKey, PaymentState, Provider, RefundId, Step,
    TimelineKind,
};
use payhook_store::{Change, TimelineEntry};

use crate::announce::{Before, announce};
use crate::guard::{self, objection};

/// What one answer of the provider does to an order: a pure function of what was registered, what is stored, and what was said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) change: Change,
    pub(crate) timeline: Vec<TimelineEntry>,
    pub(crate) outcome: Decided,
}

impl Decision {
    /// Whether the order waits for a person by it.
    pub(crate) fn holds(&self) -> bool {
        self.outcome == Decided::Held
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    Applied,
    /// Nothing was new: a repeat, or a payment that still waits.
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

/// When to look again, unless the payment is final by then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextCheck {
    pub(crate) at: Timestamp,
    pub(crate) checks: i32,
}

/// Compares the provider's answer with the registered order and says what is to be written.
///
/// `order` has the payment `key`; the caller looked it up by it.
///
/// `released`: what the order was held for before and a person let it go on with; it is not held for the very same again.
pub(crate) fn decide(
    order: &Order,
    key: &PaymentKey,
    facts: &PaymentFacts,
    next: NextCheck,
    now: Timestamp,
    released: &[Hold],
) -> Decision {
    let stored = order.payment(key).expect("the order was found by this payment");
    let entry = |kind, text: String| TimelineEntry::new(now, kind, Some(key.clone()), text);
    let mut timeline = vec![entry(TimelineKind::Inquiry, format!("asked {}: {}", key.provider, facts.answer))];
    let mut payment = Payment { checks: next.checks, next_check_at: Some(next.at), ..stored.clone() };
    let facts = &facts.clone().with_refunds(&stored.refunds);
    let verdict = compare(stored, facts);
    payment.asked_at = stored.asked_at.max(Some(facts.asked_at));

    let mut order = order.clone();
    let mut outcome = match verdict {
        Verdict::Nothing => Decided::Unchanged,
        Verdict::Stale => {
            timeline.push(entry(
                TimelineKind::Refusal,
                "a newer answer was applied meanwhile; this one changes nothing".to_owned(),
            ));
            Decided::Refused
        }
        Verdict::Behind => {
            let text =
                format!("the answer `{}` is behind what is known, `{}`; nothing changes", facts.state, stored.state);
            timeline.push(entry(TimelineKind::Refusal, text));
            Decided::Refused
        }
        Verdict::Contradiction => {
            let was = (stored.state, stored.captured_minor, stored.refunded_minor);
            let says = (facts.state, facts.captured_minor, facts.refunded_minor);
            let told = |(state, captured, refunded): (PaymentState, i64, i64)| {
                format!("{state} (captured {captured}, refunded {refunded})")
            };
            let detail = format!("{key} was {} and the provider now says {}", told(was), told(says));
            timeline.push(entry(TimelineKind::Refusal, format!("{detail}; nothing changes, a person must look")));
            let held = Hold { reason: HoldReason::ImpossibleTransition, detail };
            hold(&mut order, held, released, &mut timeline, &entry).unwrap_or(Decided::Refused)
        }
        Verdict::Forward { revived } => {
            apply(&mut payment, facts);
            let text = match stored.state == payment.state {
                true => format!("payment {}: {}", payment.state, amounts(&payment)),
                false => {
                    format!("payment {} -> {}{}", stored.state, payment.state, if revived { ", revived" } else { "" })
                }
            };
            timeline.push(entry(TimelineKind::Transition, text));
            // Money is judged when it comes, not again each time some of it goes back.
            let came = facts.captured_minor > stored.captured_minor || !stored.state.took_money();
            let objection = objection(&order, stored, facts).filter(|_| came);
            let held = objection.and_then(|it| hold(&mut order, it, released, &mut timeline, &entry));
            held.unwrap_or(if revived { Decided::Revived } else { Decided::Applied })
        }
    };
    // Refunds and disputes go their own way, forward only; an answer that contradicts the payment is believed in nothing. Antom's disputes
    // are in no answer: its verified notifications tell them.
    let believed = !matches!(verdict, Verdict::Stale | Verdict::Contradiction);
    let odd_refund = guard::refund_objection(stored, facts).filter(|_| believed);
    if believed {
        payment.refunds.clone_from(&facts.refunds);
    }
    if believed || key.provider == Provider::Antom {
        payment.disputes = facts.disputes_after(&stored.disputes);
    }
    let told = overlay_told(stored, &payment);
    if matches!(outcome, Decided::Unchanged | Decided::Refused) && !told.is_empty() {
        outcome = Decided::Applied;
    }
    timeline.extend(told.into_iter().map(|text| entry(TimelineKind::Transition, text)));
    let held = odd_refund.and_then(|objection| hold(&mut order, objection, released, &mut timeline, &entry));
    outcome = held.unwrap_or(outcome);
    if !payment.is_unfinished() {
        payment.next_check_at = None;
    }

    let before = Before::of(&order, stored);
    if outcome != Decided::Unchanged {
        order.updated_at = now;
    }
    replace(&mut order, &payment);
    let events = follow(&mut order, &before, &payment, facts, now);
    if order.state != before.state && order.state != OrderState::Held {
        timeline.push(entry(TimelineKind::Transition, format!("order {} -> {}", before.state, order.state)));
    }
    Decision { change: Change { order, payment, events }, timeline, outcome }
}

/// The same decision, and the order waits for a person, because the answer lists refunds that are known to be of other payments.
pub(crate) fn hold_for_foreign_refunds(
    mut decision: Decision,
    key: &PaymentKey,
    foreign: &[(RefundId, PaymentKey)],
    now: Timestamp,
    released: &[Hold],
) -> Decision {
    let named: Vec<String> = foreign.iter().map(|(refund, owner)| format!("{refund} of {owner}")).collect();
    let detail = format!("{key} is told to have refunds that were announced or told for others: {}", named.join(", "));
    let text = format!("order held: {}: {detail}", HoldReason::ImpossibleTransition);
    let hold = Hold { reason: HoldReason::ImpossibleTransition, detail };
    let entry = |kind, text: String| TimelineEntry::new(now, kind, Some(key.clone()), text);
    let Change { order, payment, events } = &mut decision.change;
    if order.hold.is_some() || released.contains(&hold) {
        decision.timeline.push(entry(TimelineKind::Refusal, hold.detail));
        return decision;
    }
    let before = order.clone();
    let before = Before::of(&before, payment);
    order.hold = Some(hold);
    (order.state, order.updated_at) = (OrderState::Held, now);
    events.extend(announce(order, &before, payment, now, now));
    decision.timeline.push(entry(TimelineKind::Transition, text));
    decision.outcome = Decided::Held;
    decision
}

/// An order whose money was taken under another of our accounts than registered waits for a person. `None` when the answer says
/// nothing about money, or the order is held already.
pub(crate) fn decide_other_account(
    order: &Order,
    key: &PaymentKey,
    facts: &PaymentFacts,
    now: Timestamp,
    released: &[Hold],
) -> Option<Decision> {
    let registered =
        order.payments.iter().find(|payment| (payment.key.provider, &payment.key.id) == (key.provider, &key.id))?;
    if !facts.state.took_money() || order.hold.is_some() {
        return None;
    }
    let entry = |kind, text: String| TimelineEntry::new(now, kind, Some(key.clone()), text);
    let mut timeline =
        vec![entry(TimelineKind::Inquiry, format!("asked {} as {}: {}", key.provider, key.account, facts.answer))];
    let mut order = order.clone();
    let before = Before::of(&order, registered);
    order.updated_at = now;
    let detail = format!("registered under {}, paid under {}", registered.key, key);
    hold(&mut order, Hold { reason: HoldReason::AccountMismatch, detail }, released, &mut timeline, &entry)?;
    let payment = registered.clone();
    let events = follow(&mut order, &before, &payment, facts, now);
    Some(Decision { change: Change { order, payment, events }, timeline, outcome: Decided::Held })
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

fn amounts(payment: &Payment) -> String {
    let money = |minor| payhook_schema::Money::new(minor, payment.currency);
    format!("captured {}, refunded {}", money(payment.captured_minor), money(payment.refunded_minor))
}

/// Holds the order, unless it is held already: the first reason stands until a person lifts it. Nothing where one has looked at the very
/// same before.
fn hold(
    order: &mut Order,
    hold: Hold,
    released: &[Hold],
    timeline: &mut Vec<TimelineEntry>,
    entry: &dyn Fn(TimelineKind, String) -> TimelineEntry,
) -> Option<Decided> {
    if released.contains(&hold) {
        let text = format!("{}: {}: a person has looked at this; the order goes on", hold.reason, hold.detail);
        timeline.push(entry(TimelineKind::Refusal, text));
        return None;
    }
    let also = if order.hold.is_some() { "also: " } else { "order held: " };
    timeline.push(entry(TimelineKind::Transition, format!("{also}{}: {}", hold.reason, hold.detail)));
    order.hold.get_or_insert(hold);
    Some(Decided::Held)
}

/// What is new about refunds and disputes, one sentence each.
fn overlay_told(stored: &Payment, payment: &Payment) -> Vec<String> {
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

fn replace(order: &mut Order, payment: &Payment) {
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

/// Lets the order follow its payments, and says what that means to fulfilment.
fn follow(
    order: &mut Order,
    before: &Before<'_>,
    payment: &Payment,
    facts: &PaymentFacts,
    now: Timestamp,
) -> Vec<payhook_schema::Event> {
    order.state = if order.hold.is_some() { OrderState::Held } else { state_of(&order.payments) };
    announce(order, before, payment, facts.occurred_at.unwrap_or(facts.asked_at), now)
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
