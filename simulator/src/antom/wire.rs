//! Antom's keys, times and the parts that many of its bodies have.

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use payhook_schema::Money;
use serde_json::{Value, json};

use crate::Keys;
use crate::json::with;

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

/// A documented body with these fields set in it; those that are `null` are left out, because Antom's own library
/// cannot read `null` in a list's place.
pub(super) fn body(documented: &Value, fields: Value) -> Value {
    let mut body = with(documented, fields);
    if let Value::Object(fields) = &mut body {
        fields.retain(|_, value| !value.is_null());
    }
    body
}

pub(super) fn result(code: &str, status: &str) -> Value {
    let message = code.replace('_', " ").to_lowercase();
    json!({ "resultCode": code, "resultStatus": status, "resultMessage": message })
}

pub(super) fn amount(money: Money) -> Value {
    json!({ "value": money.amount_minor.to_string(), "currency": money.currency })
}
