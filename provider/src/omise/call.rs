//! A call of Omise's API: reads only, so that sending one again does nothing twice.

use http::StatusCode;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::{API_VERSION, charge};
use crate::OmiseAccount;
use crate::client::AskError;
use crate::transport::{Http, HttpAnswer, send, throttled};

/// Gets `path`, which has its query, and gives the bytes of an answer that is Omise's and no error, at most `bytes_max`
/// of them.
///
/// # Source
/// "Errors", docs.omise.co/api-errors, read 2026-11-21; `docs/providers/omise.md#errors`.
pub(crate) async fn get(
    http: &Http,
    account: &OmiseAccount,
    path: &str,
    bytes_max: usize,
    now: Timestamp,
) -> Result<Vec<u8>, AskError> {
    let Some(secret_key) = &account.secret_key else {
        return Err(AskError::Misconfigured { what: "secret_key is missing".to_owned() });
    };
    let request = http
        .client
        .get(format!("{}{path}", account.api))
        .basic_auth(secret_key.expose_secret(), Some(""))
        .header("omise-version", API_VERSION);
    let HttpAnswer { status, headers, body } = send(http, request, bytes_max).await?;
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(AskError::Misconfigured { what: format!("Omise send {status}: wrong secret key or mode") });
        }
        StatusCode::NOT_FOUND => return Err(AskError::NotThere { code: "not_found".to_owned() }),
        StatusCode::TOO_MANY_REQUESTS => return Err(throttled(&headers, now)),
        StatusCode::BAD_REQUEST if charge::is_their_trouble(&body) => {
            return Err(AskError::unavailable("Omise send backend_error"));
        }
        status if status.is_client_error() => {
            return Err(AskError::OutsideTables { what: format!("Omise send {status}") });
        }
        status => return Err(AskError::unavailable(format!("Omise send {status}"))),
    }
    if headers.get("omise-version").is_some_and(|version| version != API_VERSION) {
        return Err(AskError::garbled("it is of another API version than asked for"));
    }
    Ok(body)
}
