//! Lists Omise's methods with their documented limits and refund terms.

use payhook_schema::{Method, RefundTerms};

/// # Source
/// Omise's K PLUS page, read 2026-11-21; `docs/providers/omise.md#methods`.
pub(super) const METHODS: &[Method] = &[Method {
    code: "mobile_banking_kbank",
    currency: "THB",
    min_minor: Some(2_000),
    max_minor: Some(15_000_000),
    refund: RefundTerms::No,
}];
