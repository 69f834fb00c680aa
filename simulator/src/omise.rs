//! The simulated Omise: charges in memory, `GET /charges/{id}` and `/events`, webhook events.

mod api;
mod charge;
mod event;
mod render;

use std::sync::Arc;

use payhook_schema::{AccountName, Money, PaymentId, Provider};

pub(crate) use api::routes;
pub use charge::OmiseStatus;
pub(crate) use charge::{Charge, Charges};
pub(crate) use event::Event;

use crate::shared::Shared;
use crate::{Reply, SignedRequest, SimulatorError};

/// The simulated Omise. Cheap to clone; all clones are one.
///
/// Every change of a charge makes the event Omise would make of it, which `GET /events` lists and [`Self::notify`] delivers.
#[derive(Clone)]
pub struct Omise(pub(crate) Arc<Shared>);

impl Omise {
    /// An id of the form Omise has for charges in test mode.
    pub fn new_charge_id(&self) -> PaymentId {
        PaymentId::new(self.0.ids.omise("chrg", self.0.clock.now())).expect("of the allowed letters")
    }

    /// A pending card charge with 3-D Secure: `charge.create`. One of this id that is there already begins anew.
    pub fn create(&self, id: &PaymentId, amount: Money) {
        let now = self.0.clock.now();
        let charge = Charge::new(id, amount, now);
        let mut charges = self.0.charges();
        charges.insert(charge.clone());
        charges.make_event(&self.0.ids, "charge.create", &charge, now);
    }

    /// The customer paid: `charge.complete`. Also what Omise's operations do to revive a charge that failed or expired.
    pub fn pay(&self, id: &PaymentId) -> Result<(), SimulatorError> {
        self.change(id, "charge.complete", |charge, shared| {
            charge.unless_paid("be paid")?;
            charge.become_status(OmiseStatus::Successful, &shared.ids, shared.clock.now());
            Ok(())
        })
    }

    /// The customer, the bank or Omise said no: `charge.complete`. Codes are those of Omise, as `payment_rejected`.
    pub fn fail(&self, id: &PaymentId, code: &str) -> Result<(), SimulatorError> {
        self.change(id, "charge.complete", |charge, shared| {
            charge.unless_paid("fail")?;
            charge.become_status(OmiseStatus::Failed(code.to_owned()), &shared.ids, shared.clock.now());
            Ok(())
        })
    }

    /// Nobody paid in time: `charge.expire`.
    pub fn expire(&self, id: &PaymentId) -> Result<(), SimulatorError> {
        self.change(id, "charge.expire", |charge, shared| {
            charge.unless_paid("expire")?;
            charge.become_status(OmiseStatus::Expired, &shared.ids, shared.clock.now());
            Ok(())
        })
    }

    /// The money is held, to be captured by hand: `charge.complete`, still pending.
    pub fn authorize(&self, id: &PaymentId) -> Result<(), SimulatorError> {
        self.change(id, "charge.complete", |charge, shared| {
            charge.only_from("be authorized", &OmiseStatus::Pending)?;
            charge.become_status(OmiseStatus::Authorized, &shared.ids, shared.clock.now());
            Ok(())
        })
    }

    /// Takes what was held, all or part of it: `charge.capture`.
    pub fn capture(&self, id: &PaymentId, amount_minor: i64) -> Result<(), SimulatorError> {
        self.change(id, "charge.capture", |charge, shared| {
            charge.capture(amount_minor, &shared.ids, shared.clock.now())
        })
    }

    /// Lets go what was held: `charge.reverse`.
    pub fn reverse(&self, id: &PaymentId) -> Result<(), SimulatorError> {
        self.change(id, "charge.reverse", |charge, shared| {
            charge.only_from("be reversed", &OmiseStatus::Authorized)?;
            charge.become_status(OmiseStatus::Reversed, &shared.ids, shared.clock.now());
            Ok(())
        })
    }

    /// Gives money back: `refund.create`. All of it at once, with nothing refunded before, is a void, as at Omise.
    pub fn refund(&self, id: &PaymentId, amount_minor: i64) -> Result<(), SimulatorError> {
        self.change(id, "refund.create", |charge, shared| charge.refund(amount_minor, &shared.ids, shared.clock.now()))
    }

    pub fn status(&self, id: &PaymentId) -> Result<OmiseStatus, SimulatorError> {
        Ok(self.0.charges().get_mut(id)?.status.clone())
    }

    pub fn amount(&self, id: &PaymentId) -> Result<Money, SimulatorError> {
        Ok(self.0.charges().get_mut(id)?.amount)
    }

    /// The whole charge, as `GET /charges/{id}` answers it.
    pub fn charge(&self, id: &PaymentId) -> Result<serde_json::Value, SimulatorError> {
        let charge = self.0.charges().get_mut(id)?.clone();
        Ok(serde_json::to_value(render::charge(&charge)).expect("plain data always serialises"))
    }

    /// Forgets the charge: asked about it, this Omise says 404.
    pub fn forget(&self, id: &PaymentId) {
        self.0.charges().remove(id);
    }

    /// The webhook for the charge's last event of this key, with that event's id and its snapshot; where there was none
    /// (`charge.update`, `dispute.create`, `transfer.create`), one is made from the state now. Goes to `{base_url}/omise/{account}`.
    pub fn signed(
        &self,
        base_url: &str,
        account: &AccountName,
        charge: &PaymentId,
        key: &str,
    ) -> Result<SignedRequest, SimulatorError> {
        let body = {
            let mut charges = self.0.charges();
            let snapshot = charges.get_mut(charge)?.clone();
            match charges.last_event(charge, key) {
                Some(event) => event.body(),
                None => charges.make_event(&self.0.ids, key, &snapshot.told(key)?, self.0.clock.now()).body(),
            }
        };
        self.signed_body(base_url, account, charge, body)
    }

    /// A webhook, truly signed, that says the charge is `status`, whatever is true.
    pub fn signed_saying(
        &self,
        base_url: &str,
        account: &AccountName,
        charge: &PaymentId,
        key: &str,
        status: OmiseStatus,
    ) -> Result<SignedRequest, SimulatorError> {
        let now = self.0.clock.now();
        let body = {
            let mut charges = self.0.charges();
            let mut said = charges.get_mut(charge)?.clone();
            said.become_status(status, &self.0.ids, now);
            charges.make_event(&self.0.ids, key, &said.told(key)?, now).body()
        };
        self.signed_body(base_url, account, charge, body)
    }

    /// Signs any body as one of Omise's webhooks. `charge` is for the journal alone.
    pub fn signed_body(
        &self,
        base_url: &str,
        account: &AccountName,
        charge: &PaymentId,
        body: Vec<u8>,
    ) -> Result<SignedRequest, SimulatorError> {
        SignedRequest::new(&self.0, Provider::Omise, charge, base_url, &format!("/omise/{account}"), body)
    }

    /// Sends [`Self::signed`] once.
    pub async fn notify(
        &self,
        base_url: &str,
        account: &AccountName,
        charge: &PaymentId,
        key: &str,
    ) -> Result<Reply, SimulatorError> {
        self.signed(base_url, account, charge, key)?.send().await
    }

    /// Changes a charge and makes the event of it, in one step.
    fn change(
        &self,
        id: &PaymentId,
        key: &str,
        change: impl FnOnce(&mut Charge, &Shared) -> Result<(), SimulatorError>,
    ) -> Result<(), SimulatorError> {
        let mut charges = self.0.charges();
        let charge = charges.get_mut(id)?;
        let before = charge.clone();
        change(charge, &self.0)?;
        charge.changed_from(before);
        let snapshot = charge.clone();
        charges.make_event(&self.0.ids, key, &snapshot, self.0.clock.now());
        Ok(())
    }
}
