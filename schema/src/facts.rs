//! Holds the provider's answer about one payment, and combines it with known refunds and disputes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Dispute, Money, PaymentState, Refund, RefundId, RefundState, refund};

/// The provider's answer about one payment, in our terms. The only thing that changes a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentFacts {
    pub state: PaymentState,
    /// The amount of the payment, as the provider has it: compared with the registered order. Always there once money
    /// was authorized or taken.
    pub amount: Option<Money>,
    /// Money taken so far, in `amount`'s currency. 0 until the payment is paid.
    pub captured_minor: i64,
    /// Money given back so far, in `amount`'s currency.
    pub refunded_minor: i64,
    /// Every refund in the provider's answers, whatever its state.
    pub refunds: Vec<Refund>,
    /// Every dispute in the provider's answers. They move no money of the order by themselves.
    pub disputes: Vec<Dispute>,
    /// The provider's own second name for it: Antom's `paymentId`, Omise's `transaction`.
    pub provider_reference: Option<String>,
    /// The provider's word for why a payment failed, as it spells it.
    pub reason: Option<String>,
    /// The time when it happened, by the provider's clock; absent when the answer does not say.
    pub occurred_at: Option<Timestamp>,
    /// The time when an unfinished payment lapses, by the provider's clock.
    pub expires_at: Option<Timestamp>,
    /// The time when we asked, by our clock, before the request left.
    pub asked_at: Timestamp,
    /// The deciding fields of the answer in the provider's own words, for the timeline. No personal data.
    pub answer: String,
}

impl PaymentFacts {
    /// These facts together with refunds known from elsewhere: what is paid less what went back is what decides the
    /// state.
    ///
    /// Antom's inquiry may leave refunds out, and its sum is then ours to make; Omise states the sum itself, and that
    /// one counts.
    #[must_use]
    pub fn with_refunds(mut self, known: &[Refund]) -> Self {
        self.refunds = refund::merge(known, &self.refunds, Refund::is_same, Refund::then);
        let Some(currency) = self.amount.map(|amount| amount.currency).filter(|_| self.state.took_money()) else {
            return self;
        };
        let done = refund::distinct(&self.refunds).filter(|refund| refund.state == RefundState::Succeeded);
        let amounts = done.filter_map(|refund| refund.amount).filter(|amount| amount.currency == currency);
        let sum = amounts.fold(0_i64, |sum, amount| sum.saturating_add(amount.amount_minor));
        self.refunded_minor = self.refunded_minor.max(sum);
        self.state = match self.refunded_minor {
            0 => PaymentState::Paid,
            part if part < self.captured_minor => PaymentState::PartlyRefunded,
            _ => PaymentState::Refunded,
        };
        self
    }

    /// These facts without refunds that are known to be of other payments: the sum is made anew. Only where the sum is
    /// ours to make.
    #[must_use]
    pub fn without_refunds(mut self, foreign: &[RefundId]) -> Self {
        self.refunds.retain(|refund| !foreign.contains(&refund.id));
        self.refunded_minor = 0;
        self.with_refunds(&[])
    }

    /// The disputes after this answer, of those that were known before.
    pub fn disputes_after(&self, known: &[Dispute]) -> Vec<Dispute> {
        refund::merge(known, &self.disputes, |left, right| left.id == right.id, Dispute::then)
    }
}
