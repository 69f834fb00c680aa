//! Requests over HTTP and whole answers, within limits. What went wrong on the way is told without the address.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use reqwest::header::RETRY_AFTER;

use crate::client::AskError;

/// Charges have 3 to 6 KB; an answer beyond this is not one.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// No `Retry-After` is obeyed beyond this: the schedule has its own longest wait.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(6);

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Sends a request and takes the whole answer, at most `bytes_max` of it.
pub(crate) async fn answered(request: reqwest::RequestBuilder, bytes_max: usize) -> Result<Answered, AskError> {
    let mut response = request.send().await.map_err(|error| transport(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(AskError::garbled(format!("it has more than {bytes_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status, headers, body })
}

/// What went wrong on the way, without the address: it can carry an id.
fn transport(error: &reqwest::Error) -> AskError {
    let what = match error {
        error if error.is_timeout() => "the provider did not answer in time",
        error if error.is_connect() => "the provider cannot be reached",
        _ => "the connection to the provider broke off",
    };
    AskError::Unavailable { what: what.to_owned(), connected: !error.is_connect() || error.is_timeout() }
}

/// `Retry-After` in seconds or as an HTTP date.
pub(crate) fn throttled(headers: &HeaderMap, now: Timestamp) -> AskError {
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = text.and_then(|text| match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
            Duration::try_from(at.duration_since(now)).ok()
        }
    });
    AskError::Throttled { after: after.map(|after| after.min(RETRY_AFTER_MAX)) }
}
