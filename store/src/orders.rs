//! Orders and their payments: registered, found, listed, and asked about on a schedule.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{AccountName, Money, NewOrder, Order, OrderId, OrderState, PaymentKey, Provider, RefundId};

use crate::StoreError;
use crate::db::{Backend, read, write};
use crate::timeline::{TIMELINE_PAGE, TimelineEntry, TimelinePage, TimelinePlace};

mod find;
#[cfg(feature = "conformance")]
pub(crate) mod promises;
#[cfg(feature = "conformance")]
pub(crate) mod refund_promises;
pub(crate) mod refunds;
mod register;
pub(crate) mod rows;
mod schedule;
#[cfg(feature = "conformance")]
pub(crate) mod schedule_promises;
pub(crate) mod sql;

/// Registers, finds and lists orders. [`crate::Settling`] writes the changes of payments.
///
/// - `registering_the_same_order_twice_changes_nothing`
/// - `registering_another_amount_is_a_conflict_and_changes_nothing`
/// - `attempts_can_be_added_to_a_registered_order`
/// - `a_payment_belongs_to_one_order`
/// - `an_order_has_a_hundred_payments_at_most`
/// - `registrations_of_one_order_at_once_all_succeed`
/// - `a_payment_is_found_by_its_key_and_under_another_account`
/// - `a_notification_before_its_order_is_linked_when_the_order_is_registered`
/// - `money_and_times_are_exact`
/// - `orders_are_listed_newest_first_in_pages_that_do_not_overlap`
/// - `an_orders_objections_are_read_back`
/// - `the_timeline_has_everything_oldest_first`
/// - `a_timeline_is_read_in_pages`
/// - `refunds_and_disputes_are_stored_with_their_payment`
/// - `an_announced_refund_makes_its_payment_due_at_once`
/// - `a_refund_belongs_to_one_payment`
/// - `a_payment_is_found_by_its_refund_and_by_its_providers_name_for_it`
/// - `payments_a_refund_may_be_of_are_found_newest_first`
/// - `a_refresh_makes_every_payment_due`
#[async_trait]
pub trait Orders: Send + Sync + 'static {
    /// Registers an order, or adds payments to it, with a `registered` entry in its timeline. Repeating is fine and
    /// changes nothing.
    ///
    /// A new payment's first check is due a minute later; at once where a notification about it came before. A payment
    /// with a newly announced refund is due at once, whatever its state, and archived notifications that name the
    /// refund are the payment's from then on.
    async fn order_register(&self, order: &NewOrder, now: Timestamp) -> Result<Registered, StoreError>;

    async fn order_get(&self, id: &OrderId) -> Result<Option<Order>, StoreError>;

    /// Newest first. A page after an order that does not exist is empty.
    async fn order_list(&self, filter: &OrderFilter) -> Result<Vec<Order>, StoreError>;

    /// Returns the history of an order, oldest first: the written entries, the archived notifications of its payments
    /// (`notification`), and its published events (`publish`). Up to `limit` entries after a place; what is written
    /// later with an earlier time is in its place.
    async fn order_timeline_page(
        &self,
        id: &OrderId,
        after: Option<TimelinePlace>,
        limit: u32,
    ) -> Result<TimelinePage, StoreError>;

    /// The whole of it, page by page.
    async fn order_timeline(&self, id: &OrderId) -> Result<Vec<TimelineEntry>, StoreError> {
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let page = self.order_timeline_page(id, after, TIMELINE_PAGE).await?;
            entries.extend(page.entries);
            after = page.next;
            if after.is_none() {
                return Ok(entries);
            }
        }
    }

    /// Has an order's payments checked at `at`, the final ones too; false if there is no such order.
    async fn order_refresh(&self, id: &OrderId, at: Timestamp) -> Result<bool, StoreError>;

    /// For each key, in the same order, the order it belongs to.
    async fn payments_find(&self, keys: &[PaymentKey]) -> Result<Vec<Found>, StoreError>;

    /// The payment a notification names without its id; none where we do not know of it. If several payments have one
    /// reference, none is returned: a name that is not unique names no payment. Only payments of a provider whose
    /// notifications name them so are found by it (`Profile::names_payments_by_reference`).
    async fn payment_named(&self, name: &PaymentName) -> Result<Option<PaymentKey>, StoreError>;

    /// The provider's payments under `account` that a refund of `amount` may be of, the last registered first: those
    /// that took money in its currency, have at least so much left that was not refunded, and are of orders not older
    /// than `since`.
    async fn payments_refundable(
        &self,
        provider: Provider,
        account: &AccountName,
        amount: Money,
        since: Timestamp,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<PaymentKey>, StoreError>;
}

/// Hands out payments that are to be asked about.
///
/// - `due_payments_are_handed_to_one_sweeper_at_a_time`
/// - `late_checks_are_due_apart_from_live_ones`
/// - `an_account_with_many_due_payments_leaves_room_for_the_others`
/// - `a_lease_of_a_clock_that_was_ahead_ends_within_its_length`
/// - `a_claim_of_a_clock_that_was_ahead_ends_within_its_length`
/// - `a_sweeper_whose_clock_is_ahead_hides_no_payment`
/// - `a_schedule_that_no_right_clock_wrote_is_due`
/// - `a_clock_that_went_back_brings_checks_forward`
#[async_trait]
pub trait CheckSchedule: Send + Sync + 'static {
    /// Takes up to `limit` unfinished payments whose `next_check_at` has come, each account's oldest first, and moves
    /// their `next_check_at` to `now + hold_for`, so that no other sweeper takes them meanwhile. Accounts share the
    /// limit evenly: one with many due payments leaves room for the others. Of an account in `at_most`, no more than so
    /// many are taken; of the others, as many as fit. Due are also payments that were asked about at a time yet to
    /// come, or that would wait for more than 25 hours: a wrong clock wrote that. If `now` is earlier than at an
    /// earlier call, all checks within a day come as much sooner, those of authorizations too.
    async fn payments_due(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
        at_most: &[AccountLimit],
    ) -> Result<Vec<PaymentKey>, StoreError>;

    /// The same, oldest first whatever their account, for payments that were finished when they were last written
    /// ([`payhook_schema::Payment::is_unfinished`]): their late checks can wait, and however many of them are due,
    /// [`CheckSchedule::payments_due`] reads none of them.
    async fn payments_due_late(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<PaymentKey>, StoreError>;
}

/// No more than so many payments of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountLimit {
    pub provider: Provider,
    pub account: AccountName,
    pub limit: u32,
}

/// The result of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// The order as it now is. `parked`: those of its newly linked payments whose notifications came earlier; their
    /// next check is due at once.
    Order { order: Order, created: bool, parked: Vec<PaymentKey> },
    /// No change: the order is registered with another amount or currency.
    AmountDiffers { registered: Money },
    /// No change: the order has `registered` payments, and with the `added` ones more than
    /// [`payhook_schema::PAYMENTS_MAX`].
    TooManyPayments { registered: usize, added: usize },
    /// No change: a payment belongs to another order.
    PaymentTaken { payment: PaymentKey, order: OrderId },
    /// No change: a refund is known to be of another payment.
    RefundTaken { refund: RefundId, payment: PaymentKey },
    /// No change: a refund names a payment the order does not have.
    RefundOfNoPayment { refund: RefundId, payment: PaymentKey },
}

/// The name of a payment in a notification that leaves its id out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentName {
    Refund {
        provider: Provider,
        account: AccountName,
        id: RefundId,
    },
    /// The provider's own second name for it, see [`payhook_schema::Payment::provider_reference`].
    Reference {
        provider: Provider,
        account: AccountName,
        reference: String,
    },
}

/// The result of looking for a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Order(Box<Order>),
    /// The same provider and payment id, registered under another of our accounts.
    OtherAccount(Box<Order>),
    Unknown,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    pub state: Option<OrderState>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    /// Only orders listed after this one.
    pub before: Option<OrderId>,
    pub limit: u32,
}

#[async_trait]
impl<B: Backend> Orders for B {
    async fn order_register(&self, order: &NewOrder, now: Timestamp) -> Result<Registered, StoreError> {
        write!(self, |on| register::register(on, order, now))
    }

    async fn order_get(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        read!(self, |on| sql::get(on, id))
    }

    async fn order_list(&self, filter: &OrderFilter) -> Result<Vec<Order>, StoreError> {
        read!(self, |on| sql::list(on, filter))
    }

    async fn order_timeline_page(
        &self,
        id: &OrderId,
        after: Option<TimelinePlace>,
        limit: u32,
    ) -> Result<TimelinePage, StoreError> {
        read!(self, |on| sql::timeline(on, id, after, limit))
    }

    async fn order_refresh(&self, id: &OrderId, at: Timestamp) -> Result<bool, StoreError> {
        write!(self, |on| sql::refresh(on, id, at))
    }

    async fn payments_find(&self, keys: &[PaymentKey]) -> Result<Vec<Found>, StoreError> {
        read!(self, |on| find::find(on, keys))
    }

    async fn payment_named(&self, name: &PaymentName) -> Result<Option<PaymentKey>, StoreError> {
        read!(self, |on| refunds::named(on, name))
    }

    async fn payments_refundable(
        &self,
        provider: Provider,
        account: &AccountName,
        amount: Money,
        since: Timestamp,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<PaymentKey>, StoreError> {
        read!(self, |on| refunds::refundable(on, provider, account, amount, since, (skip, limit)))
    }
}

#[async_trait]
impl<B: Backend> CheckSchedule for B {
    async fn payments_due(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
        at_most: &[AccountLimit],
    ) -> Result<Vec<PaymentKey>, StoreError> {
        write!(self, |on| async {
            let now = self.now(on, now).await?;
            schedule::due(on, now, hold_for, limit, at_most).await
        })
    }

    async fn payments_due_late(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<PaymentKey>, StoreError> {
        write!(self, |on| async {
            let now = self.now(on, now).await?;
            schedule::due_late(on, now, hold_for, limit).await
        })
    }
}
