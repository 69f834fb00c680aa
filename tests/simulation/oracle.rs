//! The truth at the providers, and what must follow from it for every order, whatever happened in between.

use std::collections::BTreeMap;

use payhook_schema::*;

use crate::world::SimulatedWorld;

/// An order as the merchant has it.
pub(crate) struct OrderTruth {
    pub(crate) id: OrderId,
    pub(crate) amount: Money,
    pub(crate) registered: bool,
}

/// A provider's answer about a payment at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PaymentStateTruth {
    pub(crate) state: PaymentState,
    pub(crate) captured_minor: i64,
    pub(crate) refunded_minor: i64,
}

/// A payment as its provider has it, from the beginning.
pub(crate) struct PaymentTruth {
    pub(crate) key: PaymentKey,
    pub(crate) amount: Money,
    pub(crate) order: usize,
    pub(crate) registered: bool,
    pub(crate) history: Vec<PaymentStateTruth>,
    pub(crate) refunds: Vec<RefundId>,
    pub(crate) announced: Vec<RefundId>,
    /// The event of the last notification, in Omise's words.
    pub(crate) event: &'static str,
    pub(crate) to_capture: i64,
    /// Its money was notified under another of our accounts.
    pub(crate) elsewhere: bool,
    /// Its refunds contradict each other: how much went back is anybody's guess, and this objection must name it.
    pub(crate) odd: Option<HoldReason>,
}

impl PaymentTruth {
    pub(crate) fn now(&self) -> PaymentStateTruth {
        *self.history.last().expect("it began with something")
    }

    fn ever_took_money(&self) -> bool {
        self.history.iter().any(|said| said.state.took_money())
    }

    /// Its provider took back what it had said about money.
    pub(crate) fn is_contradicted(&self) -> bool {
        self.ever_took_money() && !self.now().state.took_money()
    }

    /// Returns true if the store has the truth. If the provider took its word back, money that was seen stays, under an
    /// objection.
    pub(crate) fn is_as_stored(&self, stored: &Payment, objections: &RaisedHolds) -> bool {
        let Payment { state, captured_minor, refunded_minor, .. } = *stored;
        let is = |said: &PaymentStateTruth| *said == PaymentStateTruth { state, captured_minor, refunded_minor };
        let objected = || objections.all().any(|it| it.names(HoldReason::ImpossibleTransition, &self.key));
        // The operator recorded that the money went back.
        let returned = state == PaymentState::Refunded && captured_minor == refunded_minor;
        let was = self.history.iter().any(is);
        let seen_before = match self.now().state.took_money() {
            true => false,
            // Of two that end without money, the first that was seen stands.
            false if !state.took_money() => was && state.is_final(),
            false => self.is_contradicted() && objected() && (was || returned),
        };
        let odd = self.odd.is_some_and(|reason| objections.all().any(|it| it.names(reason, &self.key)));
        is(&self.now()) || seen_before || odd
    }
}

pub(crate) struct RaisedHold {
    reason: HoldReason,
    detail: String,
}

impl RaisedHold {
    fn names(&self, reason: HoldReason, payment: &PaymentKey) -> bool {
        // Whole: `PR-1` is no part of `PR-12`.
        let mut words = self.detail.split(|char: char| !char.is_ascii_alphanumeric() && !"-_".contains(char));
        self.reason == reason && words.any(|word| word == payment.id.as_str())
    }
}

impl From<&Hold> for RaisedHold {
    fn from(hold: &Hold) -> Self {
        Self { reason: hold.reason, detail: hold.detail.clone() }
    }
}

/// The objections to an order.
pub(crate) struct RaisedHolds {
    open: Vec<RaisedHold>,
    released: Vec<RaisedHold>,
}

impl RaisedHolds {
    pub(crate) fn open_names(&self, reason: HoldReason, payment: &PaymentKey) -> bool {
        self.open.iter().any(|it| it.names(reason, payment))
    }

    fn all(&self) -> impl Iterator<Item = &RaisedHold> {
        self.open.iter().chain(&self.released)
    }
}

pub(crate) fn objections(order: &Order) -> RaisedHolds {
    let [open, released] = [&order.holds, &order.released].map(|holds| holds.iter().map(RaisedHold::from).collect());
    RaisedHolds { open, released }
}

/// Everything that is not as it must be.
pub(crate) async fn check(world: &SimulatedWorld) -> Vec<String> {
    let mut wrong = Vec::new();
    let feed = world.look(async |store| store.events_after(0, 10_000).await).await;
    for (number, truth) in world.orders.iter().enumerate().filter(|(_, truth)| truth.registered) {
        let Some(order) = world.order(&truth.id).await else {
            wrong.push(format!("{}: it is registered and not there", truth.id));
            continue;
        };
        let timeline = world.look(async |store| store.order_timeline(&truth.id).await).await;
        let events = world.look(async |store| store.events_of(&truth.id).await).await.events;
        let payments = world.payments.iter().filter(|it| it.order == number && it.registered).collect();
        let checked = CheckedOrder { truth, payments, objections: objections(&order), order, events };
        let sent = feed.iter().filter(|event| event.event.subject == truth.id.as_str()).count();
        let mut found = Vec::new();
        checked.money(&mut found);
        checked.rules(&mut found);
        checked.fulfilment(sent, &mut found);
        if !found.is_empty() {
            let history = timeline.iter().map(|entry| format!("    {} {} {}", entry.at, entry.kind, entry.text));
            let truths = checked.payments.iter().map(|it| format!("    {} {}: {:?}", it.key, it.amount, it.history));
            found.extend(truths.chain(history));
        }
        wrong.extend(found.into_iter().map(|what| format!("{}: {what}", truth.id)));
    }
    world.check_consents(&mut wrong).await;
    wrong
}

struct CheckedOrder<'a> {
    truth: &'a OrderTruth,
    order: Order,
    payments: Vec<&'a PaymentTruth>,
    objections: RaisedHolds,
    events: Vec<Event>,
}

impl CheckedOrder<'_> {
    /// States and amounts are what the provider says.
    fn money(&self, wrong: &mut Vec<String>) {
        for truth in &self.payments {
            let Some(stored) = self.order.payment(&truth.key) else {
                wrong.push(format!("payment {} was registered and is not there", truth.key));
                continue;
            };
            if !truth.is_as_stored(stored, &self.objections) {
                let stored = (stored.state, stored.captured_minor, stored.refunded_minor, stored.next_check_at);
                wrong.push(format!("payment {} is {:?} and stored as {stored:?}", truth.key, truth.now()));
            }
        }
        let of_currency = || self.order.payments.iter().filter(|it| it.currency == self.truth.amount.currency);
        let captured: i64 = of_currency().map(|it| it.captured_minor).sum();
        let refunded: i64 = of_currency().map(|it| it.refunded_minor).sum();
        if (captured, refunded) != (self.order.captured_minor, self.order.refunded_minor) {
            wrong.push(format!("captured {captured} and refunded {refunded} is told otherwise by the order"));
        }
        let any = |state| self.order.payments.iter().any(|payment| payment.state == state);
        let state = match () {
            () if !self.objections.open.is_empty() => OrderState::Held,
            () if any(PaymentState::PartlyRefunded) => OrderState::PartlyRefunded,
            () if any(PaymentState::Paid) => OrderState::Paid,
            () if any(PaymentState::Authorized) => OrderState::Authorized,
            () if any(PaymentState::Refunded) => OrderState::Refunded,
            () => OrderState::Pending,
        };
        if self.order.state != state {
            wrong.push(format!("the order is {} and must be {state}", self.order.state));
        }
    }

    /// Each violated rule is an objection that names the payment, and each objection has a reason in what happened.
    fn rules(&self, wrong: &mut Vec<String>) {
        let mut needed = Vec::new();
        for truth in &self.payments {
            needed.extend(truth.odd);
            if truth.now().state.took_money() {
                let is_other = |difference: bool, reason| Some(reason).filter(|_| difference);
                let amount = truth.amount.currency == self.truth.amount.currency
                    && truth.now().captured_minor != self.truth.amount.amount_minor;
                let currency = truth.amount.currency != self.truth.amount.currency;
                needed.extend(is_other(currency, HoldReason::CurrencyMismatch));
                needed.extend(is_other(amount, HoldReason::AmountMismatch));
                needed.extend(is_other(truth.elsewhere, HoldReason::AccountMismatch));
            }
            for reason in needed.drain(..) {
                if !self.objections.all().any(|it| it.names(reason, &truth.key)) {
                    wrong.push(format!("no objection `{reason}` names {}", truth.key));
                }
            }
        }
        let holds_money =
            |it: &&&PaymentTruth| matches!(it.now().state, PaymentState::Paid | PaymentState::PartlyRefunded);
        let paid_by: Vec<_> = self.payments.iter().filter(holds_money).map(|it| it.key.to_string()).collect();
        let double = |it: &RaisedHold| it.reason == HoldReason::DoublePayment;
        if paid_by.len() > 1 && !self.objections.all().any(double) {
            wrong.push(format!("no objection `double_payment`, and it is paid by {}", paid_by.join(" and ")));
        }
        for objection in self.objections.all().filter(|objection| !self.is_justified(objection)) {
            wrong.push(format!("nothing happened to object to: {}: {}", objection.reason, objection.detail));
        }
        let mut announced: BTreeMap<String, usize> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.event_type == EventType::OrderHeld) {
            let reason = event.order().and_then(|data| data.reason.clone());
            *announced.entry(reason.unwrap_or_default()).or_default() += 1;
        }
        for &reason in HoldReason::ALL {
            let objected = self.objections.all().filter(|it| it.reason == reason).count();
            let announced = announced.get(reason.as_str()).copied().unwrap_or(0);
            if objected > announced {
                wrong.push(format!("{objected} objections `{reason}`, and {announced} events `order.held` name it"));
            }
        }
    }

    fn is_justified(&self, objection: &RaisedHold) -> bool {
        let mut named = self.payments.iter().filter(|it| objection.names(objection.reason, &it.key));
        let amount = self.truth.amount;
        match objection.reason {
            HoldReason::DoublePayment => self.payments.iter().filter(|it| it.ever_took_money()).count() > 1,
            HoldReason::CurrencyMismatch => named.any(|it| it.odd.is_some() || it.amount.currency != amount.currency),
            HoldReason::AmountMismatch => named.any(|it| {
                let other =
                    |said: &PaymentStateTruth| said.state.took_money() && said.captured_minor != amount.amount_minor;
                it.odd.is_some() || it.amount != amount || it.history.iter().any(other)
            }),
            HoldReason::AccountMismatch => named.any(|it| it.elsewhere),
            HoldReason::ImpossibleTransition => named.any(|it| it.odd.is_some() || it.is_contradicted()),
        }
    }

    /// Fulfilment sees gapless versions, ships once, and knows how it stands in the end.
    fn fulfilment(&self, sent: usize, wrong: &mut Vec<String>) {
        let versions: Vec<i64> = self.events.iter().map(Event::version).collect();
        if versions != (1..=self.order.version).collect::<Vec<_>>() {
            wrong.push(format!("events have the versions {versions:?}, and the order {}", self.order.version));
        }
        if sent != self.events.len() {
            wrong.push(format!("{sent} of {} events are in the feed", self.events.len()));
        }
        let mut shipped = false;
        for event in &self.events {
            let data = event.order().expect("events of orders");
            match event.event_type {
                EventType::OrderPaid if shipped => {
                    wrong.push(format!("`order.paid` again at version {}, and it was never refunded", data.version));
                }
                EventType::OrderPaid => shipped = true,
                // The amounts are of the order's own currency; the state knows of money in another one, too.
                EventType::OrderRefunded if data.state.is_some_and(is_paid) => {}
                EventType::OrderRefunded if data.refunded_minor >= data.captured_minor => shipped = false,
                _ => {}
            }
        }
        match self.order.state {
            OrderState::Paid | OrderState::PartlyRefunded if !shipped => {
                wrong.push("it is paid, and fulfilment does not know".to_owned());
            }
            OrderState::Refunded if shipped => wrong.push("it is refunded, and fulfilment does not know".to_owned()),
            _ => {}
        }
    }
}

fn is_paid(state: OrderState) -> bool {
    matches!(state, OrderState::Paid | OrderState::PartlyRefunded)
}
