//! The verbs of [`Antom`], [`Omise`], [`Faults`] and [`Journal`] over HTTP, for shells and other programs: one verb a
//! request.
//!
//! ```console
//! $ curl localhost:4040/control --json '{"do":"antom_pays","id":"PR-1","amount_minor":150000,"currency":"THB"}'
//! $ curl localhost:4040/control --json '{"do":"antom_notifies","id":"PR-1","to":"http://127.0.0.1:8080","account":"demo","times":3}'
//! $ curl localhost:4040/control --json '{"do":"omise_creates","id":"chrg_test_1","amount_minor":150000,"currency":"THB"}'
//! $ curl localhost:4040/control --json '{"do":"omise_decides","id":"chrg_test_1","status":"successful"}'
//! $ curl localhost:4040/control --json '{"do":"fault","provider":"omise","fault":"throttle","retry_after_s":5,"times":3}'
//! $ curl localhost:4040/control --json '{"do":"journal"}'
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use payhook_schema::{AccountName, AuthState, Currency, DisputeId, Money, PaymentId, Provider, RefundId, Wallet};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::shared::SimulatorState;
use crate::{
    Antom, AntomKind, AntomOutcome, AntomStatus, Fault, Faults, Journal, Omise, SignedRequest, SimulatorError,
};

/// Notifications sent by one request, at most.
const TIMES_MAX: usize = 1000;

/// A verb of the control API. Amounts are in minor units; words of a provider are spelled as it spells them.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Verb {
    AntomCreates {
        id: PaymentId,
        amount_minor: i64,
        currency: Currency,
    },
    /// Creates a payment that the customer has paid.
    AntomPays {
        id: PaymentId,
        amount_minor: i64,
        currency: Currency,
    },
    AntomDecides {
        id: PaymentId,
        status: String,
        code: Option<String>,
    },
    AntomCaptures {
        id: PaymentId,
        amount_minor: i64,
        outcome: String,
        code: Option<String>,
    },
    AntomRefunds {
        id: RefundId,
        payment: PaymentId,
        amount_minor: i64,
    },
    AntomDecidesRefund {
        id: RefundId,
        outcome: String,
        code: Option<String>,
    },
    AntomDisputes {
        id: DisputeId,
        payment: PaymentId,
        amount_minor: i64,
    },
    AntomConsults {
        auth_state: AuthState,
        wallet: Wallet,
    },
    AntomAgrees {
        auth_state: AuthState,
    },
    AntomIssuesToken {
        auth_state: AuthState,
    },
    AntomRevokes {
        auth_state: AuthState,
        reason: Option<String>,
    },
    /// About a payment, unless `kind` is of a refund or an authorization: then `id` is theirs.
    AntomNotifies {
        id: String,
        kind: Option<AntomKind>,
        to: String,
        account: AccountName,
        times: Option<usize>,
    },
    OmiseCreates {
        id: PaymentId,
        amount_minor: i64,
        currency: Currency,
        source: Option<String>,
    },
    OmiseDecides {
        id: PaymentId,
        status: String,
        code: Option<String>,
    },
    OmiseCaptures {
        id: PaymentId,
        amount_minor: i64,
    },
    OmiseRefunds {
        id: PaymentId,
        amount_minor: i64,
    },
    OmiseDisputes {
        id: PaymentId,
    },
    OmiseNotifies {
        id: PaymentId,
        key: Option<String>,
        to: String,
        account: AccountName,
        times: Option<usize>,
    },
    /// `fault` is `none` or one of [`Fault`]'s, in snake_case; each wants the fields of its own.
    Fault {
        provider: Provider,
        fault: String,
        status: Option<u16>,
        retry_after_s: Option<u64>,
        for_ms: Option<u64>,
        times: Option<u32>,
    },
    /// The calls that were made and the notifications that were sent.
    Journal {},
}

pub(crate) fn routes() -> Router<Arc<SimulatorState>> {
    Router::new().route("/control", post(control)).method_not_allowed_fallback(no_such_route)
}

/// Anything that is neither the providers' nor ours.
pub(crate) async fn no_such_route(OriginalUri(uri): OriginalUri) -> Response {
    let what = format!("there is no `{}` here: POST verbs to /control, such as {{\"do\":\"journal\"}}", uri.path());
    Refused { status: StatusCode::NOT_FOUND, what }.into_response()
}

async fn control(
    State(shared): State<Arc<SimulatorState>>,
    verb: Result<Json<Verb>, JsonRejection>,
) -> Result<Json<Value>, Refused> {
    let Json(verb) = verb.map_err(|rejection| Refused { status: rejection.status(), what: rejection.body_text() })?;
    let (antom, omise) = (Antom(shared.clone()), Omise(shared.clone()));
    let shown = match verb {
        Verb::AntomCreates { id, amount_minor, currency } => {
            antom.create(&id, amount(amount_minor, currency)?);
            antom.payment(&id)?
        }
        Verb::AntomPays { id, amount_minor, currency } => {
            antom.create(&id, amount(amount_minor, currency)?);
            antom.decide(&id, AntomStatus::Success)?;
            antom.payment(&id)?
        }
        Verb::AntomDecides { id, status, code } => {
            antom.decide(&id, known(AntomStatus::read(&status, code.as_deref()), &status)?)?;
            antom.payment(&id)?
        }
        Verb::AntomCaptures { id, amount_minor, outcome, code } => {
            let outcome = known(AntomOutcome::read(&outcome, code.as_deref()), &outcome)?;
            antom.capture(&id, amount_minor)?;
            antom.decide_capture(&id, outcome)?;
            antom.payment(&id)?
        }
        Verb::AntomRefunds { id, payment, amount_minor } => {
            antom.refund(&payment, &id, amount_minor)?;
            antom.refund_shown(&id)?
        }
        Verb::AntomDecidesRefund { id, outcome, code } => {
            antom.decide_refund(&id, known(AntomOutcome::read(&outcome, code.as_deref()), &outcome)?)?;
            antom.refund_shown(&id)?
        }
        Verb::AntomDisputes { id, payment, amount_minor } => {
            antom.dispute(&payment, &id, amount_minor)?;
            antom.payment(&payment)?
        }
        Verb::AntomConsults { auth_state, wallet } => {
            antom.consult(&auth_state, &wallet);
            antom.authorization_shown(&auth_state)?
        }
        Verb::AntomAgrees { auth_state } => {
            antom.agree(&auth_state)?;
            antom.authorization_shown(&auth_state)?
        }
        Verb::AntomIssuesToken { auth_state } => {
            antom.issue_token(&auth_state)?;
            antom.authorization_shown(&auth_state)?
        }
        Verb::AntomRevokes { auth_state, reason } => {
            antom.revoke(&auth_state, reason.as_deref())?;
            antom.authorization_shown(&auth_state)?
        }
        Verb::AntomNotifies { id, kind, to, account, times } => {
            let kind = kind.unwrap_or(AntomKind::State);
            sent(antoms(&antom, &id, kind, &to, &account)?, times).await?
        }
        Verb::OmiseCreates { id, amount_minor, currency, source } => {
            let amount = amount(amount_minor, currency)?;
            match source {
                Some(source) => omise.create_with_source(&charge_id(&id)?, amount, &source),
                None => omise.create(&charge_id(&id)?, amount),
            }
            omise.charge(&id)?
        }
        Verb::OmiseDecides { id, status, code } => {
            match status.as_str() {
                "successful" => omise.pay(&id)?,
                "failed" => omise.fail(&id, code.as_deref().unwrap_or("failed_processing"))?,
                "expired" => omise.expire(&id)?,
                "authorized" => omise.authorize(&id)?,
                "reversed" => omise.reverse(&id)?,
                _ => return Err(refused(format!("the provider has no `{status}`"))),
            }
            omise.charge(&id)?
        }
        Verb::OmiseCaptures { id, amount_minor } => {
            omise.capture(&id, amount_minor)?;
            omise.charge(&id)?
        }
        Verb::OmiseRefunds { id, amount_minor } => {
            omise.refund(&id, amount_minor)?;
            omise.charge(&id)?
        }
        Verb::OmiseDisputes { id } => {
            omise.dispute(&id)?;
            omise.charge(&id)?
        }
        Verb::OmiseNotifies { id, key, to, account, times } => {
            sent(omise.signed(&to, &account, &id, key.as_deref().unwrap_or("charge.complete"))?, times).await?
        }
        Verb::Fault { provider, fault, status, retry_after_s, for_ms, times } => {
            let faults = Faults(shared);
            let wait = || for_ms.map(Duration::from_millis).ok_or_else(|| refused("this fault wants `for_ms`"));
            let met = match fault.as_str() {
                "none" => None,
                "down" => Some(Fault::Down { status: status.unwrap_or(503) }),
                "close" => Some(Fault::Close),
                "hang" => Some(Fault::Hang { at_most: wait()? }),
                "throttle" => Some(Fault::Throttle { retry_after: retry_after_s.map(Duration::from_secs) }),
                "slow" => Some(Fault::Slow { by: wait()? }),
                "unsigned" => Some(Fault::Unsigned),
                "bad_signature" => Some(Fault::BadSignature),
                "half_answer" => Some(Fault::HalfAnswer),
                "html_page" => Some(Fault::HtmlPage),
                "other_payment" => Some(Fault::OtherPayment),
                "flapping" => Some(Fault::Flapping),
                _ => return Err(refused(format!("there is no fault `{fault}`"))),
            };
            match (met, times) {
                (None, _) => faults.clear(provider),
                (Some(met), None) => faults.set(provider, met)?,
                (Some(met), Some(times)) => faults.set_next(provider, met, times)?,
            }
            json!({ "provider": provider, "fault": fault })
        }
        Verb::Journal {} => {
            let journal = Journal(shared);
            let mut calls: Vec<_> = Provider::ALL.iter().flat_map(|provider| journal.calls(*provider)).collect();
            calls.sort_by_key(|call| call.number);
            json!({ "calls": calls, "notifications": journal.notifications() })
        }
    };
    Ok(Json(shown))
}

/// The notification of this kind, about what `id` then names.
fn antoms(antom: &Antom, id: &str, kind: AntomKind, to: &str, account: &AccountName) -> Result<SignedRequest, Refused> {
    let wrong = |error: payhook_schema::IdError| refused(format!("`id`: {error}"));
    Ok(match kind {
        AntomKind::RefundState | AntomKind::Refund | AntomKind::RefundFailed => {
            antom.signed_refund(to, account, &id.parse().map_err(wrong)?, kind)?
        }
        AntomKind::AuthcodeCreated | AntomKind::TokenCreated | AntomKind::TokenCanceled => {
            antom.signed_authorization(to, account, &id.parse().map_err(wrong)?, kind)?
        }
        _ => antom.signed(to, account, &id.parse().map_err(wrong)?, kind)?,
    })
}

/// Sends it as often as asked, one after the other, and shows every reply.
async fn sent(request: SignedRequest, times: Option<usize>) -> Result<Value, Refused> {
    let times = times.unwrap_or(1);
    if !(1..=TIMES_MAX).contains(&times) {
        return Err(refused(format!("`times` must be 1 to {TIMES_MAX}")));
    }
    let shown: Vec<Value> = request
        .send_times(times)
        .await
        .iter()
        .map(|reply| match reply {
            Ok(reply) => json!({ "status": reply.status, "body": reply.body, "acknowledged": reply.acknowledged() }),
            Err(error) => json!({ "error": described(error) }),
        })
        .collect();
    Ok(json!({ "url": format!("{}{}", request.origin, request.path), "replies": shown }))
}

fn amount(minor: i64, currency: Currency) -> Result<Money, Refused> {
    match minor > 0 {
        true => Ok(Money::new(minor, currency)),
        false => Err(refused("`amount_minor` must be more than 0")),
    }
}

fn known<T>(read: Option<T>, word: &str) -> Result<T, Refused> {
    read.ok_or_else(|| refused(format!("the provider has no `{word}`")))
}

/// A charge id that payhook accepts: another one is refused here, not by a puzzling answer of payhook's.
fn charge_id(id: &PaymentId) -> Result<PaymentId, Refused> {
    let rest = id.as_str().strip_prefix("chrg_test_").unwrap_or_default();
    match !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        true => Ok(id.clone()),
        false => Err(refused(format!("`{id}` is no charge id: write `chrg_test_` and lower-case letters or digits"))),
    }
}

/// The reason why a verb was not carried out: `{"error": "…"}`.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    what: String,
}

fn refused(what: impl Into<String>) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, what: what.into() }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.what }))).into_response()
    }
}

impl From<SimulatorError> for Refused {
    fn from(error: SimulatorError) -> Self {
        let status = match error {
            SimulatorError::NoSuchPayment { .. } | SimulatorError::Unknown(_) => StatusCode::NOT_FOUND,
            SimulatorError::NotPossible(_) => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
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
