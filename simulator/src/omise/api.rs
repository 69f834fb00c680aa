//! Omise over HTTP: `GET /charges/{id}`, `/events` and `/events/{id}`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::get;
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use payhook_schema::Provider;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::render::{self, time};
use super::version::OmiseVersion;
use crate::Fault;
use crate::antom::other_id;
use crate::faults::{ProviderAnswer, bend, instead};
use crate::journal::OpenCall;
use crate::json::{fixture, pretty, with};
use crate::shared::SimulatorState;

/// The entries on a page if the call sets no limit, and the most it may ask for.
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

pub(crate) fn routes() -> Router<Arc<SimulatorState>> {
    Router::new().route("/charges/{id}", get(charge)).route("/events", get(events)).route("/events/{id}", get(event))
}

/// An answer's status and body, and its words for the journal.
type OmiseAnswer = (StatusCode, Value, String);

async fn charge(
    State(shared): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    let named = Some(id.clone());
    called(&shared, "GET /charges/{id}", named, &headers, |fault, version| {
        let mut charges = shared.charges();
        let Some(found) = charges.find(&id) else {
            return error(StatusCode::NOT_FOUND, "not_found", &format!("charge {id} was not found"));
        };
        let shown = match fault {
            Some(Fault::Flapping) => found.flapping(),
            Some(Fault::OtherPayment) => {
                let mut other = found.clone();
                other.id = other_id(&found.id);
                other
            }
            _ => found.clone(),
        };
        let words = format!("status {:?}, refunded {}", shown.status, shown.refunded_minor());
        (StatusCode::OK, version.shape(render::charge(&shown)), words)
    })
    .await
}

async fn event(
    State(shared): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    let about = Some(id.clone());
    called(&shared, "GET /events/{id}", about, &headers, |_, version| match shared.charges().event(&id) {
        Some(event) => (StatusCode::OK, event.render(version), event.key.clone()),
        None => error(StatusCode::NOT_FOUND, "not_found", &format!("event {id} was not found")),
    })
    .await
}

async fn events(
    State(shared): State<Arc<SimulatorState>>,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response<Body> {
    called(&shared, "GET /events", None, &headers, |_, version| {
        let page = match Page::read(query.as_deref().unwrap_or_default(), shared.clock.now()) {
            Ok(page) => page,
            Err(what) => return error(StatusCode::BAD_REQUEST, "bad_request", &what),
        };
        let charges = shared.charges();
        // Both ends are included, and times have whole seconds, as they are shown.
        let (from, to) = (page.from.as_second(), page.to.as_second());
        let within = charges.events().filter(|event| (from..=to).contains(&event.created_at.as_second()));
        let total = within.clone().count();
        let take = |events: &mut dyn Iterator<Item = &super::OmiseEvent>| -> Vec<Value> {
            events.skip(page.offset).take(page.limit).map(|event| event.render(version)).collect()
        };
        let data = if page.reverse { take(&mut within.rev()) } else { take(&mut within.clone()) };
        let words = format!("{} of {total} events, from offset {}", data.len(), page.offset);
        let list = json!({
            "object": "list",
            "data": data,
            "limit": page.limit,
            "offset": page.offset,
            "total": total,
            "location": uri.path(),
            "order": if page.reverse { "reverse_chronological" } else { "chronological" },
            "from": time(page.from),
            "to": time(page.to),
        });
        (StatusCode::OK, list, words)
    })
    .await
}

/// The parameters of a list call.
///
/// # Source
/// "Pagination and Lists", docs.opn.ooo/api-pagination, read 2026-11-21; `docs/providers/omise.md#lists`.
struct Page {
    from: Timestamp,
    to: Timestamp,
    offset: usize,
    limit: usize,
    reverse: bool,
}

impl Page {
    fn read(query: &str, now: Timestamp) -> Result<Self, String> {
        let mut page = Self { from: Timestamp::UNIX_EPOCH, to: now, offset: 0, limit: LIMIT_DEFAULT, reverse: false };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = percent_decode_str(value).decode_utf8_lossy();
            let wrong = || format!("{name} is invalid");
            match name {
                "from" => page.from = value.parse().map_err(|_| wrong())?,
                "to" => page.to = value.parse().map_err(|_| wrong())?,
                "offset" => page.offset = value.parse().map_err(|_| wrong())?,
                "limit" => page.limit = value.parse().map_err(|_| wrong())?,
                "order" => {
                    page.reverse = match &*value {
                        "chronological" => false,
                        "reverse_chronological" => true,
                        _ => return Err(wrong()),
                    }
                }
                _ => {}
            }
        }
        if page.limit == 0 || page.limit > LIMIT_MAX {
            return Err("limit is invalid".to_owned());
        }
        Ok(page)
    }
}

/// Handles a call: takes its fault, checks its keys, and answers it.
async fn called(
    shared: &Arc<SimulatorState>,
    what: &str,
    about: Option<String>,
    headers: &HeaderMap,
    answer: impl FnOnce(Option<&Fault>, OmiseVersion) -> OmiseAnswer,
) -> Response<Body> {
    let fault = shared.faults().take(Provider::Omise);
    let open = OpenCall::begin(shared, Provider::Omise, what, about, fault.as_ref());
    if let Some(response) = instead(fault.as_ref()).await {
        return open.answered("", response);
    }
    // The answer is made before a slow provider's wait: it tells what was true when it was asked.
    let version = admitted(shared, headers);
    let echoed = version.as_ref().ok().copied();
    let (status, body, words) = match (&fault, version) {
        (Some(Fault::Throttle { .. }), _) => {
            error(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "too many requests")
        }
        (_, Err(refusal)) => refusal,
        (_, Ok(version)) => answer(fault.as_ref(), version),
    };
    let mut headers = vec![
        (CONTENT_TYPE.as_str(), "application/json; charset=utf-8".to_owned()),
        ("x-request-id", shared.ids.omise("rqst", shared.clock.now())),
    ];
    if let (StatusCode::OK, Some(version)) = (status, echoed) {
        headers.push(("omise-version", version.to_string()));
    }
    let mut answer = ProviderAnswer { status, headers, body: pretty(&body) };
    if let Some(Fault::Throttle { retry_after }) = &fault {
        answer = answer.retry_after(*retry_after);
    }
    let response = bend(fault.as_ref(), answer).await;
    open.answered(&words, response)
}

/// The version a call is answered in, or why it is refused before it is looked at.
fn admitted(shared: &SimulatorState, headers: &HeaderMap) -> Result<OmiseVersion, OmiseAnswer> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let credentials = header(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Basic "));
    let wanted = BASE64_STANDARD.encode(format!("{}:", shared.keys.secret_key()));
    if credentials != Some(&wanted) {
        return Err(error(StatusCode::UNAUTHORIZED, "authentication_failure", "authentication failed"));
    }
    match header("omise-version") {
        None => Ok(shared.charges().version),
        Some(word) => {
            let unknown = || error(StatusCode::BAD_REQUEST, "bad_request", &format!("there is no API version {word}"));
            word.parse().map_err(|_| unknown())
        }
    }
}

/// # Source
/// "Errors", docs.omise.co/api-errors, read 2026-11-21; `docs/providers/omise.md#errors`.
fn error(status: StatusCode, code: &str, message: &str) -> OmiseAnswer {
    let location = format!("https://docs.omise.co/api-errors#{}", code.replace('_', "-"));
    let fields = json!({ "location": location, "code": code, "message": message });
    (status, with(fixture!("omise/error_not_found.json"), fields), code.to_owned())
}
