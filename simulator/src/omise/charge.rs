//! A charge, its refunds, and what may become of both; every charge, and the events made of them.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{Money, PaymentId, Provider};

use super::dispute::{ChargeDispute, OmiseDispute};
use super::event::OmiseEvent;
use super::version::OmiseVersion;
use crate::SimulatorError;
use crate::ids::Ids;

/// The time a charge waits for its customer, as in Omise's test mode.
const LAPSES_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// "Refund API", docs.omise.co/refunds-api, read 2026-11-21; `docs/providers/omise.md#refunds`.
const REFUNDS_MAX: usize = 15;
/// The oldest events go first.
const EVENTS_KEPT: usize = 100_000;

/// The state of a charge: Omise's `status`, refined by its flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OmiseStatus {
    Pending,
    /// `pending`, and the money is held.
    Authorized,
    /// `successful` and paid, for what of it may have been refunded since.
    Successful,
    /// With Omise's code for why.
    Failed(String),
    Expired,
    Reversed,
}

/// A charge, as this Omise has it.
#[derive(Clone)]
pub(crate) struct OmiseCharge {
    pub(crate) id: PaymentId,
    pub(crate) amount: Money,
    /// The means of payment, such as `mobile_banking_kbank`; absent for a card.
    pub(crate) source: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) status: OmiseStatus,
    /// The time it reached its `status`.
    pub(crate) decided_at: Timestamp,
    /// Captured at once, or by hand.
    pub(crate) capture: bool,
    pub(crate) authorized_at: Option<Timestamp>,
    pub(crate) paid_at: Option<Timestamp>,
    pub(crate) captured_minor: i64,
    pub(crate) transaction: Option<String>,
    pub(crate) refunds: Vec<ChargeRefund>,
    pub(crate) dispute: Option<ChargeDispute>,
    /// The state that a lagging replica still shows.
    before: Option<Box<OmiseCharge>>,
    flaps: u64,
}

#[derive(Clone)]
pub(crate) struct ChargeRefund {
    pub(crate) id: String,
    pub(crate) transaction: String,
    pub(crate) minor: i64,
    pub(crate) voided: bool,
    /// Not yet given back: of no amount, and of a status nobody has seen at Omise.
    pub(crate) pending: bool,
    pub(crate) at: Timestamp,
}

impl OmiseCharge {
    pub(crate) fn new(id: &PaymentId, amount: Money, now: Timestamp) -> Self {
        Self {
            id: id.clone(),
            amount,
            source: None,
            description: None,
            created_at: now,
            expires_at: now.saturating_add(LAPSES_AFTER).expect("hours are a fixed length"),
            status: OmiseStatus::Pending,
            decided_at: now,
            capture: true,
            authorized_at: None,
            paid_at: None,
            captured_minor: 0,
            transaction: None,
            refunds: Vec::new(),
            dispute: None,
            before: None,
            flaps: 0,
        }
    }

    /// A charge in the state that `key` makes one think of.
    pub(crate) fn sample(
        key: &str,
        id: &PaymentId,
        amount: Money,
        ids: &Ids,
        now: Timestamp,
    ) -> Result<Self, SimulatorError> {
        let mut charge = Self::new(id, amount, now);
        match key {
            "charge.complete" | "charge.update" => charge.become_status(OmiseStatus::Successful, ids, now),
            "charge.capture" => {
                charge.become_status(OmiseStatus::Authorized, ids, now);
                charge.capture(amount.amount_minor, ids, now)?;
            }
            "charge.reverse" => charge.become_status(OmiseStatus::Reversed, ids, now),
            "charge.expire" => charge.become_status(OmiseStatus::Expired, ids, now),
            key if key.starts_with("dispute.") => charge.become_status(OmiseStatus::Successful, ids, now),
            key if key.starts_with("refund.") => {
                charge.become_status(OmiseStatus::Successful, ids, now);
                charge.refund(amount.amount_minor, ids, now)?;
            }
            _ => {}
        }
        charge.told(key, ids, now)
    }

    pub(super) fn is_card(&self) -> bool {
        self.source.is_none()
    }

    /// Neither mobile banking nor PromptPay can be paid back through Omise; `docs/providers/omise.md#methods`.
    pub(super) fn can_be_refunded(&self) -> bool {
        let source = self.source.as_deref().unwrap_or_default();
        let disputed = self.dispute.as_ref().is_some_and(|dispute| dispute.status != OmiseDispute::Won);
        !disputed && source != "promptpay" && !source.starts_with("mobile_banking_")
    }

    pub(crate) fn refunded_minor(&self) -> i64 {
        self.refunds.iter().filter(|refund| !refund.pending).map(|refund| refund.minor).sum()
    }

    pub(super) fn become_status(&mut self, status: OmiseStatus, ids: &Ids, now: Timestamp) {
        match status {
            OmiseStatus::Successful => {
                self.authorized_at.get_or_insert(now);
                self.paid_at.get_or_insert(now);
                if self.captured_minor == 0 {
                    self.captured_minor = self.amount.amount_minor;
                }
                self.transaction.get_or_insert_with(|| ids.omise("trxn", now));
            }
            // `authorized` stays true after a reversal.
            OmiseStatus::Authorized | OmiseStatus::Reversed => {
                self.capture = false;
                self.not_paid();
                self.authorized_at.get_or_insert(now);
            }
            OmiseStatus::Pending | OmiseStatus::Failed(_) | OmiseStatus::Expired => {
                self.not_paid();
                self.authorized_at = None;
            }
        }
        self.status = status;
        self.decided_at = now;
    }

    fn not_paid(&mut self) {
        (self.paid_at, self.captured_minor, self.transaction) = (None, 0, None);
        self.refunds.clear();
        self.dispute = None;
    }

    pub(super) fn capture(&mut self, minor: i64, ids: &Ids, now: Timestamp) -> Result<(), SimulatorError> {
        self.only_from("be captured", &OmiseStatus::Authorized)?;
        if minor <= 0 || minor > self.amount.amount_minor {
            let no = format!("{minor} cannot be captured of the {} authorized", self.amount.amount_minor);
            return Err(SimulatorError::NotPossible(no));
        }
        self.captured_minor = minor;
        self.become_status(OmiseStatus::Successful, ids, now);
        Ok(())
    }

    /// Answers with the refund's id.
    pub(super) fn refund(&mut self, minor: i64, ids: &Ids, now: Timestamp) -> Result<String, SimulatorError> {
        self.only_from("be refunded", &OmiseStatus::Successful)?;
        if !self.can_be_refunded() {
            let no =
                format!("charge `{}` cannot be refunded: it is disputed, or its source takes nothing back", self.id);
            return Err(SimulatorError::NotPossible(no));
        }
        let left = self.captured_minor - self.refunds.iter().map(|refund| refund.minor).sum::<i64>();
        if minor <= 0 || minor > left || self.refunds.len() == REFUNDS_MAX {
            let no = format!("{minor} cannot be refunded: {left} are left, after {} refunds", self.refunds.len());
            return Err(SimulatorError::NotPossible(no));
        }
        let voided = self.refunds.is_empty() && minor == left;
        let (id, transaction) = (ids.omise("rfnd", now), ids.omise("trxn", now));
        self.refunds.push(ChargeRefund { id: id.clone(), transaction, minor, voided, pending: false, at: now });
        Ok(id)
    }

    /// A refund that is begun and not yet given back.
    pub(super) fn begin_refund(&mut self, minor: i64, ids: &Ids, now: Timestamp) -> Result<String, SimulatorError> {
        let id = self.refund(minor, ids, now)?;
        let begun = self.refunds.last_mut().expect("just made");
        (begun.pending, begun.voided) = (true, false);
        Ok(id)
    }

    /// Completes the refunds that were begun.
    pub(super) fn settle_refunds(&mut self) -> Result<(), SimulatorError> {
        let mut begun = self.refunds.iter_mut().filter(|refund| refund.pending).peekable();
        if begun.peek().is_none() {
            return Err(SimulatorError::NotPossible(format!("charge `{}` has no refund that is pending", self.id)));
        }
        begun.for_each(|refund| refund.pending = false);
        Ok(())
    }

    pub(super) fn only_from(&self, verb: &str, from: &OmiseStatus) -> Result<(), SimulatorError> {
        match self.status == *from {
            true => Ok(()),
            false => Err(self.cannot(verb)),
        }
    }

    pub(super) fn unless_paid(&self, verb: &str) -> Result<(), SimulatorError> {
        match self.status {
            OmiseStatus::Successful => Err(self.cannot(verb)),
            _ => Ok(()),
        }
    }

    fn cannot(&self, verb: &str) -> SimulatorError {
        SimulatorError::NotPossible(format!("charge `{}` is {:?} and cannot {verb}", self.id, self.status))
    }

    pub(super) fn changed_from(&mut self, mut before: Self) {
        before.before = None;
        self.before = Some(Box::new(before));
    }

    /// The charge as every second answer of a lagging replica has it: the truth first.
    pub(super) fn flapping(&mut self) -> Self {
        self.flaps += 1;
        match &self.before {
            Some(before) if self.flaps.is_multiple_of(2) => (**before).clone(),
            _ => self.clone(),
        }
    }

    /// Itself, as an event of this key tells of it; a dispute that nobody opened is of all that is left.
    pub(super) fn told(mut self, key: &str, ids: &Ids, now: Timestamp) -> Result<Self, SimulatorError> {
        if key.starts_with("refund.") && self.refunds.is_empty() {
            return Err(SimulatorError::NotPossible(format!("charge `{}` has no refund to tell of", self.id)));
        }
        if key.starts_with("dispute.") && self.dispute.is_none() {
            let status = match key {
                "dispute.create" => OmiseDispute::Open,
                "dispute.close" => OmiseDispute::Lost,
                _ => OmiseDispute::Pending,
            };
            self.dispute = Some(self.disputed(status, ids, now));
        }
        Ok(self)
    }
}

/// Every charge, and the events made of them.
#[derive(Default)]
pub(crate) struct OmiseCharges {
    by_id: HashMap<String, OmiseCharge>,
    events: VecDeque<OmiseEvent>,
    /// The number of events dropped from the front, which is also the number of the first event kept.
    dropped: u64,
    /// The numbers of each charge's events, oldest first.
    events_of: HashMap<String, Vec<u64>>,
    /// The account's API version: what its events are written in, and answers to whoever names none.
    pub(super) version: OmiseVersion,
}

impl OmiseCharges {
    /// Inserts a charge. It replaces one of the same id, whose events stay in the list and are not sent again.
    pub(super) fn insert(&mut self, charge: OmiseCharge) {
        self.events_of.remove(charge.id.as_str());
        self.by_id.insert(charge.id.to_string(), charge);
    }

    pub(super) fn remove(&mut self, id: &PaymentId) {
        self.by_id.remove(id.as_str());
    }

    pub(super) fn find(&mut self, id: &str) -> Option<&mut OmiseCharge> {
        self.by_id.get_mut(id)
    }

    pub(super) fn get_mut(&mut self, id: &PaymentId) -> Result<&mut OmiseCharge, SimulatorError> {
        let unknown = || SimulatorError::NoSuchPayment { provider: Provider::Omise, id: id.clone() };
        self.by_id.get_mut(id.as_str()).ok_or_else(unknown)
    }

    pub(super) fn make_event(
        &mut self,
        ids: &Ids,
        key: &str,
        about: Option<&OmiseCharge>,
        now: Timestamp,
    ) -> &OmiseEvent {
        if self.events.len() == EVENTS_KEPT {
            self.drop_oldest();
        }
        let number = self.dropped + self.events.len() as u64;
        let mut about = about.cloned();
        if let Some(charge) = &mut about {
            charge.before = None;
            self.events_of.entry(charge.id.to_string()).or_default().push(number);
        }
        let (id, key) = (ids.omise("evnt", now), key.to_owned());
        self.events.push_back(OmiseEvent { id, key, created_at: now, about, version: self.version });
        self.events.back().expect("just pushed")
    }

    pub(super) fn event(&self, id: &str) -> Option<&OmiseEvent> {
        self.events.iter().rev().find(|event| event.id == id)
    }

    /// The events of one charge, oldest first.
    pub(super) fn events_of(&self, charge: &PaymentId) -> impl DoubleEndedIterator<Item = &OmiseEvent> {
        let numbers = self.events_of.get(charge.as_str()).into_iter().flatten();
        numbers.filter_map(|number| self.events.get((number - self.dropped) as usize))
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.events.pop_front() else { return };
        self.dropped += 1;
        let Some(charge) = oldest.about.map(|charge| charge.id.to_string()) else { return };
        if let Some(numbers) = self.events_of.get_mut(&charge) {
            numbers.retain(|number| *number >= self.dropped);
            if numbers.is_empty() {
                self.events_of.remove(&charge);
            }
        }
    }

    pub(super) fn events(&self) -> impl DoubleEndedIterator<Item = &OmiseEvent> + Clone {
        self.events.iter()
    }
}
