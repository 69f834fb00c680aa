use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use payhook_schema::Money;
use serde::Serialize;

use crate::Keys;

/// The version under which each side knows the other's key, until Antom's is [changed](super::Antom::set_key).
pub(crate) const KEY_VERSION: u32 = 1;

/// The key that signs Antom's notifications and answers.
#[derive(Clone)]
pub(crate) struct AntomKey {
    pub(crate) version: u32,
    /// The set of keys; the Antom key in it signs.
    pub(crate) keys: Keys,
}

/// ISO 8601 with an offset, to the second, as Antom writes times.
pub(crate) fn iso(at: Timestamp, hours_east: i8) -> String {
    at.to_zoned(TimeZone::fixed(tz::offset(hours_east))).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Times inside bodies are Pacific ones in every sample.
pub(super) fn body_time(at: Timestamp) -> String {
    iso(at, -7)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the provider's names")]
pub(super) struct ResultBody {
    pub(super) result_code: String,
    pub(super) result_status: &'static str,
    pub(super) result_message: String,
}

impl ResultBody {
    pub(super) fn new(code: &str, status: &'static str) -> Self {
        let message = code.replace('_', " ").to_lowercase();
        Self { result_code: code.to_owned(), result_status: status, result_message: message }
    }

    pub(super) fn success() -> Self {
        Self::new("SUCCESS", "S")
    }
}

#[derive(Serialize)]
pub(super) struct Amount {
    value: String,
    currency: String,
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self { value: money.amount_minor.to_string(), currency: money.currency.to_string() }
    }
}
