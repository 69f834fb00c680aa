//! Applies to Antom for an access token, and reads the answer.

use jiff::Timestamp;
use payhook_schema::Wallet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::wire::{Outcome, Text, given, time};
use crate::client::AskError;
use crate::strict_json;

/// The API call that gives an access token.
pub const APPLY_TOKEN: &str = "v1/authorizations/applyToken";

/// The secret that is exchanged for a token.
#[derive(Debug, Clone, Copy)]
pub enum Grant<'a> {
    /// The code of `AUTHCODE_CREATED`.
    Code(&'a SecretString),
    /// The refresh token that came with the access token that is about to lapse.
    Refresh(&'a SecretString),
}

/// A token Antom issued. Printed with `[REDACTED]` in the place of its secrets.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    pub access: SecretString,
    /// Absent where Antom does not say.
    pub expires_at: Option<Timestamp>,
    /// Absent where the wallet refreshes none: the access token is long-lived then.
    pub refresh: Option<SecretString>,
    pub refresh_expires_at: Option<Timestamp>,
}

pub(crate) fn token_body(wallet: &Wallet, grant: Grant<'_>) -> String {
    let (grant_type, field, secret) = match grant {
        Grant::Code(code) => ("AUTHORIZATION_CODE", "authCode", code),
        Grant::Refresh(token) => ("REFRESH_TOKEN", "refreshToken", token),
    };
    serde_json::json!({ "grantType": grant_type, "customerBelongsTo": wallet, field: secret.expose_secret() })
        .to_string()
}

/// The fields of a token, as `applyToken` answers them and `TOKEN_CREATED` may carry them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenFields {
    access_token: Option<Text>,
    access_token_expiry_time: Option<Text>,
    refresh_token: Option<Text>,
    refresh_token_expiry_time: Option<Text>,
}

impl TokenFields {
    pub(super) fn read(&self) -> Option<IssuedToken> {
        Some(IssuedToken {
            access: given(self.access_token.as_ref())?.into(),
            expires_at: time(self.access_token_expiry_time.as_ref()),
            refresh: given(self.refresh_token.as_ref()).map(SecretString::from),
            refresh_expires_at: time(self.refresh_token_expiry_time.as_ref()),
        })
    }
}

/// Reads Antom's `applyToken` answer.
///
/// # Shape
/// | `resultStatus` | `resultCode`              | means                                                            |
/// |----------------|---------------------------|------------------------------------------------------------------|
/// | `S`            | -                         | a token, with its expiry; times are ISO 8601 with an offset      |
/// | `U`            | -                         | [`AskError::Unavailable`], or throttled: the same grant may hold |
/// | `F`            | names our own set-up      | [`AskError::Misconfigured`]: the grant is not used up            |
/// | `F`            | any other                 | [`AskError::Refused`]: this code or token will never do          |
///
/// # Errors
/// [`AskError::OutsideTables`] for an `S` without a token.
///
/// # Source
/// <https://docs.antom.com/ac/ams/accesstokenapp.md>, read 2026-11-21; `docs/providers/antom.md#applytoken`. The names
/// of the codes for used and lapsed grants are not published, so every code that is not about our set-up is one.
pub fn read_token(body: &[u8]) -> Result<IssuedToken, AskError> {
    #[derive(Deserialize)]
    struct Answer {
        result: Outcome,
    }
    let answer: Answer = strict_json::read(body).map_err(AskError::garbled)?;
    answer.result.worked(|code| match is_our_set_up(&code) {
        true => AskError::Misconfigured { what: format!("Antom answered F {code}") },
        false => AskError::Refused { code },
    })?;
    let fields: TokenFields = strict_json::read(body).map_err(AskError::garbled)?;
    fields.read().ok_or_else(|| AskError::OutsideTables { what: "result S without accessToken".to_owned() })
}

/// Returns true if a code says that our keys, ids, contract or request are wrong, for any grant. A single wallet that
/// is not open to us is no such error: it must not stop the others.
fn is_our_set_up(code: &str) -> bool {
    matches!(
        code,
        "ACCESS_DENIED"
            | "CLIENT_FORBIDDEN_ACCESS_API"
            | "INVALID_API"
            | "INVALID_CLIENT"
            | "INVALID_CLIENT_STATUS"
            | "INVALID_CONTRACT"
            | "INVALID_MERCHANT_STATUS"
            | "INVALID_SIGNATURE"
            | "KEY_NOT_FOUND"
            | "MEDIA_TYPE_NOT_ACCEPTABLE"
            | "MERCHANT_KYB_NOT_QUALIFIED"
            | "MERCHANT_NOT_REGISTERED"
            | "METHOD_NOT_SUPPORTED"
            | "NO_INTERFACE_DEF"
            | "PARAM_ILLEGAL"
            | "SIGNATURE_INVALID"
            | "SIGN_VERIFY_FAILURE"
            | "UNKNOWN_CLIENT"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, code: &str) -> Result<IssuedToken, AskError> {
        let body = format!(r#"{{"result":{{"resultCode":"{code}","resultStatus":"{status}"}},"accessToken":"2810"}}"#);
        read_token(body.as_bytes())
    }

    #[test]
    fn a_refused_grant_is_no_refusal_of_our_set_up() {
        for code in ["USER_NOT_EXIST", "USER_STATUS_ABNORMAL", "OAUTH_FAILED", "INVALID_AUTHCODE", "PROCESS_FAIL"] {
            assert_eq!(answer("F", code).unwrap_err(), AskError::Refused { code: code.to_owned() });
        }
        for code in [
            "ACCESS_DENIED",
            "CLIENT_FORBIDDEN_ACCESS_API",
            "INVALID_CLIENT",
            "INVALID_CLIENT_STATUS",
            "INVALID_SIGNATURE",
            "KEY_NOT_FOUND",
            "NO_INTERFACE_DEF",
            "PARAM_ILLEGAL",
            "SIGNATURE_INVALID",
            "SIGN_VERIFY_FAILURE",
            "UNKNOWN_CLIENT",
        ] {
            assert!(matches!(answer("F", code), Err(AskError::Misconfigured { .. })), "{code}");
        }
    }

    #[test]
    fn nothing_but_an_s_gives_a_token_even_where_one_stands() {
        assert!(matches!(answer("U", "UNKNOWN_EXCEPTION"), Err(AskError::Unavailable { .. })));
        assert!(matches!(answer("U", "REQUEST_TRAFFIC_EXCEED_LIMIT"), Err(AskError::Throttled { .. })));
        assert!(matches!(answer("X", "SUCCESS"), Err(AskError::OutsideTables { .. })));
        assert_eq!(answer("S", "SUCCESS").unwrap().access.expose_secret(), "2810");
        let without = read_token(br#"{"result":{"resultStatus":"S"},"accessToken":""}"#);
        assert!(matches!(without, Err(AskError::OutsideTables { .. })));
    }

    #[test]
    fn a_token_and_a_grant_are_printed_without_their_secrets() {
        let token = answer("S", "SUCCESS").unwrap();
        let grants = [Grant::Code(&token.access), Grant::Refresh(&token.access)];
        assert!(!format!("{token:?} {grants:?}").contains("2810"));
    }
}
