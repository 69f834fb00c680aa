use jiff::Timestamp;
use serde::Serialize;

use super::charge::Charge;
use super::render::{self, time};
use crate::json;

/// Something that happened, with the charge as it was then.
#[derive(Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) created_at: Timestamp,
    pub(crate) about: Charge,
}

#[derive(Serialize)]
pub(super) struct EventBody {
    object: &'static str,
    id: String,
    livemode: bool,
    location: String,
    webhook_deliveries: [(); 0],
    data: serde_json::Value,
    key: String,
    created_at: String,
}

impl Event {
    /// What is posted to the merchant: pretty-printed, with a last newline.
    pub(crate) fn body(&self) -> Vec<u8> {
        json::pretty(&self.render())
    }

    /// # Source
    /// "Event API", docs.omise.co/events-api, read 2026-11-21; `reference/omise.md` section 3.
    pub(super) fn render(&self) -> EventBody {
        EventBody {
            object: "event",
            id: self.id.clone(),
            livemode: false,
            location: format!("/events/{}", self.id),
            webhook_deliveries: [],
            data: self.data(),
            key: self.key.clone(),
            created_at: time(self.created_at),
        }
    }

    fn data(&self) -> serde_json::Value {
        let family = self.key.split('.').next().unwrap_or_default();
        let value = match (family, self.about.refunds.last()) {
            ("charge", _) => serde_json::to_value(render::charge(&self.about)),
            ("refund", Some(refund)) => serde_json::to_value(render::refund(&self.about, refund)),
            ("dispute", _) => serde_json::to_value(render::dispute(&self.about, self.created_at)),
            // Something that has nothing to do with a charge, told of as a stub.
            _ => Ok(serde_json::json!({
                "object": family,
                "id": self.id.replacen("evnt", family, 1),
                "livemode": false,
            })),
        };
        value.expect("plain data always serialises")
    }
}
