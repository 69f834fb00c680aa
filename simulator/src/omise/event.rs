use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::charge::Charge;
use super::render::{self, time};
use super::version::OmiseVersion;
use crate::json;

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
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) created_at: Timestamp,
    pub(crate) about: Option<Charge>,
    /// The account's API version at that time: the snapshot keeps its shape.
    pub(crate) version: OmiseVersion,
}

#[derive(Serialize)]
pub(super) struct EventBody {
    object: &'static str,
    id: String,
    livemode: bool,
    location: String,
    webhook_deliveries: [(); 0],
    data: Value,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    /// Its name before 2019.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
}

impl Event {
    /// The body that is posted to the merchant: pretty-printed, with a last newline.
    pub(crate) fn body(&self) -> Vec<u8> {
        json::pretty(&self.render(self.version))
    }

    /// The envelope in the version that is asked for; what is in it stays in the event's own.
    ///
    /// # Source
    /// "Event API", docs.omise.co/events-api, read 2026-11-21; `docs/providers/omise.md#versions`.
    pub(super) fn render(&self, envelope: OmiseVersion) -> EventBody {
        let at = time(self.created_at);
        let (created_at, created) = match envelope {
            OmiseVersion::V2019 => (Some(at), None),
            _ => (None, Some(at)),
        };
        EventBody {
            object: "event",
            id: self.id.clone(),
            livemode: false,
            location: format!("/events/{}", self.id),
            webhook_deliveries: [],
            data: self.version.shape(self.data()),
            key: self.key.clone(),
            created_at,
            created,
        }
    }

    fn data(&self) -> Value {
        let family = self.key.split('.').next().unwrap_or_default();
        let charge = self.about.as_ref();
        let refund = charge.and_then(|charge| Some((charge, charge.refunds.last()?)));
        let dispute = charge.and_then(|charge| Some((charge, charge.dispute.as_ref()?)));
        let value = match (family, charge, refund, dispute) {
            ("charge", Some(charge), _, _) => serde_json::to_value(render::charge(charge)),
            ("refund", _, Some((charge, refund)), _) => serde_json::to_value(render::refund(charge, refund)),
            ("dispute", _, _, Some((charge, dispute))) => serde_json::to_value(render::dispute(charge, dispute)),
            _ => Ok(self.stub(family)),
        };
        value.expect("plain data always serialises")
    }

    /// Something that has nothing to do with a charge, in few words.
    fn stub(&self, family: &str) -> Value {
        let prefix = match family {
            "transfer" => "trsf",
            "recipient" => "recp",
            "customer" => "cust",
            "schedule" => "schd",
            other => other,
        };
        let id = self.id.replacen("evnt", prefix, 1);
        if self.key.ends_with(".destroy") {
            return json!({ "object": family, "id": id, "livemode": false, "deleted": true });
        }
        let location = format!("/{family}s/{id}");
        let mut stub = json!({ "object": family, "id": id, "livemode": false, "location": location });
        stub["created_at"] = time(self.created_at).into();
        if family == "schedule" {
            // What it will charge: no charge yet, and none has this one's id.
            stub["charge"] = json!({ "amount": 10_000, "currency": "THB", "customer": "cust_test_1" });
        }
        stub
    }
}
