//! Describes a provider's notification, as received.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AccountName, AuthorizationName, PaymentId, PaymentKey, Provider, RefundId};

/// The subject of a notification, as far as payhook acts on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A payment: the notification asks to settle it.
    Payment(PaymentId),
    /// A payment, by the provider's own second name for it: an Antom capture names nothing else.
    Reference(String),
    /// A refund. payhook must know its payment, unless the provider names it.
    Refund { id: RefundId, payment: Option<PaymentId> },
    /// A customer's consent to be charged: believed on the signature alone, for there is no inquiry.
    Authorization(AuthorizationName),
    /// Genuine, but nothing of ours to settle: stored and acknowledged, and nothing is asked.
    Other,
    /// Genuine, but not what the provider documents, and why: stored for a person.
    Unreadable(String),
}

/// An HTTP request of a provider, as received, with the facts it states about itself. It is a hint: nothing in it moves
/// money.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Ours, made on receipt; sorts by time.
    pub id: Uuid,
    pub provider: Provider,
    pub account: AccountName,
    /// The provider's word: `PAYMENT_RESULT`, `charge.complete`.
    pub kind: String,
    pub about: About,
    /// Equal for repeats of the same fact, within one provider and account.
    pub idempotency_key: String,
    pub received_at: Timestamp,
    /// The time of signing, by the provider's word; absent if the header cannot be read as a time.
    pub signed_at: Option<Timestamp>,
    /// The key that verified it, by name and never by value: `keyVersion 1`, `secret 3fa1c2d4`.
    pub verified_by: String,
    /// Method target that was signed; empty where the provider signs none (Omise).
    pub signed_path: String,
    /// The id of what was signed: equal for requests of one provider and account that were signed as the same bytes.
    /// Absent where it was archived by an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_id: Option<Uuid>,
    /// The headers the signature is made of, as received: enough to check it again years later.
    pub headers: Vec<(String, String)>,
    /// The exact bytes, never re-printed; sealed under key `sealed_with` where there is one.
    #[serde(with = "base64_bytes")]
    pub body: Vec<u8>,
    /// The number in `[tokens] keys` of the key that seals the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_with: Option<u32>,
}

impl Notification {
    /// The payment to settle, if it names one by its id.
    pub fn payment(&self) -> Option<PaymentKey> {
        match &self.about {
            About::Payment(id) | About::Refund { payment: Some(id), .. } => {
                Some(PaymentKey { provider: self.provider, account: self.account.clone(), id: id.clone() })
            }
            About::Reference(_)
            | About::Refund { payment: None, .. }
            | About::Authorization(_)
            | About::Other
            | About::Unreadable(_) => None,
        }
    }

    /// Returns true if the body may carry a token or a card: it must not be stored in the clear.
    pub fn is_confidential(&self) -> bool {
        self.provider.profile().has_confidential_bodies
    }
}

/// Begins what stands for a name in an idempotency key where there is none, or none to be written down: a digest.
pub const DIGEST_PREFIX: &str = "sha256-";

/// An idempotency key for people to see: nothing where it is made of a digest, of a token or of a body that may hold
/// one, because that would confirm a guess.
pub fn fact_shown(idempotency_key: &str) -> Option<&str> {
    (!idempotency_key.contains(DIGEST_PREFIX)).then_some(idempotency_key)
}

/// Body and headers stay out of logs, whoever prints a notification.
impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notification")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("account", &self.account)
            .field("kind", &self.kind)
            .field("about", &self.about)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

pub(crate) mod base64_bytes {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        BASE64_STANDARD.decode(text.as_bytes()).map_err(|_| de::Error::custom("the body is not base64"))
    }
}
