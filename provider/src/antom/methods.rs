//! Lists Antom's Auto Debit methods with their documented limits and refund terms.

use payhook_schema::{Method, RefundTerms};

const YEAR: RefundTerms = RefundTerms::Within { days: 365, partial: true };
const HALF_YEAR: RefundTerms = RefundTerms::Within { days: 180, partial: true };

/// The eighteen Auto Debit methods, GrabPay once for each country.
///
/// # Source
/// Antom's method pages, read 2026-11-21; `docs/providers/antom.md#methods`. Some limits are of the one-time product,
/// because the page shows no others.
pub(super) const METHODS: &[Method] = &[
    method("ALIPAY_CN", "CNY", Some(10), Some(30_000_000), YEAR),
    method("ALIPAY_HK", "HKD", Some(1), Some(5_000_000), YEAR),
    method("BOOST", "MYR", Some(5), None, YEAR),
    method("DANA", "IDR", Some(30_000), Some(1_000_000_000), YEAR),
    method("GCASH", "PHP", Some(100), None, YEAR),
    method("KAKAOPAY", "KRW", Some(50), Some(2_000_000), YEAR),
    method("NAVERPAY", "KRW", None, None, RefundTerms::Unknown),
    method("RABBIT_LINE_PAY", "THB", Some(1), Some(5_000_000), YEAR),
    method("TOSSPAY", "KRW", None, None, YEAR),
    method("TNG", "MYR", Some(5), Some(2_000_000), YEAR),
    method("TRUEMONEY", "THB", Some(100), Some(3_000_000), YEAR),
    method("ZALOPAY", "VND", Some(1_000), Some(10_000_000), HALF_YEAR),
    method("DIRECT_DEBIT_KRUNGTHAIBANK", "THB", Some(100), Some(200_000_000), RefundTerms::No),
    method("DIRECT_DEBIT_SIAMCOMMERCIALBANK", "THB", Some(100), Some(200_000_000), RefundTerms::No),
    method("GRABPAY_SG", "SGD", Some(1), Some(500_000), YEAR),
    method("GRABPAY_MY", "MYR", Some(1), Some(150_000), YEAR),
    method("GRABPAY_PH", "PHP", Some(1_000), Some(5_000_000), YEAR),
    method("MAYA", "PHP", Some(100), None, YEAR),
    method("PAYPAY", "JPY", Some(1), None, YEAR),
    method("KPLUS", "THB", Some(100), Some(200_000_000), YEAR),
];

const fn method(
    code: &'static str,
    currency: &'static str,
    min_minor: Option<i64>,
    max_minor: Option<i64>,
    refund: RefundTerms,
) -> Method {
    Method { code, currency, min_minor, max_minor, refund }
}
