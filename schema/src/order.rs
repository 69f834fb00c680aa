//! Describes orders, their payments, and their objections.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Currency, Dispute, HoldReason, Money, NewRefund, OrderId, OrderState, PaymentKey, PaymentState, Refund};

/// The most payments an order has: every answer about one of them reads all of them.
pub const PAYMENTS_MAX: usize = 100;

/// The time until a newly registered payment is first asked about on the schedule. Most customers have paid within a
/// minute, and their notification came long before: a payment that is asked about then is likely one whose notification
/// was lost.
pub const FIRST_CHECK_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// A merchant's registration of an order: the amount to be paid, and the payments that may pay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    pub id: OrderId,
    pub amount: Money,
    pub payments: Vec<PaymentKey>,
    /// Of payments named here or registered before.
    pub refunds: Vec<NewRefund>,
}

/// An objection: a reason why an order waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub reason: HoldReason,
    /// A sentence that names the payment, what was registered, and what the provider says. It is the objection's
    /// identity: another fact makes another sentence.
    pub detail: String,
    /// The time it was raised, by our clock.
    pub since: Timestamp,
}

impl Hold {
    /// Returns whether both object to the same fact, whenever they were raised.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.reason, &self.detail) == (other.reason, &other.detail)
    }
}

/// An order with all its payments, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub amount: Money,
    pub state: OrderState,
    /// Sum over its payments; never shrinks.
    pub captured_minor: i64,
    /// Sum over its payments; never shrinks.
    pub refunded_minor: i64,
    /// The number of events of this order: the `version` of the last one, 0 before the first.
    pub version: i64,
    /// The open objections, oldest first. The order is `held` while there is one.
    pub holds: Vec<Hold>,
    /// Objections that a person lifted, oldest first. None of them is raised again for the same fact.
    pub released: Vec<Hold>,
    /// Counts every write to the order or its payments: what a settlement was decided on must still be so when it is
    /// written.
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// In the order they were registered.
    pub payments: Vec<Payment>,
}

/// An attempt to pay an order, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub key: PaymentKey,
    pub state: PaymentState,
    /// The captured amount, in the currency of the capture. If that is not the order's currency, the order is held.
    pub captured_minor: i64,
    pub refunded_minor: i64,
    /// The currency the provider names; the order's until the provider was asked.
    pub currency: Currency,
    pub provider_reference: Option<String>,
    pub reason: Option<String>,
    /// The time of the last successful inquiry, by our clock.
    pub asked_at: Option<Timestamp>,
    /// The time it reached its current final state, by our clock: paid, or over without money. The late checks of a
    /// finished payment count from here.
    pub final_at: Option<Timestamp>,
    /// The time of the next scheduled check; absent after the last late check of a finished payment.
    pub next_check_at: Option<Timestamp>,
    /// Checks made since something was last new: how far along its schedule the payment is.
    pub checks: i32,
    /// In the order they became known.
    pub refunds: Vec<Refund>,
    /// In the order they became known.
    pub disputes: Vec<Dispute>,
    pub created_at: Timestamp,
}

impl Order {
    pub fn payment(&self, key: &PaymentKey) -> Option<&Payment> {
        self.payments.iter().find(|payment| payment.key == *key)
    }
}

impl Payment {
    /// Returns true if the provider's answer is expected to change: the payment is not final, a refund is on its way,
    /// or a dispute that its answers carry is not over. If the provider does not notify, payhook must ask again.
    pub fn is_unfinished(&self) -> bool {
        let refunding = self.refunds.iter().any(|refund| !refund.state.is_final());
        let disputed = self.disputes.iter().any(|dispute| !dispute.state.is_over());
        !self.state.is_final() || refunding || (disputed && self.key.provider.profile().has_disputes_in_answers)
    }
}
