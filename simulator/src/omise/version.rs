use serde_json::{Map, Value, json};

use crate::SimulatorError;

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

    /// Converts a value from the latest version to this one.
    ///
    /// # Source
    /// Version copies of the Charge, Refund and Dispute pages and recorded answers, read 2026-11-21;
    /// `docs/providers/omise.md#versions`. Fields that the table there does not name stay as they are.
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
        rename(&mut fields, "created_at", "created");
        if let Some(Value::String(currency)) = fields.get_mut("currency") {
            currency.make_ascii_lowercase();
        }
        let object = fields.get("object").and_then(Value::as_str).unwrap_or_default().to_owned();
        match object.as_str() {
            "charge" => self.shape_charge(&mut fields),
            "refund" => {
                remove(&mut fields, &["status"]);
                if self == Self::V2014 {
                    remove(&mut fields, &["livemode", "voided", "funding_amount", "funding_currency"]);
                }
            }
            "dispute" => {
                remove(&mut fields, &["funding_amount", "funding_currency"]);
                let transactions = fields.remove("transactions");
                let first = transactions.and_then(|ids| ids.get(0).cloned());
                fields.insert("transaction".to_owned(), first.unwrap_or_default());
            }
            _ => {}
        }
        fields
    }

    fn shape_charge(self, fields: &mut Map<String, Value>) {
        const SINCE_2019: [&str; 10] = [
            "net",
            "fee",
            "fee_vat",
            "interest",
            "interest_vat",
            "transaction_fees",
            "platform_fee",
            "link",
            "authorized_amount",
            "captured_amount",
        ];
        remove(fields, &SINCE_2019);
        rename(fields, "refunded_amount", "refunded");
        if self == Self::V2017 {
            fields.insert("reference".to_owned(), Value::Null);
            return;
        }
        let source = fields.remove("source").unwrap_or_default();
        if self == Self::V2014 {
            rename(fields, "paid", "captured");
            rename(fields, "paid_at", "captured_at");
            return;
        }
        let offline = source["flow"] == "offline";
        let fund = match &source {
            Value::Null => "card",
            _ if offline => "offline",
            _ => "offsite",
        };
        let kind = source["type"].clone();
        let (offsite, offline) = if offline { (Value::Null, kind) } else { (kind, Value::Null) };
        let legacy =
            [("source_of_fund", json!(fund)), ("offsite", offsite), ("offline", offline), ("reference", Value::Null)];
        fields.extend(legacy.map(|(name, value)| (name.to_owned(), value)));
    }
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

fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

fn remove(fields: &mut Map<String, Value>, names: &[&str]) {
    fields.retain(|name, _| !names.contains(&name.as_str()));
}
