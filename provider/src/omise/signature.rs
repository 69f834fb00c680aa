//! Signs and checks with Omise's webhook secrets.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// More digests than any rotation needs; the rest is ignored.
const CANDIDATES_MAX: usize = 8;

/// The reason why a text is not a webhook secret. Never shows the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretError {
    #[error("a webhook secret is base64, as the dashboard shows it")]
    NotBase64,
    #[error("the webhook secret is empty")]
    Empty,
}

/// A webhook secret of Omise, decoded and keyed once.
#[derive(Clone)]
pub struct WebhookSecret(Hmac<Sha256>);

impl WebhookSecret {
    /// Reads the base64 the dashboard shows. Using that text itself as the key is the commonest mistake; so it is
    /// decoded here and nowhere else.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let key = BASE64_STANDARD.decode(text.trim()).map_err(|_| SecretError::NotBase64)?;
        if key.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Self(Hmac::new_from_slice(&key).expect("HMAC takes keys of any length")))
    }

    /// Returns a name that distinguishes this secret from others. It does not depend on the secret's place in a list,
    /// and reveals nothing of the secret.
    pub fn name(&self) -> String {
        let mut mac = self.0.clone();
        mac.update(b"payhook: the name of this webhook secret");
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        digest[..4].iter().fold("secret ".to_owned(), |name, byte| format!("{name}{byte:02x}"))
    }

    /// The digest over `<timestamp>.<body>` in lower-case hexadecimal, as Omise sends it.
    pub fn sign(&self, timestamp: &str, body: &[u8]) -> String {
        let digest: [u8; 32] = self.over(timestamp, body).finalize().into_bytes().into();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns true if one of `candidates` is this secret's digest; every one is compared, each in constant time.
    pub(super) fn holds_any(&self, timestamp: &str, body: &[u8], candidates: &[[u8; 32]]) -> bool {
        let mac = self.over(timestamp, body);
        candidates.iter().fold(false, |held, candidate| mac.clone().verify_slice(candidate).is_ok() | held)
    }

    fn over(&self, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in [timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret([redacted])")
    }
}

/// The digests in a signature header: 64 hexadecimal digits of either case each, separated by commas.
pub(crate) fn candidates(header: &str) -> Vec<[u8; 32]> {
    header.split(',').take(CANDIDATES_MAX).filter_map(|text| digest(text.trim_matches(' '))).collect()
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}
