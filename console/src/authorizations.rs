use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use jiff::Timestamp;
use payhook_schema::{
    AccountName, AuthState, Authorization, AuthorizationId, AuthorizationName, AuthorizationState, Because, Envelope,
    NewAuthorization, Provider, Sealed, SealedPlace, Wallet,
};
use payhook_store::AuthorizationRegistered;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use tracing::{error, warn};

use crate::problem::Problem;
use crate::query::{JsonBody, NoParameters};
use crate::view::{AuthorizationView, TimelineView};
use crate::{Caller, Console};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    account: String,
    auth_state: String,
    customer_belongs_to: String,
}

type AuthorizationPath = Result<Path<String>, PathRejection>;

/// `PUT /v1/authorizations/{authorization_id}`: before the customer is sent to the wallet. Repeating it is fine.
pub(crate) async fn register(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    _: NoParameters,
    path: AuthorizationPath,
    JsonBody(body): JsonBody<Registration>,
) -> Result<(StatusCode, Json<AuthorizationView>), Problem> {
    let new = console.read_authorization(authorization_id(path)?, body)?;
    console.audit(&caller, "authorization.register", new.id.to_string(), 1, None).await?;
    match console.store.authorization_register(&new, console.clock.now()).await? {
        AuthorizationRegistered::Authorization { authorization, created, parked } => {
            // Whoever registers is told when the hint did not get out, and repeats: then they still wait.
            if parked || console.still_parked(&authorization).await? {
                console.hint_at_authorization(&new.id).await?;
            }
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, Json(AuthorizationView::of(&authorization))))
        }
        AuthorizationRegistered::Differs => Err(Problem::conflict(format!(
            "Authorization {} is registered with another account, auth state or wallet, and none of them ever changes. \
             Register another authorization.",
            new.id
        ))),
        AuthorizationRegistered::AuthStateTaken { by } => Err(Problem::conflict(format!(
            "This `auth_state` is authorization {by}'s: make a new one for each customer you send to a wallet."
        ))),
    }
}

/// `GET /v1/authorizations/{authorization_id}`: where it stands; never a token.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    path: AuthorizationPath,
) -> Result<Json<AuthorizationView>, Problem> {
    let authorization = console.authorization(&authorization_id(path)?).await?;
    Ok(Json(AuthorizationView::of(&authorization)))
}

/// `GET /v1/authorizations/{authorization_id}/timeline`: everything that happened, oldest first.
pub(crate) async fn timeline(
    State(console): State<Arc<Console>>,
    path: AuthorizationPath,
) -> Result<Json<serde_json::Value>, Problem> {
    let authorization = console.authorization(&authorization_id(path)?).await?;
    let entries = console.store.authorization_timeline(&authorization.id).await?;
    let entries: Vec<TimelineView> = entries.into_iter().map(TimelineView::from).collect();
    Ok(Json(json!({ "authorization_id": authorization.id, "timeline": entries })))
}

/// `POST /v1/authorizations/{authorization_id}/token`: the access token, to whoever may charge the customer. Written down before
/// it is answered.
pub(crate) async fn token(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    path: AuthorizationPath,
) -> Result<impl IntoResponse, Problem> {
    let authorization = console.authorization(&authorization_id(path)?).await?;
    let (sealed, expires_at) = usable_token(&authorization, console.clock.now())?;
    let place = SealedPlace::AccessToken(authorization.id.clone());
    let token = console.vault.open_text(&place, sealed).map_err(|error| {
        error!(authorization.id = %authorization.id, error = %error, "cannot open an access token");
        Problem::broken("The token cannot be opened", format!("{error}. Nothing was read."))
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
fn usable_token(authorization: &Authorization, now: Timestamp) -> Result<(&Sealed, Option<Timestamp>), Problem> {
    let id = &authorization.id;
    let none = |why: &str| Err(Problem::conflict(format!("Authorization {id} {why}")));
    let token = match authorization.state {
        AuthorizationState::Awaiting => {
            return none("has no token: the customer has not agreed yet. Its notification will tell.");
        }
        AuthorizationState::Granted => {
            return none(
                "has no token yet: the customer agreed, and the code was not exchanged. GET shows when that is tried \
                 next and what went wrong last.",
            );
        }
        AuthorizationState::Cancelled => {
            return none("was cancelled, and its token with it: send the customer to the wallet again.");
        }
        AuthorizationState::TokenIssued => authorization.token.as_ref(),
    };
    match token.and_then(|token| Some((token.access.as_ref()?, token.expires_at))) {
        Some((_, Some(at))) if at <= now => none(&format!(
            "has a token that expired at {at}. GET shows when it is refreshed next; where it cannot be, send the customer \
             to the wallet again."
        )),
        Some((access, expires_at)) => Ok((access, expires_at)),
        None => none("has no token that is kept: send the customer to the wallet again."),
    }
}

fn authorization_id(path: AuthorizationPath) -> Result<AuthorizationId, Problem> {
    let Path(id) = path.map_err(|error| Problem::malformed(error.body_text()))?;
    AuthorizationId::new(id).map_err(|error| Problem::malformed(error.to_string()))
}

impl Console {
    async fn authorization(&self, id: &AuthorizationId) -> Result<Authorization, Problem> {
        let authorization = self.store.authorization_get(id).await?;
        authorization.ok_or_else(|| {
            let how = format!("PUT /v1/authorizations/{id} registers it.");
            Problem::not_found(format!("Authorization {id} is not registered: {how}"))
        })
    }

    fn read_authorization(&self, id: AuthorizationId, body: Registration) -> Result<NewAuthorization, Problem> {
        let wrong = |what: &dyn std::fmt::Display| Problem::unprocessable(what.to_string());
        let account = AccountName::new(body.account).map_err(|error| wrong(&error))?;
        let (of, has_account) = (Authorization::PROVIDER, |provider| (self.has_account)(provider, &account));
        if !has_account(of) {
            return Err(match Provider::ALL.iter().find(|other| has_account(**other)) {
                Some(other) => {
                    let (other, of) = (other.profile().name, of.profile().name);
                    wrong(&format!("Account `{account}` is with {other}, and only {of} has authorizations."))
                }
                None => wrong(&format!("There is no {of} account `{account}` in the configuration.")),
            });
        }
        let auth_state = AuthState::new(body.auth_state).map_err(|error| wrong(&error))?;
        // Antom adds wallets several times a year: one we have not heard of is one of them.
        let wallet = Wallet::new(body.customer_belongs_to).map_err(|error| wrong(&error))?;
        Ok(NewAuthorization { id, account, auth_state, wallet })
    }

    /// Returns true if notifications came before the authorization was registered, and nobody has applied them.
    async fn still_parked(&self, authorization: &Authorization) -> Result<bool, Problem> {
        if authorization.state != AuthorizationState::Awaiting {
            return Ok(false);
        }
        let name = AuthorizationName::State(authorization.auth_state.clone());
        let notifications = self.store.authorization_notifications(&authorization.account, &name).await?;
        Ok(!notifications.is_empty())
    }

    async fn hint_at_authorization(&self, id: &AuthorizationId) -> Result<(), Problem> {
        let envelope = Envelope::tend(id.clone(), Because::Registered, self.clock.now());
        self.queue.publish(&envelope).await.map_err(|error| {
            warn!(authorization.id = %id, error = %error, "cannot hint at an authorization whose notifications came first");
            Problem::unavailable(
                "Registered, and its notifications wait",
                "Notifications about it came earlier, and the queue is away, so nobody applies them yet. Repeat the \
                 registration until it is answered 200: repeating it is safe.",
            )
        })
    }
}
