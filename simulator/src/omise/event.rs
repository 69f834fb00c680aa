//! Omise's events, each with the charge as it was then.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::charge::OmiseCharge;
use super::render::{self, time};
use super::version::OmiseVersion;
use crate::json::{fixture, pretty, with};

/// Every key Omise documents.
///
/// # Source
/// "Event API", docs.omise.co/events-api, read 2026-11-21; `docs/providers/omise.md#event-keys`.
pub(crate) const KEYS: [&str; 35] = [
    "charge.create",
    "charge.complete",
    "charge.capture",
    "charge.reverse",
    "charge.expire",
    "charge.update",
    "refund.create",
    "dispute.create",
    "dispute.update",
    "dispute.accept",
    "dispute.close",
    "transfer.create",
    "transfer.update",
    "transfer.destroy",
    "transfer.send",
    "transfer.pay",
    "transfer.fail",
    "recipient.create",
    "recipient.update",
    "recipient.destroy",
    "recipient.activate",
    "recipient.deactivate",
    "recipient.verify",
    "customer.create",
    "customer.update",
    "customer.destroy",
    "customer.update.card",
    "card.update",
    "card.destroy",
    "link.create",
    "schedule.create",
    "schedule.destroy",
    "schedule.expire",
    "schedule.expiring",
    "schedule.suspend",
];

/// Something that happened, with the charge as it was then, if it happened to one.
#[derive(Clone)]
pub(crate) struct OmiseEvent {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) created_at: Timestamp,
    pub(crate) about: Option<OmiseCharge>,
    /// The account's API version at that time: the snapshot keeps its shape.
    pub(crate) version: OmiseVersion,
}

impl OmiseEvent {
    /// The body that is posted to the merchant.
    pub(crate) fn body(&self) -> Vec<u8> {
        pretty(&self.render(self.version))
    }

    /// The envelope in the version that is asked for; what is in it stays in the event's own.
    ///
    /// # Source
    /// "Event API", docs.omise.co/events-api, read 2026-11-21; `docs/providers/omise.md#versions`.
    pub(super) fn render(&self, envelope: OmiseVersion) -> Value {
        let mut fields = json!({
            "id": self.id,
            "location": format!("/events/{}", self.id),
            "data": self.version.shape(self.data()),
            "key": self.key,
        });
        fields[envelope.created()] = time(self.created_at).into();
        with(envelope.envelope(), fields)
    }

    fn data(&self) -> Value {
        let family = self.key.split('.').next().unwrap_or_default();
        let charge = self.about.as_ref();
        let refund = charge.and_then(|charge| Some((charge, charge.refunds.last()?)));
        let dispute = charge.and_then(|charge| Some((charge, charge.dispute.as_ref()?)));
        match (family, charge, refund, dispute) {
            ("charge", Some(charge), _, _) => render::charge(charge),
            ("refund", _, Some((charge, refund)), _) => render::refund(charge, refund),
            ("dispute", _, _, Some((charge, dispute))) => render::dispute(charge, dispute),
            _ => self.without_charge(family),
        }
    }

    /// Something that has nothing to do with a charge.
    fn without_charge(&self, family: &str) -> Value {
        let documented = &match family {
            "transfer" => fixture!("omise/event_transfer_2019-05-29.json"),
            "recipient" => fixture!("omise/event_recipient_2019-05-29.json"),
            "customer" => fixture!("omise/event_customer_2019-05-29.json"),
            "card" => fixture!("omise/event_card_2019-05-29.json"),
            "link" => fixture!("omise/event_link_2019-05-29.json"),
            "schedule" => fixture!("omise/event_schedule_2019-05-29.json"),
            _ => fixture!("omise/event_new_family.json"),
        }["data"];
        let prefix = documented["id"].as_str().and_then(|id| id.split('_').next()).unwrap_or(family);
        let own = json!({ "object": family, "id": self.id.replacen("evnt", prefix, 1) });
        match self.key.ends_with(".destroy") {
            true => with(&fixture!("omise/event_transfer_destroy.json")["data"], own),
            false => with(documented, own),
        }
    }
}
