//! Settling: the only way in which a payment, a refund, or an authorization changes.
//!
//! A batch is split into independent waves; each is written in one statement or transaction, and bad rows are isolated.

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{Event, NewRefund, Notification, Order, OrderId, Payment, PaymentKey};

use self::batch::Batch;
use crate::authorizations::{self, AuthorizationSettlement};
use crate::db::fault::DatabaseFault;
use crate::db::{Backend, Conn, attempt, write};
use crate::orders::refunds;
use crate::{StoreError, TimelineEntry};

pub(crate) mod batch;
#[cfg(feature = "conformance")]
pub(crate) mod model;
mod postgres;
#[cfg(feature = "conformance")]
pub(crate) mod promises;
mod sqlite;

/// Writes decisions. This trait can change a payment: the worker holds it, and the console does not.
///
/// - `a_settlement_is_written_whole_or_not_at_all`
/// - `a_settlement_decided_on_an_older_revision_is_a_conflict`
/// - `two_settlements_of_one_order_at_once_write_one`
/// - `many_writers_of_one_order_write_each_revision_once`
/// - `a_batch_is_as_if_each_were_settled_alone_and_in_order`
/// - `a_settlement_that_cannot_be_stored_is_refused_alone`
/// - `a_schedule_moves_without_a_conflict`
/// - `an_answer_that_changes_nothing_moves_no_revision`
/// - `an_announced_refund_moves_to_the_payment_its_provider_names`
/// - `a_refund_that_is_settled_or_moved_is_decided_on_once`
/// - `any_operations_do_what_a_plain_model_does`
#[async_trait]
pub trait Settling: Send + Sync + 'static {
    /// Writes settlements, each whole or not at all, as if one after the other; answers in the same order. Settlements
    /// of different orders and payments share one transaction, so a batch costs little more than one alone.
    ///
    /// A settlement that cannot be stored is [`Settled::Refused`] and leaves its neighbours alone. An error is never
    /// about one settlement: it is about the store, some may have been written, and asking again for all is safe: a
    /// change that was written is then a [`Settled::Conflict`]. A settlement without a change leaves, at worst, a
    /// timeline entry twice.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError>;

    /// Has a refund be of the payment that its provider names: one that is pending under another payment moves there as
    /// it is, and an unknown one is announced there. Both orders get a new `revision` and an entry in their timelines,
    /// and the payment is due at once. Registering it again where it was announced changes nothing. Returns false, and
    /// changes nothing, where the refund is settled under another payment or `refund.payment` is not registered.
    async fn refund_assign(&self, refund: &NewRefund, now: Timestamp) -> Result<bool, StoreError>;

    /// Writes what was learned about an authorization, whole or not at all, like [`Settling::settle`] does for orders.
    /// A change ends any claim. An entry of its history names no payment.
    async fn authorization_settle(&self, settlement: &AuthorizationSettlement) -> Result<Settled, StoreError>;
}

/// A unit of work of the worker: what was learned about one payment, and what it changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settlement {
    /// Archived, each once by its id. Of those that were signed as the same bytes the first is stored, and the others
    /// are counted there.
    pub notifications: Vec<Notification>,
    /// The payment that notifications which name none, but its reference or a refund, turned out to be about: they are
    /// found under it, also those that were archived before this was known. The payment found first stays.
    pub about: Option<PaymentKey>,
    /// The order the timeline entries belong to; without one there are none.
    pub order: Option<OrderId>,
    pub timeline: Vec<TimelineEntry>,
    /// Moves a payment's schedule, and notes an answer that changed nothing; never a conflict.
    pub check: Option<PaymentCheck>,
    pub change: Option<Change>,
}

/// A payment's place on its schedule. It is no part of what settlements are decided on: moving it leaves the order's
/// `revision` as it is. Of a payment nobody registered, nothing is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentCheck {
    pub key: PaymentKey,
    pub next_check_at: Option<Timestamp>,
    pub checks: i32,
    /// The answer that led to it, where there was one.
    pub asked: Option<Asked>,
}

/// An answer of the provider that changed nothing but the time of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The payment's new `asked_at`; an earlier one than it has changes nothing.
    pub at: Timestamp,
    /// The payment's `asked_at` when the answer was compared with it. If another answer was written since, that one
    /// says the schedule.
    pub before: Option<Timestamp>,
}

/// The new values of an order and one of its payments, decided on `order.revision`.
///
/// `order` is the order as it was read, with `state`, amounts, `version`, `holds`, `released` and `updated_at` as they
/// shall be; its `revision` is still the one read, and the store writes `revision + 1`. `payment` replaces the stored
/// one whole, but for `created_at`, and its `asked_at` never goes back; with a [`Settlement::check`] of the same
/// payment, that one says its schedule. Of its refunds and disputes none ever goes away, and a refund that is another
/// payment's is refused. Other payments in `order` are ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub order: Order,
    pub payment: Payment,
    /// In version order and without a gap; the last one's version is `order.version`.
    pub events: Vec<Event>,
}

/// The result of one settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Written,
    /// The order moved on since it was read, or somebody holds it for longer than we wait; nothing of this settlement
    /// was written. Read it again and decide again.
    Conflict,
    /// This settlement contradicts itself or has a value no backend keeps, such as a NUL character in a text; nothing
    /// of it was written, and trying again will not help. The text says why without quoting what was in it.
    Refused(String),
}

#[async_trait]
impl<B: Backend> Settling for B {
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        settle_all(self, settlements).await.map_err(|fault| fault.at(self.url()))
    }

    async fn refund_assign(&self, refund: &NewRefund, now: Timestamp) -> Result<bool, StoreError> {
        write!(self, |on| refunds::assign(on, refund, now))
    }

    async fn authorization_settle(&self, settlement: &AuthorizationSettlement) -> Result<Settled, StoreError> {
        if let Some(why) = authorizations::settle::unkeepable(settlement) {
            return Ok(Settled::Refused(why));
        }
        let outcome = attempt!(self, lend_writer, |on| authorizations::settle::settle(on, settlement));
        alone(outcome, settlement.change.is_some()).map_err(|fault| fault.at(self.url()))
    }
}

/// Writes the settlements at `wave`, of which no two touch the same thing, all or none but for conflicts. Returns the
/// indexes of the changes that were written.
async fn write_wave<B: Backend>(to: &B, settlements: &[Settlement], wave: &[usize]) -> Result<Vec<i64>, DatabaseFault> {
    attempt!(to, lend_writer, |on| write_batch(on, Batch::of(settlements, wave)))
}

async fn write_batch(on: &mut Conn<'_>, batch: Batch<'_>) -> sqlx::Result<Vec<i64>> {
    match on {
        Conn::Postgres(on) => postgres::write(on, &batch).await,
        Conn::Sqlite(_) => {
            let mut unit = on.begin().await?;
            let written = sqlite::write(&mut unit.connection(), batch).await?;
            unit.commit().await?;
            Ok(written)
        }
    }
}

/// Writes settlements wave after wave. If a wave fails for a value in it, or keeps losing against other writers, its
/// settlements are written one by one, so that none fails for another one's fault.
async fn settle_all<B: Backend>(to: &B, settlements: &[Settlement]) -> Result<Vec<Settled>, DatabaseFault> {
    let mut settled: Vec<Settled> = Vec::with_capacity(settlements.len());
    let mut wanted = Vec::with_capacity(settlements.len());
    for (index, settlement) in settlements.iter().enumerate() {
        match batch::unkeepable(settlement) {
            Some(why) => settled.push(Settled::Refused(why)),
            None => {
                settled.push(Settled::Conflict);
                wanted.push(index);
            }
        }
    }
    for wave in batch::waves(settlements, &wanted) {
        match write_wave(to, settlements, &wave).await {
            Ok(written) => note(&mut settled, settlements, &wave, &written),
            Err(DatabaseFault::Value(_) | DatabaseFault::Contended(_) | DatabaseFault::Locked(_)) => {
                for &index in &wave {
                    match write_wave(to, settlements, &[index]).await {
                        Ok(written) => note(&mut settled, settlements, &[index], &written),
                        Err(DatabaseFault::Value(why)) => settled[index] = Settled::Refused(why.to_string()),
                        // Somebody holds the order: like one that moved on, it is read and decided again.
                        Err(DatabaseFault::Contended(_) | DatabaseFault::Locked(_))
                            if settlements[index].change.is_some() => {}
                        Err(fault) => return Err(fault),
                    }
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(settled)
}

/// Notes what became of a wave: without a change there was nothing to conflict with.
fn note(settled: &mut [Settled], settlements: &[Settlement], wave: &[usize], written: &[i64]) {
    for &index in wave {
        if settlements[index].change.is_none() || written.contains(&(index as i64)) {
            settled[index] = Settled::Written;
        }
    }
}

/// Returns the result of a settlement on its own. If another writer holds what it would change, it is a conflict, as if
/// that had moved on.
fn alone(outcome: Result<Settled, DatabaseFault>, changes: bool) -> Result<Settled, DatabaseFault> {
    match outcome {
        Err(DatabaseFault::Value(why)) => Ok(Settled::Refused(why.to_string())),
        Err(DatabaseFault::Contended(_) | DatabaseFault::Locked(_)) if changes => Ok(Settled::Conflict),
        outcome => outcome,
    }
}
