//! Archived notifications: what a provider sent, byte for byte, each once.
//!
//! Notifications are written with what they are about: by [`crate::Settling`] and [`crate::DeadLetters`].

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{AccountName, Notification, PaymentId, Provider};
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Backend, read};

pub(crate) mod archive;
pub(crate) mod names;
#[cfg(feature = "conformance")]
pub(crate) mod promises;
pub(crate) mod sql;

/// Reads the archive.
///
/// - `a_notification_is_archived_once_with_its_exact_bytes`
/// - `a_notification_found_to_be_about_a_payment_is_in_its_timeline`
/// - `a_repeat_is_counted_and_not_stored`
/// - `the_dead_letter_of_a_repeat_names_what_is_archived`
/// - `archived_notifications_are_listed_newest_first_by_every_filter`
#[async_trait]
pub trait Notifications: Send + Sync + 'static {
    /// Archived notifications without their bodies, newest first.
    async fn notification_list(&self, filter: &NotificationFilter) -> Result<Vec<Archived>, StoreError>;

    /// Returns an archived notification, with its exact bytes (sealed, where it is).
    async fn notification_get(&self, id: Uuid) -> Result<Option<Archived>, StoreError>;

    /// For each id of what was signed, in the same order, the id of the notification it is archived under.
    async fn notifications_known(&self, signed: &[Uuid]) -> Result<Vec<Option<Uuid>>, StoreError>;
}

/// A notification as it is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// As it was received first.
    pub notification: Notification,
    /// The number of times the same signed bytes were received. A notification that a crash had delivered or written
    /// twice is counted twice.
    pub received: u64,
    pub last_received_at: Timestamp,
}

/// Selects archived notifications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationFilter {
    /// Empty for any.
    pub ids: Vec<Uuid>,
    pub kind: Option<String>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub payment: Option<PaymentId>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Only those listed after this one.
    pub before: Option<Uuid>,
    /// A replay takes no heed of it: it has its own.
    pub limit: u32,
}

#[async_trait]
impl<B: Backend> Notifications for B {
    async fn notification_list(&self, filter: &NotificationFilter) -> Result<Vec<Archived>, StoreError> {
        read!(self, |on| sql::list(on, filter))
    }

    async fn notification_get(&self, id: Uuid) -> Result<Option<Archived>, StoreError> {
        read!(self, |on| sql::get(on, id))
    }

    async fn notifications_known(&self, signed: &[Uuid]) -> Result<Vec<Option<Uuid>>, StoreError> {
        read!(self, |on| sql::known(on, signed))
    }
}
