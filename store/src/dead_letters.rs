//! Dead letters: hints we gave up on, with everything needed to try them again.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{
    AccountName, DeadCause, DeadLetterState, Money, Notification, OrderId, OrderState, PaymentKey, Provider,
};
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Backend, read, write};

#[cfg(feature = "conformance")]
pub(crate) mod promises;
pub(crate) mod sql;

/// Stores dead letters until somebody does something about them.
///
/// - `a_dead_letter_is_stored_once_and_found_by_every_filter`
/// - `a_dead_letter_is_stored_whatever_is_in_it`
/// - `dead_letters_are_grouped_with_the_money_at_stake`
/// - `a_discarded_dead_letter_stays_and_is_marked`
/// - `a_note_stays_with_its_dead_letter`
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// Stores dead letters. A letter with a known id that did not fail later than the stored one changes nothing. A
    /// letter that did fail later died again: it is open, with its new failure and the attempts of both. Their
    /// notifications, if any, are archived with them.
    ///
    /// A letter can always be stored: a NUL character in its detail becomes U+FFFD, and a notification that cannot be
    /// archived is in the letter's bytes all the same.
    async fn dead_letter_keep(&self, letters: &[DeadLetter]) -> Result<(), StoreError>;

    /// Latest failure first; without their bytes.
    async fn dead_letter_list(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError>;

    /// Returns a dead letter with its exact bytes.
    async fn dead_letter_get(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError>;

    /// The open ones of `filter`, one entry for each cause, provider and account, the largest group first.
    async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>, StoreError>;

    /// Marks the open ones of `filter` as discarded, but for those in a replay still going on. Discarded letters stay
    /// in the store. Returns how many. An operator's entry is written to the timelines of their orders.
    async fn dead_letter_discard(&self, filter: &DeadLetterFilter, act: &Act) -> Result<u64, StoreError>;

    /// Puts a note on the letters of `filter`, in the place of an older one; an empty one takes it away. Returns how
    /// many.
    async fn dead_letter_note(&self, filter: &DeadLetterFilter, note: &str) -> Result<u64, StoreError>;
}

/// Selects dead letters, alike for all that is done to several at once: what is listed is what is noted or discarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Empty for any.
    pub ids: Vec<Uuid>,
    pub cause: Option<DeadCause>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub state: Option<DeadLetterState>,
    /// Last failed at or after.
    pub since: Option<Timestamp>,
    /// Only letters listed after this one.
    pub before: Option<Uuid>,
    /// Of more, the first of the list. Groups and replays take no heed of it: groups count all, a replay has its own.
    pub limit: u32,
}

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

#[async_trait]
impl<B: Backend> DeadLetters for B {
    async fn dead_letter_keep(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        write!(self, |on| sql::keep(on, letters))
    }

    async fn dead_letter_list(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        read!(self, |on| sql::list(on, filter))
    }

    async fn dead_letter_get(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
        read!(self, |on| sql::get(on, id))
    }

    async fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterGroup>, StoreError> {
        read!(self, |on| sql::groups(on, filter))
    }

    async fn dead_letter_discard(&self, filter: &DeadLetterFilter, act: &Act) -> Result<u64, StoreError> {
        write!(self, |on| sql::discard(on, filter, act))
    }

    async fn dead_letter_note(&self, filter: &DeadLetterFilter, note: &str) -> Result<u64, StoreError> {
        write!(self, |on| sql::note(on, filter, note))
    }
}
