//! Lists the answers to a provider: the documented success, or problem details.

use std::sync::LazyLock;

use axum::Json;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use payhook_provider::Protocol;
use payhook_schema::Provider;
use serde::Serialize;

/// The wait that a provider is asked for before it tries again, in seconds. It is only a hint: Antom's own first wait
/// is two minutes.
const RETRY_AFTER_S: u64 = 5;

/// The text that a sender gets who posts to an unknown path: it lists the notify paths.
static WHERE_TO: LazyLock<String> = LazyLock::new(|| {
    let paths = Provider::ALL.iter().map(|&provider| {
        let mut ends = Protocol::of(provider).notify.iter();
        let first = format!("/{provider}/{{account}}{}", ends.next().unwrap_or(&""));
        let others: Vec<&str> = ends.map(|end| end.trim_start_matches('/')).collect();
        match others.split_last() {
            Some((last, others)) => format!("{} or {last}", [&[first.as_str()], others].concat().join(", ")),
            None => first,
        }
    });
    format!("Notifications go to {}.", paths.collect::<Vec<_>>().join(", and to "))
});

/// The answer to a request from a provider. The inside text of a refusal goes to the log, never into the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotifyAnswer {
    /// Durable: the provider may forget it.
    Accepted(Provider),
    NotGenuine,
    TooManyUnverified,
    /// Durable since it came before, and sent again and again.
    TooManyRepeats,
    Malformed,
    NoSuchPath,
    NoSuchMethod,
    TooLarge,
    NotJson,
    TooSlow,
    NotDurable,
}

/// NotifyProblem details, RFC 9457.
#[derive(Serialize)]
struct NotifyProblem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

impl NotifyAnswer {
    /// The word for logs and metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::NotGenuine => "not_genuine",
            Self::TooManyUnverified => "too_many_unverified",
            Self::TooManyRepeats => "too_many_repeats",
            Self::Malformed => "malformed",
            Self::NoSuchPath => "no_such_path",
            Self::NoSuchMethod => "no_such_method",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::TooSlow => "too_slow",
            Self::NotDurable => "not_durable",
        }
    }

    fn problem(self) -> Option<(StatusCode, &'static str, Option<&'static str>)> {
        match self {
            Self::Accepted(_) => None,
            Self::NotGenuine => Some((StatusCode::UNAUTHORIZED, "Not genuine", None)),
            Self::TooManyUnverified => {
                Some((StatusCode::TOO_MANY_REQUESTS, "Too many requests that are not genuine", None))
            }
            Self::TooManyRepeats => {
                let detail = "It was stored when it came before; there is no need to send it again.";
                Some((StatusCode::TOO_MANY_REQUESTS, "Too many repeats of one request", Some(detail)))
            }
            Self::Malformed => {
                let detail = "The signature header cannot be parsed, or the body broke off before its end.";
                Some((StatusCode::BAD_REQUEST, "Malformed request", Some(detail)))
            }
            Self::NoSuchPath => Some((StatusCode::NOT_FOUND, "No such path or account", Some(&WHERE_TO))),
            Self::NoSuchMethod => Some((StatusCode::METHOD_NOT_ALLOWED, "Only POST", None)),
            Self::TooLarge => Some((StatusCode::PAYLOAD_TOO_LARGE, "The body is too large", None)),
            Self::NotJson => {
                let detail = "Send application/json in UTF-8, without content-encoding.";
                Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "Not JSON", Some(detail)))
            }
            Self::TooSlow => Some((StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time", None)),
            Self::NotDurable => Some((StatusCode::SERVICE_UNAVAILABLE, "Not stored; send it again", None)),
        }
    }
}

impl IntoResponse for NotifyAnswer {
    fn into_response(self) -> Response {
        let Some((status, title, detail)) = self.problem() else {
            let success = match self {
                Self::Accepted(provider) => Protocol::of(provider).success,
                _ => None,
            };
            return match success {
                Some(body) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
                None => StatusCode::OK.into_response(),
            };
        };
        let problem = NotifyProblem { kind: "about:blank", title, status: status.as_u16(), detail };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::NotDurable | Self::TooManyUnverified | Self::TooManyRepeats => {
                headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
            }
            Self::NoSuchMethod => {
                headers.insert(axum::http::header::ALLOW, HeaderValue::from_static("POST"));
            }
            // The rest of the body is not read, so no request can follow on this connection, and the sender must know.
            Self::TooLarge | Self::TooSlow => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_is_answered_with_the_known_ones() {
        let antom = "/antom/{account}/notifyPayment, notifyRefund or notifyAuthorization";
        let text = format!("Notifications go to {antom}, and to /omise/{{account}}");
        assert!(WHERE_TO.starts_with(&text), "{}", *WHERE_TO);
    }
}
