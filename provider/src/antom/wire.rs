//! The parts that Antom's notifications and answers share.

use std::ops::Deref;

use jiff::Timestamp;
use payhook_schema::{Currency, Money};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::client::AskError;

/// A scalar as text. Documented as a string always, sent as a bare number or boolean at times: all three read the same,
/// and a number keeps every digit, since it never becomes a float.
///
/// # Source
/// An official fixture of a real notifyPayment; `docs/providers/antom.md#scalars`.
pub(super) struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        match raw.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw.get()).map(Self).map_err(D::Error::custom),
            Some(b'{' | b'[') => Err(D::Error::custom("no scalar")),
            _ => Ok(Self(raw.get().to_owned())),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Returns a field's text. An empty text counts as absent, like `null`.
pub(super) fn given(field: Option<&Text>) -> Option<&str> {
    field.map(|text| &**text).filter(|text| !text.is_empty())
}

/// Reads a time, ISO 8601 with an offset. An unreadable time is `None`: no decision depends on it.
pub(super) fn time(field: Option<&Text>) -> Option<Timestamp> {
    given(field).and_then(super::signature::read_time)
}

/// Longest word of the provider's that is passed on; documented codes have at most 64 characters.
const WORD_CHARS_MAX: usize = 64;

/// A code of the provider's, fit for a line of the log.
pub(super) fn word(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(WORD_CHARS_MAX).collect()
}

/// Money in the currency's smallest unit: `"50000"` HKD is HK$500.00.
#[derive(Deserialize)]
pub(super) struct Amount {
    currency: Option<Text>,
    value: Option<Text>,
}

impl Amount {
    /// The amount, or what is wrong with it. A fraction, a sign or an exponent is never rounded away.
    pub(super) fn read(&self) -> Result<Money, &'static str> {
        let currency = given(self.currency.as_ref()).unwrap_or_default();
        let currency = Currency::new(currency).map_err(|_| "has an unknown currency")?;
        let value = given(self.value.as_ref()).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
        let minor = value.and_then(|value| value.parse().ok()).ok_or("is not a positive integer")?;
        Ok(Money::new(minor, currency))
    }

    /// Like [`Self::read`], where `field` has to be right.
    pub(super) fn money(&self, field: &str) -> Result<Money, AskError> {
        self.read().map_err(|wrong| AskError::OutsideTables { what: format!("{field} {wrong}") })
    }
}

/// `result`: whether the call worked. Never whether a payment or refund did.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    result_code: Option<Text>,
    result_status: Option<Text>,
}

impl Outcome {
    pub(super) fn status(&self) -> Option<&str> {
        given(self.result_status.as_ref())
    }

    pub(super) fn code(&self) -> String {
        word(given(self.result_code.as_ref()).unwrap_or("-"))
    }

    /// The code, where it says more than that all is well.
    pub(super) fn reason(&self) -> Option<String> {
        given(self.result_code.as_ref()).filter(|code| *code != "SUCCESS").map(word)
    }

    /// Returns `Ok` if the call worked. The meaning of a final refusal (`F`) depends on the call: `refused` maps it to
    /// an error.
    pub(super) fn worked(&self, refused: impl FnOnce(String) -> AskError) -> Result<(), AskError> {
        let code = self.code();
        match self.status() {
            Some("S") => Ok(()),
            Some("U") if code == "REQUEST_TRAFFIC_EXCEED_LIMIT" => Err(AskError::Throttled { after: None }),
            Some("U") => Err(AskError::unavailable(format!("Antom answered U {code}"))),
            Some("F") => Err(refused(code)),
            other => Err(AskError::OutsideTables { what: format!("resultStatus {}", word(other.unwrap_or("absent"))) }),
        }
    }
}

/// Maps a final refusal (`F`) of an inquiry to an error: not there, or not yet, or our set-up is wrong.
///
/// `PROCESS_FAIL` is also what an order that never reached Antom gets, at first:
/// `docs/providers/antom.md#inquirypayment`.
pub(super) fn not_there(code: String) -> AskError {
    match code.as_str() {
        "ORDER_NOT_EXIST" | "REFUND_NOT_EXIST" | "PROCESS_FAIL" => AskError::NotThere { code },
        _ => AskError::Misconfigured { what: format!("Antom answered F {code}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Option<String> {
        serde_json::from_str::<Option<Text>>(json).unwrap().map(|text| text.to_string())
    }

    #[test]
    fn a_scalar_keeps_its_digits_in_every_form() {
        let digits = "202611201940108001001880000000001";
        assert_eq!(text(digits), Some(digits.to_owned()));
        assert_eq!(text(&format!("\"{digits}\"")), Some(digits.to_owned()));
        assert_eq!(text("0.0646220000"), Some("0.0646220000".to_owned()));
        assert_eq!(text("false"), Some("false".to_owned()));
        assert_eq!(text(r#""\u0e3f\/1""#), Some("฿/1".to_owned()));
        assert_eq!(text("null"), None);
    }

    #[test]
    fn what_is_no_scalar_is_no_text() {
        for json in ["[]", "{}", r#"["a"]"#] {
            assert!(serde_json::from_str::<Option<Text>>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn an_amount_is_whole_and_exact_or_none() {
        let read = |value: &str| {
            let json = format!(r#"{{"currency":"THB","value":{value}}}"#);
            serde_json::from_str::<Amount>(&json).unwrap().read().map(|money| money.amount_minor)
        };
        assert_eq!(read(r#""150000""#), Ok(150_000));
        assert_eq!(read("150000"), Ok(150_000));
        for wrong in
            [r#""1500.00""#, "1500.5", "1e3", r#""-1""#, r#""+1""#, r#""""#, "null", "true", "9223372036854775808"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_word_fits_on_a_line() {
        assert_eq!(word("A\nB\u{7}"), "AB");
        assert_eq!(word(&"x".repeat(100)).len(), 64);
    }
}
