use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use payhook_schema::{AccountName, Currency, Money, PaymentId, Provider};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refused, TIMES_MAX, body, path};
use crate::shared::Shared;
use crate::{Antom, AntomKind, AntomStatus, Omise, OmiseStatus, SignedRequest, SimulatorError};

type Given<T> = Result<Json<T>, JsonRejection>;
type Shown = Result<Json<Value>, Refused>;

/// What a payment or charge shall be. An amount creates it, or begins it anew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutBody {
    amount_minor: Option<i64>,
    currency: Option<Currency>,
    status: Option<String>,
    /// Why it failed.
    code: Option<String>,
    /// With `captured`: how much of what was authorized; all of it unless given.
    captured_minor: Option<i64>,
    /// Gives so much back, after whatever `status` did. Antom's too.
    refund_minor: Option<i64>,
}

impl PutBody {
    fn amount(&self) -> Result<Option<Money>, Refused> {
        match (self.amount_minor, self.currency) {
            (Some(minor), Some(currency)) if minor > 0 => Ok(Some(Money::new(minor, currency))),
            (Some(_), Some(_)) => Err(Refused::bad_request("`amount_minor` must be more than 0")),
            (None, None) => Ok(None),
            _ => Err(Refused::bad_request("`amount_minor` and `currency` go together")),
        }
    }
}

/// Where a notification goes, and what it says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyBody {
    /// Payhook's base URL: `http://127.0.0.1:8080`.
    to: String,
    account: AccountName,
    /// Antom: `state` unless given, or one of its kinds. Omise: an event key, `charge.complete` unless given.
    kind: Option<String>,
    /// Omise: the status the event shall claim, whatever is true.
    saying: Option<String>,
    /// With `"saying": "failed"`.
    code: Option<String>,
    times: Option<usize>,
    /// All at once instead of one after the other.
    #[serde(default)]
    together: bool,
}

pub(super) async fn antom_put(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    given: Given<PutBody>,
) -> Shown {
    let (id, given, antom) = (path::<PaymentId>(&id)?, body(given)?, Antom(shared));
    let status = given.status.as_deref().map(|word| {
        let known = "PROCESSING, PENDING, SUCCESS, FAIL, CANCELLED";
        AntomStatus::read(word, given.code.as_deref())
            .ok_or_else(|| Refused::bad_request(format!("Antom has no status `{word}`; known are {known}")))
    });
    let status = status.transpose()?;
    if given.captured_minor.is_some() {
        return Err(Refused::bad_request("`captured_minor` is for Omise's charges"));
    }
    if let Some(amount) = given.amount()? {
        antom.create(&id, amount);
    }
    if let Some(status) = status {
        antom.decide(&id, status)?;
    }
    if let Some(minor) = given.refund_minor {
        antom.refund(&id, minor)?;
    }
    antom_shown(&antom, &id)
}

pub(super) async fn antom_get(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Shown {
    antom_shown(&Antom(shared), &path(&id)?)
}

pub(super) async fn antom_delete(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    Antom(shared).forget(&path(&id)?);
    Ok(StatusCode::NO_CONTENT)
}

fn antom_shown(antom: &Antom, id: &PaymentId) -> Shown {
    Ok(Json(antom.payment(id)?))
}

pub(super) async fn antom_notify(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    given: Given<NotifyBody>,
) -> Shown {
    let (id, given) = (path::<PaymentId>(&id)?, body(given)?);
    if given.saying.is_some() {
        return Err(Refused::bad_request("`saying` is for Omise's events; Antom's `kind` says it all"));
    }
    let kind = path::<AntomKind>(given.kind.as_deref().unwrap_or("state"))?;
    sent(Antom(shared).signed(&given.to, &given.account, &id, kind)?, &given).await
}

pub(super) async fn omise_put(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    given: Given<PutBody>,
) -> Shown {
    let (id, given, omise) = (charge_id(&id)?, body(given)?, Omise(shared));
    if given.status.as_deref().is_some_and(|word| !OMISE_VERBS.contains(&word)) {
        let known = OMISE_VERBS.join(", ");
        return Err(Refused::bad_request(format!("Omise's charges take no such status; known are {known}")));
    }
    let created = given.amount()?;
    if let Some(amount) = created {
        omise.create(&id, amount);
    }
    match given.status.as_deref() {
        None | Some("pending") if created.is_some() => {}
        None => drop(omise.status(&id)?),
        Some("successful" | "paid") => omise.pay(&id)?,
        Some("failed") => omise.fail(&id, given.code.as_deref().unwrap_or("failed_processing"))?,
        Some("expired") => omise.expire(&id)?,
        Some("authorized") => omise.authorize(&id)?,
        Some("captured") => {
            if created.is_some() {
                omise.authorize(&id)?;
            }
            let all = omise.amount(&id)?.amount_minor;
            omise.capture(&id, given.captured_minor.unwrap_or(all))?;
        }
        Some("reversed") => {
            if created.is_some() {
                omise.authorize(&id)?;
            }
            omise.reverse(&id)?;
        }
        Some(_) => {
            let no = format!("charge `{id}` is there already: `pending` wants an amount, and begins it anew");
            return Err(SimulatorError::NotPossible(no).into());
        }
    }
    if let Some(minor) = given.refund_minor {
        omise.refund(&id, minor)?;
    }
    Ok(Json(omise.charge(&id)?))
}

const OMISE_VERBS: [&str; 8] =
    ["pending", "successful", "paid", "failed", "expired", "authorized", "captured", "reversed"];

pub(super) async fn omise_get(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Shown {
    Ok(Json(Omise(shared).charge(&path(&id)?)?))
}

pub(super) async fn omise_delete(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    Omise(shared).forget(&path(&id)?);
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn omise_notify(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    given: Given<NotifyBody>,
) -> Shown {
    let (id, given, omise) = (path::<PaymentId>(&id)?, body(given)?, Omise(shared));
    let key = given.kind.as_deref().unwrap_or("charge.complete");
    let request = match &given.saying {
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

/// Sends it as often as asked, and shows every reply.
async fn sent(request: SignedRequest, given: &NotifyBody) -> Shown {
    let times = given.times.unwrap_or(1);
    if times == 0 || times > TIMES_MAX {
        return Err(Refused::bad_request(format!("`times` must be 1 to {TIMES_MAX}")));
    }
    let replies = match given.together {
        true => request.send_together(times).await,
        false => request.send_times(times).await,
    };
    let shown: Vec<Value> = replies
        .iter()
        .map(|reply| match reply {
            Ok(reply) => json!({ "status": reply.status, "body": reply.body, "acknowledged": reply.acknowledged() }),
            Err(error) => json!({ "error": super::described(error) }),
        })
        .collect();
    Ok(Json(json!({ "url": format!("{}{}", request.origin, request.path), "replies": shown })))
}
