//! Builds, signs, and checks the message under Antom's `signature` header.

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use payhook_schema::keepable_time;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{PrivateKey, PublicKey};

/// An RSA-4096 signature percent-encoded has some 700 characters.
pub(crate) const HEADER_CHARS_MAX: usize = 2048;

/// The one error of [`SignatureHeader::parse`] that is about a header in the right form.
pub(crate) const OTHER_ALGORITHM: &str = "the `signature` header names another algorithm than RSA256";

/// Proxies have been seen to drop the padding.
const BASE64_ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Builds the message that Antom signs, and that we sign for Antom: `POST <path>\n<client-id>.<time>.<body>`, byte for
/// byte.
pub fn signed_message(path: &str, client_id: &str, time: &str, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(path.len() + client_id.len() + time.len() + body.len() + 8);
    message.extend_from_slice(b"POST ");
    for part in [path.as_bytes(), b"\n", client_id.as_bytes(), b".", time.as_bytes(), b".", body] {
        message.extend_from_slice(part);
    }
    message
}

/// The `signature` header for a message: percent-encoded base64, as every official client writes it.
pub fn sign(key: &PrivateKey, key_version: u32, message: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(key.sign(message));
    let encoded = utf8_percent_encode(&base64, NON_ALPHANUMERIC);
    format!("algorithm=RSA256,keyVersion={key_version},signature={encoded}")
}

/// A `signature` header taken apart.
#[derive(Debug)]
pub(crate) struct SignatureHeader {
    key_version: Option<u32>,
    signature: Vec<u8>,
}

impl SignatureHeader {
    /// Reads `algorithm=RSA256, keyVersion=1, signature=…` in any order, with or without blanks.
    ///
    /// The value may be percent-encoded in either case, raw base64, and without its padding; `+` is never a blank. The
    /// algorithm is ours to choose: a header that names another one is refused.
    pub(crate) fn parse(header: &str) -> Result<Self, &'static str> {
        let (mut algorithm, mut key_version, mut signature) = (None, None, None);
        for part in header.split(',') {
            let (name, value) = part.split_once('=').ok_or("the `signature` header has a part without `=`")?;
            let slot = match name.trim() {
                "algorithm" => &mut algorithm,
                "keyVersion" => &mut key_version,
                "signature" => &mut signature,
                _ => continue,
            };
            if slot.replace(value.trim()).is_some() {
                return Err("the `signature` header names a part twice");
            }
        }
        if algorithm.is_some_and(|algorithm| algorithm != "RSA256") {
            return Err(OTHER_ALGORITHM);
        }
        let key_version = match key_version {
            Some(version) => Some(version.parse().map_err(|_| "`keyVersion` is not a number")?),
            None => None,
        };
        let encoded = signature.ok_or("the `signature` header has no signature")?;
        let decoded =
            percent_decode_str(encoded).decode_utf8().map_err(|_| "the signature is not percent-encoded text")?;
        let signature = BASE64_ANY_PADDING.decode(&*decoded).map_err(|_| "the signature is not base64")?;
        Ok(Self { key_version, signature })
    }

    /// Returns the configured key version that made this signature over exactly `message`.
    pub(crate) fn verify(&self, message: &[u8], keys: &BTreeMap<u32, PublicKey>) -> Result<u32, ()> {
        self.candidates(keys).find(|(_, key)| key.holds(message, &self.signature)).map(|(version, _)| version).ok_or(())
    }

    /// The version of the key it says it is of.
    pub(crate) fn key_version(&self) -> Option<u32> {
        self.key_version
    }

    /// The reason why [`Self::verify`] failed, for our log.
    pub(super) fn why_not(&self, keys: &BTreeMap<u32, PublicKey>) -> String {
        match self.key_version {
            Some(version) if !keys.contains_key(&version) => format!("keyVersion {version} is not configured"),
            _ if self.candidates(keys).next().is_none() => "the signature has the wrong length".to_owned(),
            _ => "the signature does not hold".to_owned(),
        }
    }

    /// The named key, or every key where the header names none.
    fn candidates<'k>(&self, keys: &'k BTreeMap<u32, PublicKey>) -> impl Iterator<Item = (u32, &'k PublicKey)> {
        let (wanted, bytes) = (self.key_version, self.signature.len());
        keys.iter().map(|(version, key)| (*version, key)).filter(move |(version, key)| {
            wanted.is_none_or(|wanted| wanted == *version) && key.signature_bytes() == bytes
        })
    }
}

/// Reads a `request-time` or `response-time`: epoch milliseconds, or ISO 8601 with an offset.
pub(crate) fn read_time(text: &str) -> Option<Timestamp> {
    let time = match text.parse::<i64>() {
        Ok(milliseconds) => Timestamp::from_millisecond(milliseconds).ok(),
        Err(_) => text.parse().ok(),
    };
    time.and_then(keepable_time)
}
