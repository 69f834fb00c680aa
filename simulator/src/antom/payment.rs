use std::collections::HashMap;

use jiff::Timestamp;
use payhook_schema::{Money, PaymentId, Provider};

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

/// One payment, as this Antom has it.
#[derive(Clone)]
pub(crate) struct Payment {
    pub(crate) request_id: PaymentId,
    /// What Antom calls it: `paymentId`.
    pub(crate) antom_id: String,
    pub(crate) amount: Money,
    pub(crate) created_at: Timestamp,
    pub(crate) status: AntomStatus,
    /// When it became what it is.
    pub(crate) decided_at: Timestamp,
    pub(crate) refunds: Vec<Refund>,
    /// What a replica that lags still believes.
    before: Option<(AntomStatus, Timestamp)>,
    flaps: u64,
}

#[derive(Clone)]
pub(crate) struct Refund {
    pub(crate) antom_id: String,
    pub(crate) request_id: String,
    pub(crate) amount: Money,
    pub(crate) at: Timestamp,
}

impl Payment {
    pub(crate) fn new(id: &PaymentId, antom_id: String, amount: Money, now: Timestamp) -> Self {
        Self {
            request_id: id.clone(),
            antom_id,
            amount,
            created_at: now,
            status: AntomStatus::Processing,
            decided_at: now,
            refunds: Vec::new(),
            before: None,
            flaps: 0,
        }
    }

    pub(crate) fn decide(&mut self, status: AntomStatus, now: Timestamp) {
        // Decided again, it stays decided when it was.
        if self.status == status {
            return;
        }
        let was = std::mem::replace(&mut self.status, status);
        self.before = Some((was, self.decided_at));
        self.decided_at = now;
    }

    pub(crate) fn refund(&mut self, antom_id: String, minor: i64, now: Timestamp) -> Result<(), SimulatorError> {
        let given: i64 = self.refunds.iter().map(|refund| refund.amount.amount_minor).sum();
        let left = self.amount.amount_minor - given;
        if self.status != AntomStatus::Success || minor <= 0 || minor > left {
            let no = format!("{minor} cannot be refunded: the payment is {} with {left} left", self.status.word());
            return Err(SimulatorError::NotPossible(no));
        }
        let request_id = format!("RF-{}-{}", self.request_id, self.refunds.len() + 1);
        let amount = Money::new(minor, self.amount.currency);
        self.refunds.push(Refund { antom_id, request_id, amount, at: now });
        Ok(())
    }

    /// The payment as every second answer of a lagging replica has it: the truth first.
    pub(crate) fn flapping(&mut self) -> Self {
        self.flaps += 1;
        let mut told = self.clone();
        if self.flaps.is_multiple_of(2)
            && let Some((status, at)) = &self.before
        {
            (told.status, told.decided_at) = (status.clone(), *at);
        }
        told
    }
}

/// Every payment, found by either of its names.
#[derive(Default)]
pub(crate) struct Payments {
    by_request_id: HashMap<String, Payment>,
    request_ids: HashMap<String, String>,
}

impl Payments {
    pub(crate) fn insert(&mut self, payment: Payment) {
        self.remove(&payment.request_id);
        let request_id = payment.request_id.to_string();
        self.request_ids.insert(payment.antom_id.clone(), request_id.clone());
        self.by_request_id.insert(request_id, payment);
    }

    pub(crate) fn remove(&mut self, id: &PaymentId) {
        if let Some(payment) = self.by_request_id.remove(id.as_str()) {
            self.request_ids.remove(&payment.antom_id);
        }
    }

    pub(crate) fn get_mut(&mut self, id: &PaymentId) -> Result<&mut Payment, SimulatorError> {
        let unknown = || SimulatorError::NoSuchPayment { provider: Provider::Antom, id: id.clone() };
        self.by_request_id.get_mut(id.as_str()).ok_or_else(unknown)
    }

    /// As `inquiryPayment` looks it up: `paymentId` wins.
    pub(crate) fn find(&mut self, payment_id: Option<&str>, request_id: Option<&str>) -> Option<&mut Payment> {
        let request_id = match payment_id {
            Some(payment_id) => self.request_ids.get(payment_id)?.as_str(),
            None => request_id?,
        };
        self.by_request_id.get_mut(request_id)
    }
}
