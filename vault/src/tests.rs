//! Tests of sealing and opening, and of changing keys.

use payhook_schema::{About, AccountName, AuthState, AuthorizationId, AuthorizationName, Provider};

use super::*;

fn key(byte: u8) -> VaultKey {
    VaultKey::parse(&SecretString::from(BASE64_STANDARD.encode([byte; 32]))).unwrap()
}

fn vault(numbers: &[u32]) -> Vault {
    Vault::new(numbers.iter().map(|number| (*number, key(*number as u8))).collect())
}

fn place(id: &str) -> SealedPlace {
    SealedPlace::AccessToken(AuthorizationId::new(id).unwrap())
}

#[test]
fn what_is_sealed_opens_in_its_own_place_and_nowhere_else() {
    let vault = vault(&[1]);
    let sealed = vault.seal(&place("AU-1"), b"28100103").unwrap();
    assert_eq!(vault.open(&place("AU-1"), &sealed).unwrap(), b"28100103");
    let elsewhere = SealedPlace::RefreshToken(AuthorizationId::new("AU-1").unwrap());
    for other in [place("AU-2"), elsewhere] {
        assert_eq!(vault.open(&other, &sealed), Err(VaultError::DoesNotOpen(1)));
    }
    let mut changed = sealed.clone();
    changed.bytes[30] ^= 1;
    assert_eq!(vault.open(&place("AU-1"), &changed), Err(VaultError::DoesNotOpen(1)));
    assert_eq!(vault.open(&place("AU-1"), &Sealed { key: 1, bytes: vec![0; 7] }), Err(VaultError::DoesNotOpen(1)));
}

#[test]
fn the_same_secret_is_never_sealed_into_the_same_bytes() {
    let vault = vault(&[1]);
    let sealed = [(); 2].map(|()| vault.seal(&place("AU-1"), b"28100103").unwrap().bytes);
    assert_ne!(sealed[0], sealed[1]);
    assert!(!sealed[0].windows(8).any(|bytes| bytes == b"28100103"));
}

#[test]
fn the_highest_key_seals_and_all_open() {
    let old = vault(&[1]);
    let sealed = old.seal(&place("AU-1"), b"x").unwrap();
    let rotating = vault(&[1, 2]);
    assert_eq!(rotating.newest(), Some(2));
    assert_eq!(rotating.open(&place("AU-1"), &sealed).unwrap(), b"x");
    assert_eq!(rotating.seal(&place("AU-1"), b"x").unwrap().key, 2);
    assert_eq!(vault(&[2]).open(&place("AU-1"), &sealed), Err(VaultError::UnknownKey(1)));
    old.replace(&rotating);
    assert_eq!(old.newest(), Some(2));
}

#[test]
fn a_bad_key_is_refused_with_the_reason() {
    let parse = |text: &str| VaultKey::parse(&SecretString::from(text)).err();
    assert_eq!(parse("not base64!"), Some(VaultKeyError::NotBase64));
    assert_eq!(parse("AAEC"), Some(VaultKeyError::NotThirtyTwoBytes(3)));
    assert_eq!(Vault::default().seal(&place("AU-1"), b"x"), Err(VaultError::NoKey));
    assert!(VaultKey::parse(&new_key()).is_ok());
}

#[test]
fn a_notification_with_a_token_in_it_is_sealed_once_and_read_back() {
    let body = br#"{"accessToken":"28100103"}"#;
    let notification = |about| Notification {
        id: uuid(),
        provider: Provider::Antom,
        account: AccountName::new("shop").unwrap(),
        kind: "TOKEN_CREATED".to_owned(),
        about,
        idempotency_key: "x".to_owned(),
        received_at: jiff_epoch(),
        signed_at: None,
        verified_by: "keyVersion 1".to_owned(),
        signed_path: "/".to_owned(),
        signed_id: None,
        headers: Vec::new(),
        body: body.to_vec(),
        sealed_with: None,
    };
    let about = About::Authorization(AuthorizationName::State(AuthState::new("AS-1").unwrap()));
    let vault = vault(&[3]);
    let seal = |vault: &Vault, mut notification: Notification| {
        vault.seal_body(&mut notification);
        notification
    };
    let sealed = seal(&vault, notification(about.clone()));
    assert_eq!(sealed.sealed_with, Some(3));
    assert_ne!(sealed.body, body);
    assert_eq!(seal(&vault, sealed.clone()), sealed);
    assert_eq!(vault.open_body(&sealed).unwrap(), body);
    let of_payment = About::Reference("2024".to_owned());
    assert_eq!(seal(&vault, notification(of_payment)).sealed_with, Some(3), "a payment may tell of a card");
    assert_eq!(seal(&Vault::default(), notification(about)).body, body);
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::from_u128(7)
}

fn jiff_epoch() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH
}
