use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use payhook_schema::Provider;
use serde::{Deserialize, Serialize};

use super::{Refused, body, path};
use crate::shared::Shared;
use crate::{Fault, Faults};

/// `{"fault":"throttle","retry_after_s":5,"times":3}`
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultBody {
    fault: String,
    /// For `down`: 503 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// For `throttle`: no `Retry-After` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    /// For `slow` and `hang`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    for_ms: Option<u64>,
    /// The next so many calls; every call unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
}

const KNOWN: &str =
    "none, down, close, hang, throttle, slow, unsigned, bad_signature, half_answer, html_page, other_payment, flapping";

impl FaultBody {
    fn read(&self) -> Result<Option<Fault>, Refused> {
        let wait = || {
            let milliseconds = self.for_ms.ok_or_else(|| Refused::bad_request("this fault wants `for_ms`"))?;
            Ok::<_, Refused>(Duration::from_millis(milliseconds))
        };
        Ok(Some(match self.fault.as_str() {
            "none" => return Ok(None),
            "down" => Fault::Down { status: self.status.unwrap_or(503) },
            "close" => Fault::Close,
            "hang" => Fault::Hang { at_most: wait()? },
            "throttle" => Fault::Throttle { retry_after: self.retry_after_s.map(Duration::from_secs) },
            "slow" => Fault::Slow { by: wait()? },
            "unsigned" => Fault::Unsigned,
            "bad_signature" => Fault::BadSignature,
            "half_answer" => Fault::HalfAnswer,
            "html_page" => Fault::HtmlPage,
            "other_payment" => Fault::OtherPayment,
            "flapping" => Fault::Flapping,
            other => return Err(Refused::bad_request(format!("there is no fault `{other}`; known are {KNOWN}"))),
        }))
    }

    fn show(fault: Option<(Fault, Option<u32>)>) -> Self {
        let Some((fault, times)) = fault else {
            return Self { fault: "none".to_owned(), ..Self::default() };
        };
        let milliseconds = |wait: Duration| u64::try_from(wait.as_millis()).ok();
        let mut shown = Self { times, ..Self::default() };
        let word = match fault {
            Fault::Down { status } => {
                shown.status = Some(status);
                "down"
            }
            Fault::Close => "close",
            Fault::Hang { at_most } => {
                shown.for_ms = milliseconds(at_most);
                "hang"
            }
            Fault::Throttle { retry_after } => {
                shown.retry_after_s = retry_after.map(|after| after.as_secs());
                "throttle"
            }
            Fault::Slow { by } => {
                shown.for_ms = milliseconds(by);
                "slow"
            }
            Fault::Unsigned => "unsigned",
            Fault::BadSignature => "bad_signature",
            Fault::HalfAnswer => "half_answer",
            Fault::HtmlPage => "html_page",
            Fault::OtherPayment => "other_payment",
            Fault::Flapping => "flapping",
        };
        word.clone_into(&mut shown.fault);
        shown
    }
}

pub(super) async fn set(
    State(shared): State<Arc<Shared>>,
    Path(provider): Path<String>,
    given: Result<Json<FaultBody>, JsonRejection>,
) -> Result<Json<FaultBody>, Refused> {
    let (provider, given) = (path::<Provider>(&provider)?, body(given)?);
    let faults = Faults(shared);
    match (given.read()?, given.times) {
        (None, _) => faults.clear(provider),
        (Some(fault), None) => faults.set(provider, fault)?,
        (Some(fault), Some(times)) => faults.set_next(provider, fault, times)?,
    }
    Ok(Json(FaultBody::show(faults.get(provider))))
}

pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Path(provider): Path<String>,
) -> Result<Json<FaultBody>, Refused> {
    Ok(Json(FaultBody::show(Faults(shared).get(path(&provider)?))))
}

pub(super) async fn clear(
    State(shared): State<Arc<Shared>>,
    Path(provider): Path<String>,
) -> Result<StatusCode, Refused> {
    Faults(shared).clear(path(&provider)?);
    Ok(StatusCode::NO_CONTENT)
}
