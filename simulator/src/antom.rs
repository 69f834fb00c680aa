//! The simulated Antom: payments in memory, `inquiryPayment`, notifications.

mod api;
mod body;
mod payment;

use std::sync::Arc;

use payhook_schema::{AccountName, Money, PaymentId, Provider};

pub(crate) use api::{other_id, routes};
pub use body::AntomKind;
pub(crate) use body::{KEY_VERSION, iso, notification};
pub use payment::AntomStatus;
pub(crate) use payment::{Payment, Payments, Refund};

use crate::request::antom_path;
use crate::shared::Shared;
use crate::{Reply, SignedRequest, SimulatorError};

/// The simulated Antom. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Antom(pub(crate) Arc<Shared>);

impl Antom {
    /// A payment that `pay` was called for: `PROCESSING`. One of this id that is there already begins anew.
    pub fn create(&self, id: &PaymentId, amount: Money) {
        let now = self.0.clock.now();
        let payment = Payment::new(id, self.0.ids.antom(now), amount, now);
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
        let body = body::inquiry(self.0.payments().get_mut(id)?);
        Ok(serde_json::from_slice(&body).expect("just written"))
    }

    /// Gives money back: the payment stays `SUCCESS`, as Antom's does, and lists the refund among its transactions. Answers
    /// with Antom's `refundId`.
    pub fn refund(&self, id: &PaymentId, amount_minor: i64) -> Result<String, SimulatorError> {
        let now = self.0.clock.now();
        let refund_id = self.0.ids.antom(now);
        self.0.payments().get_mut(id)?.refund(refund_id.clone(), amount_minor, now)?;
        Ok(refund_id)
    }

    /// Forgets the payment: asked about it, this Antom says `ORDER_NOT_EXIST`.
    pub fn forget(&self, id: &PaymentId) {
        self.0.payments().remove(id);
    }

    /// The notification Antom would send about this payment to `base_url`, signed over the very path it is posted to:
    /// `{base_url}/antom/{account}/notifyPayment`, `notifyRefund` or `notifyAuthorization`.
    ///
    /// # Errors
    /// [`SimulatorError::NotPossible`]: [`AntomKind::State`] of a payment Antom would be silent about, or a refund of one that
    /// has none.
    pub fn signed(
        &self,
        base_url: &str,
        account: &AccountName,
        id: &PaymentId,
        kind: AntomKind,
    ) -> Result<SignedRequest, SimulatorError> {
        let now = self.0.clock.now();
        let body = notification(self.0.payments().get_mut(id)?, kind, now)?;
        self.signed_body(base_url, account, id, kind, body)
    }

    /// Signs any body as one of Antom's notifications of this kind. `id` is for the journal alone.
    pub fn signed_body(
        &self,
        base_url: &str,
        account: &AccountName,
        id: &PaymentId,
        kind: AntomKind,
        body: Vec<u8>,
    ) -> Result<SignedRequest, SimulatorError> {
        let tail = antom_path(account, kind.call());
        SignedRequest::new(&self.0, Provider::Antom, id, base_url, &tail, body)
    }

    /// Sends it once.
    pub async fn notify(
        &self,
        base_url: &str,
        account: &AccountName,
        id: &PaymentId,
        kind: AntomKind,
    ) -> Result<Reply, SimulatorError> {
        self.signed(base_url, account, id, kind)?.send().await
    }
}
