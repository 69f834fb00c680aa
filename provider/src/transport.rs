//! Sends requests over HTTP and reads whole answers, within limits. Transport errors never contain the address.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use reqwest::header::RETRY_AFTER;
use tracing::warn;

use crate::client::AskError;

/// Carries requests in the place of the network, to providers that live in the same process: for simulations.
pub trait Carrier: Send + Sync {
    /// Answers a request; `None` where the connection broke off without an answer.
    fn carry(&self, request: http::Request<Vec<u8>>) -> Carried<'_>;
}

pub type Carried<'a> = Pin<Box<dyn Future<Output = Option<http::Response<Vec<u8>>>> + Send + 'a>>;

/// The way for requests: over HTTP, or through a [`Carrier`].
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) client: reqwest::Client,
    pub(crate) carrier: Option<Arc<dyn Carrier>>,
}

/// Charges have 3 to 6 KB; an answer beyond this is not one.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// No `Retry-After` is obeyed beyond this: a provider that answers again is noticed within the hour, whatever it asked
/// for before.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// A path segment keeps what RFC 3986 calls unreserved; `/`, `?` and `.` in an id stay inside their segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Writes an id as one segment of a path.
pub(crate) fn path_segment(id: &str) -> PercentEncode<'_> {
    utf8_percent_encode(id, SEGMENT)
}

pub(crate) struct HttpAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Sends a request and takes the whole answer, at most `bytes_max` of it.
pub(crate) async fn send(
    http: &Http,
    request: reqwest::RequestBuilder,
    bytes_max: usize,
) -> Result<HttpAnswer, AskError> {
    if let Some(carrier) = &http.carrier {
        return carried(&**carrier, request).await;
    }
    let mut response = request.send().await.map_err(|error| transport(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(AskError::garbled(format!("it has more than {bytes_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpAnswer { status, headers, body })
}

async fn carried(carrier: &dyn Carrier, request: reqwest::RequestBuilder) -> Result<HttpAnswer, AskError> {
    let request = request.build().map_err(|error| transport(&error))?;
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec();
    let mut carried = http::Request::new(body);
    *carried.method_mut() = request.method().clone();
    *carried.headers_mut() = request.headers().clone();
    let wrong = |error: http::uri::InvalidUri| AskError::unavailable(format!("the address cannot be carried: {error}"));
    *carried.uri_mut() = request.url().as_str().parse().map_err(wrong)?;
    let broke_off = || AskError::unavailable("the connection to the provider broke off");
    let (parts, body) = carrier.carry(carried).await.ok_or_else(broke_off)?.into_parts();
    Ok(HttpAnswer { status: parts.status, headers: parts.headers, body })
}

/// Maps a transport error, leaving out the address: it can contain an id.
fn transport(error: &reqwest::Error) -> AskError {
    let what = match error {
        error if error.is_timeout() => "the provider did not answer in time",
        error if error.is_connect() => "the provider cannot be reached",
        _ => "the connection to the provider broke off",
    };
    AskError::Unavailable { what: what.to_owned(), connected: !error.is_connect() || error.is_timeout() }
}

/// `Retry-After` in seconds or as an HTTP date, cut to [`RETRY_AFTER_MAX`].
pub(crate) fn throttled(headers: &HeaderMap, now: Timestamp) -> AskError {
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = text.and_then(|text| retry_after(text, now));
    if let Some(after) = after.filter(|after| *after > RETRY_AFTER_MAX) {
        let (asked, obeyed) = (after.as_secs(), RETRY_AFTER_MAX.as_secs());
        warn!(asked_s = asked, "a provider asks us to wait for {asked} s; it is asked again after {obeyed} s");
    }
    AskError::Throttled { after: after.map(|after| after.min(RETRY_AFTER_MAX)) }
}

fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    // More digits than a number has is a long time, too.
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(at.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_obeyed_for_an_hour_at_most() {
        let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let after = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            match throttled(&headers, now) {
                AskError::Throttled { after } => after.map(|after| after.as_secs()),
                other => panic!("{other}"),
            }
        };
        assert_eq!(after("7"), Some(7));
        assert_eq!(after(" 3600 "), Some(3600));
        assert_eq!(after("Sat, 21 Nov 2026 03:01:30 GMT"), Some(90));
        let too_long = ["3601", "31536000", "18446744073709551616", "Sun, 21 Nov 2027 03:00:00 GMT"];
        for text in too_long.into_iter().chain(["Thu, 30 Dec 9999 00:00:00 GMT"]) {
            assert_eq!(after(text), Some(3600), "{text}");
        }
        for text in ["", "soon", "-5", "Fri, 20 Nov 2026 03:00:00 GMT"] {
            assert_eq!(after(text), None, "{text}");
        }
    }
}
