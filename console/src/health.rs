//! Health, readiness and metrics: every role serves them, and no token is needed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

/// A check that takes longer counts as failed: whoever asks `/readyz` has a deadline too.
const CHECK_WITHIN: Duration = Duration::from_secs(3);

type CheckFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A thing that this process's roles cannot do without.
pub struct ReadyCheck {
    name: &'static str,
    check: Box<dyn Fn() -> CheckFuture + Send + Sync>,
}

impl ReadyCheck {
    pub fn new<F>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { name, check: Box::new(move || Box::pin(check())) }
    }
}

/// The state that the health routes of a process need.
pub struct Health {
    pub checks: Vec<ReadyCheck>,
    pub metrics: PrometheusHandle,
    /// True once a stop was asked for: a load balancer must look elsewhere before we close.
    pub stopping: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// `/healthz`: the process turns. `/readyz`: it can do its roles. `/metrics`: Prometheus text. No token.
pub fn health_routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(health))
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    if (health.stopping)() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "checks": { "process": "stopping" } })))
            .into_response();
    }
    let mut checks = serde_json::Map::new();
    let mut all = true;
    for ReadyCheck { name, check } in &health.checks {
        let outcome = match tokio::time::timeout(CHECK_WITHIN, check()).await {
            Ok(Ok(())) => "ok".to_owned(),
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {} s", CHECK_WITHIN.as_secs()),
        };
        all &= outcome == "ok";
        checks.insert((*name).to_owned(), outcome.into());
    }
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": all, "checks": checks }))).into_response()
}

async fn metrics(State(health): State<Arc<Health>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], health.metrics.render())
}
