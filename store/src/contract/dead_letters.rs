use std::fmt;

use jiff::Timestamp;
use payhook_schema::{
    AccountName, DeadCause, DeadLetterState, Money, Notification, OrderId, OrderState, PaymentKey, Provider,
};
use uuid::Uuid;

/// A hint we gave up on, with everything needed to try it again.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Equal for deaths of the same fact: they are one letter.
    pub id: Uuid,
    pub cause: DeadCause,
    pub detail: String,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub payment: Option<PaymentKey>,
    /// Filled in by the store when it is read, where the payment is known by then.
    pub order: Option<OrderId>,
    /// Of all its deaths together.
    pub attempts: u32,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    /// The envelope's exact bytes.
    pub bytes: Vec<u8>,
    /// The notification inside, archived along with it; not read back.
    pub notification: Option<Notification>,
    /// Filled in by the store when it is read, like everything below.
    pub notification_id: Option<Uuid>,
    pub state: DeadLetterState,
    pub note: Option<String>,
    /// The state and amount of the order it is about, now.
    pub order_now: Option<(OrderState, Money)>,
}

/// Its bytes hold what a provider sent, and stay out of logs, whoever prints a letter.
impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.id)
            .field("cause", &self.cause)
            .field("detail", &self.detail)
            .field("provider", &self.provider)
            .field("account", &self.account)
            .field("payment", &self.payment)
            .field("order", &self.order)
            .field("attempts", &self.attempts)
            .field("first_failed_at", &self.first_failed_at)
            .field("last_failed_at", &self.last_failed_at)
            .field("bytes", &self.bytes.len())
            .field("notification_id", &self.notification_id)
            .field("state", &self.state)
            .field("note", &self.note)
            .field("order_now", &self.order_now)
            .finish_non_exhaustive()
    }
}

/// Dead letters of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterGroup {
    pub cause: DeadCause,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub count: u64,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    /// The amounts of the orders they are about, each order once, without those paid meanwhile; one sum for each
    /// currency.
    pub at_stake: Vec<Money>,
    /// Of how many the order is paid meanwhile.
    pub paid_meanwhile: u64,
}

/// The person who does something to many things at once, the time, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub who: String,
    pub reason: String,
    pub at: Timestamp,
}
