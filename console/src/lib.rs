//! HTTP for people and the merchant's programs, on its own listener: orders, authorizations, the event feed, dead
//! letters and stored notifications with their replays, the audit log, health and metrics. It shows and publishes
//! hints; it decides nothing.

pub mod api;
mod audit;
mod auth;
mod authorizations;
mod dead_letters;
mod events;
mod health;
mod keys;
mod notifications;
mod orders;
mod problem;
mod query;
mod release;
mod replays;
mod role;
mod selection;
mod stale;
mod starting;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{MethodRouter, get, post, put};
use payhook_queue::Queue;
use payhook_schema::{AccountName, Clock, Method, Provider};
use payhook_store::ConsoleStore;
use payhook_vault::Vault;

pub use auth::{Caller, Callers, is_this_machine};
pub use health::{Health, ReadyCheck, health_routes};
pub use role::{Role, UnknownRole};
pub use stale::RecentRefreshes;

use role::{ADMINISTER, OPERATE, READ, READ_TOKENS, REFRESH, REGISTER};

/// Largest request body accepted, in bytes; a registration with a hundred payments has some 15 KB.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Returns true if an account of this name is configured with a provider.
pub type HasAccount = Box<dyn Fn(Provider, &AccountName) -> bool + Send + Sync>;

/// The state that every request needs.
pub struct Console {
    pub queue: Arc<dyn Queue>,
    /// Cannot settle: the console shows and requests.
    pub store: Arc<dyn ConsoleStore>,
    pub clock: Clock,
    /// Opens tokens for the merchant's program, and seals everything anew when keys rotate.
    pub vault: Vault,
    /// Asked for each request, because a reload adds accounts.
    pub has_account: HasAccount,
    /// The payment methods whose limits a provider documents.
    pub methods: fn(Provider) -> &'static [Method],
    pub callers: Callers,
    /// The orders that were refreshed because somebody read them.
    pub recent_refreshes: RecentRefreshes,
}

type ApiRoute = (&'static str, &'static [Role], MethodRouter<Arc<Console>>);

/// Every route, and the roles that may call it. A route that is not in this table does not exist.
fn table() -> Vec<ApiRoute> {
    vec![
        ("/v1/orders", READ, get(orders::list)),
        ("/v1/orders/{order_id}", READ, get(orders::show)),
        ("/v1/orders/{order_id}", REGISTER, put(orders::register)),
        ("/v1/orders/{order_id}/refresh", REFRESH, post(orders::refresh)),
        ("/v1/orders/{order_id}/release", OPERATE, post(release::release)),
        ("/v1/orders/{order_id}/timeline", READ, get(orders::timeline)),
        ("/v1/authorizations/{authorization_id}", READ, get(authorizations::show)),
        ("/v1/authorizations/{authorization_id}", REGISTER, put(authorizations::register)),
        ("/v1/authorizations/{authorization_id}/timeline", READ, get(authorizations::timeline)),
        ("/v1/authorizations/{authorization_id}/token", READ_TOKENS, post(authorizations::token)),
        ("/v1/events", READ, get(events::feed)),
        ("/v1/dead-letters", READ, get(dead_letters::list)),
        ("/v1/dead-letters/groups", READ, get(dead_letters::groups)),
        ("/v1/dead-letters/replay", OPERATE, post(starting::dead_letters)),
        ("/v1/dead-letters/discard", OPERATE, post(dead_letters::discard)),
        ("/v1/dead-letters/note", OPERATE, post(dead_letters::note)),
        ("/v1/dead-letters/{dead_letter_id}", READ, get(dead_letters::show)),
        ("/v1/notifications", READ, get(notifications::list)),
        ("/v1/notifications/replay", OPERATE, post(starting::notifications)),
        ("/v1/notifications/{notification_id}", READ, get(notifications::show)),
        ("/v1/notifications/{notification_id}/body", ADMINISTER, get(notifications::body)),
        ("/v1/drift", OPERATE, post(starting::drift)),
        ("/v1/replays", READ, get(replays::list)),
        ("/v1/replays/{replay_id}", READ, get(replays::show)),
        ("/v1/replays/{replay_id}/items", READ, get(replays::items)),
        ("/v1/replays/{replay_id}/pause", OPERATE, post(replays::pause)),
        ("/v1/replays/{replay_id}/resume", OPERATE, post(replays::resume)),
        ("/v1/replays/{replay_id}/cancel", OPERATE, post(replays::cancel)),
        ("/v1/audit", ADMINISTER, get(audit::list)),
        ("/v1/keys/rotate", ADMINISTER, post(keys::rotate)),
    ]
}

/// The merchant's API. Health and metrics stand beside it, see [`health_routes`].
pub fn routes(console: Console) -> Router {
    let console = Arc::new(console);
    let mut router = Router::new();
    for (path, may, handler) in table() {
        router = router.route(path, handler.route_layer(middleware::from_fn_with_state(may, auth::require_role)));
    }
    router
        .layer(middleware::from_fn_with_state(console.clone(), auth::require_caller))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(console)
        .fallback(async || problem::ApiProblem::no_such_path())
        .method_not_allowed_fallback(async || problem::ApiProblem::method_not_allowed())
}
