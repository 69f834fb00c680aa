use axum::Json;
use payhook_schema::AccountName;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refused, Shown, TIMES_MAX};
use crate::SignedRequest;

/// Where a notification goes, and what it says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyBody {
    /// Payhook's base URL: `http://127.0.0.1:8080`.
    pub(super) to: String,
    pub(super) account: AccountName,
    /// Antom: one of its kinds; unless given, `state`, `refund_state`, or what there is to tell of an authorization. Omise: an
    /// event key, `charge.complete` unless given.
    pub(super) kind: Option<String>,
    /// Omise: the status the event shall claim, whatever is true.
    saying: Option<String>,
    /// With `"saying": "failed"`.
    pub(super) code: Option<String>,
    times: Option<usize>,
    /// All at once instead of one after the other.
    #[serde(default)]
    together: bool,
}

impl NotifyBody {
    pub(super) fn saying(&self) -> Option<&str> {
        self.saying.as_deref()
    }

    pub(super) fn unless_saying(self, why: &str) -> Result<Self, Refused> {
        match self.saying {
            None => Ok(self),
            Some(_) => Err(Refused::bad_request(format!("`saying` is for Omise's charges: {why}"))),
        }
    }
}

/// Sends it as often as asked, and shows every reply.
pub(super) async fn sent(request: SignedRequest, given: &NotifyBody) -> Shown {
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
