//! Filters, and the values of parameters that are more than a word.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{AccountName, DeadCause, DurationError, PaymentId, Provider, parse_duration};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Characters of a wrong value that an error repeats.
const SHOWN_CHARS: usize = 40;

/// The filter of a request that changes something.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterRequest {
    pub ids: Vec<Uuid>,
    /// Of dead letters only.
    pub cause: Option<DeadCause>,
    /// Of notifications only, as `payment_id` is.
    pub kind: Option<String>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub payment_id: Option<PaymentId>,
    pub since: Option<TimeOrAgo>,
    /// True if an empty filter means everything.
    pub all: bool,
}

/// A time, or how long before now: `2026-11-21T10:00:00Z`, `2h`. The console's clock says when that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TimeOrAgo {
    Time(Timestamp),
    Ago(Duration),
}

impl TimeOrAgo {
    pub(crate) fn at(self, now: Timestamp) -> Result<Timestamp, String> {
        match self {
            Self::Time(at) => Ok(at),
            Self::Ago(ago) => now.checked_sub(ago).map_err(|_| format!("`{self}` is too long ago")),
        }
    }
}

impl FromStr for TimeOrAgo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::Time(at));
        }
        parse_duration(text).map(Self::Ago).map_err(|_| {
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            format!(
                "`{shown}` is neither a time (2026-11-21T10:00:00Z) nor how long ago (2h; units are ms, s, m, h and d)"
            )
        })
    }
}

impl fmt::Display for TimeOrAgo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(at) => at.fmt(f),
            Self::Ago(ago) => write!(f, "{}ms", ago.as_millis()),
        }
    }
}

impl TryFrom<String> for TimeOrAgo {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TimeOrAgo> for String {
    fn from(time: TimeOrAgo) -> Self {
        time.to_string()
    }
}

/// Ids with commas between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdList(pub Vec<Uuid>);

impl IdList {
    /// Returns `None` for no ids: an empty list selects nothing.
    pub fn of(ids: Vec<Uuid>) -> Option<Self> {
        (!ids.is_empty()).then_some(Self(ids))
    }
}

impl TryFrom<String> for IdList {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let ids = text.split(',').map(|id| id.trim().parse().map_err(|_| wrong_id(id)));
        Ok(Self(ids.collect::<Result<_, _>>()?))
    }
}

impl From<IdList> for String {
    fn from(IdList(ids): IdList) -> Self {
        ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Returns the error for a text that is no id of a dead letter, a notification or a replay.
pub(crate) fn wrong_id(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    format!("`{shown}` is not an id: it looks like 019aa5b2-…, as the lists show it")
}

/// The time a request waits, as `10s`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WaitTime(pub Duration);

impl TryFrom<String> for WaitTime {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, DurationError> {
        parse_duration(&text).map(Self)
    }
}

impl From<WaitTime> for String {
    fn from(WaitTime(wait): WaitTime) -> Self {
        format!("{}ms", wait.as_millis())
    }
}
