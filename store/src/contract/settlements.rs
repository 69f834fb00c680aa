use jiff::Timestamp;
use payhook_schema::{Event, Notification, Order, OrderId, Payment, PaymentKey};

use crate::TimelineEntry;

/// A unit of work of the worker: what was learned about one payment, and what it changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settlement {
    /// Archived, each once by its id. Of those that were signed as the same bytes the first is stored, and the others are counted there.
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
/// `order` is the order as it was read, with `state`, amounts, `version`, `holds`, `released` and `updated_at` as they shall be; its
/// `revision` is still the one read, and the store writes `revision + 1`. `payment` replaces the stored one whole, but for
/// `created_at`, and its `asked_at` never goes back; with a [`Settlement::check`] of the same payment, that one says its schedule. Of its refunds and disputes
/// none ever goes away, and a refund that is another payment's is refused. Other payments in `order` are not looked at.
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
    /// The order moved on since it was read, or somebody holds it for longer than we wait; nothing of this settlement was
    /// written. Read it again and decide again.
    Conflict,
    /// This settlement contradicts itself or has a value no backend keeps, such as a NUL character in a text; nothing of
    /// it was written, and trying again will not help. The text says why without quoting what was in it.
    Refused(String),
}
