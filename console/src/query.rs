use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use jiff::Timestamp;
use payhook_schema::parse_duration;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::problem::Problem;

/// Rows of one page, unless asked otherwise, and at most.
const PAGE: u32 = 50;
const PAGE_MAX: u32 = 500;
/// The longest time a request may wait for news: proxies give up after a minute.
const WAIT_MAX: Duration = Duration::from_secs(55);

/// A request's parameters as axum reads them.
pub(crate) type RawQuery = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The parameters of a request, each taken once by name; what nobody took is a mistake to be told.
pub(crate) struct Parameters(HashMap<String, String>);

impl Parameters {
    pub(crate) fn new(query: RawQuery) -> Result<Self, Problem> {
        let Query(pairs) = query.map_err(|error| Problem::malformed(error.body_text()))?;
        let mut parameters = HashMap::new();
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            if parameters.insert(name.clone(), value).is_some() {
                return Err(Problem::malformed(format!("parameter `{name}` stands twice")));
            }
        }
        Ok(Self(parameters))
    }

    pub(crate) fn take<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        self.take_with(name, |text| text.parse::<T>().map_err(|error| error.to_string()))
    }

    pub(crate) fn take_with<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        let value = self.0.remove(name);
        value
            .map(|text| read(&text).map_err(|why| Problem::malformed(format!("parameter `{name}`: {why}"))))
            .transpose()
    }

    pub(crate) fn limit(&mut self) -> Result<u32, Problem> {
        Ok(self.take::<u32>("limit")?.unwrap_or(PAGE).clamp(1, PAGE_MAX))
    }

    /// A time, or how long ago.
    pub(crate) fn since(&mut self, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        self.take_with("since", |text| time_or_ago(text, now))
    }

    /// Takes `id`: an id, or several with commas between them.
    pub(crate) fn ids(&mut self) -> Result<Vec<Uuid>, Problem> {
        let read = |text: &str| text.split(',').map(|id| id.trim().parse().map_err(|_| wrong_id(id))).collect();
        Ok(self.take_with("id", read)?.unwrap_or_default())
    }

    pub(crate) fn wait(&mut self) -> Result<Duration, Problem> {
        Ok(self.wait_given()?.unwrap_or_default().min(WAIT_MAX))
    }

    pub(crate) fn wait_given(&mut self) -> Result<Option<Duration>, Problem> {
        self.take_with("wait", |text| parse_duration(text).map_err(|error| error.to_string()))
    }

    pub(crate) fn none_left(self) -> Result<(), Problem> {
        match self.0.keys().min() {
            Some(name) => Err(Problem::malformed(format!("there is no parameter `{name}` here"))),
            None => Ok(()),
        }
    }
}

/// For what takes no parameters: one that is passed over in silence may be what somebody meant to narrow it by.
pub(crate) struct NoParameters;

impl<S: Send + Sync> FromRequestParts<S> for NoParameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Parameters::new(RawQuery::from_request_parts(parts, state).await.unwrap_or_else(|never| match never {}))?
            .none_left()?;
        Ok(Self)
    }
}

/// `2026-11-21T10:00:00Z`, or how long before now: `2h`.
pub(crate) fn time_or_ago(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let shown: String = text.chars().take(40).collect();
    let ago = parse_duration(text).map_err(|_| {
        format!("`{shown}` is neither a time (2026-11-21T10:00:00Z) nor how long ago (2h; units are ms, s, m, h and d)")
    })?;
    now.checked_sub(ago).map_err(|_| format!("`{shown}` is too long ago"))
}

/// The one id in a path.
pub(crate) fn id_in(path: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let Path(id) = path.map_err(|error| Problem::malformed(error.body_text()))?;
    id.parse().map_err(|_| Problem::malformed(wrong_id(&id)))
}

fn wrong_id(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("`{shown}` is not an id: it looks like 019aa5b2-…, as the lists show it")
}

/// A JSON body, with refusals as problem details.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::not_json());
        }
        let body = Bytes::from_request(request, state).await.map_err(|error: BytesRejection| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(),
            _ => Problem::malformed("the body broke off"),
        })?;
        serde_json::from_slice(&body).map(Self).map_err(|error| Problem::malformed(format!("the body: {error}")))
    }
}
