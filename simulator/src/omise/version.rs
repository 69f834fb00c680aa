//! Omise's API versions: the same objects in the fields each version documents.

use serde_json::{Map, Value};

use crate::SimulatorError;
use crate::json::fixture;

/// Omise's API versions. An event keeps the shape of the version its account had when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum OmiseVersion {
    V2014,
    V2015,
    V2017,
    #[default]
    V2019,
}

impl OmiseVersion {
    pub const ALL: [Self; 4] = [Self::V2014, Self::V2015, Self::V2017, Self::V2019];

    /// As the header `Omise-Version` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2014 => "2014-07-27",
            Self::V2015 => "2015-11-17",
            Self::V2017 => "2017-11-02",
            Self::V2019 => "2019-05-29",
        }
    }

    /// The documented event around whatever happened.
    pub(super) fn envelope(self) -> &'static Value {
        match self {
            Self::V2014 => fixture!("omise/event_charge_2014-07-27.json"),
            Self::V2015 => fixture!("omise/event_charge_2015-11-17.json"),
            Self::V2017 => fixture!("omise/event_charge_2017-11-02.json"),
            Self::V2019 => fixture!("omise/event_charge_2019-05-29.json"),
        }
    }

    /// The name of the field that holds when a thing was created.
    pub(super) fn created(self) -> &'static str {
        if self == Self::V2019 { "created_at" } else { "created" }
    }

    /// The documented object of this version, for those whose fields change from version to version.
    fn documented(self, object: &str) -> Option<&'static Map<String, Value>> {
        let event = match (object, self) {
            ("charge", _) => self.envelope(),
            ("refund", Self::V2014) => fixture!("omise/event_refund_2014-07-27.json"),
            ("refund", Self::V2015) => fixture!("omise/event_refund_2015-11-17.json"),
            ("refund", Self::V2017) => fixture!("omise/event_refund_2017-11-02.json"),
            ("dispute", Self::V2014) => fixture!("omise/event_dispute_2014-07-27.json"),
            ("dispute", Self::V2015) => fixture!("omise/event_dispute_2015-11-17.json"),
            ("dispute", Self::V2017) => fixture!("omise/event_dispute_2017-11-02.json"),
            _ => return None,
        };
        event["data"].as_object()
    }

    /// Converts a value from the latest version to this one.
    ///
    /// # Source
    /// Version copies of the Charge, Refund and Dispute pages and recorded answers, read 2026-11-21;
    /// `docs/providers/omise.md#versions`.
    pub(super) fn shape(self, value: Value) -> Value {
        match value {
            latest if self == Self::V2019 => latest,
            Value::Array(items) => items.into_iter().map(|item| self.shape(item)).collect(),
            Value::Object(fields) => {
                let shaped = fields.into_iter().map(|(name, value)| (name, self.shape(value))).collect();
                Value::Object(self.shape_object(shaped))
            }
            plain => plain,
        }
    }

    fn shape_object(self, mut fields: Map<String, Value>) -> Map<String, Value> {
        let mut rename = |from: &str, to: &str| {
            if let Some(value) = fields.remove(from) {
                fields.insert(to.to_owned(), value);
            }
        };
        rename("created_at", self.created());
        rename("refunded_amount", "refunded");
        if self == Self::V2014 {
            rename("paid", "captured");
            rename("paid_at", "captured_at");
        }
        if let Some(Value::String(currency)) = fields.get_mut("currency") {
            currency.make_ascii_lowercase();
        }
        let object = fields.get("object").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(documented) = self.documented(&object) else { return fields };
        let earlier = match object.as_str() {
            "charge" => source_of_fund(fields.get("source").unwrap_or(&Value::Null)).to_vec(),
            _ => vec![("transaction", fields.get("transactions").map(|of| of[0]["id"].clone()))],
        };
        for (name, value) in earlier {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
        let null = |name: &String| (name.clone(), Value::Null);
        let absent: Vec<_> = documented.keys().filter(|name| !fields.contains_key(*name)).map(null).collect();
        fields.extend(absent);
        fields.retain(|name, _| documented.contains_key(name));
        fields
    }
}

/// How 2015-11-17 says by what a charge is paid.
fn source_of_fund(source: &Value) -> [(&'static str, Option<Value>); 3] {
    let kind = Some(source["type"].clone());
    let fund = match source {
        Value::Null => "card",
        _ if source["flow"] == "offline" => "offline",
        _ => "offsite",
    };
    let of = |word: &str| kind.clone().filter(|_| fund == word);
    [("source_of_fund", Some(fund.into())), ("offsite", of("offsite")), ("offline", of("offline"))]
}

impl std::fmt::Display for OmiseVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for OmiseVersion {
    type Err = SimulatorError;

    fn from_str(word: &str) -> Result<Self, SimulatorError> {
        Self::ALL.into_iter().find(|version| version.as_str() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            SimulatorError::NotPossible(format!("Omise has no API version `{word}`; known are {known}"))
        })
    }
}
