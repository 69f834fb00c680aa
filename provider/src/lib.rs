//! Antom and Omise: is it genuine, what does it say, and what do they say now?
//!
//! Checking and reading are pure: bytes, headers, keys and a time in; a verified notification or a refusal out. Only
//! [`Client`] does I/O: it asks the provider about a payment or a refund, for a token or for what happened, and checks the
//! answer.

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
mod strict_json;
mod transport;

pub use account::{Account, Accounts, AgeLimit, AntomAccount, Limits, OmiseAccount};
pub use antom::{AuthorizationSaid, Grant, IssuedToken, RefundAnswer};
pub use client::{AskError, Client};
pub use crypto::{KeyError, PrivateKey, PublicKey};
pub use diagnose::{Cause, Diagnosis, diagnose};
pub use omise::{EventsPage, ListedEvent};
pub use protocol::Protocol;
pub use request::{Received, Refusal};
pub use transport::{Carried, Carrier};

use payhook_schema::{About, Dispute, Notification, Provider, Verified};

/// Checks a request against the account it was sent to, and reads what it is about. Genuine content that is not what the provider documents
/// is [`About::Unreadable`]: never refused, and never interpreted.
///
/// # Errors
/// - [`Refusal::NotGenuine`]: no key of this account signed exactly this. The rest of the request was not read.
/// - [`Refusal::Malformed`]: its signature header cannot be parsed.
pub fn verify(account: &Account, received: &Received<'_>) -> Result<Verified<Notification>, Refusal> {
    match account {
        Account::Antom(account) => antom::verify(account, received),
        Account::Omise(account) => omise::verify(account, received),
    }
}

/// Checks a notification that travelled on a queue again, from its own bytes and headers, and reads it anew: whoever can write to the queue is
/// believed in nothing. `notification` has its body opened.
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

/// Reads a notification out of the archive anew: it was verified when it came, and the keys of then may be gone. `archived` has its body
/// opened.
///
/// # Errors
/// [`Refusal::NotGenuine`]: of the other mode than this account's.
pub fn read_again(account: &Account, archived: Notification) -> Result<Verified<Notification>, Refusal> {
    let meaning = match account {
        Account::Antom(_) => antom::meaning(&archived.body)?,
        Account::Omise(account) => omise::meaning(&archived.body, account.livemode)?,
    };
    let meaning::Meaning { kind, about, idempotency_key } = meaning;
    Ok(Verified::vouch(Notification { kind, about, idempotency_key, ..archived }))
}

/// The dispute a notification tells of, where its word is all there is: none of a provider whose answers carry disputes. `body` is the
/// notification's own, opened if it was sealed.
pub fn dispute_told(notification: &Notification, body: &[u8]) -> Option<Dispute> {
    match notification.provider {
        Provider::Antom => antom::read_dispute(body),
        Provider::Omise => None,
    }
}

/// Reads the event of the authorization that a notification names. `body` is the notification's own, opened if it was
/// sealed. Returns `Some` for every notification that is [`About::Authorization`].
pub fn authorization_told(notification: &Notification, body: &[u8]) -> Option<AuthorizationSaid> {
    if !matches!(notification.about, About::Authorization(_)) {
        return None;
    }
    match notification.provider {
        Provider::Antom => antom::read_authorization(body),
        Provider::Omise => None,
    }
}
