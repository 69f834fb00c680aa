use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use payhook_store::StoreError;
use serde::Serialize;

/// Problem details, RFC 9457: what failed, why, and what to try next.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: "about:blank", title, status, detail: detail.into() }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Malformed request", detail)
    }

    pub(crate) fn unauthorized() -> Self {
        let detail =
            "Send a token: `Authorization: Bearer …` (configuration: console.token, or console.callers.NAME.token).";
        Self::new(StatusCode::UNAUTHORIZED, "Token wanted", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Another role wanted", detail)
    }

    pub(crate) fn elsewhere() -> Self {
        let detail = "Without a token, this answers to localhost and loopback addresses alone, and to no page of another origin: \
                      set console.token, and send it.";
        Self::new(StatusCode::FORBIDDEN, "Not from here", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", detail)
    }

    /// It was there, and is no more.
    pub(crate) fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "No longer there", detail)
    }

    /// Told apart from a thing that is not there: whoever asks for one may be of another version, or at the wrong address.
    pub(crate) fn no_such_path() -> Self {
        let detail = "There is no such path; the API begins at /v1/orders.";
        Self::new(StatusCode::NOT_FOUND, "No such path", detail)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", "This path has other methods.")
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", detail)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large", "At most 64 KiB are read.")
    }

    pub(crate) fn not_json() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Not JSON", "Send `Content-Type: application/json`.")
    }

    pub(crate) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Not acceptable as it is", detail)
    }

    /// Trying again later helps.
    pub(crate) fn unavailable(title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, title, detail)
    }

    /// Our fault, and trying again does not help.
    pub(crate) fn broken(title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, title, detail)
    }
}

/// The store's inside text goes to the log; outside it is only said what to do.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(error = %error, "the store did not do as asked");
        match error {
            StoreError::Unavailable { .. } | StoreError::Held { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The store is unavailable",
                "It may or may not have been done; doing it again is safe.",
            ),
            StoreError::Outdated { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The store is not at this program's version",
                "Run `payhook migrate`, then try again.",
            ),
            StoreError::Unkeepable { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "The store does not keep a value of this request",
                "Nothing was changed; the log says why.",
            ),
            StoreError::Refused { .. } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The store refused",
                "Trying again will not help; the log says why.",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}
