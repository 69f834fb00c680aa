//! HTTP for people and the merchant's programs, on its own listener: the orders API, the event feed, dead letters, health and
//! metrics. Shows and hints; it never decides anything.

mod auth;
mod dead_letters;
mod events;
mod health;
mod orders;
mod problem;
mod query;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post, put};
use payhook_queue::Queue;
use payhook_schema::{AccountName, Clock, Provider};
use payhook_store::Store;

pub use auth::Token;
pub use health::{Health, ReadyCheck, health_routes};

/// Largest request body accepted, in bytes; a registration with a hundred payments has some 15 KB.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What every request needs.
pub struct Console {
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    /// Which accounts a payment may be registered under.
    pub accounts: BTreeSet<(Provider, AccountName)>,
    /// Absent only where nobody but this machine can connect.
    pub token: Option<Token>,
}

/// The merchant's API. Health and metrics stand beside it, see [`health_routes`].
pub fn routes(console: Console) -> Router {
    let console = Arc::new(console);
    Router::new()
        .route("/v1/orders", get(orders::list))
        .route("/v1/orders/{order_id}", put(orders::register).get(orders::show))
        .route("/v1/orders/{order_id}/refresh", post(orders::refresh))
        .route("/v1/orders/{order_id}/timeline", get(orders::timeline))
        .route("/v1/events", get(events::feed))
        .route("/v1/dead-letters", get(dead_letters::list))
        .layer(middleware::from_fn_with_state(console.clone(), auth::require_token))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(console)
        .fallback(async || problem::Problem::not_found("There is no such path; the API begins at /v1/orders."))
        .method_not_allowed_fallback(async || problem::Problem::method_not_allowed())
}
