use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Money, PaymentState};

/// What the provider answered when asked about one payment, in our terms. The only thing that changes a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentFacts {
    pub state: PaymentState,
    /// What the payment was made for, as the provider has it: compared with the registered order. Always there once money
    /// was authorized or taken.
    pub amount: Option<Money>,
    /// Money taken so far, in `amount`'s currency. 0 until the payment is paid.
    pub captured_minor: i64,
    /// Money given back so far, in `amount`'s currency.
    pub refunded_minor: i64,
    /// The provider's own second name for it: Antom's `paymentId`, Omise's `transaction`.
    pub provider_reference: Option<String>,
    /// The provider's word for why a payment failed, as it spells it.
    pub reason: Option<String>,
    /// When it happened, by the provider's clock; absent when the answer does not say.
    pub occurred_at: Option<Timestamp>,
    /// When an unfinished payment lapses, by the provider's clock.
    pub expires_at: Option<Timestamp>,
    /// When we asked, by our clock, before the request left.
    pub asked_at: Timestamp,
    /// The deciding fields of the answer in the provider's own words, for the timeline. No personal data.
    pub answer: String,
}
