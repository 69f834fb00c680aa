use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{post, put};
use payhook_schema::{Currency, PaymentId, Provider};
use serde::Deserialize;
use serde_json::json;

use super::notify::{NotifyBody, sent};
use super::{Given, Refused, Shown, amount, body, path};
use crate::shared::Shared;
use crate::{Omise, OmiseDispute, OmiseStatus, OmiseVersion, SimulatorError};

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/charges/{id}", put(charge_put).get(charge_get).delete(charge_delete))
        .route("/charges/{id}/notify", post(charge_notify))
        .route("/events", post(event_post))
        .route("/events/{id}/notify", post(event_notify))
        .route("/version", put(version_put).get(version_get))
}

/// What a charge shall be. An amount creates it, or begins it anew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargeBody {
    amount_minor: Option<i64>,
    currency: Option<Currency>,
    /// With an amount: what it is paid with, such as `mobile_banking_kbank`; a card unless given.
    source: Option<String>,
    /// With an amount: `status` is decided in `charge.create` itself, as without 3-D Secure.
    #[serde(default)]
    at_once: bool,
    status: Option<String>,
    /// Why it failed.
    code: Option<String>,
    /// With `captured`: how much of what was authorized; all of it unless given.
    captured_minor: Option<i64>,
    /// Gives so much back, after whatever `status` did.
    refund_minor: Option<i64>,
    /// With `refund_minor`, `false`: it is begun, and pending. Without, `true`: what is pending is given back.
    refund_settles: Option<bool>,
    /// `open`, `pending`, `accepted`, `won` or `lost`: what happens to the dispute then.
    dispute: Option<String>,
    description: Option<String>,
}

async fn charge_put(State(shared): State<Arc<Shared>>, Path(id): Path<String>, given: Given<ChargeBody>) -> Shown {
    let (id, given, omise) = (charge_id(&id)?, body(given)?, Omise(shared));
    if given.status.as_deref().is_some_and(|word| !VERBS.contains(&word)) {
        let known = VERBS.join(", ");
        return Err(Refused::bad_request(format!("Omise's charges take no such status; known are {known}")));
    }
    if given.dispute.as_deref().is_some_and(|word| !DISPUTE_VERBS.contains(&word)) {
        let known = DISPUTE_VERBS.join(", ");
        return Err(Refused::bad_request(format!("no dispute is that; known are {known}")));
    }
    if given.refund_minor.is_none() && given.refund_settles == Some(false) {
        return Err(Refused::bad_request("`refund_settles: false` wants a `refund_minor`: it is for new refunds"));
    }
    match amount(given.amount_minor, given.currency)? {
        None if given.source.is_some() || given.at_once => {
            return Err(Refused::bad_request("`source` and `at_once` want an amount: they are for new charges"));
        }
        None => become_status(&omise, &id, &given, false)?,
        Some(amount) if given.at_once => {
            let word = given.status.as_deref().unwrap_or("successful");
            let status = OmiseStatus::read(word, given.code.as_deref())
                .ok_or_else(|| Refused::bad_request(format!("no charge begins as `{word}`")))?;
            omise.create_decided(&id, amount, status);
        }
        Some(amount) => {
            match &given.source {
                Some(source) => omise.create_with_source(&id, amount, source),
                None => omise.create(&id, amount),
            }
            become_status(&omise, &id, &given, true)?;
        }
    }
    match (given.refund_minor, given.refund_settles) {
        (Some(minor), Some(false)) => drop(omise.begin_refund(&id, minor)?),
        (Some(minor), None | Some(true)) => drop(omise.refund(&id, minor)?),
        (None, Some(true)) => omise.settle_refunds(&id)?,
        (None, None | Some(false)) => {}
    }
    match given.dispute.as_deref() {
        None => {}
        Some("open") => drop(omise.dispute(&id)?),
        Some("pending") => omise.update_dispute(&id)?,
        Some("accepted") => omise.accept_dispute(&id)?,
        Some("won") => omise.close_dispute(&id, OmiseDispute::Won)?,
        Some(_) => omise.close_dispute(&id, OmiseDispute::Lost)?,
    }
    if let Some(description) = &given.description {
        omise.update(&id, description)?;
    }
    Ok(Json(omise.charge(&id)?))
}

const VERBS: [&str; 8] = ["pending", "successful", "paid", "failed", "expired", "authorized", "captured", "reversed"];
const DISPUTE_VERBS: [&str; 5] = ["open", "pending", "accepted", "won", "lost"];

fn become_status(omise: &Omise, id: &PaymentId, given: &ChargeBody, new: bool) -> Result<(), Refused> {
    match given.status.as_deref() {
        None | Some("pending") if new => {}
        None => drop(omise.status(id)?),
        Some("successful" | "paid") => omise.pay(id)?,
        Some("failed") => omise.fail(id, given.code.as_deref().unwrap_or("failed_processing"))?,
        Some("expired") => omise.expire(id)?,
        Some("authorized") => omise.authorize(id)?,
        Some("captured") => {
            if new {
                omise.authorize(id)?;
            }
            let all = omise.amount(id)?.amount_minor;
            omise.capture(id, given.captured_minor.unwrap_or(all))?;
        }
        Some("reversed") => {
            if new {
                omise.authorize(id)?;
            }
            omise.reverse(id)?;
        }
        Some(_) => {
            let no = format!("charge `{id}` is there already: `pending` wants an amount, and begins it anew");
            return Err(SimulatorError::NotPossible(no).into());
        }
    }
    Ok(())
}

async fn charge_get(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Shown {
    Ok(Json(Omise(shared).charge(&path(&id)?)?))
}

async fn charge_delete(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<StatusCode, Refused> {
    Omise(shared).forget(&path(&id)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn charge_notify(State(shared): State<Arc<Shared>>, Path(id): Path<String>, given: Given<NotifyBody>) -> Shown {
    let (id, given, omise) = (path::<PaymentId>(&id)?, body(given)?, Omise(shared));
    let key = given.kind.as_deref().unwrap_or("charge.complete");
    let request = match given.saying() {
        None => omise.signed(&given.to, &given.account, &id, key)?,
        Some(word) => {
            let status = OmiseStatus::read(word, given.code.as_deref())
                .ok_or_else(|| Refused::bad_request(format!("an Omise event cannot say `{word}`")))?;
            omise.signed_saying(&given.to, &given.account, &id, key, status)?
        }
    };
    sent(request, &given).await
}

/// A charge payhook would take for one: refused here, not by a puzzling 400 of payhook's.
fn charge_id(text: &str) -> Result<PaymentId, Refused> {
    let rest = text.strip_prefix("chrg_test_").unwrap_or_default();
    match !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        true => path(text),
        false => Err(Refused::bad_request(format!(
            "`{text}` is no charge id of {}: `chrg_test_` and lower-case letters or digits are",
            Provider::Omise
        ))),
    }
}

/// Something that happens to no charge: `{"key":"transfer.create"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventBody {
    key: String,
}

async fn event_post(State(shared): State<Arc<Shared>>, given: Given<EventBody>) -> Shown {
    let id = Omise(shared).happen(&body(given)?.key)?;
    Ok(Json(json!({ "id": id })))
}

async fn event_notify(State(shared): State<Arc<Shared>>, Path(id): Path<String>, given: Given<NotifyBody>) -> Shown {
    let given = body(given)?.unless_saying("an event says what it said")?;
    if given.kind.is_some() {
        return Err(Refused::bad_request("an event has its key already: no `kind` here"));
    }
    sent(Omise(shared).signed_event(&given.to, &given.account, &id)?, &given).await
}

/// The account's API version: `{"version":"2017-11-02"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionBody {
    version: String,
}

async fn version_put(State(shared): State<Arc<Shared>>, given: Given<VersionBody>) -> Shown {
    let omise = Omise(shared);
    omise.set_version(path::<OmiseVersion>(&body(given)?.version)?);
    Ok(Json(json!({ "version": omise.version().as_str() })))
}

async fn version_get(State(shared): State<Arc<Shared>>) -> Shown {
    Ok(Json(json!({ "version": Omise(shared).version().as_str() })))
}
