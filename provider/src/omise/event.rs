//! Reads Omise's webhook events.

use jiff::Timestamp;
use payhook_schema::{About, PaymentId};
use serde::Deserialize;
use serde_json::Value;

use crate::{Refusal, strict_json};

/// The parts of an event that payhook acts on.
pub(super) struct WebhookEvent {
    pub(super) kind: String,
    pub(super) about: About,
    pub(super) event_id: String,
    /// Absent if it cannot be read: no decision depends on a webhook's time.
    pub(super) created_at: Option<Timestamp>,
}

/// The envelope's fields are the same in all four API versions. `data` is a snapshot in whichever version the account
/// had: only ids are taken from it, the money is asked for.
#[derive(Deserialize)]
struct Event {
    object: String,
    id: String,
    key: String,
    livemode: bool,
    data: Option<Data>,
    created_at: Option<Value>,
    /// Its name before 2019.
    created: Option<Value>,
}

#[derive(Deserialize)]
struct Data {
    /// These three are read only in the families that have them so: a schedule's `charge` is a template without an id.
    object: Option<Value>,
    id: Option<Value>,
    /// An id, or the object where the account expands it.
    charge: Option<Value>,
}

/// Reads an event: its kind, and the charge it asks us to settle.
///
/// # Shape
/// `charge.*` names it in `data.id`; `refund.create` and `dispute.*` in `data.charge`. Every other key, known or not,
/// is about nothing of ours.
///
/// # Errors
/// [`Refusal::Unreadable`]: not an event object, or a charge's event without a charge id.
/// [`Refusal::NotGenuine`]: of the other mode than this account's; test and live never mix.
///
/// # Source
/// "Event API", docs.omise.co/events-api, read 2026-11-21; `docs/providers/omise.md#events`.
pub(super) fn read(body: &[u8], livemode: bool) -> Result<WebhookEvent, Refusal> {
    let event: Event = strict_json::read(body).map_err(Refusal::unreadable)?;
    if event.object != "event" {
        return Err(Refusal::unreadable("`object` is not `event`"));
    }
    if !is_id(&event.id, "evnt") {
        return Err(Refusal::unreadable("`id` is not an event id"));
    }
    if event.livemode != livemode || event.id.starts_with("evnt_test_") == livemode {
        return Err(Refusal::not_genuine(format!("of {} mode", if event.livemode { "live" } else { "test" })));
    }
    let family = event.key.split('.').next().unwrap_or_default();
    let data = event.data.as_ref();
    let charge = match family {
        "charge" => Some(
            data.filter(|data| data.object.as_ref().is_some_and(|object| object == "charge"))
                .and_then(|data| data.id.as_ref()),
        ),
        "refund" | "dispute" => {
            let charge = data.and_then(|data| data.charge.as_ref());
            Some(charge.and_then(|charge| if charge.is_object() { charge.get("id") } else { Some(charge) }))
        }
        _ => None,
    };
    let about = match charge.map(|id| id.and_then(Value::as_str)) {
        None => About::Other,
        Some(Some(id)) if is_id(id, "chrg") && id.starts_with("chrg_test_") != livemode => {
            About::Payment(PaymentId::new(id).map_err(|error| Refusal::unreadable(error.to_string()))?)
        }
        Some(_) => {
            return Err(Refusal::unreadable(format!("a {family} event without the id of a charge of this mode")));
        }
    };
    let kind = event.key.chars().filter(|char| !char.is_control()).take(64).collect();
    let created_at = event.created_at.or(event.created).and_then(|at| at.as_str()?.parse().ok());
    Ok(WebhookEvent { kind, about, event_id: event.id, created_at })
}

/// `chrg_test_5xuy4w91xqz7d1w9u0t`, live without `_test`.
pub(super) fn is_id(text: &str, prefix: &str) -> bool {
    let rest = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    let rest = rest.map(|rest| rest.strip_prefix("test_").unwrap_or(rest));
    text.len() <= 64
        && rest.is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}
