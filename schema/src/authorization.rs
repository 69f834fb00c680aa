//! Describes authorizations: a customer's consent to be charged, its tokens, and the places where secrets are sealed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AccountName, AuthState, AuthorizationId, AuthorizationState, Provider, SecretDigest, Wallet};

/// A merchant's registration of an authorization, made before it sends the customer to the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuthorization {
    pub id: AuthorizationId,
    /// An account with [`Authorization::PROVIDER`].
    pub account: AccountName,
    pub auth_state: AuthState,
    pub wallet: Wallet,
}

/// The name of an authorization in a notification: `TOKEN_CANCELED` has only the token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizationName {
    State(AuthState),
    /// By the token's digest: the token itself is in no column and no log.
    Token(SecretDigest),
}

impl AuthorizationName {
    pub fn as_str(&self) -> &str {
        match self {
            Self::State(state) => state.as_str(),
            Self::Token(digest) => digest.as_str(),
        }
    }
}

/// A secret under one of our keys; bound to the place it was sealed for, so that it opens nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The key's number in `[tokens] keys`.
    pub key: u32,
    /// Nonce, ciphertext and tag.
    #[serde(with = "crate::notification::base64_bytes")]
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed(under key {})", self.key)
    }
}

/// The place of a sealed value. Its [`binding`](Self::binding) goes into the seal: the same bytes do not open anywhere
/// else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedPlace {
    Code(AuthorizationId),
    AccessToken(AuthorizationId),
    RefreshToken(AuthorizationId),
    NotificationBody(Uuid),
}

impl SealedPlace {
    /// Table, column and row; an id can hold no newline.
    pub fn binding(&self) -> String {
        match self {
            Self::Code(id) => format!("authorizations\ncode\n{id}"),
            Self::AccessToken(id) => format!("authorizations\naccess_token\n{id}"),
            Self::RefreshToken(id) => format!("authorizations\nrefresh_token\n{id}"),
            Self::NotificationBody(id) => format!("notifications\nbody\n{id}"),
        }
    }
}

/// An authorization, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    pub id: AuthorizationId,
    pub account: AccountName,
    pub auth_state: AuthState,
    pub wallet: Wallet,
    pub state: AuthorizationState,
    /// The number of its events: the `version` of the last one, 0 before the first.
    pub version: i64,
    /// Counts every write; what is written must have been decided on the one stored.
    pub revision: i64,
    /// The code of `AUTHCODE_CREATED`: known by its digest for ever, stored only until it is exchanged.
    pub code: Option<Code>,
    /// The token that counts; a former one is known by its digest only.
    pub token: Option<Token>,
    /// The provider's word for what went wrong last.
    pub reason: Option<String>,
    /// The scheduled time to exchange the code or refresh the token; absent if there is nothing to do.
    pub next_check_at: Option<Timestamp>,
    /// Tries of what is to be done next that came to nothing.
    pub attempts: i32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Authorization {
    /// The provider of every authorization: the tables have no column for it. A second provider with authorizations
    /// does not compile; it needs that column first.
    pub const PROVIDER: Provider = {
        let (mut found, mut at) = (None, 0);
        while at < Provider::ALL.len() {
            if Provider::ALL[at].profile().has_authorizations {
                assert!(found.is_none(), "two providers have authorizations, and their tables have no column for it");
                found = Some(Provider::ALL[at]);
            }
            at += 1;
        }
        found.expect("a provider has authorizations")
    };
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    pub digest: SecretDigest,
    /// Absent once it was exchanged, refused, or where we are not asked to exchange it.
    pub sealed: Option<Sealed>,
}

/// An access token with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub digest: SecretDigest,
    /// Absent once it was cancelled.
    pub access: Option<Sealed>,
    /// Absent where the wallet has none: the access token is long-lived then.
    pub refresh: Option<Sealed>,
    pub expires_at: Option<Timestamp>,
    pub refresh_expires_at: Option<Timestamp>,
    pub issued_at: Timestamp,
}
