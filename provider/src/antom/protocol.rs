//! Describes Antom's protocol, and its limits.

use std::time::Duration;

use super::{SUCCESS, account, methods};
use crate::{Limits, Protocol};

/// Any kind of notification is accepted on any of these paths: the URL in the API call decides where they go.
pub const PROTOCOL: Protocol = Protocol {
    notify: &["/notifyPayment", "/notifyRefund", "/notifyAuthorization"],
    success: Some(SUCCESS),
    checks: CHECKS,
    methods: methods::METHODS,
    account: account::take,
    dispute: super::read_dispute,
    authorization: super::read_authorization,
};

/// Dense at first, because an Auto Debit payment closes after a minute. With the daily looks that follow it goes past
/// Antom's last resend, 24 h 22 min after the first.
///
/// # Source
/// `docs/providers/antom.md#how-often-to-ask`.
const CHECKS: &[Duration] = &[
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_hours(1),
];

impl Limits {
    /// The limits of an [`crate::AntomAccount`], unless the configuration sets others.
    ///
    /// # Source
    /// Antom publishes no figure, only that too much is answered `REQUEST_TRAFFIC_EXCEED_LIMIT`:
    /// `docs/providers/antom.md#how-often-to-ask`. Sixteen is our own choice, to be raised with Antom's word for it.
    pub const ANTOM: Self = Self { parallel: 16, requests_per_s: None };
}
