//! The history of an order or an authorization, as entries with a place.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use payhook_schema::{PaymentKey, TimelineKind};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

pub(crate) mod merge;

/// Entries of a page, unless asked otherwise, and at most.
pub const TIMELINE_PAGE: u32 = 500;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    pub at: Timestamp,
    pub kind: TimelineKind,
    pub payment: Option<PaymentKey>,
    /// A sentence for a person.
    pub text: String,
    /// The same for a program; null when the text says it all.
    pub detail: serde_json::Value,
}

impl TimelineEntry {
    /// An entry whose text says it all.
    pub fn new(at: Timestamp, kind: TimelineKind, payment: Option<PaymentKey>, text: impl Into<String>) -> Self {
        Self { at, kind, payment, text: text.into(), detail: serde_json::Value::Null }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelinePage {
    pub entries: Vec<TimelineEntry>,
    /// The place of the last entry, where there are more.
    pub next: Option<TimelinePlace>,
}

/// The place of an entry in its timeline: by time; at one time notifications, what was done, what was published, each
/// in its own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimelinePlace {
    pub(crate) at: Timestamp,
    pub(crate) of: PlaceOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PlaceOf {
    Notification(Uuid),
    /// The number of a written entry.
    Written(i64),
    /// The version of a published event.
    Published(i64),
}

/// As one word, for a parameter of a URL.
impl fmt::Display for TimelinePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_microsecond();
        match self.of {
            PlaceOf::Notification(id) => write!(f, "{at}.n.{id}"),
            PlaceOf::Written(n) => write!(f, "{at}.w.{n}"),
            PlaceOf::Published(version) => write!(f, "{at}.p.{version}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it is no place of a timeline: take it from `next` of the page before")]
pub struct NoPlace;

impl FromStr for TimelinePlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (at, (of, key)) =
            text.split_once('.').and_then(|(at, rest)| Some((at, rest.split_once('.')?))).ok_or(NoPlace)?;
        let number = || key.parse().map_err(|_| NoPlace);
        let of = match of {
            "n" => PlaceOf::Notification(key.parse().map_err(|_| NoPlace)?),
            "w" => PlaceOf::Written(number()?),
            "p" => PlaceOf::Published(number()?),
            _ => return Err(NoPlace),
        };
        let at = at.parse().ok().and_then(|at| Timestamp::from_microsecond(at).ok()).ok_or(NoPlace)?;
        Ok(Self { at, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let at = Timestamp::from_microsecond(1_767_225_600_000_001).unwrap();
        for of in [PlaceOf::Notification(Uuid::from_u128(7)), PlaceOf::Written(i64::MAX), PlaceOf::Published(1)] {
            let place = TimelinePlace { at, of };
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for wrong in ["", "1", "1.w", "1.x.2", "1.w.x", "x.w.1", "1.n.2", "9223372036854775807.w.1"] {
            assert_eq!(wrong.parse::<TimelinePlace>(), Err(NoPlace), "{wrong}");
        }
    }
}
