//! Holds what a notification says, as far as payhook acts on it.

use payhook_schema::{About, DIGEST_PREFIX};
use sha2::{Digest, Sha256};

/// The parts of a notification that payhook acts on.
pub(crate) struct Meaning {
    /// The provider's word.
    pub(crate) kind: String,
    pub(crate) about: About,
    /// Equal for repeats of the same fact.
    pub(crate) idempotency_key: String,
}

impl Meaning {
    /// Makes the meaning of genuine bytes that nobody can interpret: they are stored, and a person must look.
    pub(crate) fn unreadable(why: String, body: &[u8]) -> Self {
        Self { kind: "unreadable".to_owned(), about: About::Unreadable(why), idempotency_key: fingerprint(body) }
    }
}

/// Tells equal bytes from others, and gives none of them away.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.iter().take(16).fold(DIGEST_PREFIX.to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
