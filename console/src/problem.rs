//! Refusals and failures as problem details.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use payhook_store::StoreError;
use serde::Serialize;

/// ApiProblem details, RFC 9457: what failed, why, and what to try next.
#[derive(Debug, Serialize)]
pub(crate) struct ApiProblem {
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

impl ApiProblem {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: "about:blank", title, status, detail: detail.into() }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Malformed request", detail)
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "Send `Authorization: Bearer TOKEN`, with console.token or a console.callers.NAME.token of the configuration.";
        Self::new(StatusCode::UNAUTHORIZED, "Missing or unknown token", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", detail)
    }

    pub(crate) fn elsewhere() -> Self {
        let detail = "No token is configured, so the console answers only requests to localhost or a loopback address, and none from \
                      a page of another origin. Set console.token in the configuration, and send it.";
        Self::new(StatusCode::FORBIDDEN, "Only from this machine", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", detail)
    }

    /// For a thing that was deleted.
    pub(crate) fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Gone", detail)
    }

    /// Another title than [`Self::not_found`]: the caller may be of another version, or at the wrong address.
    pub(crate) fn no_such_path() -> Self {
        let detail = "The API has no such path; it begins with /v1/orders.";
        Self::new(StatusCode::NOT_FOUND, "No such path", detail)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", "The path exists, and takes another method.")
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", detail)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large", "A body has at most 64 KiB.")
    }

    pub(crate) fn not_json() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Not JSON", "Send `Content-Type: application/json`.")
    }

    pub(crate) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid value", detail)
    }

    /// For a failure that passes.
    pub(crate) fn unavailable(title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, title, detail)
    }

    /// For a failure of ours that does not pass.
    pub(crate) fn broken(title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, title, detail)
    }
}

/// The store's own text goes to the log; the caller gets only what to do.
impl From<StoreError> for ApiProblem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(error = %error, "the store failed");
        match error {
            StoreError::Unavailable { .. } | StoreError::Held { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The store is unavailable",
                "The change was made or was not made. Repeat the request: that is safe.",
            ),
            StoreError::Outdated { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The database has the schema of another version",
                "Run `payhook migrate`, then try again.",
            ),
            StoreError::Unkeepable { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "The database cannot store a value of this request",
                "Nothing was changed. The console's log says why.",
            ),
            StoreError::Refused { .. } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The database rejected the request",
                "Trying again does not help. The console's log says why.",
            ),
        }
    }
}

impl IntoResponse for ApiProblem {
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
