//! A call of Antom's API: signed by us, its answer's signature checked before anything of it is read.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::wire::Outcome;
use crate::client::AskError;
use crate::transport::{ANSWER_BYTES_MAX, Http, HttpAnswer, send, throttled};
use crate::{AntomAccount, strict_json};

/// The path of an API call, as it is sent and signed: the sandbox has its own prefix.
pub fn api_path(sandbox: bool, call: &str) -> String {
    match sandbox {
        true => format!("/ams/sandbox/api/{call}"),
        false => format!("/ams/api/{call}"),
    }
}

/// Sends `body` to `call` and gives the answer's bytes, once its signature holds.
pub(crate) async fn call(
    http: &Http,
    account: &AntomAccount,
    call: &str,
    body: String,
    now: Timestamp,
) -> Result<Vec<u8>, AskError> {
    let Some(private_key) = &account.private_key else {
        return Err(AskError::Misconfigured { what: "private_key is missing".to_owned() });
    };
    let path = api_path(account.sandbox, call);
    let time = now.as_millisecond().to_string();
    let message = super::signed_message(&path, &account.client_id, &time, body.as_bytes());
    let request = http
        .client
        .post(format!("{}{path}", account.api))
        .header(CONTENT_TYPE, "application/json; charset=UTF-8")
        .header("client-id", &account.client_id)
        .header("request-time", &time)
        .header("signature", super::sign(private_key, account.private_key_version, &message))
        .body(body);
    let HttpAnswer { status, headers, body } = send(http, request, ANSWER_BYTES_MAX).await?;
    match status {
        StatusCode::OK => {}
        StatusCode::TOO_MANY_REQUESTS => return Err(throttled(&headers, now)),
        status => return Err(AskError::unavailable(format!("Antom send {status}"))),
    }
    match headers.contains_key("signature") {
        true => account.check_answer(&path, &headers, &body)?,
        false => return Err(unsigned(&body)),
    }
    Ok(body)
}

/// Maps an answer without a signature to an error. Such an answer is never believed: the gateway signs nothing when it
/// cannot tell who we are, and anybody on the way can leave a signature out.
fn unsigned(body: &[u8]) -> AskError {
    #[derive(Deserialize)]
    struct Answer {
        #[expect(dead_code, reason = "only that it is there")]
        result: Outcome,
    }
    match strict_json::read::<Answer>(body) {
        Ok(_) => {
            AskError::Misconfigured { what: "Antom's answer is not signed: wrong key, client id or region".to_owned() }
        }
        Err(_) => AskError::garbled("it is neither signed nor Antom's: a proxy may have send"),
    }
}

impl AntomAccount {
    /// Checks the signature of Antom's answer to a request sent to `path`. An unsigned one is never accepted.
    ///
    /// # Errors
    /// [`AskError::Misconfigured`] where Antom signs with a key that we were not given, as after a rotation; else
    /// [`AskError::Unavailable`].
    ///
    /// # Source
    /// `docs/providers/antom.md#verifying-an-answer`.
    pub(crate) fn check_answer(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), AskError> {
        let header = |name: &str| {
            let mut values = headers.get_all(name).iter();
            match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(AskError::garbled(format!("it has not one `{name}` header"))),
            }
        };
        let (client_id, time) = (header("client-id")?, header("response-time")?);
        if client_id != self.client_id {
            return Err(AskError::garbled("it is for another client-id"));
        }
        let signature = super::SignatureHeader::parse(header("signature")?).map_err(AskError::garbled)?;
        if let Some(version) = signature.key_version().filter(|version| !self.public_keys.contains_key(version)) {
            let what = format!("Antom signs with its key of keyVersion {version}, which `public_keys` lacks");
            return Err(AskError::Misconfigured { what });
        }
        let message = super::signed_message(path, client_id, time, body);
        signature.verify(&message, &self.public_keys).map_err(|()| AskError::garbled("its signature does not hold"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_signature_is_never_believed() {
        let error = include_bytes!("../../fixtures/antom/unsigned_error.json");
        assert!(matches!(unsigned(error), AskError::Misconfigured { .. }));
        assert!(matches!(unsigned(b"<html>"), AskError::Unavailable { .. }));
        assert!(matches!(unsigned(b"{}"), AskError::Unavailable { .. }));
    }
}
