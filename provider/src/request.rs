//! Describes a provider's request before and after its signature was checked, and why one is refused.

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use payhook_schema::{AccountName, Provider, content_id};
use thiserror::Error;
use uuid::Uuid;

use crate::AgeLimit;
use crate::meaning::Meaning;

/// A provider's request as it came from the socket.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// The public path, as the provider has it registered: what a proxy rewrote is already undone.
    pub path: &'a str,
    /// The query string without `?`, if there was one.
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    pub at: Timestamp,
    /// The id the notification shall have.
    pub id: Uuid,
}

/// A signature that holds.
pub(crate) struct Signed {
    /// The key it is of.
    pub(crate) by: String,
    /// The provider's time of signing.
    pub(crate) at: Option<Timestamp>,
    /// The path it signed; empty where none is signed.
    pub(crate) path: String,
    /// The headers that carry the signature.
    pub(crate) headers: Vec<(String, String)>,
    /// The signed bytes before the body.
    pub(crate) before_body: Vec<u8>,
}

impl Signed {
    /// Makes the id of what was signed. The signature is no part of it: one can be spelled in many ways.
    pub(crate) fn id(&self, provider: Provider, account: &AccountName, body: &[u8]) -> Uuid {
        let account = format!("{provider} {account}\n");
        content_id(&[account.as_bytes(), &self.before_body, body].concat())
    }
}

/// The reason why a request is refused, or its content is not interpreted. The text is for our log; the sender learns
/// nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("not genuine: {0}")]
    NotGenuine(String),
    /// Its signature header has no form a signature is in: not even a forgery.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Genuine, and not what the provider documents: [`verify`](crate::verify) never returns it.
    #[error("genuine but unreadable: {0}")]
    Unreadable(String),
}

impl Refusal {
    pub(crate) fn not_genuine(why: impl Into<String>) -> Self {
        Self::NotGenuine(why.into())
    }

    pub(crate) fn malformed(why: impl Into<String>) -> Self {
        Self::Malformed(why.into())
    }

    pub(crate) fn unreadable(why: impl Into<String>) -> Self {
        Self::Unreadable(why.into())
    }

    pub(crate) fn why(&self) -> &str {
        match self {
            Self::NotGenuine(why) | Self::Malformed(why) | Self::Unreadable(why) => why,
        }
    }

    /// Verified content is never refused: unreadable content is stored for a person.
    pub(crate) fn meaning(self, body: &[u8]) -> Result<Meaning, Self> {
        match self {
            Self::Unreadable(why) => Ok(Meaning::unreadable(why, body)),
            Self::NotGenuine(_) | Self::Malformed(_) => Err(self),
        }
    }
}

impl<'a> Received<'a> {
    /// The one value of a header. Two of one name are refused: whoever reads the other one would be fooled.
    pub(crate) fn header(&self, name: &'static str, chars_max: usize) -> Result<&'a str, Refusal> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().ok_or_else(|| Refusal::not_genuine(format!("there is no `{name}` header")))?;
        if values.next().is_some() {
            return Err(Refusal::not_genuine(format!("there are several `{name}` headers")));
        }
        let text = value.to_str().map_err(|_| Refusal::not_genuine(format!("`{name}` is not ASCII")))?;
        if text.is_empty() || text.len() > chars_max {
            return Err(Refusal::not_genuine(format!("`{name}` must have 1 to {chars_max} characters")));
        }
        Ok(text)
    }
}

/// Refuses what was signed too long ago, or too far ahead, where the account asks for that. Both ends are included.
pub(crate) fn check_age(signed_at: Option<Timestamp>, now: Timestamp, limit: AgeLimit) -> Result<(), Refusal> {
    let AgeLimit::Within(max) = limit else { return Ok(()) };
    let Some(signed_at) = signed_at else {
        return Err(Refusal::not_genuine("its time of signing cannot be read, and this account limits its age"));
    };
    let age = now.duration_since(signed_at);
    if age.abs() > SignedDuration::try_from(max).unwrap_or(SignedDuration::MAX) {
        return Err(Refusal::not_genuine(format!("signed {} s from now", age.as_secs())));
    }
    Ok(())
}
