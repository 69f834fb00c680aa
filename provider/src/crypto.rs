//! RSA, both libraries in one place.
//!
//! `rsa` reads keys, says which form was given, and makes the simulator's; the signatures themselves are aws-lc-rs:
//! five to ten times faster, and its signing time does not depend on the key (RUSTSEC-2023-0071). Keys are parsed once,
//! at start.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::{Engine, prelude::BASE64_STANDARD};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use thiserror::Error;

/// RSA-2048: the smallest either provider issues, and the smallest we accept, in bytes of modulus.
const MODULUS_BYTES_MIN: usize = 256;

/// The reason why a text is not a usable key. Names the form that was given; never shows any of the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RsaKeyError {
    #[error("neither PEM nor base64")]
    NotBase64,
    #[error("a private key is wanted, and this is a public one")]
    IsPublic,
    #[error("the provider's public key is wanted, and this is a private one")]
    IsPrivate,
    #[error("neither a PKCS#8 (`MIIEv…`) nor a PKCS#1 (`MIIEo…`) RSA private key")]
    NotPrivateKey,
    #[error("not an RSA public key in SPKI form (`MIIBI…`)")]
    NotPublicKey,
    #[error("RSA keys of {0} bit are too short; 2048 is the least")]
    TooShort(usize),
}

/// Our private key, for signing what we ask.
pub struct PrivateKey {
    pair: KeyPair,
    public: RsaPublicKey,
    /// PKCS#8, so that the simulator can hand its keys to a configuration file.
    pkcs8: secrecy::SecretSlice<u8>,
}

/// A provider's public key.
pub struct PublicKey {
    key: ParsedPublicKey,
    modulus_bytes: usize,
}

impl PrivateKey {
    /// Reads PEM or bare base64, PKCS#8 or PKCS#1.
    pub fn parse(text: &str) -> Result<Self, RsaKeyError> {
        let der = der(text)?;
        let key = RsaPrivateKey::from_pkcs8_der(&der).ok().or_else(|| RsaPrivateKey::from_pkcs1_der(&der).ok());
        match key {
            Some(key) => Self::new(&key),
            None if RsaPublicKey::from_public_key_der(&der).is_ok() => Err(RsaKeyError::IsPublic),
            None => Err(RsaKeyError::NotPrivateKey),
        }
    }

    /// A fresh RSA-2048 key, for the simulator and tests.
    pub fn generate() -> Self {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).expect("2048 is a valid size");
        Self::new(&key).expect("a fresh key is usable")
    }

    fn new(key: &RsaPrivateKey) -> Result<Self, RsaKeyError> {
        if key.size() < MODULUS_BYTES_MIN {
            return Err(RsaKeyError::TooShort(key.size() * 8));
        }
        let pkcs8 = key.to_pkcs8_der().map_err(|_| RsaKeyError::NotPrivateKey)?;
        let pair = KeyPair::from_pkcs8(pkcs8.as_bytes()).map_err(|_| RsaKeyError::NotPrivateKey)?;
        Ok(Self { pair, public: key.to_public_key(), pkcs8: pkcs8.as_bytes().to_vec().into() })
    }

    /// PKCS#1 v1.5 with SHA-256. Deterministic: the same message has the same signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("a checked key signs any message");
        signature
    }

    pub fn public_key(&self) -> PublicKey {
        PublicKey::new(&self.public).expect("the public half of a checked key is usable")
    }

    /// Base64 of SPKI, as the providers' dashboards show it.
    pub fn public_key_base64(&self) -> String {
        let der = self.public.to_public_key_der().expect("an RSA public key has an SPKI form");
        BASE64_STANDARD.encode(der.as_bytes())
    }

    /// Base64 of PKCS#8, as the providers' dashboards show it. For keys made by [`PrivateKey::generate`].
    pub fn to_base64(&self) -> String {
        use secrecy::ExposeSecret;
        BASE64_STANDARD.encode(self.pkcs8.expose_secret())
    }
}

impl PublicKey {
    /// Reads PEM or bare base64 of SPKI.
    pub fn parse(text: &str) -> Result<Self, RsaKeyError> {
        let der = der(text)?;
        match RsaPublicKey::from_public_key_der(&der) {
            Ok(key) => Self::new(&key),
            Err(_) if RsaPrivateKey::from_pkcs8_der(&der).is_ok() => Err(RsaKeyError::IsPrivate),
            Err(_) if RsaPrivateKey::from_pkcs1_der(&der).is_ok() => Err(RsaKeyError::IsPrivate),
            Err(_) => Err(RsaKeyError::NotPublicKey),
        }
    }

    fn new(key: &RsaPublicKey) -> Result<Self, RsaKeyError> {
        if key.size() < MODULUS_BYTES_MIN {
            return Err(RsaKeyError::TooShort(key.size() * 8));
        }
        let spki = key.to_public_key_der().map_err(|_| RsaKeyError::NotPublicKey)?;
        let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki.as_bytes());
        Ok(Self { key: parsed.map_err(|_| RsaKeyError::NotPublicKey)?, modulus_bytes: key.size() })
    }

    /// The length of this key's signatures, in bytes.
    pub fn signature_bytes(&self) -> usize {
        self.modulus_bytes
    }

    /// Returns true if `signature` is this key's signature over exactly `message`: PKCS#1 v1.5 with SHA-256.
    pub fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

/// The bytes of a PEM block of any label, or of bare base64 with or without line breaks.
fn der(text: &str) -> Result<Vec<u8>, RsaKeyError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let base64: String = lines.flat_map(str::chars).filter(|char| !char.is_whitespace()).collect();
    match BASE64_STANDARD.decode(base64) {
        Ok(der) if !der.is_empty() => Ok(der),
        _ => Err(RsaKeyError::NotBase64),
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey([redacted])")
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({} bit)", self.modulus_bytes * 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::pkcs1::EncodeRsaPrivateKey;
    use rsa::pkcs1v15::{Signature, SigningKey, VerifyingKey};
    use rsa::pkcs8::LineEnding;
    use rsa::sha2::Sha256;
    use rsa::signature::{RandomizedSigner, SignatureEncoding, Verifier};

    #[test]
    fn each_library_accepts_what_the_other_signed() {
        let theirs = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let ours = PrivateKey::new(&theirs).unwrap();
        #[expect(clippy::disallowed_methods, reason = "blinded below by sign_with_rng, and only in a test")]
        let signing = SigningKey::<Sha256>::new(theirs.clone());
        let verifying = VerifyingKey::<Sha256>::new(theirs.to_public_key());
        for message in [&b""[..], b"a", &[0xff; 5000]] {
            let signature = ours.sign(message);
            verifying.verify(message, &Signature::try_from(&signature[..]).unwrap()).unwrap();
            let other = signing.sign_with_rng(&mut rsa::rand_core::OsRng, message).to_vec();
            assert_eq!(signature, other, "PKCS#1 v1.5 is deterministic");
            assert!(ours.public_key().holds(message, &other));
            let mut altered = message.to_vec();
            altered.push(0);
            assert!(!ours.public_key().holds(&altered, &other));
        }
    }

    #[test]
    fn keys_are_read_in_every_form_dashboards_and_tools_give() {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let pkcs8 = key.to_pkcs8_pem(LineEnding::LF).unwrap();
        let pkcs1 = key.to_pkcs1_pem(LineEnding::CRLF).unwrap();
        let bare = BASE64_STANDARD.encode(key.to_pkcs8_der().unwrap().as_bytes());
        for text in [pkcs8.as_str(), pkcs1.as_str(), &bare] {
            assert!(PrivateKey::parse(text).is_ok());
            assert_eq!(PublicKey::parse(text).unwrap_err(), RsaKeyError::IsPrivate);
        }
        let public = PrivateKey::parse(&bare).unwrap().public_key_base64();
        assert!(PublicKey::parse(&public).is_ok());
        assert_eq!(PrivateKey::parse(&public).unwrap_err(), RsaKeyError::IsPublic);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        assert_eq!(PrivateKey::parse("secret!").unwrap_err(), RsaKeyError::NotBase64);
        assert_eq!(PrivateKey::parse("").unwrap_err(), RsaKeyError::NotBase64);
        assert_eq!(PublicKey::parse("AAAA").unwrap_err(), RsaKeyError::NotPublicKey);
        let short = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
        assert_eq!(PrivateKey::new(&short).unwrap_err(), RsaKeyError::TooShort(1024));
    }
}
