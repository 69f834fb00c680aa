//! Decides what an answer of a provider does to an order. A pure function of what was registered, what is stored, and
//! what was answered.
//!
//! Four steps, in this order: judge the answer about the payment, hold the order for what is wrong, let the order
//! follow its payments, and make the events. Events come last because they name the holds.

use jiff::Timestamp;
use payhook_schema::{
    HoldReason, Order, OrderState, Payment, PaymentFacts, PaymentKey, PaymentState, RefundId, Step, TimelineKind,
};
use payhook_store::{Asked, Change, PaymentCheck, TimelineEntry};

use crate::money::announce::{Before, announce};
use crate::money::guard::{self, NewObjection};
use crate::money::holds;
use crate::schedule::{NextCheck, late_check};

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
    /// The payment is another account's of ours, and the answer objects to nothing new: neither order nor payment is
    /// written.
    OtherAccounts,
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
            Self::Refused | Self::OtherAccounts => "refused",
            Self::Revived => "revived",
            Self::Held => "held",
        }
    }
}

/// The provider's answer about a payment, and everything the decision depends on.
pub(crate) struct Question<'a> {
    /// Has the payment `key`, or its id under another account of ours; the caller looked it up by it.
    pub(crate) order: &'a Order,
    pub(crate) key: &'a PaymentKey,
    pub(crate) facts: &'a PaymentFacts,
    /// Refunds in the answer that are known to be of other payments, and of which. Their money is not booked here.
    pub(crate) foreign: &'a [(RefundId, PaymentKey)],
    /// Refunds that were asked about with it, are not in `facts`, and are settled with the payment they are of.
    pub(crate) elsewhere: &'a [(RefundId, PaymentKey)],
    pub(crate) next: NextCheck,
    pub(crate) now: Timestamp,
}

impl Question<'_> {
    fn entry(&self, kind: TimelineKind, text: String) -> TimelineEntry {
        TimelineEntry::new(self.now, kind, Some(self.key.clone()), text)
    }
}

/// An answer judged by the payment it is about, before the order knows of it.
struct JudgedAnswer {
    /// The payment from now on.
    payment: Payment,
    objections: Vec<NewObjection>,
    timeline: Vec<TimelineEntry>,
    outcome: Decided,
}

/// Compares the provider's answer with the registered order and returns what is to be written.
pub(crate) fn decide(question: &Question<'_>) -> Decision {
    let Question { order, key, facts, now, .. } = *question;
    let entry = |kind, text| question.entry(kind, text);
    let own = order.payment(key);
    let of_another_account =
        || order.payments.iter().find(|other| (other.key.provider, &other.key.id) == (key.provider, &key.id));
    let stored = own.or_else(of_another_account).expect("the order was found by this payment");
    let judgement = match own {
        Some(stored) => judge(question, stored),
        None => judge_other_account(question, stored),
    };
    let JudgedAnswer { payment, objections, mut timeline, mut outcome } = judgement;

    let mut after = order.clone();
    let raised = holds::raise(&mut after, objections, now, &mut timeline, entry);
    if raised.is_empty() && own.is_none() {
        return not_ours(question, stored);
    }
    if !raised.is_empty() {
        outcome = Decided::Held;
    }
    if outcome != Decided::Unchanged {
        after.updated_at = now;
    }
    holds::book(&mut after, &payment);
    let before = Before::of(order, stored);
    let events = announce(&mut after, &before, &payment, &raised, facts.occurred_at.unwrap_or(facts.asked_at), now);
    if after.state != before.state && after.state != OrderState::Held {
        timeline.push(entry(TimelineKind::Transition, format!("order {} -> {}", before.state, after.state)));
    }
    timeline.extend(question.elsewhere.iter().map(|(id, other)| {
        let text = format!("asked {} about refund {id}: it is of {other} and not booked here", key.provider);
        entry(TimelineKind::Inquiry, text)
    }));
    Decision { change: Change { order: after, payment, events }, timeline, outcome }
}

/// Judges an answer about a payment of the order.
fn judge(question: &Question<'_>, stored: &Payment) -> JudgedAnswer {
    let Question { order, key, next, now, .. } = *question;
    let facts = &without_foreign(question).with_refunds(&stored.refunds);
    let entry = |kind, text| question.entry(kind, text);
    let mut timeline = vec![entry(TimelineKind::Inquiry, format!("asked {}: {}", key.provider, facts.answer))];
    let mut payment = Payment { checks: next.checks, next_check_at: Some(next.at), ..stored.clone() };
    payment.asked_at = stored.asked_at.max(Some(facts.asked_at));
    let mut objections: Vec<NewObjection> = Vec::new();

    let comparison = compare(stored, facts);
    let mut outcome = match comparison {
        Comparison::Nothing => Decided::Unchanged,
        Comparison::Stale => {
            let text = "a newer answer was applied meanwhile; this one changes nothing".to_owned();
            timeline.push(entry(TimelineKind::Refusal, text));
            Decided::Refused
        }
        Comparison::Behind => {
            let text =
                format!("the answer `{}` is behind what is known, `{}`; nothing changes", facts.state, stored.state);
            timeline.push(entry(TimelineKind::Refusal, text));
            Decided::Refused
        }
        Comparison::Contradiction => {
            let detail = contradiction(stored, facts);
            timeline.push(entry(TimelineKind::Refusal, format!("{detail}; nothing changes, a person must look")));
            objections.push((HoldReason::ImpossibleTransition, detail));
            Decided::Refused
        }
        Comparison::Forward { revived } => {
            apply(&mut payment, facts);
            timeline.push(entry(TimelineKind::Transition, moved(stored, &payment, revived)));
            // Money is judged when it comes, not again each time some of it goes back.
            if facts.captured_minor > stored.captured_minor || !stored.state.took_money() {
                objections.extend(guard::objections(order, stored, facts));
            }
            if revived { Decided::Revived } else { Decided::Applied }
        }
    };
    // Refunds and disputes go their own way, forward only; an answer that contradicts the payment is believed in
    // nothing. Disputes that no answer carries come from verified notifications.
    let believed = !matches!(comparison, Comparison::Stale | Comparison::Contradiction);
    if believed {
        objections.extend(guard::refund_objections(stored, facts));
        payment.refunds.clone_from(&facts.refunds);
    }
    if believed || !key.provider.profile().has_disputes_in_answers {
        payment.disputes = facts.disputes_after(&stored.disputes);
    }
    objections.extend(guard::foreign_refunds(key, question.foreign));
    let overlay = overlay_moved(stored, &payment);
    if matches!(outcome, Decided::Unchanged | Decided::Refused) && !overlay.is_empty() {
        outcome = Decided::Applied;
    }
    timeline.extend(overlay.into_iter().map(|text| entry(TimelineKind::Transition, text)));
    payment.final_at = final_at(stored, &payment, now);
    if !payment.is_unfinished() {
        payment.next_check_at = late_check(&payment, now);
    }
    JudgedAnswer { payment, objections, timeline, outcome }
}

/// Judges an answer about money that was taken under another of our accounts than registered: the order waits for a
/// person, and nothing is booked.
fn judge_other_account(question: &Question<'_>, registered: &Payment) -> JudgedAnswer {
    let Question { key, facts, .. } = *question;
    let text = format!("asked {} as {}: {}", key.provider, key.account, facts.answer);
    JudgedAnswer {
        payment: registered.clone(),
        objections: Vec::from_iter(guard::other_account(registered, key, facts)),
        timeline: vec![question.entry(TimelineKind::Inquiry, text)],
        outcome: Decided::OtherAccounts,
    }
}

fn not_ours(question: &Question<'_>, registered: &Payment) -> Decision {
    let Question { order, key, facts, .. } = *question;
    let text = format!("{key} is registered under another account, and says {}; nothing changes", facts.state);
    let change = Change { order: order.clone(), payment: registered.clone(), events: Vec::new() };
    let timeline = vec![question.entry(TimelineKind::Refusal, text)];
    Decision { change, timeline, outcome: Decided::OtherAccounts }
}

/// The check that is left of a change by which nothing changes but when its payment was asked about, and is next. It
/// moves no revision, so that it conflicts with nobody.
pub(crate) fn only_asked(order: &Order, change: &Change) -> Option<PaymentCheck> {
    let Change { order: after, payment, events } = change;
    let stored = order.payment(&payment.key)?;
    let asked_before = Payment {
        asked_at: stored.asked_at,
        next_check_at: stored.next_check_at,
        checks: stored.checks,
        ..payment.clone()
    };
    if !events.is_empty() || asked_before != *stored {
        return None;
    }
    let alone = |order: &Order| Order { payments: Vec::new(), updated_at: order.created_at, ..order.clone() };
    let asked = Asked { at: payment.asked_at?, before: stored.asked_at };
    let Payment { key, next_check_at, checks, .. } = payment.clone();
    (alone(order) == alone(after)).then_some(PaymentCheck { key, next_check_at, checks, asked: Some(asked) })
}

fn without_foreign(question: &Question<'_>) -> PaymentFacts {
    let ids: Vec<RefundId> = question.foreign.iter().map(|(id, _)| id.clone()).collect();
    if ids.is_empty() { question.facts.clone() } else { question.facts.clone().without_refunds(&ids) }
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
enum Comparison {
    Nothing,
    Stale,
    Behind,
    Contradiction,
    Forward { revived: bool },
}

/// Amounts only grow, and states only go along the arrows: that alone decides, whatever the clocks of the machines say.
/// An answer asked for before the one we applied is excused for contradicting it, and nothing more.
fn compare(stored: &Payment, facts: &PaymentFacts) -> Comparison {
    let older = stored.asked_at.is_some_and(|asked_at| facts.asked_at < asked_at);
    let grew = facts.captured_minor > stored.captured_minor || facts.refunded_minor > stored.refunded_minor;
    let shrank = facts.captured_minor < stored.captured_minor || facts.refunded_minor < stored.refunded_minor;
    match stored.state.step(facts.state) {
        Step::Impossible if older => Comparison::Stale,
        Step::Impossible => Comparison::Contradiction,
        Step::Older => Comparison::Behind,
        Step::Move | Step::Revive if shrank && older => Comparison::Stale,
        Step::Move | Step::Revive if shrank => Comparison::Contradiction,
        Step::Stay if shrank => Comparison::Behind,
        Step::Stay if !grew => Comparison::Nothing,
        Step::Stay | Step::Move => Comparison::Forward { revived: false },
        Step::Revive => Comparison::Forward { revived: true },
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

#[cfg(test)]
mod overlay_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;
