//! Checks an amount against the limits of a payment method. The methods themselves are in
//! `provider/src/<name>/methods.rs`.

use crate::{Currency, Money};

/// A payment method: the limits of one payment by it, and its terms of refunds.
///
/// Amounts are in the currency's smallest unit. `None` means that no limit is documented for a single payment. Daily,
/// monthly, and yearly limits are the wallet's to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// As the provider spells it: Antom's `customerBelongsTo`, Omise's source type.
    pub code: &'static str,
    /// ISO 4217.
    pub currency: &'static str,
    pub min_minor: Option<i64>,
    pub max_minor: Option<i64>,
    pub refund: RefundTerms,
}

/// The terms on which money can go back through the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundTerms {
    Within {
        days: u16,
        partial: bool,
    },
    /// Money back goes outside the provider.
    No,
    Unknown,
}

/// The reason why a payment by this method is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    #[error("{method} takes {wanted}, not {given}")]
    Currency { method: &'static str, wanted: &'static str, given: Currency },
    #[error("{method} takes at least {min}, and this is {given}")]
    TooLittle { method: &'static str, min: Money, given: Money },
    #[error("{method} takes at most {max} at a time, and this is {given}")]
    TooMuch { method: &'static str, max: Money, given: Money },
    #[error("{given}: rupiah are whole, so the last two digits of an IDR amount must be 00")]
    NotWhole { given: Money },
}

impl Method {
    /// Checks that one payment of `amount` can be made by this method.
    pub fn check(&self, amount: Money) -> Result<(), MethodError> {
        let method = self.code;
        if amount.currency.as_str() != self.currency {
            return Err(MethodError::Currency { method, wanted: self.currency, given: amount.currency });
        }
        let limit = |minor| Money::new(minor, amount.currency);
        match (self.min_minor, self.max_minor) {
            (Some(min), _) if amount.amount_minor < min => {
                Err(MethodError::TooLittle { method, min: limit(min), given: amount })
            }
            (_, Some(max)) if amount.amount_minor > max => {
                Err(MethodError::TooMuch { method, max: limit(max), given: amount })
            }
            // Two decimals by ISO 4217, none in life: the classic hundredfold mistake shows here.
            _ if self.currency == "IDR" && amount.amount_minor % 100 != 0 => {
                Err(MethodError::NotWhole { given: amount })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn method(currency: &'static str, min_minor: Option<i64>, max_minor: Option<i64>) -> Method {
        Method { code: "WALLET", currency, min_minor, max_minor, refund: RefundTerms::Unknown }
    }

    #[test]
    fn limits_include_their_ends() {
        let thai = method("THB", Some(100), Some(200_000_000));
        for (amount, fits) in
            [("0.99 THB", false), ("1.00 THB", true), ("2000000.00 THB", true), ("2000000.01 THB", false)]
        {
            assert_eq!(thai.check(money(amount)).is_ok(), fits, "{amount}");
        }
        assert!(method("KRW", None, None).check(money("1 KRW")).is_ok());
        let error = method("KRW", Some(50), None).check(money("49 KRW")).unwrap_err();
        assert_eq!(error.to_string(), "WALLET takes at least 50 KRW, and this is 49 KRW");
    }

    #[test]
    fn another_currency_and_parts_of_a_rupiah_are_refused() {
        let dana = method("IDR", Some(30_000), Some(1_000_000_000));
        assert_eq!(money("15000.00 IDR").amount_minor, 1_500_000);
        assert!(dana.check(money("15000.00 IDR")).is_ok());
        assert!(matches!(dana.check(money("15000.50 IDR")), Err(MethodError::NotWhole { .. })));
        let error = dana.check(money("390.00 THB")).unwrap_err();
        assert_eq!(error.to_string(), "WALLET takes IDR, not THB");
    }
}
