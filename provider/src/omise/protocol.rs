//! Describes Omise's protocol, and its limits.

use std::time::Duration;

use super::{account, methods};
use crate::{Limits, Protocol};

/// A single path for each account, and an empty 200.
pub const PROTOCOL: Protocol = Protocol {
    notify: &[""],
    success: None,
    checks: CHECKS,
    methods: methods::METHODS,
    account: account::take,
    // A charge carries its dispute.
    dispute: |_| None,
    authorization: |_| None,
};

/// Omise promises no resend, and may fail an abandoned charge a day late.
///
/// # Source
/// `docs/providers/omise.md#how-often-to-ask`.
const CHECKS: &[Duration] =
    &[Duration::from_mins(1), Duration::from_mins(4), Duration::from_mins(10), Duration::from_hours(1)];

impl Limits {
    /// The limits of an [`crate::OmiseAccount`], unless the configuration sets others.
    ///
    /// # Source
    /// "Rate limiting", docs.omise.co/api-rate-limiting, read 2026-11-21: no rate is published, and no more than ten
    /// parallel workers are advised; `docs/providers/omise.md#rate-limits`. Two are left to the merchant's own program.
    pub const OMISE: Self = Self { parallel: 8, requests_per_s: None };
}
