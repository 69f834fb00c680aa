//! Seals what must not be read at rest: the tokens and codes of Auto Debit, and notifications that carry them.
//!
//! XChaCha20-Poly1305 under one of several keys: the highest number seals, all open. The key's number is stored beside
//! what is sealed, and the place it is sealed for (table, column, row) is bound into it, so that a row's secret opens
//! in no other row.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chacha20poly1305::aead::{Aead, Generate, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use payhook_schema::{Notification, Sealed, SealedPlace};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// XChaCha20's nonce: long enough to be drawn at random for ever.
const NONCE_BYTES: usize = 24;

/// The reason why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VaultKeyError {
    #[error("is not base64")]
    NotBase64,
    #[error("is {0} bytes long instead of 32; `openssl rand -base64 32` makes one")]
    NotThirtyTwoBytes(usize),
}

/// The reason why a sealed value cannot be opened, or sealed. No variant reveals anything of the value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VaultError {
    #[error(
        "it is sealed under key {0}, which is not in `[tokens] keys`; give that key back until `payhook keys rotate` is done"
    )]
    UnknownKey(u32),
    #[error("it does not open with key {0}: another key has that number now, or it was moved or changed")]
    DoesNotOpen(u32),
    #[error("there is no key to seal with; set one under `[tokens] keys`")]
    NoKey,
}

/// A key. Prints nothing of itself.
#[derive(Clone)]
pub struct VaultKey(XChaCha20Poly1305);

impl VaultKey {
    /// From the base64 of 32 bytes.
    pub fn parse(text: &SecretString) -> Result<Self, VaultKeyError> {
        let bytes = BASE64_STANDARD.decode(text.expose_secret().trim()).map_err(|_| VaultKeyError::NotBase64)?;
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes);
        Ok(Self(cipher.map_err(|_| VaultKeyError::NotThirtyTwoBytes(bytes.len()))?))
    }
}

/// A new key as `[tokens] keys` takes it.
pub fn new_key() -> SecretString {
    SecretString::from(BASE64_STANDARD.encode(chacha20poly1305::Key::generate()))
}

/// The keys in use. Clones share them: a replacement reaches all.
#[derive(Clone, Default)]
pub struct Vault(Arc<RwLock<BTreeMap<u32, VaultKey>>>);

impl Vault {
    pub fn new(keys: BTreeMap<u32, VaultKey>) -> Self {
        Self(Arc::new(RwLock::new(keys)))
    }

    /// Replaces the keys, from now on.
    pub fn replace(&self, other: &Self) {
        let keys = other.keys();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The key that seals; none where none is configured.
    pub fn newest(&self) -> Option<u32> {
        self.keys().last_key_value().map(|(number, _)| *number)
    }

    /// Seals under the newest key.
    ///
    /// # Errors
    /// [`VaultError::NoKey`].
    pub fn seal(&self, place: &SealedPlace, secret: &[u8]) -> Result<Sealed, VaultError> {
        let keys = self.keys();
        let (number, key) = keys.last_key_value().ok_or(VaultError::NoKey)?;
        let nonce = XNonce::generate();
        let binding = binding(place, *number);
        let payload = Payload { msg: secret, aad: binding.as_bytes() };
        let sealed = key.0.encrypt(&nonce, payload).expect("memory is the only limit, and secrets are small");
        Ok(Sealed { key: *number, bytes: [nonce.as_slice(), &sealed].concat() })
    }

    /// Opens what was sealed for this very place.
    pub fn open(&self, place: &SealedPlace, sealed: &Sealed) -> Result<Vec<u8>, VaultError> {
        let keys = self.keys();
        let key = keys.get(&sealed.key).ok_or(VaultError::UnknownKey(sealed.key))?;
        let unopened = VaultError::DoesNotOpen(sealed.key);
        let (nonce, secret) = sealed.bytes.split_first_chunk::<NONCE_BYTES>().ok_or(unopened.clone())?;
        let binding = binding(place, sealed.key);
        let payload = Payload { msg: secret, aad: binding.as_bytes() };
        key.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| unopened)
    }

    /// Opens what must be text: a token, a code.
    pub fn open_text(&self, place: &SealedPlace, sealed: &Sealed) -> Result<SecretString, VaultError> {
        let text = String::from_utf8(self.open(place, sealed)?).map_err(|_| VaultError::DoesNotOpen(sealed.key))?;
        Ok(SecretString::from(text))
    }

    /// Seals a confidential notification's body, where there is a key and it is not sealed yet.
    pub fn seal_body(&self, notification: &mut Notification) {
        if let Some(Sealed { key, bytes }) = self.body_sealed(notification) {
            notification.body = bytes;
            notification.sealed_with = Some(key);
        }
    }

    fn body_sealed(&self, notification: &Notification) -> Option<Sealed> {
        if !notification.is_confidential() || notification.sealed_with.is_some() {
            return None;
        }
        self.seal(&SealedPlace::NotificationBody(notification.id), &notification.body).ok()
    }

    /// A notification's body as it was received.
    pub fn open_body(&self, notification: &Notification) -> Result<Vec<u8>, VaultError> {
        let Some(key) = notification.sealed_with else { return Ok(notification.body.clone()) };
        let sealed = Sealed { key, bytes: notification.body.clone() };
        self.open(&SealedPlace::NotificationBody(notification.id), &sealed)
    }

    fn keys(&self) -> BTreeMap<u32, VaultKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault(keys {:?})", self.keys().keys())
    }
}

/// The data that is authenticated with a sealed value: its place and its key's number.
fn binding(place: &SealedPlace, key: u32) -> String {
    format!("{}\nkey {key}", place.binding())
}

#[cfg(test)]
mod tests;
