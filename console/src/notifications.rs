use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use payhook_schema::About;
use payhook_store::Archived;
use serde_json::json;
use tracing::error;
use uuid::Uuid;

use crate::problem::Problem;
use crate::query::{Parameters, RawQuery, id_in};
use crate::selection::listed_notifications;
use crate::view::{NotificationView, NotificationWhole};
use crate::{Caller, Console};

type NotificationPath = Result<Path<String>, PathRejection>;

/// `GET /v1/notifications`: what providers sent, newest first. Never a body.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut parameters = Parameters::new(query)?;
    let filter = listed_notifications(&mut parameters, console.clock.now())?;
    parameters.none_left()?;
    let notifications = console.store.notification_list(&filter).await?;
    let next = (notifications.len() == filter.limit as usize)
        .then(|| notifications.last().map(|it| it.notification.id))
        .flatten();
    let notifications: Vec<NotificationView> = notifications.iter().map(NotificationView::archived).collect();
    Ok(Json(json!({ "notifications": notifications, "next": next })))
}

/// `GET /v1/notifications/{notification_id}`: everything we know about one but what is in it.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    path: NotificationPath,
) -> Result<Json<NotificationWhole>, Problem> {
    let archived = console.notification(id_in(path)?).await?;
    // What a sealed one was like before it was sealed, only its key can tell; without it, the rest is still worth showing.
    let body = console.vault.open_body(&archived.notification).ok();
    Ok(Json(NotificationWhole::of(&archived, body.as_deref())))
}

/// `GET /v1/notifications/{notification_id}/body`: the exact bytes, once it is written down who read them.
pub(crate) async fn body(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    path: NotificationPath,
) -> Result<impl IntoResponse, Problem> {
    let notification = console.notification(id_in(path)?).await?.notification;
    // Kinds that nobody documented may carry what authorizations do.
    let may_carry_a_token = matches!(notification.about, About::Authorization(_) | About::Other | About::Unreadable(_));
    if notification.is_confidential() && may_carry_a_token {
        return Err(Problem::forbidden(
            "It may carry a token or a code: a token is given by POST /v1/authorizations/{id}/token alone, to the merchant's program.",
        ));
    }
    let body = console.vault.open_body(&notification).map_err(|error| {
        error!(notification.id = %notification.id, error = %error, "cannot open a notification's body");
        Problem::broken("The body cannot be opened", format!("{error}. Nothing was read."))
    })?;
    console.audit(&caller, "notification.read", notification.id.to_string(), 1, None).await?;
    // As bytes and nothing else: whatever shows them must not take a stranger's text for a page.
    let headers =
        [(CONTENT_TYPE, "application/octet-stream"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "no-store")];
    Ok((headers, body))
}

impl Console {
    async fn notification(&self, id: Uuid) -> Result<Archived, Problem> {
        let notification = self.store.notification_get(id).await?;
        notification.ok_or_else(|| {
            Problem::not_found(format!("There is no notification {id}: GET /v1/notifications lists them."))
        })
    }
}
