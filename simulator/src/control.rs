//! The same verbs over HTTP, below `/control/`, for other programs and for shells.
//!
//! ```console
//! $ curl -X PUT localhost:4040/control/antom/payments/PR-1 --json '{"amount_minor":150000,"currency":"THB","status":"SUCCESS"}'
//! $ curl localhost:4040/control/antom/payments/PR-1/notify --json '{"to":"http://127.0.0.1:8080","account":"demo","times":3}'
//! $ curl -X PUT localhost:4040/control/omise/charges/chrg_test_1 --json '{"amount_minor":150000,"currency":"THB"}'
//! $ curl -X PUT localhost:4040/control/omise/charges/chrg_test_1 --json '{"status":"paid","refund_minor":50000}'
//! $ curl -X PUT localhost:4040/control/faults/omise --json '{"fault":"throttle","retry_after_s":5,"times":3}'
//! $ curl localhost:4040/control/journal
//! ```

mod faults;
mod payments;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{OriginalUri, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use payhook_schema::Provider;
use serde_json::json;

use crate::shared::Shared;
use crate::{Journal, SimulatorError};

/// Notifications sent by one call, at most.
const TIMES_MAX: usize = 1000;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    let antom = put(payments::antom_put).get(payments::antom_get).delete(payments::antom_delete);
    let omise = put(payments::omise_put).get(payments::omise_get).delete(payments::omise_delete);
    let faults = put(faults::set).get(faults::get).delete(faults::clear);
    Router::new()
        .route("/control/antom/payments/{id}", antom)
        .route("/control/antom/payments/{id}/notify", post(payments::antom_notify))
        .route("/control/omise/charges/{id}", omise)
        .route("/control/omise/charges/{id}/notify", post(payments::omise_notify))
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
        "there is no `{method} {}`; there are PUT, GET and DELETE /control/antom/payments/{{id}}, \
         /control/omise/charges/{{id}} and /control/faults/{{provider}}, POST …/notify below the first two, \
         GET and DELETE /control/journal",
        uri.path()
    );
    Refused { status: StatusCode::NOT_FOUND, what }.into_response()
}

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
            SimulatorError::NoSuchPayment { .. } => StatusCode::NOT_FOUND,
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
fn body<T>(given: Result<Json<T>, JsonRejection>) -> Result<T, Refused> {
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
