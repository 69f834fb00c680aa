//! Authorizations: a customer's agreement that a wallet charges them, and its tokens.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{
    AccountName, Authorization, AuthorizationId, AuthorizationName, Event, NewAuthorization, Notification,
};
use uuid::Uuid;

use crate::db::{Backend, read, write};
use crate::{StoreError, TimelineEntry};

#[cfg(feature = "conformance")]
pub(crate) mod model;
#[cfg(feature = "conformance")]
pub(crate) mod promises;
pub(crate) mod settle;
mod sql;

/// Registers and finds authorizations. [`crate::Settling`] writes the changes.
///
/// - `an_authorization_is_registered_once_and_found_by_state_and_token`
/// - `an_authorization_moves_from_the_revision_it_was_decided_on`
/// - `a_former_token_still_names_its_authorization`
/// - `a_token_names_each_authorization_that_was_issued_it`
/// - `an_authorization_is_claimed_by_one_at_a_time`
/// - `due_authorizations_are_handed_to_one_sweeper_at_a_time`
/// - `notifications_before_their_authorization_are_found_when_it_is_registered`
/// - `events_of_authorizations_are_in_the_feed_with_those_of_orders`
#[async_trait]
pub trait AuthorizationStore: Send + Sync + 'static {
    /// Registers an authorization, with a `registered` entry in its history. Repeating is fine and changes nothing.
    ///
    /// If a notification about it came before, it is due at once: the caller may be gone before it says so.
    async fn authorization_register(
        &self,
        new: &NewAuthorization,
        now: Timestamp,
    ) -> Result<AuthorizationRegistered, StoreError>;

    async fn authorization_get(&self, id: &AuthorizationId) -> Result<Option<Authorization>, StoreError>;

    /// The authorizations a notification names under `account`, by id. A state names one at most; a token each that was
    /// ever issued it, for ever, also after a newer one was issued.
    async fn authorization_find(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Authorization>, StoreError>;

    /// Everything that happened to an authorization, oldest first: the written entries, the archived notifications
    /// about it (`notification`), and its published events (`publish`).
    async fn authorization_timeline(&self, id: &AuthorizationId) -> Result<Vec<TimelineEntry>, StoreError>;

    /// Archived notifications that name an authorization by `name`, oldest first, at most a hundred: what came before
    /// it was registered.
    async fn authorization_notifications(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Notification>, StoreError>;

    /// Claims what is to be done next for an authorization (a code to exchange, a token to refresh) for `holder` until
    /// `now + hold_for`: the authorization as it then is, or none while another's claim stands or where its
    /// `next_check_at` is absent, whether that time has come or not. Its holder renews it. A claim is no part of the
    /// `revision`.
    async fn authorization_claim(
        &self,
        id: &AuthorizationId,
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<Option<Authorization>, StoreError>;

    /// Takes up to `limit` authorizations whose `next_check_at` has come, oldest first, and moves their `next_check_at`
    /// to `now + hold_for`, which is no part of the `revision`.
    async fn authorizations_due(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<AuthorizationId>, StoreError>;
}

/// The result of registering an authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made for a registration, and taken apart at once")]
pub enum AuthorizationRegistered {
    /// `parked`: notifications about it came earlier.
    Authorization { authorization: Authorization, created: bool, parked: bool },
    /// No change: it is registered with another account, auth state or wallet.
    Differs,
    /// No change: the account's `auth_state` is another authorization's.
    AuthStateTaken { by: AuthorizationId },
}

/// A unit of work about an authorization.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuthorizationSettlement {
    /// Archived, each once by its id.
    pub notifications: Vec<Notification>,
    pub change: Option<AuthorizationChange>,
    /// Written to the history of `change`'s authorization, or to this one's where there is no change.
    pub timeline: Option<(AuthorizationId, Vec<TimelineEntry>)>,
}

/// The new values of an authorization, decided on `authorization.revision`; the store writes `revision + 1`. Its token,
/// if it is a new one, names the authorization from then on.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationChange {
    pub authorization: Authorization,
    /// In version order and without a gap; the last one's version is `authorization.version`.
    pub events: Vec<Event>,
}

#[async_trait]
impl<B: Backend> AuthorizationStore for B {
    async fn authorization_register(
        &self,
        new: &NewAuthorization,
        now: Timestamp,
    ) -> Result<AuthorizationRegistered, StoreError> {
        write!(self, |on| sql::register(on, new, now))
    }

    async fn authorization_get(&self, id: &AuthorizationId) -> Result<Option<Authorization>, StoreError> {
        read!(self, |on| sql::get(on, id))
    }

    async fn authorization_find(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Authorization>, StoreError> {
        read!(self, |on| sql::find(on, account, name))
    }

    async fn authorization_timeline(&self, id: &AuthorizationId) -> Result<Vec<TimelineEntry>, StoreError> {
        read!(self, |on| sql::timeline(on, id))
    }

    async fn authorization_notifications(
        &self,
        account: &AccountName,
        name: &AuthorizationName,
    ) -> Result<Vec<Notification>, StoreError> {
        read!(self, |on| sql::notifications(on, account, name))
    }

    async fn authorization_claim(
        &self,
        id: &AuthorizationId,
        holder: Uuid,
        now: Timestamp,
        hold_for: Duration,
    ) -> Result<Option<Authorization>, StoreError> {
        write!(self, |on| async {
            let now = self.now(on, now).await?;
            sql::claim(on, id, holder, now, hold_for).await
        })
    }

    async fn authorizations_due(
        &self,
        now: Timestamp,
        hold_for: Duration,
        limit: u32,
    ) -> Result<Vec<AuthorizationId>, StoreError> {
        write!(self, |on| async {
            let now = self.now(on, now).await?;
            sql::due(on, now, hold_for, limit).await
        })
    }
}
