//! The simulated Omise: charges in memory, `GET /charges/{id}` and `/events`, webhook events.

mod api;
mod charge;
mod dispute;
mod event;
mod render;
mod version;

use std::sync::Arc;

use payhook_schema::{AccountName, Money, PaymentId, Provider, RefundId};

pub(crate) use api::routes;
pub use charge::OmiseStatus;
pub(crate) use charge::{OmiseCharge, OmiseCharges};
pub use dispute::OmiseDispute;
pub(crate) use event::{KEYS, OmiseEvent};
pub use version::OmiseVersion;

use crate::shared::SimulatorState;
use crate::{Reply, SignedRequest, SimulatorError};

/// The simulated Omise. Cheap to clone; all clones are one.
///
/// Every change of a charge makes the event Omise would make of it, which `GET /events` lists and [`Self::notify`]
/// delivers.
#[derive(Clone)]
pub struct Omise(pub(crate) Arc<SimulatorState>);

impl Omise {
    /// An id of the form Omise has for charges in test mode.
    pub fn new_charge_id(&self) -> PaymentId {
        PaymentId::new(self.0.ids.omise("chrg", self.0.clock.now())).expect("of the allowed letters")
    }

    /// Creates a pending card charge with 3-D Secure: `charge.create`. Replaces an existing charge of this id.
    pub fn create(&self, id: &PaymentId, amount: Money) {
        self.begin(&OmiseCharge::new(id, amount, self.0.clock.now()));
    }

    /// Creates the same with a source in the card's place, such as `mobile_banking_kbank` or `promptpay`.
    pub fn create_with_source(&self, id: &PaymentId, amount: Money, source: &str) {
        let mut charge = OmiseCharge::new(id, amount, self.0.clock.now());
        charge.source = Some(source.to_owned());
        self.begin(&charge);
    }

    /// A card charge without 3-D Secure: `charge.create` says all there is to say, and no `charge.complete` follows.
    pub fn create_decided(&self, id: &PaymentId, amount: Money, status: OmiseStatus) {
        let now = self.0.clock.now();
        let mut charge = OmiseCharge::new(id, amount, now);
        charge.become_status(status, &self.0.ids, now);
        self.begin(&charge);
    }

    fn begin(&self, charge: &OmiseCharge) {
        let now = charge.created_at;
        let mut charges = self.0.charges();
        charges.insert(charge.clone());
        charges.make_event(&self.0.ids, "charge.create", Some(charge), now);
    }

    /// The merchant describes it otherwise: `charge.update`.
    pub fn update(&self, id: &PaymentId, description: &str) -> Result<(), SimulatorError> {
        self.change(id, "charge.update", |charge, _| {
            charge.description = Some(description.to_owned());
            Ok(())
        })
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

    /// Expires a charge that was not paid in time: `charge.expire`.
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
    /// Answers with the refund's id.
    ///
    /// # Errors
    /// [`SimulatorError::NotPossible`]: more than is left, a charge that is disputed, or a source that takes nothing
    /// back.
    pub fn refund(&self, id: &PaymentId, amount_minor: i64) -> Result<RefundId, SimulatorError> {
        let made = self.change(id, "refund.create", |charge, shared| {
            charge.refund(amount_minor, &shared.ids, shared.clock.now())
        })?;
        Ok(RefundId::new(made).expect("of the allowed letters"))
    }

    /// Begins to give money back: `refund.create`, with a refund that is `pending`. Omise was never seen to do so, but
    /// for its documentation having had the word.
    ///
    /// # Source
    /// "Refund API", docs.omise.co/refunds-api, read 2026-11-21; `docs/providers/omise.md#refunds`.
    pub fn begin_refund(&self, id: &PaymentId, amount_minor: i64) -> Result<RefundId, SimulatorError> {
        let made = self.change(id, "refund.create", |charge, shared| {
            charge.begin_refund(amount_minor, &shared.ids, shared.clock.now())
        })?;
        Ok(RefundId::new(made).expect("of the allowed letters"))
    }

    /// Completes the refunds that were begun. Omise has no event for it.
    pub fn settle_refunds(&self, id: &PaymentId) -> Result<(), SimulatorError> {
        self.alter(&mut self.0.charges(), id, |charge, _| charge.settle_refunds())
    }

    /// Something happens that has to do with no charge: `transfer.create`, `customer.update`, or a key nobody has heard
    /// of. Answers with the event's id.
    ///
    /// # Errors
    /// [`SimulatorError::NotPossible`]: the key is one of charges, refunds or disputes, which have verbs of their own.
    pub fn happen(&self, key: &str) -> Result<String, SimulatorError> {
        if ["charge.", "refund.", "dispute."].iter().any(|family| key.starts_with(family)) {
            return Err(SimulatorError::NotPossible(format!("`{key}` happens to a charge: do it to one")));
        }
        let now = self.0.clock.now();
        Ok(self.0.charges().make_event(&self.0.ids, key, None, now).id.clone())
    }

    /// The account's API version: later events are written in it. Calls that name a version are answered in theirs.
    pub fn set_version(&self, version: OmiseVersion) {
        self.0.charges().version = version;
    }

    /// The whole charge, as `GET /charges/{id}` answers it.
    pub fn charge(&self, id: &PaymentId) -> Result<serde_json::Value, SimulatorError> {
        let charge = self.0.charges().get_mut(id)?.clone();
        Ok(render::charge(&charge))
    }

    /// Forgets the charge: asked about it, this Omise says 404.
    pub fn forget(&self, id: &PaymentId) {
        self.0.charges().remove(id);
    }

    /// The webhook for the charge's last event of this key, with that event's id and its snapshot; where there was none
    /// (`charge.update`, `dispute.create`, `transfer.create`), one is made from the state now. Goes to
    /// `{base_url}/omise/{account}`.
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
            let known = charges.events_of(charge).rfind(|event| event.key == key).map(OmiseEvent::body);
            match known {
                Some(body) => body,
                None => {
                    let (ids, now) = (&self.0.ids, self.0.clock.now());
                    charges.make_event(ids, key, Some(&snapshot.told(key, ids, now)?), now).body()
                }
            }
        };
        self.signed_body(base_url, account, charge.as_str(), body)
    }

    /// The webhook for one event, whichever it is.
    pub fn signed_event(
        &self,
        base_url: &str,
        account: &AccountName,
        event_id: &str,
    ) -> Result<SignedRequest, SimulatorError> {
        let body = self.0.charges().event(event_id).map(OmiseEvent::body);
        let unknown = || SimulatorError::Unknown(format!("the simulated Omise has no event `{event_id}`"));
        self.signed_body(base_url, account, event_id, body.ok_or_else(unknown)?)
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
            let said = said.told(key, &self.0.ids, now)?;
            charges.make_event(&self.0.ids, key, Some(&said), now).body()
        };
        self.signed_body(base_url, account, charge.as_str(), body)
    }

    /// Signs any body as one of Omise's webhooks. `about` is for the journal alone.
    pub fn signed_body(
        &self,
        base_url: &str,
        account: &AccountName,
        about: &str,
        body: Vec<u8>,
    ) -> Result<SignedRequest, SimulatorError> {
        SignedRequest::new(&self.0, Provider::Omise, about, base_url, &format!("/omise/{account}"), body)
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
    fn change<T>(
        &self,
        id: &PaymentId,
        key: &str,
        change: impl FnOnce(&mut OmiseCharge, &SimulatorState) -> Result<T, SimulatorError>,
    ) -> Result<T, SimulatorError> {
        let mut charges = self.0.charges();
        let made = self.alter(&mut charges, id, change)?;
        let snapshot = charges.get_mut(id)?.clone();
        charges.make_event(&self.0.ids, key, Some(&snapshot), self.0.clock.now());
        Ok(made)
    }

    /// Changes a charge without a word; a replica that lags remembers what it was.
    fn alter<T>(
        &self,
        charges: &mut OmiseCharges,
        id: &PaymentId,
        change: impl FnOnce(&mut OmiseCharge, &SimulatorState) -> Result<T, SimulatorError>,
    ) -> Result<T, SimulatorError> {
        let charge = charges.get_mut(id)?;
        let before = charge.clone();
        let made = change(charge, &self.0)?;
        charge.changed_from(before);
        Ok(made)
    }
}
