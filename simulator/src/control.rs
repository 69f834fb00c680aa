//! The same verbs over HTTP, below `/control/`, for other programs and for shells.
//!
//! ```console
//! $ curl -X PUT localhost:4040/control/antom/payments/PR-1 --json '{"amount_minor":150000,"currency":"THB","status":"SUCCESS"}'
//! $ curl localhost:4040/control/antom/payments/PR-1/notify --json '{"to":"http://127.0.0.1:8080","account":"demo","times":3}'
//! $ curl -X PUT localhost:4040/control/antom/payments/PR-1 --json '{"capture_minor":150000,"capture":"SUCCESS"}'
//! $ curl -X PUT localhost:4040/control/antom/refunds/RF-1 --json '{"payment":"PR-1","amount_minor":50000}'
//! $ curl -X PUT localhost:4040/control/antom/refunds/RF-1 --json '{"status":"FAIL","code":"REFUND_WINDOW_EXCEED"}'
//! $ curl localhost:4040/control/antom/refunds/RF-1/notify --json '{"to":"http://127.0.0.1:8080","account":"demo"}'
//! $ curl -X PUT localhost:4040/control/antom/authorizations/AS-1 --json '{"wallet":"KPLUS","step":"agree"}'
//! $ curl localhost:4040/control/antom/authorizations/AS-1/notify --json '{"to":"http://127.0.0.1:8080","account":"demo"}'
//! $ curl -X PUT localhost:4040/control/antom/authorizations/AS-1 --json '{"step":"cancel","reason":"too dear"}'
//! $ curl -X PUT localhost:4040/control/antom/habits --json '{"refunds_listed":false,"access_token_lives_s":60}'
//! $ curl -X PUT localhost:4040/control/antom/key --json '{"version":2}'
//! $ curl -X PUT localhost:4040/control/omise/charges/chrg_test_1 --json '{"amount_minor":150000,"currency":"THB"}'
//! $ curl -X PUT localhost:4040/control/omise/charges/chrg_test_1 --json '{"status":"paid","refund_minor":50000}'
//! $ curl -X PUT localhost:4040/control/omise/charges/chrg_test_1 --json '{"refund_minor":50000,"refund_settles":false}'
//! $ curl -X PUT localhost:4040/control/omise/charges/chrg_test_1 --json '{"refund_settles":true}'
//! $ curl -X PUT localhost:4040/control/omise/charges/chrg_test_1 --json '{"dispute":"open"}'
//! $ curl -X PUT localhost:4040/control/omise/version --json '{"version":"2017-11-02"}'
//! $ curl localhost:4040/control/omise/events --json '{"key":"transfer.create"}'
//! $ curl localhost:4040/control/omise/events/evnt_test_1/notify --json '{"to":"http://127.0.0.1:8080","account":"demo"}'
//! $ curl -X PUT localhost:4040/control/faults/omise --json '{"fault":"throttle","retry_after_s":5,"times":3}'
//! $ curl localhost:4040/control/journal
//! ```

mod antom;
mod faults;
mod notify;
mod omise;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{OriginalUri, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use payhook_schema::{Currency, Money, Provider};
use serde_json::json;

use crate::shared::Shared;
use crate::{Journal, SimulatorError};

/// Notifications sent by one call, at most.
const TIMES_MAX: usize = 1000;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    let faults = put(faults::set).get(faults::get).delete(faults::clear);
    Router::new()
        .nest("/control/antom", antom::routes())
        .nest("/control/omise", omise::routes())
        .route("/control/faults/{provider}", faults)
        .route("/control/journal", get(journal).delete(forget_journal))
        .method_not_allowed_fallback(no_such_route)
}

async fn journal(State(shared): State<Arc<Shared>>) -> Response {
    let journal = Journal(shared);
    let per_provider = |count: &dyn Fn(Provider) -> u64| {
        let named = Provider::ALL.iter().map(|provider| (provider.to_string(), count(*provider).into()));
        serde_json::Value::Object(named.collect())
    };
    let mut calls: Vec<_> = Provider::ALL.iter().flat_map(|provider| journal.calls(*provider)).collect();
    calls.sort_by_key(|call| call.number);
    Json(json!({
        "calls": calls,
        "notifications": journal.notifications(),
        "call_count": per_provider(&|provider| journal.call_count(provider)),
        "in_flight_max": per_provider(&|provider| journal.in_flight_max(provider)),
    }))
    .into_response()
}

async fn forget_journal(State(shared): State<Arc<Shared>>) -> StatusCode {
    Journal(shared).clear();
    StatusCode::NO_CONTENT
}

/// Anything that is neither provider's nor ours.
pub(crate) async fn no_such_route(method: Method, OriginalUri(uri): OriginalUri) -> Response {
    let what = format!(
        "there is no `{method} {}`; below /control there are PUT and GET of /antom/payments/{{id}}, /antom/refunds/{{id}}, \
         /antom/authorizations/{{auth_state}}, /antom/habits, /omise/charges/{{id}}, /omise/version, /faults/{{provider}}; \
         DELETE of payments, charges and faults; POST …/notify below payments, refunds, authorizations, charges and \
         /omise/events/{{id}}; POST /omise/events; GET and DELETE /journal",
        uri.path()
    );
    Refused { status: StatusCode::NOT_FOUND, what }.into_response()
}

type Given<T> = Result<Json<T>, JsonRejection>;
type Shown = Result<Json<serde_json::Value>, Refused>;

/// Why a control call was not carried out: `{"error": "…"}`.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    what: String,
}

impl Refused {
    fn bad_request(what: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, what: what.into() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.what }))).into_response()
    }
}

impl From<SimulatorError> for Refused {
    fn from(error: SimulatorError) -> Self {
        let status = match error {
            SimulatorError::NoSuchPayment { .. } | SimulatorError::Unknown(_) => StatusCode::NOT_FOUND,
            SimulatorError::NotPossible(_) => StatusCode::CONFLICT,
            SimulatorError::BaseUrl(_) => StatusCode::BAD_REQUEST,
            SimulatorError::Undelivered(_) => StatusCode::BAD_GATEWAY,
            SimulatorError::NotLoopback(_)
            | SimulatorError::Listen { .. }
            | SimulatorError::KeyFile { .. }
            | SimulatorError::KeyText { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, what: described(&error) }
    }
}

/// An error with its causes, on one line.
fn described(error: &SimulatorError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The body, or what is wrong with it in JSON. The content type is insisted on: no web page may post here without asking.
fn body<T>(given: Given<T>) -> Result<T, Refused> {
    match given {
        Ok(Json(body)) => Ok(body),
        Err(rejection) => Err(Refused { status: rejection.status(), what: rejection.body_text() }),
    }
}

fn path<T: std::str::FromStr>(text: &str) -> Result<T, Refused>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Refused::bad_request(error.to_string()))
}

/// The amount that creates a payment or charge, if one is given.
fn amount(minor: Option<i64>, currency: Option<Currency>) -> Result<Option<Money>, Refused> {
    match (minor, currency) {
        (Some(minor), Some(currency)) if minor > 0 => Ok(Some(Money::new(minor, currency))),
        (Some(_), Some(_)) => Err(Refused::bad_request("`amount_minor` must be more than 0")),
        (None, None) => Ok(None),
        _ => Err(Refused::bad_request("`amount_minor` and `currency` go together")),
    }
}
