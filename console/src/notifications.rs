//! The routes of stored notifications: the list, one of them, and its exact bytes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use payhook_schema::About;
use payhook_store::Archived;
use serde_json::{Value, json};
use tracing::error;
use uuid::Uuid;

use crate::api::{NotificationDetails, NotificationPage, NotificationQuery, NotificationView};
use crate::problem::ApiProblem;
use crate::query::{IdInPath, Parameters};
use crate::selection::listed_notifications;
use crate::{Caller, Console};

/// `GET /v1/notifications`: what providers sent, newest first. Never a body.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Parameters(query): Parameters<NotificationQuery>,
) -> Result<Json<Value>, ApiProblem> {
    let filter = listed_notifications(query, console.clock.now())?;
    let notifications = console.store.notification_list(&filter).await?;
    let next = (notifications.len() == filter.limit as usize)
        .then(|| notifications.last().map(|it| it.notification.id))
        .flatten();
    let notifications = notifications.iter().map(NotificationView::archived).collect();
    Ok(Json(json!(NotificationPage { notifications, next })))
}

/// `GET /v1/notifications/{notification_id}`: everything we know about one but what is in it.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    IdInPath(id): IdInPath,
) -> Result<Json<NotificationDetails>, ApiProblem> {
    let archived = console.notification(id).await?;
    // A sealed body is measured once it is open. Without its key, the rest is still worth showing.
    let body = console.vault.open_body(&archived.notification).ok();
    Ok(Json(NotificationDetails::of(&archived, body.as_deref())))
}

/// `GET /v1/notifications/{notification_id}/body`: the exact bytes. The audit entry is written first.
pub(crate) async fn body(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    IdInPath(id): IdInPath,
) -> Result<impl IntoResponse, ApiProblem> {
    let notification = console.notification(id).await?.notification;
    // An undocumented kind may carry a token too.
    let may_carry_a_token = matches!(notification.about, About::Authorization(_) | About::Other | About::Unreadable(_));
    if notification.is_confidential() && may_carry_a_token {
        return Err(ApiProblem::forbidden(
            "This notification may contain a token or a code, so its body is not shown. POST /v1/authorizations/{id}/token gives \
             a token to the merchant's program.",
        ));
    }
    let body = console.vault.open_body(&notification).map_err(|error| {
        error!(notification.id = %notification.id, error = %error, "cannot open a notification's body");
        ApiProblem::broken("The body cannot be opened", format!("{error}. Nothing was read."))
    })?;
    console.audit(&caller, "notification.read", notification.id.to_string(), 1, None).await?;
    // As bytes: a browser must not render a stranger's text as a page.
    let headers =
        [(CONTENT_TYPE, "application/octet-stream"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "no-store")];
    Ok((headers, body))
}

impl Console {
    async fn notification(&self, id: Uuid) -> Result<Archived, ApiProblem> {
        let notification = self.store.notification_get(id).await?;
        notification.ok_or_else(|| {
            ApiProblem::not_found(format!("There is no notification {id}: GET /v1/notifications lists them."))
        })
    }
}
