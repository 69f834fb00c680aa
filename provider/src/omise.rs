//! Omise: what it signs and how, its webhook events, its charges.

mod call;
mod charge;
mod event;
mod list;
mod protocol;
mod signature;

pub(crate) use call::get;
pub use charge::read_charge;
pub use list::{EventsPage, ListedEvent};
pub(crate) use list::{PAGE_BYTES_MAX, events_path, read_events};
pub use protocol::PROTOCOL;
pub use signature::{SecretError, WebhookSecret};

use jiff::Timestamp;
use payhook_schema::{Notification, Provider, Verified, keepable_time};

use crate::meaning::Meaning;
use crate::request::{Signed, check_age};
use crate::{OmiseAccount, Received, Refusal};

/// The API version every call of ours pins: the one these readers are written for.
pub const API_VERSION: &str = "2019-05-29";

/// Two signatures of 64 characters are sent while a secret is rotated; room for the eight we look at.
pub(crate) const SIGNATURE_CHARS_MAX: usize = 600;
/// Unix seconds have 10 digits until the year 2286.
pub(crate) const TIMESTAMP_CHARS_MAX: usize = 16;

/// Checks one of Omise's webhook events.
///
/// # Source
/// "Webhooks", docs.omise.co/api-webhooks, and twelve integrations that agree, read 2026-11-21; `docs/providers/omise.md#signing`.
pub(crate) fn verify(account: &OmiseAccount, received: &Received<'_>) -> Result<Verified<Notification>, Refusal> {
    let signed = signed(account, received)?;
    check_age(signed.at, received.at, account.signature_age_max)?;
    let meaning = meaning(received.body, account.livemode)?;
    let signed_id = signed.id(Provider::Omise, &account.name, received.body);
    Ok(Verified::vouch(Notification {
        id: received.id,
        provider: Provider::Omise,
        account: account.name.clone(),
        kind: meaning.kind,
        about: meaning.about,
        idempotency_key: meaning.idempotency_key,
        received_at: received.at,
        signed_at: signed.at,
        verified_by: signed.by,
        signed_path: signed.path,
        signed_id: Some(signed_id),
        headers: signed.headers,
        body: received.body.to_vec(),
        sealed_with: None,
    }))
}

/// Checks the signature alone. No path is signed.
pub(crate) fn signed(account: &OmiseAccount, received: &Received<'_>) -> Result<Signed, Refusal> {
    let (header, timestamp, candidates) = headers(received)?;
    let mut held = None;
    for secret in &account.webhook_secrets {
        // No early exit: how long this takes says nothing about which secret or candidate held.
        if secret.holds_any(timestamp, received.body, &candidates) {
            held = Some(secret);
        }
    }
    let secret = held.ok_or_else(|| Refusal::not_genuine("the signature does not hold"))?;
    let headers = [("omise-signature", header), ("omise-signature-timestamp", timestamp)];
    Ok(Signed {
        by: secret.name(),
        at: timestamp.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).and_then(keepable_time),
        path: String::new(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        before_body: format!("{timestamp}.").into_bytes(),
    })
}

/// The signature header, the timestamp, and the digests in the former.
pub(crate) fn headers<'r>(received: &Received<'r>) -> Result<(&'r str, &'r str, Vec<[u8; 32]>), Refusal> {
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

/// Reads what a genuine event says. Content that cannot be interpreted has a meaning, too: a person must look.
///
/// # Errors
/// [`Refusal::NotGenuine`]: of the other mode than this account's.
pub(crate) fn meaning(body: &[u8], livemode: bool) -> Result<Meaning, Refusal> {
    let read = event::read(body, livemode);
    let said = read.map(|said| Meaning { kind: said.kind, about: said.about, idempotency_key: said.event_id });
    said.or_else(|refusal| refusal.meaning(body))
}

#[cfg(test)]
mod tests;
