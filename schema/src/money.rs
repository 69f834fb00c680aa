//! Represents money as a whole number of a currency's smallest unit.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The error for a text that is no amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MoneyError {
    #[error("`{0}` is not a currency: three letters of ISO 4217 are")]
    Currency(String),
    #[error("`{0}` is not an amount: write it like `120.00 THB`, with no more decimals than the currency has")]
    Amount(String),
}

/// A currency by its ISO 4217 letters, upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads three letters of either case: Omise's older API versions write `thb`.
    pub fn new(letters: &str) -> Result<Self, MoneyError> {
        let known = iso_currency::Currency::from_code(&letters.to_ascii_uppercase());
        let known = known.ok_or_else(|| MoneyError::Currency(letters.chars().take(8).collect()))?;
        let mut code = [0; 3];
        code.copy_from_slice(known.code().as_bytes());
        Ok(Self(code))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("ISO 4217 codes are ASCII")
    }

    /// Returns the number of decimals of one unit: 2 for THB, 0 for JPY, 3 for KWD; IDR has 2, although its prices show
    /// none.
    pub fn exponent(&self) -> u32 {
        let known = iso_currency::Currency::from_code(self.as_str()).expect("only known codes are constructed");
        known.exponent().unwrap_or(0).into()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.as_str().to_owned()
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(letters: String) -> Result<Self, MoneyError> {
        Self::new(&letters)
    }
}

/// An amount in the currency's smallest unit: `150000` THB is ฿1,500.00. There is no float anywhere near it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    pub amount_minor: i64,
    pub currency: Currency,
}

impl Money {
    pub fn new(amount_minor: i64, currency: Currency) -> Self {
        Self { amount_minor, currency }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = self.currency.exponent();
        let unit = 10_u64.pow(decimals);
        let (sign, minor) = (if self.amount_minor < 0 { "-" } else { "" }, self.amount_minor.unsigned_abs());
        let text = match decimals {
            0 => format!("{sign}{minor} {}", self.currency),
            _ => {
                format!("{sign}{}.{:0width$} {}", minor / unit, minor % unit, self.currency, width = decimals as usize)
            }
        };
        f.pad(&text)
    }
}

impl std::str::FromStr for Money {
    type Err = MoneyError;

    /// Reads what [`fmt::Display`] writes: `120.00 THB`, `39000 KRW`.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let wrong = || MoneyError::Amount(text.chars().take(40).collect());
        let (amount, letters) = text.trim().rsplit_once(' ').ok_or_else(wrong)?;
        let currency = Currency::new(letters)?;
        let decimals = currency.exponent() as usize;
        let (whole, fraction) = amount.trim().split_once('.').unwrap_or((amount.trim(), ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || fraction.len() > decimals || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let minor = format!("{whole}{fraction:0<decimals$}");
        Ok(Self::new(minor.parse().map_err(|_| wrong())?, currency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_with_its_currencys_decimals_and_read_back() {
        for text in ["120.00 THB", "39000 KRW", "0.05 MYR", "15000.00 IDR", "1.250 KWD", "1 JPY"] {
            assert_eq!(text.parse::<Money>().unwrap().to_string(), text);
        }
        assert_eq!("120 THB".parse::<Money>().unwrap().amount_minor, 12_000);
    }

    #[test]
    fn amounts_a_float_would_swallow_are_refused() {
        for bad in
            ["1.005 THB", "1e3 THB", "-1.00 THB", "1.5 JPY", "120.00", "12 XXZ", ". THB", "9223372036854775808 JPY"]
        {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
    }
}
