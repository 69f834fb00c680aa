//! The dispute of a charge.

use jiff::Timestamp;
use payhook_schema::{DisputeId, PaymentId};

use super::Omise;
use super::charge::{OmiseCharge, OmiseStatus};
use crate::SimulatorError;
use crate::ids::Ids;

/// The state of a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OmiseDispute {
    /// The merchant has to answer.
    Open,
    /// Answered; the bank judges.
    Pending,
    Won,
    Lost,
}

impl OmiseDispute {
    /// As Omise spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    fn is_over(self) -> bool {
        matches!(self, Self::Won | Self::Lost)
    }
}

/// A charge has one dispute at most here.
#[derive(Clone)]
pub(crate) struct ChargeDispute {
    pub(crate) id: String,
    pub(crate) status: OmiseDispute,
    pub(crate) minor: i64,
    /// Taken from the merchant as it opens, as test mode shows it.
    pub(crate) transaction: String,
    pub(crate) at: Timestamp,
    pub(crate) closed_at: Option<Timestamp>,
}

impl OmiseCharge {
    /// Answers with the dispute's id.
    fn open_dispute(&mut self, ids: &Ids, now: Timestamp) -> Result<String, SimulatorError> {
        self.only_from("be disputed", &OmiseStatus::Successful)?;
        if self.dispute.is_some() || !self.is_card() {
            let why = if self.is_card() { "has been disputed already" } else { "was not paid by card" };
            return Err(SimulatorError::NotPossible(format!("charge `{}` {why}", self.id)));
        }
        let opened = self.disputed(OmiseDispute::Open, ids, now);
        Ok(self.dispute.insert(opened).id.clone())
    }

    /// A dispute of all that is left of this charge.
    pub(super) fn disputed(&self, status: OmiseDispute, ids: &Ids, now: Timestamp) -> ChargeDispute {
        ChargeDispute {
            id: self.id.as_str().replacen("chrg", "dspt", 1),
            status,
            minor: self.captured_minor - self.refunded_minor(),
            transaction: ids.omise("trxn", now),
            at: now,
            closed_at: status.is_over().then_some(now),
        }
    }

    fn move_dispute(&mut self, to: OmiseDispute, now: Timestamp) -> Result<(), SimulatorError> {
        let id = &self.id;
        match &mut self.dispute {
            Some(dispute) if !dispute.status.is_over() => {
                dispute.status = to;
                dispute.closed_at = to.is_over().then_some(now);
                Ok(())
            }
            Some(dispute) => {
                let over = dispute.status.word();
                Err(SimulatorError::NotPossible(format!("the dispute of charge `{id}` is over: {over}")))
            }
            None => Err(SimulatorError::NotPossible(format!("charge `{id}` is not disputed"))),
        }
    }
}

/// Disputes.
impl Omise {
    /// The customer disputes the charge: `dispute.create`. Answers with the dispute's id.
    pub fn dispute(&self, charge: &PaymentId) -> Result<DisputeId, SimulatorError> {
        let id =
            self.change(charge, "dispute.create", |it, shared| it.open_dispute(&shared.ids, shared.clock.now()))?;
        Ok(DisputeId::new(id).expect("made of a charge's id"))
    }

    /// The merchant sent evidence: `dispute.update`, and the bank judges.
    pub fn update_dispute(&self, charge: &PaymentId) -> Result<(), SimulatorError> {
        self.change(charge, "dispute.update", |it, shared| it.move_dispute(OmiseDispute::Pending, shared.clock.now()))
    }

    /// The merchant gives in: `dispute.accept`. It is lost once it is closed.
    pub fn accept_dispute(&self, charge: &PaymentId) -> Result<(), SimulatorError> {
        self.change(charge, "dispute.accept", |it, shared| it.move_dispute(OmiseDispute::Pending, shared.clock.now()))
    }

    /// It is over, `Won` or `Lost`: `dispute.close`.
    pub fn close_dispute(&self, charge: &PaymentId, judged: OmiseDispute) -> Result<(), SimulatorError> {
        if !judged.is_over() {
            return Err(SimulatorError::NotPossible("a dispute is closed as won or lost".to_owned()));
        }
        self.change(charge, "dispute.close", |it, shared| it.move_dispute(judged, shared.clock.now()))
    }
}
