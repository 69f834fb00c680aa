//! A payment, and every payment.

use std::collections::HashMap;

use jiff::Timestamp;
use payhook_schema::{DisputeId, Money, PaymentId, Provider, RefundId};

use super::transaction::{Transaction, TransactionType};
use crate::SimulatorError;

/// Antom's `paymentStatus`, with the code that says why where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AntomStatus {
    Processing,
    /// The customer has paid, Antom has not finished.
    Pending,
    Success,
    /// With a result code, as `RISK_REJECT`.
    Fail(String),
    Cancelled,
}

impl AntomStatus {
    /// As `inquiryPayment` spells it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Pending => "PENDING",
            Self::Success => "SUCCESS",
            Self::Fail(_) => "FAIL",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Reads [`Self::word`] in either case; `code` is why it failed.
    pub fn read(word: &str, code: Option<&str>) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_str() {
            "PROCESSING" => Self::Processing,
            "PENDING" => Self::Pending,
            "SUCCESS" => Self::Success,
            "FAIL" => Self::Fail(code.unwrap_or("PROCESS_FAIL").to_owned()),
            "CANCELLED" => Self::Cancelled,
            _ => return None,
        })
    }

    /// The payment's own result code and status, which tell nothing about the call that reports them.
    pub(crate) fn result(&self) -> (&str, &'static str) {
        match self {
            Self::Processing | Self::Pending => ("PAYMENT_IN_PROCESS", "U"),
            Self::Success => ("SUCCESS", "S"),
            Self::Fail(code) => (code, "F"),
            Self::Cancelled => ("ORDER_IS_CANCELED", "F"),
        }
    }
}

/// A payment, as this Antom has it.
#[derive(Clone)]
pub(crate) struct AntomPayment {
    pub(crate) request_id: PaymentId,
    /// Antom's id: `paymentId`.
    pub(crate) antom_id: String,
    pub(crate) amount: Money,
    pub(crate) created_at: Timestamp,
    pub(crate) status: AntomStatus,
    /// The time it reached its `status`.
    pub(crate) decided_at: Timestamp,
    /// Refunds and captures, in the order they began.
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) disputes: Vec<AntomDispute>,
    /// The state that a lagging replica still shows.
    before: Option<Box<AntomPayment>>,
    flaps: u64,
}

#[derive(Clone)]
pub(crate) struct AntomDispute {
    pub(crate) id: DisputeId,
    pub(crate) amount: Money,
    pub(crate) at: Timestamp,
}

impl AntomPayment {
    pub(crate) fn new(id: &PaymentId, antom_id: String, amount: Money, now: Timestamp) -> Self {
        Self {
            request_id: id.clone(),
            antom_id,
            amount,
            created_at: now,
            status: AntomStatus::Processing,
            decided_at: now,
            transactions: Vec::new(),
            disputes: Vec::new(),
            before: None,
            flaps: 0,
        }
    }

    pub(crate) fn decide(&mut self, status: AntomStatus, now: Timestamp) {
        // Decided again, it stays decided when it was.
        if self.status == status {
            return;
        }
        self.about_to_change();
        self.status = status;
        self.decided_at = now;
    }

    /// Keeps what was true until now, for a replica that lags.
    pub(super) fn about_to_change(&mut self) {
        let mut was = self.clone();
        was.before = None;
        self.before = Some(Box::new(was));
    }

    pub(super) fn of_type(&self, kind: TransactionType) -> impl DoubleEndedIterator<Item = &Transaction> {
        self.transactions.iter().filter(move |transaction| transaction.kind == kind)
    }

    pub(super) fn refund(&self, request_id: &str) -> Option<&Transaction> {
        self.of_type(TransactionType::Refund).find(|refund| refund.request_id == request_id)
    }

    /// The payment as every second answer of a lagging replica has it: the truth first.
    pub(crate) fn flapping(&mut self) -> Self {
        self.flaps += 1;
        match &self.before {
            Some(before) if self.flaps.is_multiple_of(2) => (**before).clone(),
            _ => self.clone(),
        }
    }
}

/// Every payment, found by either of its names, or by one of its refunds'.
#[derive(Default)]
pub(crate) struct AntomPayments {
    by_request_id: HashMap<String, AntomPayment>,
    request_ids: HashMap<String, String>,
    /// Of each refund, by the merchant's name for it: whose it is.
    refunded: HashMap<String, String>,
    /// The merchant's name of each refund, by Antom's.
    refund_request_ids: HashMap<String, String>,
}

impl AntomPayments {
    pub(crate) fn insert(&mut self, payment: AntomPayment) {
        self.remove(&payment.request_id);
        let request_id = payment.request_id.to_string();
        self.request_ids.insert(payment.antom_id.clone(), request_id.clone());
        self.by_request_id.insert(request_id, payment);
    }

    pub(crate) fn remove(&mut self, id: &PaymentId) {
        let Some(payment) = self.by_request_id.remove(id.as_str()) else { return };
        self.request_ids.remove(&payment.antom_id);
        for refund in payment.of_type(TransactionType::Refund) {
            self.refunded.remove(&refund.request_id);
            self.refund_request_ids.remove(&refund.antom_id);
        }
    }

    pub(crate) fn get_mut(&mut self, id: &PaymentId) -> Result<&mut AntomPayment, SimulatorError> {
        let unknown = || SimulatorError::NoSuchPayment { provider: Provider::Antom, id: id.clone() };
        self.by_request_id.get_mut(id.as_str()).ok_or_else(unknown)
    }

    /// As `inquiryPayment` looks it up: `paymentId` wins.
    pub(crate) fn find(&mut self, payment_id: Option<&str>, request_id: Option<&str>) -> Option<&mut AntomPayment> {
        let request_id = match payment_id {
            Some(payment_id) => self.request_ids.get(payment_id)?.as_str(),
            None => request_id?,
        };
        self.by_request_id.get_mut(request_id)
    }

    /// Writes down whose a new refund is.
    pub(super) fn refund_began(&mut self, id: &PaymentId, request_id: &str, antom_id: &str) {
        self.refunded.insert(request_id.to_owned(), id.to_string());
        self.refund_request_ids.insert(antom_id.to_owned(), request_id.to_owned());
    }

    /// A refund as it is now.
    pub(super) fn refund(&mut self, id: &RefundId) -> Result<Transaction, SimulatorError> {
        let payment = self.payment_of_refund(id.as_str());
        let unknown = || SimulatorError::Unknown(format!("the simulated Antom has no refund `{id}`: begin it first"));
        payment.and_then(|payment| payment.refund(id.as_str()).cloned()).ok_or_else(unknown)
    }

    pub(super) fn payment_of_refund(&mut self, request_id: &str) -> Option<&mut AntomPayment> {
        self.by_request_id.get_mut(self.refunded.get(request_id)?)
    }

    /// The merchant's name of a refund, as `inquiryRefund` looks it up: `refundId` wins.
    pub(super) fn refund_request_id(&self, refund_id: Option<&str>, request_id: Option<&str>) -> Option<String> {
        match refund_id {
            Some(refund_id) => self.refund_request_ids.get(refund_id).cloned(),
            None => request_id.map(str::to_owned),
        }
    }
}
