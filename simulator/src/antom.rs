//! The simulated Antom: payments, refunds and authorizations in memory; what it answers about them, and what it
//! notifies.

mod api;
mod authorization;
mod inquiry;
mod kind;
mod notification;
mod payment;
mod transaction;
mod wire;

use std::sync::Arc;

use jiff::SignedDuration;
use payhook_schema::{AccountName, AuthState, Money, PaymentId, Provider, RefundId};

pub(crate) use api::{other_id, routes};
pub(crate) use authorization::Consents;
pub use kind::{AntomKind, Judgement, SubscriptionStep};
pub(crate) use notification::of_payment;
pub use payment::AntomStatus;
pub(crate) use payment::{AntomPayment, AntomPayments};
pub use transaction::AntomOutcome;
pub(crate) use transaction::TransactionType;
pub(crate) use wire::{AntomKey, KEY_VERSION, iso};

use crate::json::compact;
use crate::shared::SimulatorState;
use crate::{Keys, Reply, SignedRequest, SimulatorError};

/// The simulated Antom. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Antom(pub(crate) Arc<SimulatorState>);

/// The behaviour in which Antom differs from merchant to merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AntomHabits {
    /// True if `inquiryPayment` lists refunds among `transactions`; an older gateway does not.
    pub refunds_listed: bool,
    /// True if `inquiryRefund` names the refund's payment, which is not documented.
    pub refund_names_payment: bool,
    /// The lifetime of a new access token.
    pub access_token_lives: SignedDuration,
    /// The lifetime of a new refresh token, for wallets that give one.
    pub refresh_token_lives: SignedDuration,
}

impl Default for AntomHabits {
    /// Refunds are listed and name no payment; 30 days, and a year.
    fn default() -> Self {
        Self {
            refunds_listed: true,
            refund_names_payment: false,
            access_token_lives: SignedDuration::from_hours(30 * 24),
            refresh_token_lives: SignedDuration::from_hours(365 * 24),
        }
    }
}

impl Antom {
    /// Creates a payment, as after a call of `pay`: `PROCESSING`. Replaces an existing payment of this id.
    pub fn create(&self, id: &PaymentId, amount: Money) {
        let now = self.0.clock.now();
        let payment = AntomPayment::new(id, self.0.ids.antom(now), amount, now);
        self.0.payments().insert(payment);
    }

    /// Gives the payment a status, whatever it had: this neighbour may also contradict itself.
    pub fn decide(&self, id: &PaymentId, status: AntomStatus) -> Result<(), SimulatorError> {
        let now = self.0.clock.now();
        self.0.payments().get_mut(id)?.decide(status, now);
        Ok(())
    }

    pub fn status(&self, id: &PaymentId) -> Result<AntomStatus, SimulatorError> {
        Ok(self.0.payments().get_mut(id)?.status.clone())
    }

    /// The payment, as `inquiryPayment` answers it.
    pub fn payment(&self, id: &PaymentId) -> Result<serde_json::Value, SimulatorError> {
        let listed = self.habits().refunds_listed;
        Ok(inquiry::payment(self.0.payments().get_mut(id)?, listed))
    }

    /// Forgets the payment and its refunds: asked about it, this Antom says `ORDER_NOT_EXIST`.
    pub fn forget(&self, id: &PaymentId) {
        self.0.payments().remove(id);
    }

    pub fn habits(&self) -> AntomHabits {
        *self.0.habits()
    }

    /// Signs notifications and answers with another key of Antom's from now on, under this `keyVersion`, as after a
    /// rotation.
    pub fn set_key(&self, version: u32, keys: &Keys) {
        *self.0.antom_key() = AntomKey { version, keys: keys.clone() };
    }

    /// The `keyVersion` Antom signs under, and the key that verifies it, as Antom's dashboard shows it.
    pub fn public_key(&self) -> (u32, String) {
        let AntomKey { version, keys } = self.0.antom_key().clone();
        (version, keys.antom().public_key_base64())
    }

    /// From now on; tokens that were made keep their times.
    pub fn set_habits(&self, habits: AntomHabits) {
        *self.0.habits() = habits;
    }
}

/// Notifications: each is signed over the very path it is posted to, `{base_url}/antom/{account}/` and
/// [`AntomKind::call`].
impl Antom {
    /// The notification Antom would send about this payment, or about the last refund, capture or dispute of it.
    ///
    /// # Errors
    /// [`SimulatorError::NotPossible`]: [`AntomKind::State`] of a payment Antom would be silent about, or a refund or
    /// capture of one that has none.
    pub fn signed(
        &self,
        base_url: &str,
        account: &AccountName,
        id: &PaymentId,
        kind: AntomKind,
    ) -> Result<SignedRequest, SimulatorError> {
        let now = self.0.clock.now();
        let body = notification::of_payment(self.0.payments().get_mut(id)?, kind, now)?;
        self.signed_body(base_url, account, id.as_str(), kind, compact(&body))
    }

    /// The notification about this refund: [`AntomKind::RefundState`], `Refund` or `RefundFailed`.
    pub fn signed_refund(
        &self,
        base_url: &str,
        account: &AccountName,
        refund: &RefundId,
        kind: AntomKind,
    ) -> Result<SignedRequest, SimulatorError> {
        let of = self.0.payments().refund(refund)?;
        self.signed_body(base_url, account, refund.as_str(), kind, compact(&notification::of_refund(&of, kind)?))
    }

    /// The notification about this authorization: [`AntomKind::AuthcodeCreated`] with the last code, `TokenCreated` or
    /// `TokenCanceled` with the last token.
    pub fn signed_authorization(
        &self,
        base_url: &str,
        account: &AccountName,
        auth_state: &AuthState,
        kind: AntomKind,
    ) -> Result<SignedRequest, SimulatorError> {
        let body = notification::of_authorization(self.0.authorizations().get_mut(auth_state)?, kind)?;
        self.signed_body(base_url, account, auth_state.as_str(), kind, compact(&body))
    }

    /// Signs any body as one of Antom's notifications of this kind. `about` is for the journal alone.
    pub fn signed_body(
        &self,
        base_url: &str,
        account: &AccountName,
        about: &str,
        kind: AntomKind,
        body: Vec<u8>,
    ) -> Result<SignedRequest, SimulatorError> {
        let tail = format!("/antom/{account}/{}", kind.call());
        SignedRequest::new(&self.0, Provider::Antom, about, base_url, &tail, body)
    }

    /// Sends [`Self::signed`] once.
    pub async fn notify(
        &self,
        base_url: &str,
        account: &AccountName,
        id: &PaymentId,
        kind: AntomKind,
    ) -> Result<Reply, SimulatorError> {
        self.signed(base_url, account, id, kind)?.send().await
    }

    /// Sends [`Self::signed_refund`] once.
    pub async fn notify_refund(
        &self,
        base_url: &str,
        account: &AccountName,
        refund: &RefundId,
        kind: AntomKind,
    ) -> Result<Reply, SimulatorError> {
        self.signed_refund(base_url, account, refund, kind)?.send().await
    }

    /// Sends [`Self::signed_authorization`] once.
    pub async fn notify_authorization(
        &self,
        base_url: &str,
        account: &AccountName,
        auth_state: &AuthState,
        kind: AntomKind,
    ) -> Result<Reply, SimulatorError> {
        self.signed_authorization(base_url, account, auth_state, kind)?.send().await
    }
}
