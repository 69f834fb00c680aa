//! Refunds, captures and disputes of a payment.

use jiff::Timestamp;
use payhook_schema::{DisputeId, Money, PaymentId, RefundId};

use super::payment::{AntomDispute, AntomPayment};
use super::{Antom, AntomStatus, inquiry};
use crate::SimulatorError;

/// The result of a refund or a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AntomOutcome {
    Processing,
    Success,
    /// With a result code, as `PROCESS_FAIL`.
    Fail(String),
}

impl AntomOutcome {
    /// As `refundStatus` and `transactionStatus` spell it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Success => "SUCCESS",
            Self::Fail(_) => "FAIL",
        }
    }

    /// Reads [`Self::word`] in either case; `code` is why it failed.
    pub fn read(word: &str, code: Option<&str>) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_str() {
            "PROCESSING" => Self::Processing,
            "SUCCESS" => Self::Success,
            "FAIL" => Self::Fail(code.unwrap_or("PROCESS_FAIL").to_owned()),
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionType {
    Refund,
    Capture,
}

/// Money that moves after the payment: back, or in.
#[derive(Clone)]
pub(crate) struct Transaction {
    pub(crate) kind: TransactionType,
    /// Antom's id: `refundId` or `captureId`.
    pub(crate) antom_id: String,
    /// The merchant's id, or the dashboard's.
    pub(crate) request_id: String,
    pub(crate) amount: Money,
    pub(crate) outcome: AntomOutcome,
    /// The time of its latest outcome, `PROCESSING` included.
    pub(crate) at: Timestamp,
}

impl AntomPayment {
    /// Begins a refund or capture, of what is left.
    pub(crate) fn begin(
        &mut self,
        kind: TransactionType,
        request_id: String,
        antom_id: String,
        minor: i64,
        now: Timestamp,
    ) -> Result<(), SimulatorError> {
        let counts = |it: &&Transaction| !matches!(it.outcome, AntomOutcome::Fail(_));
        let moved: i64 = self.of_type(kind).filter(counts).map(|it| it.amount.amount_minor).sum();
        let of = if kind == TransactionType::Refund { self.captured_minor() } else { self.amount.amount_minor };
        let left = of - moved;
        if self.status != AntomStatus::Success || minor <= 0 || minor > left {
            let verb = if kind == TransactionType::Refund { "refunded" } else { "captured" };
            let no = format!("{minor} cannot be {verb}: the payment is {} with {left} left", self.status.word());
            return Err(SimulatorError::NotPossible(no));
        }
        self.about_to_change();
        let (amount, outcome) = (Money::new(minor, self.amount.currency), AntomOutcome::Processing);
        self.transactions.push(Transaction { kind, antom_id, request_id, amount, outcome, at: now });
        Ok(())
    }

    /// All of it, unless it is captured by hand.
    fn captured_minor(&self) -> i64 {
        let mut captures = self.of_type(TransactionType::Capture).peekable();
        match captures.peek() {
            None => self.amount.amount_minor,
            Some(_) => {
                let done = captures.filter(|it| it.outcome == AntomOutcome::Success);
                done.map(|it| it.amount.amount_minor).sum()
            }
        }
    }

    /// Gives a refund or capture an outcome, whatever it had.
    pub(crate) fn decide_transaction(&mut self, request_id: &str, outcome: AntomOutcome, now: Timestamp) {
        let found = |it: &Transaction| it.request_id == request_id && it.outcome != outcome;
        if let Some(index) = self.transactions.iter().position(found) {
            self.about_to_change();
            let transaction = &mut self.transactions[index];
            (transaction.outcome, transaction.at) = (outcome, now);
        }
    }
}

/// Refunds, captures and disputes.
impl Antom {
    /// Begins a refund: `PROCESSING`. The merchant's own and one made in the dashboard are the same to the API. The
    /// payment stays `SUCCESS`, as Antom's does. Answers with Antom's `refundId`.
    ///
    /// # Errors
    /// [`SimulatorError::NotPossible`]: more than is left of what was paid, or a refund of this name is there already.
    pub fn refund(&self, payment: &PaymentId, refund: &RefundId, amount_minor: i64) -> Result<String, SimulatorError> {
        let now = self.0.clock.now();
        let antom_id = self.0.ids.antom(now);
        let mut payments = self.0.payments();
        if payments.payment_of_refund(refund.as_str()).is_some() {
            return Err(SimulatorError::NotPossible(format!("Antom has a refund `{refund}` already")));
        }
        let found = payments.get_mut(payment)?;
        found.begin(TransactionType::Refund, refund.to_string(), antom_id.clone(), amount_minor, now)?;
        payments.refund_began(payment, refund.as_str(), &antom_id);
        Ok(antom_id)
    }

    /// A refund that succeeded at once, of any amount and currency: what a provider that contradicts itself would tell.
    pub fn refund_anything(&self, payment: &PaymentId, refund: &RefundId, amount: Money) -> Result<(), SimulatorError> {
        let now = self.0.clock.now();
        let antom_id = self.0.ids.antom(now);
        let mut payments = self.0.payments();
        let found = payments.get_mut(payment)?;
        found.about_to_change();
        found.transactions.push(Transaction {
            kind: TransactionType::Refund,
            antom_id: antom_id.clone(),
            request_id: refund.to_string(),
            amount,
            outcome: AntomOutcome::Success,
            at: now,
        });
        payments.refund_began(payment, refund.as_str(), &antom_id);
        Ok(())
    }

    /// Gives the refund an outcome, whatever it had.
    pub fn decide_refund(&self, refund: &RefundId, outcome: AntomOutcome) -> Result<(), SimulatorError> {
        let now = self.0.clock.now();
        let mut payments = self.0.payments();
        payments.refund(refund)?;
        let payment = payments.payment_of_refund(refund.as_str()).expect("it has just been found");
        payment.decide_transaction(refund.as_str(), outcome, now);
        Ok(())
    }

    /// The refund, as `inquiryRefund` answers it.
    pub fn refund_shown(&self, refund: &RefundId) -> Result<serde_json::Value, SimulatorError> {
        Ok(inquiry::refund(&self.0.payments().refund(refund)?, None))
    }

    /// Begins to capture all or part of a payment that waits for it: `PROCESSING`, among its transactions. The payment
    /// itself is `SUCCESS` from its authorization on. Answers with the `captureRequestId`.
    pub fn capture(&self, payment: &PaymentId, amount_minor: i64) -> Result<String, SimulatorError> {
        let now = self.0.clock.now();
        let antom_id = self.0.ids.antom(now);
        let mut payments = self.0.payments();
        let found = payments.get_mut(payment)?;
        let request_id = format!("CP-{payment}-{}", found.of_type(TransactionType::Capture).count() + 1);
        found.begin(TransactionType::Capture, request_id.clone(), antom_id, amount_minor, now)?;
        Ok(request_id)
    }

    /// Gives the payment's last capture an outcome, whatever it had.
    pub fn decide_capture(&self, payment: &PaymentId, outcome: AntomOutcome) -> Result<(), SimulatorError> {
        let now = self.0.clock.now();
        let mut payments = self.0.payments();
        let found = payments.get_mut(payment)?;
        let last = found.of_type(TransactionType::Capture).last().map(|capture| capture.request_id.clone());
        let none = || SimulatorError::NotPossible(format!("payment `{payment}` has no capture: begin one first"));
        found.decide_transaction(&last.ok_or_else(none)?, outcome, now);
        Ok(())
    }

    /// The customer disputes the payment, or part of it. Antom's API tells nothing of it; its notifications do.
    pub fn dispute(&self, payment: &PaymentId, dispute: &DisputeId, amount_minor: i64) -> Result<(), SimulatorError> {
        let at = self.0.clock.now();
        let mut payments = self.0.payments();
        let found = payments.get_mut(payment)?;
        let whole = found.amount;
        if amount_minor <= 0 || amount_minor > whole.amount_minor {
            let no = format!("{amount_minor} cannot be disputed of {}", whole.amount_minor);
            return Err(SimulatorError::NotPossible(no));
        }
        let amount = Money::new(amount_minor, whole.currency);
        found.disputes.push(AntomDispute { id: dispute.clone(), amount, at });
        Ok(())
    }
}
