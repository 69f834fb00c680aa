//! Lets a held order go on, because a person looked at it. Pure: `hints/release.rs` reads and writes.
//!
//! A release is for one version of the order: whatever happened since, nobody has looked at.

use jiff::Timestamp;
use payhook_schema::{Money, Order, Payment, PaymentState, TimelineKind};
use payhook_store::{Change, OrderEvents, Release, TimelineEntry};
use serde_json::json;

use crate::money::announce::announce_release;
use crate::money::holds;

/// The next step of a release, given the order as it is.
pub(crate) enum ReleaseStep {
    /// The first of several writes: money that went back is recorded, and the order stays held. If we die after it,
    /// nothing is lost.
    Record(Change, TimelineEntry),
    Release(Change, Vec<TimelineEntry>),
    /// The order moved on since the operator looked.
    TooLate(TimelineEntry),
    /// Released before: the message came twice.
    Done,
}

/// Decides the next step of a release: the state the order's payments make, and everything fulfilment missed while it
/// was held.
pub(crate) fn step(order: &Order, release: &Release, sent: &OrderEvents, now: Timestamp) -> ReleaseStep {
    let entry = |kind, text: String| TimelineEntry::new(now, kind, None, text);
    let Release { who, reason, .. } = release;
    if order.holds.is_empty() || order.version != release.version {
        let is_lifted = |hold| order.released.iter().any(|released| released.is_same(hold));
        return match release.holds.iter().all(is_lifted) {
            true => ReleaseStep::Done,
            false => {
                let (looked_at, is) = (release.version, order.version);
                let text = format!(
                    "not released: {who} looked at version {looked_at}, the order is at version {is}; look again ({reason})"
                );
                ReleaseStep::TooLate(entry(TimelineKind::Operator, text))
            }
        };
    }
    let returned = release.returned.iter().filter_map(|key| order.payment(key)).find(|payment| holds_money(payment));
    if let Some(payment) = returned {
        let (change, text) = record_returned(order, payment, who, now);
        let entry = entry(TimelineKind::Operator, format!("{text} ({reason})"));
        return ReleaseStep::Record(change, TimelineEntry { payment: Some(payment.key.clone()), ..entry });
    }
    let reasons: Vec<&str> = order.holds.iter().map(|hold| hold.reason.as_str()).collect();
    let operator = entry(TimelineKind::Operator, format!("released from {} by {who}: {reason}", reasons.join(", ")));
    let mut timeline = vec![TimelineEntry { detail: json!({ "released": order.holds }), ..operator }];
    let mut after = Order { updated_at: now, ..order.clone() };
    holds::lift(&mut after);
    timeline.push(entry(TimelineKind::Transition, format!("order held -> {}", after.state)));
    let events = announce_release(&mut after, &order.holds, sent, now);
    let payment = after.payments.first().expect("an order without payments is not released").clone();
    ReleaseStep::Release(Change { order: after, payment, events }, timeline)
}

/// Returns true if the merchant still has money of a payment, as far as we know.
fn holds_money(payment: &Payment) -> bool {
    matches!(payment.state, PaymentState::Paid | PaymentState::PartlyRefunded)
}

/// Records that the rest of a payment's money went back, on a person's word: the provider does not say so, or says that
/// it never came. Captured money stays captured; it is refunded.
fn record_returned(order: &Order, payment: &Payment, who: &str, now: Timestamp) -> (Change, String) {
    let back = Money::new(payment.captured_minor.saturating_sub(payment.refunded_minor), payment.currency);
    let text = format!("{who} records that {back} of {} went back: payment {} -> refunded", payment.key, payment.state);
    let payment = Payment {
        state: PaymentState::Refunded,
        refunded_minor: payment.captured_minor.max(payment.refunded_minor),
        ..payment.clone()
    };
    let mut order = Order { updated_at: now, ..order.clone() };
    holds::book(&mut order, &payment);
    (Change { order, payment, events: Vec::new() }, text)
}

#[cfg(test)]
mod tests {
    use payhook_schema::{Event, EventType, HoldReason, PaymentFacts};
    use payhook_store::SentBefore;
    use uuid::Uuid;

    use super::*;
    use crate::money::decide::tests::{answers_with_events, at, facts, key, order, paid, thb};

    /// An order, and everything fulfilment was sent about it.
    struct HeldOrder {
        order: Order,
        sent: Vec<Event>,
        /// The same as the store has it.
        stored: OrderEvents,
    }

    impl HeldOrder {
        fn new(payments: &[&str]) -> Self {
            let stored = OrderEvents { deleted: None, events: Vec::new() };
            Self { order: order(payments), sent: Vec::new(), stored }
        }

        fn answers(&mut self, id: &str, facts: &PaymentFacts) -> Vec<EventType> {
            let (_, events) = answers_with_events(&mut self.order, id, facts);
            let types = events.iter().map(|event| event.event_type).collect();
            self.sends(events);
            types
        }

        fn sends(&mut self, events: Vec<Event>) {
            self.sent.extend(events.iter().cloned());
            self.stored.events.extend(events);
        }

        /// Deletes the events, as retention does while an order is not held.
        fn grows_old(&mut self) {
            let Order { state, captured_minor, refunded_minor, .. } = self.order;
            if state != OrderState::Held {
                let deleted = Some(SentBefore { state, captured_minor, refunded_minor });
                self.stored = OrderEvents { deleted, events: Vec::new() };
            }
        }

        fn request(&self, returned: &[&str]) -> Release {
            Release {
                id: Uuid::from_u128(1),
                order: self.order.id.clone(),
                version: self.order.version,
                holds: self.order.holds.clone(),
                returned: returned.iter().map(|id| key(id)).collect(),
                who: "ann".to_owned(),
                reason: "checked by hand".to_owned(),
                at: at(50),
            }
        }

        /// Releases what is open, as a worker does; returns the events.
        fn released(&mut self, returned: &[&str]) -> Vec<EventType> {
            let request = self.request(returned);
            loop {
                match step(&self.order, &request, &self.stored, at(50)) {
                    ReleaseStep::Record(change, entry) => {
                        assert!(entry.text.contains("ann records"), "{}", entry.text);
                        assert_eq!((change.order.state, change.events.len()), (payhook_schema::OrderState::Held, 0));
                        self.order = change.order;
                    }
                    ReleaseStep::Release(change, timeline) => {
                        assert!(timeline[0].text.contains("ann: checked by hand"), "{}", timeline[0].text);
                        assert_eq!(change.order.version - self.order.version, change.events.len() as i64);
                        assert!(
                            matches!(step(&change.order, &request, &self.stored, at(51)), ReleaseStep::Done),
                            "it came twice"
                        );
                        self.order = change.order;
                        let types = change.events.iter().map(|event| event.event_type).collect();
                        self.sends(change.events);
                        return types;
                    }
                    ReleaseStep::TooLate(entry) => panic!("{}", entry.text),
                    ReleaseStep::Done => panic!("nothing was open"),
                }
            }
        }
    }

    fn short(captured: i64) -> PaymentFacts {
        PaymentFacts { amount: Some(thb(captured)), captured_minor: captured, ..paid() }
    }

    fn refunded(captured: i64, back: i64) -> PaymentFacts {
        let state = if back < captured { PaymentState::PartlyRefunded } else { PaymentState::Refunded };
        PaymentFacts { amount: Some(thb(captured)), ..facts(state, captured, back) }
    }

    fn cancelled() -> PaymentFacts {
        facts(PaymentState::Cancelled, 0, 0)
    }

    use EventType::{OrderAuthorized, OrderHeld, OrderPaid, OrderRefunded, OrderReleased};
    use payhook_schema::OrderState;

    #[test]
    fn every_row_of_what_a_release_says_to_fulfilment() {
        // The events sent before and the present truth; the answers that led there; the payments recorded as returned;
        // the order's state; the events.
        type Row<'a> = (&'a str, &'a [(&'a str, PaymentFacts)], &'a [&'a str], OrderState, &'a [EventType]);
        let authorized = |amount| PaymentFacts { amount: Some(thb(amount)), ..facts(PaymentState::Authorized, 0, 0) };
        let rows: &[Row<'_>] = &[
            ("nothing, paid", &[("P1", short(9_900))], &[], OrderState::Paid, &[OrderPaid]),
            ("nothing, authorized", &[("P1", authorized(9_900))], &[], OrderState::Authorized, &[OrderAuthorized]),
            (
                "nothing, partly refunded",
                &[("P1", short(9_900)), ("P1", refunded(9_900, 900))],
                &[],
                OrderState::PartlyRefunded,
                &[OrderPaid, OrderRefunded],
            ),
            (
                "nothing, refunded",
                &[("P1", short(9_900)), ("P1", refunded(9_900, 9_900))],
                &[],
                OrderState::Refunded,
                &[OrderPaid, OrderRefunded],
            ),
            (
                "nothing, the wrong payment refunded and the right one paid",
                &[("P1", short(9_900)), ("P2", paid()), ("P1", refunded(9_900, 9_900))],
                &[],
                OrderState::Paid,
                &[OrderPaid],
            ),
            (
                "authorized, authorized",
                &[("P1", authorized(12_000)), ("P2", authorized(1))],
                &[],
                OrderState::Authorized,
                &[],
            ),
            (
                "authorized, paid",
                &[("P1", authorized(12_000)), ("P1", facts(PaymentState::Paid, 6_000, 0))],
                &[],
                OrderState::Paid,
                &[OrderPaid],
            ),
            ("paid, paid twice", &[("P1", paid()), ("P2", paid())], &[], OrderState::Paid, &[]),
            (
                "paid, the first of two went back",
                &[("P1", paid()), ("P2", paid()), ("P1", refunded(12_000, 12_000))],
                &[],
                OrderState::Paid,
                &[],
            ),
            (
                "paid, the second of two went back in part",
                &[("P1", paid()), ("P2", paid()), ("P2", refunded(12_000, 5_000))],
                &[],
                OrderState::PartlyRefunded,
                &[OrderRefunded],
            ),
            (
                "paid, both went back",
                &[("P1", paid()), ("P2", paid()), ("P1", refunded(12_000, 12_000)), ("P2", refunded(12_000, 12_000))],
                &[],
                OrderState::Refunded,
                &[OrderRefunded],
            ),
            (
                "paid, taken back by the provider and not believed",
                &[("P1", paid()), ("P1", cancelled())],
                &[],
                OrderState::Paid,
                &[],
            ),
            (
                "paid, taken back by the provider and recorded",
                &[("P1", paid()), ("P1", cancelled())],
                &["P1"],
                OrderState::Refunded,
                &[OrderRefunded],
            ),
            (
                "paid, and the second payment returned in cash",
                &[("P1", paid()), ("P2", paid())],
                &["P2"],
                OrderState::Paid,
                &[],
            ),
            (
                "refunded, paid again",
                &[("P1", paid()), ("P1", refunded(12_000, 12_000)), ("P2", short(9_900))],
                &[],
                OrderState::Paid,
                &[OrderPaid],
            ),
            (
                "refunded, more went back than was captured",
                &[
                    ("P1", paid()),
                    ("P1", refunded(12_000, 12_000)),
                    ("P1", facts(PaymentState::Refunded, 12_000, 13_000)),
                ],
                &[],
                OrderState::Refunded,
                &[OrderRefunded],
            ),
        ];
        let twice = rows.iter().flat_map(|row| [(row, false), (row, true)]);
        for ((row, answers, returned, state, missed), events_end) in twice {
            let mut held = HeldOrder::new(&["P1", "P2"]);
            for (id, facts) in *answers {
                held.answers(id, facts);
                if events_end {
                    held.grows_old();
                }
            }
            assert_eq!(held.order.state, OrderState::Held, "{row}");
            let events = held.released(returned);
            assert_eq!(events, [&[OrderReleased], *missed].concat(), "{row}");
            assert_eq!((held.order.state, &held.order.holds[..]), (*state, &[][..]), "{row}");
            let count = |wanted| held.sent.iter().filter(|event| event.event_type == wanted).count();
            let again = usize::from(row.starts_with("refunded, paid"));
            assert!(count(OrderPaid) <= 1 + again, "{row}");
            let versions: Vec<i64> = held.sent.iter().map(Event::version).collect();
            assert_eq!(versions, (1..=held.order.version).collect::<Vec<_>>(), "{row}");
        }
    }

    #[test]
    fn objections_accumulate_and_one_release_lifts_all_that_were_open() {
        let mut held = HeldOrder::new(&["P1", "P2"]);
        assert_eq!(held.answers("P1", &short(9_900)), [OrderHeld]);
        let looked_at = held.request(&[]);
        assert_eq!(held.answers("P2", &paid()), [OrderHeld], "the second objection is a new event and a new version");
        let reasons: Vec<HoldReason> = held.order.holds.iter().map(|hold| hold.reason).collect();
        assert_eq!(reasons, [HoldReason::AmountMismatch, HoldReason::DoublePayment]);
        let last = held.sent.last().and_then(Event::order).unwrap();
        assert_eq!((last.reason.as_deref(), last.holds.len(), last.version), (Some("double_payment"), 2, 2));

        let ReleaseStep::TooLate(entry) = step(&held.order, &looked_at, &held.stored, at(60)) else {
            panic!("it is too late")
        };
        assert!(entry.text.contains("looked at version 1, the order is at version 2"), "{}", entry.text);
        assert_eq!(held.released(&[]), [OrderReleased, OrderPaid]);
        assert_eq!(held.order.released.len(), 2);
    }

    #[test]
    fn a_released_objection_is_not_raised_again_and_a_new_fact_is() {
        let mut held = HeldOrder::new(&["P1"]);
        held.answers("P1", &short(9_900));
        held.released(&[]);
        assert_eq!(held.answers("P1", &short(9_900)), []);
        assert_eq!(held.answers("P1", &refunded(9_900, 900)), [OrderRefunded]);
        assert_eq!(held.answers("P1", &cancelled()), [OrderHeld]);
        assert_eq!(held.answers("P1", &cancelled()), [], "the same contradiction is open already");
        held.released(&[]);
        assert_eq!(held.answers("P1", &cancelled()), [], "and is not raised again once it was released");
        assert_eq!(held.answers("P1", &refunded(9_900, 10_000)), [OrderHeld]);
    }

    #[test]
    fn money_that_went_back_on_a_persons_word_is_not_objected_to_again() {
        let mut held = HeldOrder::new(&["P1"]);
        held.answers("P1", &paid());
        held.answers("P1", &cancelled());
        held.released(&["P1"]);
        assert_eq!((held.order.captured_minor, held.order.refunded_minor), (12_000, 12_000));
        for answer in [cancelled(), paid(), refunded(12_000, 12_000)] {
            assert_eq!(held.answers("P1", &answer), []);
            assert_eq!(held.order.state, OrderState::Refunded);
        }
    }
}
