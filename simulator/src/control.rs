use std::sync::Arc;

use crate::shared::Shared;
use axum::Router;
use axum::http::StatusCode;
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
}
pub(crate) async fn no_such_route() -> StatusCode {
    StatusCode::NOT_FOUND
}
