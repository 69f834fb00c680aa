//! Omise: what it signs and how, its webhook events, its charges.

mod account;
mod call;
mod charge;
mod diagnose;
mod event;
mod list;
mod methods;
mod protocol;
mod signature;

pub use account::OmiseAccount;
pub use charge::read_charge;
pub use list::{EventsPage, ListedEvent};
pub use protocol::PROTOCOL;
pub use signature::{SecretError, WebhookSecret};

use crate::{Received, Refusal};

/// The API version every call of ours pins: the one these readers are written for.
pub const API_VERSION: &str = "2019-05-29";

/// Two signatures of 64 characters are sent while a secret is rotated; room for the eight we look at.
const SIGNATURE_CHARS_MAX: usize = 600;
/// Unix seconds have 10 digits until the year 2286.
const TIMESTAMP_CHARS_MAX: usize = 16;

/// The signature header, the timestamp, and the digests in the former.
fn headers<'r>(received: &Received<'r>) -> Result<(&'r str, &'r str, Vec<[u8; 32]>), Refusal> {
    let header = received.header("omise-signature", SIGNATURE_CHARS_MAX)?;
    let timestamp = received.header("omise-signature-timestamp", TIMESTAMP_CHARS_MAX)?;
    if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::not_genuine("`omise-signature-timestamp` is not Unix seconds"));
    }
    let candidates = signature::candidates(header);
    if candidates.is_empty() {
        return Err(Refusal::malformed("`omise-signature` has no hexadecimal digest"));
    }
    Ok((header, timestamp, candidates))
}

#[cfg(test)]
mod tests;
