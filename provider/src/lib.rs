//! Antom and Omise: is it genuine, what does it say, and what do they say now?
//!
//! Checking and reading are pure: bytes, headers, keys and a time in; a verified notification or a refusal out. Only
//! [`Client`] does I/O: it asks the provider about one payment and checks the answer.

mod account;
pub mod antom;
mod client;
mod crypto;
pub mod omise;
mod request;
mod retry;
mod strict_json;

pub use account::{Account, Accounts, AgeLimit, AntomAccount, OmiseAccount};
pub use client::{AskError, Client};
pub use crypto::{KeyError, PrivateKey, PublicKey};
pub use request::{Received, Refusal};

use payhook_schema::{Notification, Verified};

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
