//! Defines the ids of providers and merchants, each a type of its own with its limits.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::Provider;

/// The error for a text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} must be 1 to {chars_max} characters of {alphabet}")]
pub struct IdError {
    what: &'static str,
    chars_max: usize,
    alphabet: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $chars_max:literal, $alphabet:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                let allowed: fn(u8) -> bool = $allowed;
                if text.is_empty() || text.len() > $chars_max || !text.bytes().all(allowed) {
                    return Err(IdError { what: $what, chars_max: $chars_max, alphabet: $alphabet });
                }
                Ok(Self(text))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    };
}

id!(
    /// The merchant's own name for an order. Compared as bytes; visible ASCII, so that two ids never only look the
    /// same.
    OrderId, "an order id", 128, "visible ASCII", |byte| byte.is_ascii_graphic()
);
id!(
    /// The provider's id of a payment: Antom's `paymentRequestId` (64 characters at most), Omise's charge id.
    PaymentId, "a payment id", 64, "visible ASCII", |byte| byte.is_ascii_graphic()
);
id!(
    /// The name of a configured account: part of its notify URL.
    AccountName, "an account name", 64, "lower-case letters, digits and `-`",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
);

id!(
    /// The id of a refund: Antom's `refundRequestId`, Omise's refund id.
    RefundId, "a refund id", 64, "visible ASCII", |byte| byte.is_ascii_graphic()
);
id!(
    /// The provider's id of a dispute: Antom's `disputeId`, Omise's dispute id.
    DisputeId, "a dispute id", 64, "visible ASCII", |byte| byte.is_ascii_graphic()
);
id!(
    /// The merchant's own name for an authorization: one customer's consent to be charged by one wallet.
    AuthorizationId, "an authorization id", 128, "visible ASCII", |byte| byte.is_ascii_graphic()
);
id!(
    /// The `authState` that the merchant sent to Antom's `consult`: the only name an authorization has until there is a
    /// token.
    AuthState, "an auth state", 256, "visible ASCII", |byte| byte.is_ascii_graphic()
);
id!(
    /// Antom's code of a wallet: `customerBelongsTo`, such as `KPLUS`.
    Wallet, "a wallet", 64, "capital letters, digits and `_`",
    |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
);
id!(
    /// The digest that stands for a code or token: its SHA-256, in hexadecimal.
    SecretDigest, "the digest of a secret", 64, "hexadecimal digits", |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')
);

impl SecretDigest {
    pub fn of(secret: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The key of a payment everywhere: its provider, our account, and the provider's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PaymentKey {
    pub provider: Provider,
    pub account: AccountName,
    pub id: PaymentId,
}

impl fmt::Display for PaymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.provider, self.account, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_only_look_alike_are_refused() {
        assert!(OrderId::new("A-1001").is_ok());
        for bad in ["", "A 1", "A\u{200b}1", "А-1001", "a\0b", "a\nb"] {
            assert!(OrderId::new(bad).is_err(), "{bad:?}");
        }
        assert!(PaymentId::new("x".repeat(65)).is_err());
        assert!(AccountName::new("Shop").is_err());
    }
}
