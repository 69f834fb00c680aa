//! Reads notifyAuthorization: codes, tokens, and cancellations.

use payhook_schema::{About, AuthState, AuthorizationName, SecretDigest};
use secrecy::SecretString;
use serde::Deserialize;

use super::token::{IssuedToken, TokenFields};
use super::wire::{Text, given};
use crate::strict_json;

/// An event of an authorization, as a notification reports it. It is believed on the signature alone, since Antom has
/// no inquiry for it.
#[derive(Debug, Clone)]
pub enum AuthorizationNotice {
    /// `AUTHCODE_CREATED`: the customer agreed; the code is exchanged once for a token.
    Granted { code: SecretString },
    /// `TOKEN_CREATED`: there is a token already.
    Issued { token: IssuedToken },
    /// `TOKEN_CANCELED`: the token is dead. The reason is the customer's words, at most 256 characters.
    Cancelled { reason: Option<String> },
}

/// The longest reason of a cancellation that is stored, in characters: as long as Antom's may be.
const REASON_CHARS_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    authorization_notify_type: Option<Text>,
    auth_code: Option<Text>,
    access_token: Option<Text>,
    reason: Option<Text>,
}

/// Reads a notifyAuthorization; `None` for anything else, for kinds nobody documented yet, and where the code or token
/// is missing.
///
/// # Source
/// <https://docs.antom.com/ac/ams/notifyauth>, read 2026-11-21; `docs/providers/antom.md#authorizations`. The expiry
/// and the refresh token are not documented for `TOKEN_CREATED`, and taken where they are there.
pub fn read_authorization(body: &[u8]) -> Option<AuthorizationNotice> {
    let fields: Fields = strict_json::read(body).ok()?;
    match given(fields.authorization_notify_type.as_ref())? {
        "AUTHCODE_CREATED" => Some(AuthorizationNotice::Granted { code: given(fields.auth_code.as_ref())?.into() }),
        "TOKEN_CREATED" => {
            let token: TokenFields = strict_json::read(body).ok()?;
            Some(AuthorizationNotice::Issued { token: token.read()? })
        }
        "TOKEN_CANCELED" => {
            given(fields.access_token.as_ref())?;
            let reason = given(fields.reason.as_ref()).unwrap_or_default().chars().filter(|char| !char.is_control());
            let reason: String = reason.take(REASON_CHARS_MAX).collect();
            Some(AuthorizationNotice::Cancelled { reason: Some(reason).filter(|reason| !reason.trim().is_empty()) })
        }
        _ => None,
    }
}

/// Returns the authorization that a notifyAuthorization of this `kind` is about; `Other` if it lacks the field its kind
/// exists for.
pub(super) fn about(kind: &str, state: Option<&str>, code: Option<&str>, token: Option<&str>) -> About {
    let by_state = || state.and_then(|state| AuthState::new(state).ok()).map(AuthorizationName::State);
    let by_token = || token.map(|token| AuthorizationName::Token(SecretDigest::of(token)));
    let name = match kind {
        "AUTHCODE_CREATED" => code.and_then(|_| by_state()),
        "TOKEN_CREATED" => token.and_then(|_| by_state().or_else(by_token)),
        "TOKEN_CANCELED" => by_token(),
        _ => None,
    };
    name.map_or(About::Other, About::Authorization)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn cancelled(reason: &str) -> Option<String> {
        let body = format!(r#"{{"authorizationNotifyType":"TOKEN_CANCELED","accessToken":"2810","reason":{reason}}}"#);
        match read_authorization(body.as_bytes()) {
            Some(AuthorizationNotice::Cancelled { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_customers_words_are_kept_to_a_length_and_to_one_line() {
        assert_eq!(cancelled(r#""ผู้ใช้ยกเลิก""#).unwrap(), "ผู้ใช้ยกเลิก");
        assert_eq!(cancelled(r#""two\nlines\u001b[31m""#).unwrap(), "twolines[31m");
        assert_eq!(cancelled(&format!("\"{}\"", "ก".repeat(300))).unwrap().chars().count(), 256);
        for nothing in ["null", r#""""#, r#"" \t ""#] {
            assert_eq!(cancelled(nothing), None);
        }
    }

    #[test]
    fn a_token_that_exists_already_brings_what_belongs_to_it() {
        let body = include_bytes!("../../fixtures/antom/notify_token_created_with_expiry.json");
        let Some(AuthorizationNotice::Issued { token }) = read_authorization(body) else { panic!("not issued") };
        assert_eq!(token.access.expose_secret(), "28100103202611210000000002");
        assert_eq!(token.refresh.unwrap().expose_secret(), "28100104202611210000000002");
        assert_eq!(token.expires_at, Some("2027-11-20T19:00:00Z".parse().unwrap()));
        assert_eq!(token.refresh_expires_at, Some("2028-11-20T19:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_code_is_handed_over_and_printed_by_nobody() {
        let notice = read_authorization(include_bytes!("../../fixtures/antom/notify_authcode_created.json")).unwrap();
        assert!(!format!("{notice:?}").contains("2810010312AB34CD56EF"));
        assert!(
            matches!(notice, AuthorizationNotice::Granted { code } if code.expose_secret() == "2810010312AB34CD56EF")
        );
    }

    #[test]
    fn what_is_no_authorization_says_nothing_about_one() {
        for body in [&b"<html>"[..], b"{}", br#"{"notifyType":"PAYMENT_RESULT","accessToken":"2810"}"#] {
            assert!(read_authorization(body).is_none());
        }
    }
}
