//! Reads requests: parameters, ids in paths, and JSON bodies, each with a refusal that says what is wrong with which
//! value.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::api::WaitTime;
use crate::problem::ApiProblem;

/// Rows of one page, unless asked otherwise, and at most.
const PAGE: u32 = 50;
const PAGE_MAX: u32 = 500;
/// The longest time a request may wait for news: proxies give up after a minute.
const WAIT_MAX: Duration = Duration::from_secs(55);
/// serde's words for JSON of another shape: a field too many, too few, or of another type.
const OTHER_SHAPE: [&str; 4] = ["unknown field", "missing field", "duplicate field", "invalid type"];

/// The parameters of a request. An unknown one is refused: it may be what somebody wanted to narrow the request by. One
/// without a value counts as absent.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        let pairs = pairs.filter(|pair| pair.split_once('=').is_some_and(|(_, value)| !value.is_empty()));
        let query = pairs.collect::<Vec<_>>().join("&");
        let uri = Uri::builder().path_and_query(format!("/?{query}")).build().expect("parts of a URI that was read");
        let read = Query::try_from_uri(&uri).map_err(|error| {
            // `limit: invalid digit found in string`: the name comes first.
            let why = error.source().map_or_else(|| error.body_text(), ToString::to_string);
            ApiProblem::malformed(match why.split_once(": ") {
                Some((name, why)) if !name.contains(' ') => format!("Parameter `{name}`: {why}"),
                _ => format!("The parameters: {why}"),
            })
        });
        read.map(|Query(parameters)| Self(parameters))
    }
}

/// The parameters of a request that has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

pub(crate) type NoParameters = Parameters<Nothing>;

/// Returns the rows of a page, of those that were asked for.
pub(crate) fn page_rows(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE).clamp(1, PAGE_MAX)
}

/// Returns the time a request may wait for news.
pub(crate) fn waits(wait: Option<WaitTime>) -> Duration {
    wait.map(|WaitTime(wait)| wait).unwrap_or_default().min(WAIT_MAX)
}

/// The merchant's id in a path.
pub(crate) struct NameInPath<T>(pub(crate) T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for NameInPath<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        let Path(text) = path(parts, state).await?;
        text.parse().map(Self).map_err(|error: T::Err| ApiProblem::malformed(error.to_string()))
    }
}

/// Our own id in a path.
pub(crate) struct IdInPath(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for IdInPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        let Path(text) = path(parts, state).await?;
        text.parse().map(Self).map_err(|_| ApiProblem::malformed(crate::api::wrong_id(&text)))
    }
}

async fn path<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Path<String>, ApiProblem> {
    Path::from_request_parts(parts, state).await.map_err(|error| ApiProblem::malformed(error.body_text()))
}

/// A JSON body. Another shape is 400, as text that is no JSON is; a value that cannot be is 422.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiProblem> {
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(ApiProblem::not_json());
        }
        let body = Bytes::from_request(request, state).await.map_err(|error: BytesRejection| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiProblem::too_large(),
            _ => ApiProblem::malformed("The body broke off."),
        })?;
        let mut reader = serde_json::Deserializer::from_slice(&body);
        let read = serde_path_to_error::deserialize(&mut reader);
        let value = read.map_err(|error| {
            let (place, error) = (error.path().to_string(), error.into_inner());
            let mut why = error.to_string();
            if error.is_data() {
                // The path says where.
                why.truncate(why.rfind(" at line ").unwrap_or(why.len()));
            }
            let text = match place.as_str() {
                "." => format!("The body: {why}"),
                place => format!("`{place}` in the body: {why}"),
            };
            match error.is_data() && !OTHER_SHAPE.iter().any(|words| why.starts_with(words)) {
                true => ApiProblem::unprocessable(text),
                false => ApiProblem::malformed(text),
            }
        })?;
        reader.end().map_err(|why| ApiProblem::malformed(format!("The body: {why}")))?;
        Ok(Self(value))
    }
}
