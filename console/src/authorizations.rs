//! The routes of authorizations: registration, state, timeline, and the access token.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use jiff::Timestamp;
use payhook_schema::{
    Authorization, AuthorizationId, AuthorizationName, AuthorizationState, Because, Envelope, NewAuthorization,
    Provider, Sealed, SealedPlace,
};
use payhook_store::AuthorizationRegistered;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tracing::{error, warn};

use crate::api::{AuthorizationRegistration, AuthorizationTimeline, AuthorizationView, TimelineView};
use crate::problem::ApiProblem;
use crate::query::{JsonBody, NameInPath, NoParameters};
use crate::{Caller, Console};

/// `PUT /v1/authorizations/{authorization_id}`: before the customer is sent to the wallet. Repeating it is fine.
pub(crate) async fn register(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    _: NoParameters,
    NameInPath(id): NameInPath<AuthorizationId>,
    JsonBody(body): JsonBody<AuthorizationRegistration>,
) -> Result<(StatusCode, Json<AuthorizationView>), ApiProblem> {
    let new = console.read_authorization(id, body)?;
    console.audit(&caller, "authorization.register", new.id.to_string(), 1, None).await?;
    match console.store.authorization_register(&new, console.clock.now()).await? {
        AuthorizationRegistered::Authorization { authorization, created, parked } => {
            // A failed hint is answered with an error, so the caller repeats the registration; then they still wait.
            if parked || console.still_parked(&authorization).await? {
                console.hint_at_authorization(&new.id).await?;
            }
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, Json(AuthorizationView::of(&authorization))))
        }
        AuthorizationRegistered::Differs => Err(ApiProblem::conflict(format!(
            "Authorization {} is registered with another account, auth state or wallet, and these never change. \
             Register another authorization.",
            new.id
        ))),
        AuthorizationRegistered::AuthStateTaken { by } => Err(ApiProblem::conflict(format!(
            "This `auth_state` belongs to authorization {by}: make a new one for each customer."
        ))),
    }
}

/// `GET /v1/authorizations/{authorization_id}`: where it stands; never a token.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    NameInPath(id): NameInPath<AuthorizationId>,
) -> Result<Json<AuthorizationView>, ApiProblem> {
    let authorization = console.authorization(&id).await?;
    Ok(Json(AuthorizationView::of(&authorization)))
}

/// `GET /v1/authorizations/{authorization_id}/timeline`: everything that happened, oldest first.
pub(crate) async fn timeline(
    State(console): State<Arc<Console>>,
    NameInPath(id): NameInPath<AuthorizationId>,
) -> Result<Json<Value>, ApiProblem> {
    let authorization = console.authorization(&id).await?;
    let entries = console.store.authorization_timeline(&authorization.id).await?;
    let timeline = entries.into_iter().map(TimelineView::of).collect();
    Ok(Json(json!(AuthorizationTimeline { authorization_id: authorization.id, timeline })))
}

/// `POST /v1/authorizations/{authorization_id}/token`: the access token, for the program that charges the customer. The
/// audit entry is written first.
pub(crate) async fn token(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    NameInPath(id): NameInPath<AuthorizationId>,
) -> Result<impl IntoResponse, ApiProblem> {
    let authorization = console.authorization(&id).await?;
    let (sealed, expires_at) = usable_token(&authorization, console.clock.now())?;
    let place = SealedPlace::AccessToken(authorization.id.clone());
    let token = console.vault.open_text(&place, sealed).map_err(|error| {
        error!(authorization.id = %authorization.id, error = %error, "cannot open an access token");
        ApiProblem::broken("The token cannot be opened", format!("{error}. Nothing was read."))
    })?;
    console.audit(&caller, "token.read", authorization.id.to_string(), 1, None).await?;
    let answer = json!({
        "access_token": token.expose_secret(),
        "expires_at": expires_at,
        "customer_belongs_to": authorization.wallet,
    });
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)))
}

/// The token that can be used for a payment now, or why there is none.
fn usable_token(authorization: &Authorization, now: Timestamp) -> Result<(&Sealed, Option<Timestamp>), ApiProblem> {
    let id = &authorization.id;
    let none = |why: &str| Err(ApiProblem::conflict(format!("Authorization {id} {why}")));
    let token = match authorization.state {
        AuthorizationState::Awaiting => {
            return none("has no token: the customer has not agreed yet. Wait for Antom's notification.");
        }
        AuthorizationState::Granted => {
            return none(
                "has no token yet: the customer agreed, and the code was not exchanged. GET the authorization: it shows the \
                 last error and the next try.",
            );
        }
        AuthorizationState::Cancelled => {
            return none("was cancelled, and its token with it: send the customer to the wallet again.");
        }
        AuthorizationState::TokenIssued => authorization.token.as_ref(),
    };
    match token.and_then(|token| Some((token.access.as_ref()?, token.expires_at))) {
        Some((_, Some(at))) if at <= now => none(&format!(
            "has a token that expired at {at}. GET the authorization: it shows the next refresh. If there is none, send the \
             customer to the wallet again."
        )),
        Some((access, expires_at)) => Ok((access, expires_at)),
        None => none("has no stored token: send the customer to the wallet again."),
    }
}

impl Console {
    async fn authorization(&self, id: &AuthorizationId) -> Result<Authorization, ApiProblem> {
        let authorization = self.store.authorization_get(id).await?;
        authorization.ok_or_else(|| {
            let how = format!("PUT /v1/authorizations/{id} registers it.");
            ApiProblem::not_found(format!("Authorization {id} is not registered: {how}"))
        })
    }

    fn read_authorization(
        &self,
        id: AuthorizationId,
        body: AuthorizationRegistration,
    ) -> Result<NewAuthorization, ApiProblem> {
        let AuthorizationRegistration { account, auth_state, customer_belongs_to: wallet } = body;
        let (of, has_account) = (Authorization::PROVIDER, |provider| (self.has_account)(provider, &account));
        if has_account(of) {
            return Ok(NewAuthorization { id, account, auth_state, wallet });
        }
        Err(ApiProblem::unprocessable(match Provider::ALL.iter().find(|other| has_account(**other)) {
            Some(other) => {
                let (other, of) = (other.profile().name, of.profile().name);
                format!("Account `{account}` is with {other}, and only {of} has authorizations.")
            }
            None => format!("There is no {of} account `{account}` in the configuration."),
        }))
    }

    /// Returns true if notifications came before the authorization was registered, and nobody has applied them.
    async fn still_parked(&self, authorization: &Authorization) -> Result<bool, ApiProblem> {
        if authorization.state != AuthorizationState::Awaiting {
            return Ok(false);
        }
        let name = AuthorizationName::State(authorization.auth_state.clone());
        let notifications = self.store.authorization_notifications(&authorization.account, &name).await?;
        Ok(!notifications.is_empty())
    }

    async fn hint_at_authorization(&self, id: &AuthorizationId) -> Result<(), ApiProblem> {
        let envelope = Envelope::tend(id.clone(), Because::Registered, self.clock.now());
        self.queue.publish(&envelope).await.map_err(|error| {
            warn!(authorization.id = %id, error = %error, "cannot hint at an authorization whose notifications came first");
            ApiProblem::unavailable(
                "Registered, but earlier notifications are not applied",
                "Its notifications came before the registration, and the queue is unavailable, so no worker applies them. \
                 Repeat the registration until it is answered 200; repeating it is safe.",
            )
        })
    }
}
