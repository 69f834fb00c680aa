//! Each provider in a folder: is a notification genuine, what does it say, and what does the provider answer now?
//!
//! Checking and reading are pure: bytes, headers, keys and a time in; a verified notification or a refusal out. Only
//! [`Client`] does I/O: it asks the provider about a payment or a refund, for a token or for what happened, and checks
//! the answer.

mod account;
pub mod antom;
mod client;
mod crypto;
mod diagnose;
mod meaning;
pub mod omise;
mod protocol;
mod request;
mod retry;
mod section;
mod strict_json;
#[cfg(debug_assertions)]
pub mod tamarind;
mod transport;

pub use account::{Account, Accounts, AgeLimit, Limits};
pub use antom::{AntomAccount, AuthorizationNotice, Grant, IssuedToken, RefundAnswer};
pub use client::{AskError, Client};
pub use crypto::{PrivateKey, PublicKey, RsaKeyError};
pub use diagnose::{Cause, Diagnosis, diagnose};
pub use omise::{EventsPage, ListedEvent, OmiseAccount};
pub use protocol::Protocol;
pub use request::{Received, Refusal};
pub use section::{CheckSecret, Section};
pub use transport::{Carried, Carrier};

use payhook_schema::{About, Dispute, Notification, Verified};

use crate::account::{ProviderAccount, each};
use crate::meaning::Meaning;
use crate::request::check_age;

/// Checks a request against the account it was sent to, and reads what it is about. Genuine content that is not what
/// the provider documents is [`About::Unreadable`]: never refused, and never interpreted.
///
/// # Errors
/// - [`Refusal::NotGenuine`]: no key of this account signed exactly this. The rest of the request was not read.
/// - [`Refusal::Malformed`]: its signature header cannot be parsed.
pub fn verify(account: &Account, received: &Received<'_>) -> Result<Verified<Notification>, Refusal> {
    let signed = each!(account, account => account.signed(received))?;
    check_age(signed.at, received.at, account.signature_age_max())?;
    let Meaning { kind, about, idempotency_key } = meaning(account, received.body)?;
    let signed_id = signed.id(account.provider(), account.name(), received.body);
    Ok(Verified::vouch(Notification {
        id: received.id,
        provider: account.provider(),
        account: account.name().clone(),
        kind,
        about,
        idempotency_key,
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

/// Checks a notification that travelled on a queue again, from its own bytes and headers, and reads it anew: whoever
/// can write to the queue is believed in nothing. `notification` has its body opened.
///
/// # Errors
/// As [`verify`], with the keys that this account has today.
pub fn verify_again(account: &Account, notification: &Notification) -> Result<Verified<Notification>, Refusal> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &notification.headers {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_str(value)) else {
            return Err(Refusal::NotGenuine("its headers are no HTTP headers".to_owned()));
        };
        headers.append(name, value);
    }
    let received = Received {
        path: &notification.signed_path,
        query: None,
        headers: &headers,
        body: &notification.body,
        at: notification.received_at,
        id: notification.id,
    };
    verify(account, &received)
}

/// Reads a notification out of the archive anew: it was verified when it came, and the keys of then may be gone.
/// `archived` has its body opened.
///
/// # Errors
/// [`Refusal::NotGenuine`]: of the other mode than this account's.
pub fn read_again(account: &Account, archived: Notification) -> Result<Verified<Notification>, Refusal> {
    let Meaning { kind, about, idempotency_key } = meaning(account, &archived.body)?;
    Ok(Verified::vouch(Notification { kind, about, idempotency_key, ..archived }))
}

/// Reads what a genuine notification says. Content that cannot be interpreted has a meaning, too: a person must look.
fn meaning(account: &Account, body: &[u8]) -> Result<Meaning, Refusal> {
    each!(account, account => account.read(body)).or_else(|refusal| refusal.meaning(body))
}

/// Reads the dispute in a notification; `None` with a provider whose answers about payments carry disputes. `body` is
/// the notification's own, opened if it was sealed.
pub fn dispute_in(notification: &Notification, body: &[u8]) -> Option<Dispute> {
    (Protocol::of(notification.provider).dispute)(body)
}

/// Reads the event of the authorization that a notification names. `body` is the notification's own, opened if it was
/// sealed. Returns `Some` for every notification that is [`About::Authorization`].
pub fn authorization_in(notification: &Notification, body: &[u8]) -> Option<AuthorizationNotice> {
    if !matches!(notification.about, About::Authorization(_)) {
        return None;
    }
    (Protocol::of(notification.provider).authorization)(body)
}
