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
pub mod omise;
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
pub use request::{Received, Refusal};

use payhook_schema::{About, Dispute, Notification, Provider, Verified};

/// Checks a request against the account it was sent to, and reads what it is about.
///
/// # Errors
/// - [`Refusal::NotGenuine`]: no key of this account signed exactly this. Nothing further was read.
/// - [`Refusal::Unreadable`]: genuine, but not what the provider documents. A resend will not improve it.
pub fn verify(account: &Account, received: &Received<'_>) -> Result<Verified<Notification>, Refusal> {
    match account {
        Account::Antom(account) => antom::verify(account, received),
        Account::Omise(account) => omise::verify(account, received),
    }
}

/// The dispute a notification tells of, where its word is all there is: Antom has no inquiry for disputes. `body` is the
/// notification's own, opened if it was sealed. Omise's disputes are read from the charge.
pub fn dispute_told(notification: &Notification, body: &[u8]) -> Option<Dispute> {
    match notification.provider {
        Provider::Antom => antom::read_dispute(body),
        Provider::Omise => None,
    }
}

/// What a notification says about the authorization it names. `body` is the notification's own, opened if it was sealed.
/// There whenever the notification is [`About::Authorization`].
pub fn authorization_told(notification: &Notification, body: &[u8]) -> Option<AuthorizationSaid> {
    match (notification.provider, &notification.about) {
        (Provider::Antom, About::Authorization(_)) => antom::read_authorization(body),
        _ => None,
    }
}
