use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{post, put};
use jiff::SignedDuration;
use payhook_schema::{AuthState, Currency, DisputeId, PaymentId, RefundId, Wallet};
use serde::Deserialize;
use serde_json::json;

use super::notify::{NotifyBody, sent};
use super::{Given, Refused, Shown, amount, body, path};
use crate::shared::Shared;
use crate::{Antom, AntomHabits, AntomKind, AntomOutcome, AntomStatus, Keys};

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/payments/{id}", put(payment_put).get(payment_get).delete(payment_delete))
        .route("/payments/{id}/notify", post(payment_notify))
        .route("/refunds/{id}", put(refund_put).get(refund_get))
        .route("/refunds/{id}/notify", post(refund_notify))
        .route("/authorizations/{auth_state}", put(authorization_put).get(authorization_get))
        .route("/authorizations/{auth_state}/notify", post(authorization_notify))
        .route("/habits", put(habits_put).get(habits_get))
        .route("/key", put(key_put).get(key_get))
}

/// What a payment shall be. An amount creates it, or begins it anew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PaymentBody {
    amount_minor: Option<i64>,
    currency: Option<Currency>,
    status: Option<String>,
    /// Why it failed, or its capture did.
    code: Option<String>,
    /// Begins to capture so much.
    capture_minor: Option<i64>,
    /// What became of the last capture.
    capture: Option<String>,
    /// Gives so much back, at once, as refund `RF-{id}-{n}`. Slower ones: `/control/antom/refunds/{id}`.
    refund_minor: Option<i64>,
    /// Opens dispute `DP-{id}` about so much.
    dispute_minor: Option<i64>,
}

async fn payment_put(State(shared): State<Arc<Shared>>, Path(id): Path<String>, given: Given<PaymentBody>) -> Shown {
    let (id, given, antom) = (path::<PaymentId>(&id)?, body(given)?, Antom(shared));
    let code = given.code.as_deref();
    let status = given.status.as_deref().map(|word| {
        let known = "PROCESSING, PENDING, SUCCESS, FAIL, CANCELLED";
        AntomStatus::read(word, code)
            .ok_or_else(|| Refused::bad_request(format!("Antom has no status `{word}`; known are {known}")))
    });
    let (status, capture) =
        (status.transpose()?, given.capture.as_deref().map(|word| outcome(word, code)).transpose()?);
    if let Some(amount) = amount(given.amount_minor, given.currency)? {
        antom.create(&id, amount);
    }
    if let Some(status) = status {
        antom.decide(&id, status)?;
    }
    if let Some(minor) = given.capture_minor {
        antom.capture(&id, minor)?;
    }
    if let Some(capture) = capture {
        antom.decide_capture(&id, capture)?;
    }
    if let Some(minor) = given.refund_minor {
        refund_at_once(&antom, &id, minor)?;
    }
    if let Some(minor) = given.dispute_minor {
        antom.dispute(&id, &path::<DisputeId>(&format!("DP-{id}"))?, minor)?;
    }
    Ok(Json(antom.payment(&id)?))
}

fn outcome(word: &str, code: Option<&str>) -> Result<AntomOutcome, Refused> {
    AntomOutcome::read(word, code).ok_or_else(|| {
        Refused::bad_request(format!("no refund or capture is `{word}`; known are PROCESSING, SUCCESS, FAIL"))
    })
}

fn refund_at_once(antom: &Antom, id: &PaymentId, minor: i64) -> Result<(), Refused> {
    let free = |refund: &Result<RefundId, Refused>| {
        refund.as_ref().map_or(true, |refund| antom.refund_outcome(refund).is_err())
    };
    let mut names = (1..).map(|number| path::<RefundId>(&format!("RF-{id}-{number}")));
    let refund = names.find(free).expect("numbers do not end")?;
    antom.refund(id, &refund, minor)?;
    Ok(antom.decide_refund(&refund, AntomOutcome::Success)?)
}

async fn payment_get(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Shown {
    Ok(Json(Antom(shared).payment(&path(&id)?)?))
}

async fn payment_delete(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<StatusCode, Refused> {
    Antom(shared).forget(&path(&id)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn payment_notify(State(shared): State<Arc<Shared>>, Path(id): Path<String>, given: Given<NotifyBody>) -> Shown {
    let (id, given) = (path::<PaymentId>(&id)?, notify_body(given)?);
    let kind = path::<AntomKind>(given.kind.as_deref().unwrap_or("state"))?;
    sent(Antom(shared).signed(&given.to, &given.account, &id, kind)?, &given).await
}

fn notify_body(given: Given<NotifyBody>) -> Result<NotifyBody, Refused> {
    body(given)?.unless_saying("Antom's `kind` says it all")
}

/// What a refund shall be. A payment and an amount begin it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    payment: Option<PaymentId>,
    amount_minor: Option<i64>,
    /// `PROCESSING`, `SUCCESS` or `FAIL`.
    status: Option<String>,
    /// Why it failed.
    code: Option<String>,
}

async fn refund_put(State(shared): State<Arc<Shared>>, Path(id): Path<String>, given: Given<RefundBody>) -> Shown {
    let (id, given, antom) = (path::<RefundId>(&id)?, body(given)?, Antom(shared));
    let outcome = given.status.as_deref().map(|word| outcome(word, given.code.as_deref())).transpose()?;
    match (&given.payment, given.amount_minor) {
        (Some(payment), Some(minor)) => drop(antom.refund(payment, &id, minor)?),
        (None, None) => {}
        _ => return Err(Refused::bad_request("`payment` and `amount_minor` go together")),
    }
    if let Some(outcome) = outcome {
        antom.decide_refund(&id, outcome)?;
    }
    Ok(Json(antom.refund_shown(&id)?))
}

async fn refund_get(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Shown {
    Ok(Json(Antom(shared).refund_shown(&path(&id)?)?))
}

async fn refund_notify(State(shared): State<Arc<Shared>>, Path(id): Path<String>, given: Given<NotifyBody>) -> Shown {
    let (id, given) = (path::<RefundId>(&id)?, notify_body(given)?);
    let kind = path::<AntomKind>(given.kind.as_deref().unwrap_or("refund_state"))?;
    sent(Antom(shared).signed_refund(&given.to, &given.account, &id, kind)?, &given).await
}

/// What an authorization shall be. A wallet begins it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorizationBody {
    /// `customerBelongsTo`: the merchant called `consult`.
    wallet: Option<Wallet>,
    /// What the customer does then.
    step: Option<Step>,
    /// With `cancel`, in the customer's words.
    reason: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// The customer agrees: there is a code.
    Agree,
    /// The wallet makes the token without a code.
    IssueToken,
    Cancel,
}

async fn authorization_put(
    State(shared): State<Arc<Shared>>,
    Path(auth_state): Path<String>,
    given: Given<AuthorizationBody>,
) -> Shown {
    let (auth_state, given, antom) = (path::<AuthState>(&auth_state)?, body(given)?, Antom(shared));
    if let Some(wallet) = &given.wallet {
        antom.consult(&auth_state, wallet);
    }
    match given.step {
        None => {}
        Some(Step::Agree) => drop(antom.agree(&auth_state)?),
        Some(Step::IssueToken) => drop(antom.issue_token(&auth_state)?),
        Some(Step::Cancel) => antom.revoke(&auth_state, given.reason.as_deref())?,
    }
    Ok(Json(antom.authorization_shown(&auth_state)?))
}

async fn authorization_get(State(shared): State<Arc<Shared>>, Path(auth_state): Path<String>) -> Shown {
    Ok(Json(Antom(shared).authorization_shown(&path(&auth_state)?)?))
}

async fn authorization_notify(
    State(shared): State<Arc<Shared>>,
    Path(auth_state): Path<String>,
    given: Given<NotifyBody>,
) -> Shown {
    let (auth_state, given, antom) = (path::<AuthState>(&auth_state)?, notify_body(given)?, Antom(shared));
    let kind = match &given.kind {
        Some(word) => path::<AntomKind>(word)?,
        None => antom.latest_kind(&auth_state)?,
    };
    sent(antom.signed_authorization(&given.to, &given.account, &auth_state, kind)?, &given).await
}

/// What is absent stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HabitsBody {
    refunds_listed: Option<bool>,
    access_token_lives_s: Option<u32>,
    refresh_token_lives_s: Option<u32>,
}

async fn habits_put(State(shared): State<Arc<Shared>>, given: Given<HabitsBody>) -> Shown {
    let (given, antom) = (body(given)?, Antom(shared));
    let known = antom.habits();
    let lives = |given: Option<u32>, known| given.map_or(known, |seconds| SignedDuration::from_secs(seconds.into()));
    antom.set_habits(AntomHabits {
        refunds_listed: given.refunds_listed.unwrap_or(known.refunds_listed),
        access_token_lives: lives(given.access_token_lives_s, known.access_token_lives),
        refresh_token_lives: lives(given.refresh_token_lives_s, known.refresh_token_lives),
    });
    Ok(habits_shown(&antom))
}

async fn habits_get(State(shared): State<Arc<Shared>>) -> Shown {
    Ok(habits_shown(&Antom(shared)))
}

fn habits_shown(antom: &Antom) -> Json<serde_json::Value> {
    let AntomHabits { refunds_listed, access_token_lives, refresh_token_lives } = antom.habits();
    Json(json!({
        "refunds_listed": refunds_listed,
        "access_token_lives_s": access_token_lives.as_secs(),
        "refresh_token_lives_s": refresh_token_lives.as_secs(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    version: u32,
}

/// A fresh key, under which Antom signs from now on.
async fn key_put(State(shared): State<Arc<Shared>>, given: Given<KeyBody>) -> Shown {
    let (KeyBody { version }, antom) = (body(given)?, Antom(shared));
    antom.set_key(version, &Keys::generate());
    Ok(key_shown(&antom))
}

async fn key_get(State(shared): State<Arc<Shared>>) -> Shown {
    Ok(key_shown(&Antom(shared)))
}

/// As the line `public_keys` of `payhook.toml` wants it.
fn key_shown(antom: &Antom) -> Json<serde_json::Value> {
    let (version, public_key) = antom.public_key();
    Json(json!({ "version": version, "public_key": public_key }))
}
