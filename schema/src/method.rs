use crate::{Currency, Money, Provider};

/// A payment method with what one payment by it may be, as its provider documents it.
///
/// # Shape
/// Amounts are in the currency's smallest unit. `None` is not "no limit" but "none documented for a single payment": daily, monthly and
/// yearly limits are the wallet's to apply and are only told in `note`.
///
/// # Source
/// Antom's method pages and Omise's K PLUS page, read 2026-11-21; `docs/providers/antom.md#methods`, `docs/providers/omise.md#methods`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    pub provider: Provider,
    /// As the provider spells it: Antom's `customerBelongsTo`, Omise's source type.
    pub code: &'static str,
    pub name: &'static str,
    /// ISO 3166.
    pub country: &'static str,
    /// ISO 4217.
    pub currency: &'static str,
    pub min_minor: Option<i64>,
    pub max_minor: Option<i64>,
    pub refund: Refunds,
    pub chargeback: Known,
    /// The source of the limits, when they are another product's than ours, and limits that do not fit a single
    /// payment.
    pub note: &'static str,
}

/// The terms on which money can go back through the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refunds {
    Within {
        days: u16,
        partial: bool,
    },
    /// Money back goes outside the provider.
    No,
    Unknown,
}

/// An answer of the documentation; `Unclear` where it contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Yes,
    No,
    Unclear,
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

const YEAR: Refunds = Refunds::Within { days: 365, partial: true };

/// The eighteen Auto Debit methods of Antom, GrabPay once per country, and K PLUS on Omise.
pub const METHODS: &[Method] = &[
    antom(
        "ALIPAY_CN",
        "Alipay",
        "CN",
        "CNY",
        Some(10),
        Some(30_000_000),
        YEAR,
        Known::No,
        "3,000,000 per person and year",
    ),
    antom(
        "ALIPAY_HK",
        "AlipayHK",
        "HK",
        "HKD",
        Some(1),
        Some(5_000_000),
        YEAR,
        Known::Unclear,
        "one-time limits; 200,000 per year",
    ),
    antom("BOOST", "Boost", "MY", "MYR", Some(5), None, YEAR, Known::No, "50,000 per month"),
    antom(
        "DANA",
        "DANA",
        "ID",
        "IDR",
        Some(30_000),
        Some(1_000_000_000),
        YEAR,
        Known::Unclear,
        "one-time limits; 20,000,000 per day",
    ),
    antom("GCASH", "GCash", "PH", "PHP", Some(100), None, YEAR, Known::No, "100,000 per day"),
    antom(
        "KAKAOPAY",
        "KakaoPay",
        "KR",
        "KRW",
        Some(50),
        Some(2_000_000),
        YEAR,
        Known::No,
        "lower for gaming, by card issuer",
    ),
    antom("NAVERPAY", "NAVER Pay", "KR", "KRW", None, None, Refunds::Unknown, Known::Unclear, "limits not documented"),
    antom("RABBIT_LINE_PAY", "Rabbit LINE Pay", "TH", "THB", Some(1), Some(5_000_000), YEAR, Known::No, ""),
    antom("TOSSPAY", "Toss Pay", "KR", "KRW", None, None, YEAR, Known::No, "limits by funding source"),
    antom(
        "TNG",
        "Touch 'n Go",
        "MY",
        "MYR",
        Some(5),
        Some(2_000_000),
        YEAR,
        Known::Unclear,
        "one-time limits; 25,000 per month",
    ),
    antom("TRUEMONEY", "TrueMoney", "TH", "THB", Some(100), Some(3_000_000), YEAR, Known::No, "50,000 per day"),
    antom(
        "ZALOPAY",
        "Zalopay",
        "VN",
        "VND",
        Some(1_000),
        Some(10_000_000),
        Refunds::Within { days: 180, partial: true },
        Known::No,
        "20,000,000 per day; its tokens cannot be refreshed",
    ),
    antom(
        "DIRECT_DEBIT_KRUNGTHAIBANK",
        "KrungThai Bank",
        "TH",
        "THB",
        Some(100),
        Some(200_000_000),
        Refunds::No,
        Known::No,
        "one-time limits",
    ),
    antom(
        "DIRECT_DEBIT_SIAMCOMMERCIALBANK",
        "Siam Commercial Bank",
        "TH",
        "THB",
        Some(100),
        Some(200_000_000),
        Refunds::No,
        Known::No,
        "one-time limits",
    ),
    antom("GRABPAY_SG", "GrabPay", "SG", "SGD", Some(1), Some(500_000), YEAR, Known::No, "one-time limits"),
    antom("GRABPAY_MY", "GrabPay", "MY", "MYR", Some(1), Some(150_000), YEAR, Known::No, "one-time limits"),
    antom("GRABPAY_PH", "GrabPay", "PH", "PHP", Some(1_000), Some(5_000_000), YEAR, Known::No, "one-time limits"),
    antom("MAYA", "Maya", "PH", "PHP", Some(100), None, YEAR, Known::Unclear, "one-time limits; 100,000 per day"),
    antom(
        "PAYPAY",
        "PayPay",
        "JP",
        "JPY",
        Some(1),
        None,
        YEAR,
        Known::No,
        "balance: 500,000 per 24 hours; its tokens cannot be refreshed",
    ),
    antom("KPLUS", "K PLUS", "TH", "THB", Some(100), Some(200_000_000), YEAR, Known::No, ""),
    Method {
        provider: Provider::Omise,
        code: "mobile_banking_kbank",
        name: "K PLUS",
        country: "TH",
        currency: "THB",
        min_minor: Some(2_000),
        max_minor: Some(15_000_000),
        refund: Refunds::No,
        chargeback: Known::No,
        note: "",
    },
];

#[expect(clippy::too_many_arguments, reason = "one line of the table")]
const fn antom(
    code: &'static str,
    name: &'static str,
    country: &'static str,
    currency: &'static str,
    min_minor: Option<i64>,
    max_minor: Option<i64>,
    refund: Refunds,
    chargeback: Known,
    note: &'static str,
) -> Method {
    Method { provider: Provider::Antom, code, name, country, currency, min_minor, max_minor, refund, chargeback, note }
}

impl Method {
    /// The method a provider calls `code`.
    pub fn find(provider: Provider, code: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.provider == provider && method.code == code)
    }

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

    fn antom(code: &str) -> &'static Method {
        Method::find(Provider::Antom, code).unwrap()
    }

    #[test]
    fn the_table_is_one_row_a_code_in_real_currencies() {
        let wallets: std::collections::BTreeSet<_> =
            METHODS.iter().filter(|it| it.provider == Provider::Antom).map(|it| it.name).collect();
        assert_eq!(wallets.len(), 18, "{wallets:?}");
        for method in METHODS {
            Currency::new(method.currency).unwrap();
            let same = METHODS.iter().filter(|it| (it.provider, it.code) == (method.provider, method.code));
            assert_eq!(same.count(), 1, "{}", method.code);
            if let (Some(min), Some(max)) = (method.min_minor, method.max_minor) {
                assert!(0 < min && min < max, "{}", method.code);
            }
        }
    }

    #[test]
    fn limits_include_their_ends() {
        for (code, fits) in [
            ("KPLUS", ["1.00 THB", "2000000.00 THB"]),
            ("KAKAOPAY", ["50 KRW", "2000000 KRW"]),
            ("ZALOPAY", ["1000 VND", "10000000 VND"]),
            ("DANA", ["300.00 IDR", "10000000.00 IDR"]),
        ] {
            for text in fits {
                antom(code).check(money(text)).unwrap();
            }
            let [min, max] = fits.map(money);
            let below = Money::new(min.amount_minor - 1, min.currency);
            let above = Money::new(max.amount_minor + 100, max.currency);
            assert!(matches!(antom(code).check(below), Err(MethodError::TooLittle { .. })), "{code}");
            assert!(matches!(antom(code).check(above), Err(MethodError::TooMuch { .. })), "{code}");
        }
        let kbank = Method::find(Provider::Omise, "mobile_banking_kbank").unwrap();
        kbank.check(money("20.00 THB")).unwrap();
        kbank.check(money("19.99 THB")).unwrap_err();
        kbank.check(money("150000.01 THB")).unwrap_err();
    }

    #[test]
    fn currencies_without_minor_units_and_rupiah_are_told_apart() {
        assert_eq!(money("15000.00 IDR").amount_minor, 1_500_000);
        assert!(matches!(antom("DANA").check(money("15000.50 IDR")), Err(MethodError::NotWhole { .. })));
        assert_eq!(money("39000 KRW").amount_minor, 39_000);
        let error = antom("KAKAOPAY").check(money("390.00 THB")).unwrap_err();
        assert_eq!(error.to_string(), "KAKAOPAY takes KRW, not THB");
    }

    #[test]
    fn a_code_is_spelled_as_its_provider_spells_it() {
        assert!(Method::find(Provider::Antom, "K_PLUS").is_none());
        assert!(Method::find(Provider::Omise, "KPLUS").is_none());
    }
}
