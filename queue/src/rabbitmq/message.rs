//! The properties and headers of messages: flat scalars only, so that any reader of any AMQP version can read them.
//! `x-death` is the broker's: read where it tells why, never copied, because a copy arms the broker's cycle detection.

use std::time::Duration;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use payhook_schema::{DeadCause, Envelope, Event, Hint};

use super::topology::DEAD;
use crate::contract::HANDED_OUT_TOO_OFTEN;
use crate::{Death, Delivery, Lane, Unrouted, UnroutedKind};

const ATTEMPT: &str = "x-attempt";
const FIRST_FAILED_AT: &str = "x-first-failed-at";
const CAUSE: &str = "x-cause";
const DETAIL: &str = "x-detail";
const DIED_AT: &str = "x-died-at";
/// The number of times a hint came back unsettled before this copy of it was published.
const RETURNS: &str = "x-returns";

/// The type of a message that proves a route: consumers ack it unseen.
const PROBE: &str = "payhook.probe";
const CLOUD_EVENT: &str = "application/cloudevents+json";

const PERSISTENT: u8 = 2;

/// The longest text AMQP takes as a routing key, message id or type, in bytes.
const SHORT_TEXT_MAX: usize = 255;

/// The data that a hint carries beside its bytes: the number of its tries, and the reason it died.
pub(super) struct Trail<'a> {
    pub(super) attempt: u32,
    pub(super) first_failed_at: Option<Timestamp>,
    pub(super) death: Option<&'a Death>,
    /// The number of times it came back unsettled; 0 once somebody settled it.
    pub(super) returns: i64,
}

impl Trail<'_> {
    pub(super) const NEW: Self = Trail { attempt: 1, first_failed_at: None, death: None, returns: 0 };

    fn headers(&self) -> FieldTable {
        let mut headers = FieldTable::default();
        headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(self.attempt.into()));
        if let Some(at) = self.first_failed_at {
            headers.insert(FIRST_FAILED_AT.into(), text(&at.to_string()));
        }
        if let Some(death) = self.death {
            headers.insert(CAUSE.into(), text(death.cause.as_str()));
            headers.insert(DETAIL.into(), text(death.detail_cut()));
            headers.insert(DIED_AT.into(), text(&death.died_at.to_string()));
        }
        if self.returns > 0 {
            headers.insert(RETURNS.into(), AMQPValue::LongLongInt(self.returns));
        }
        headers
    }
}

/// A hint's properties and routing key: its payment's, so that a partitioned exchange could keep a payment together.
pub(super) fn hint(envelope: Option<&Envelope>, trail: &Trail<'_>, now: Timestamp) -> (BasicProperties, String) {
    let properties = properties("application/json", now).with_headers(trail.headers());
    let Some(envelope) = envelope else {
        return (properties.with_type("unreadable".into()), "unreadable".to_owned());
    };
    let kind = match &envelope.hint {
        Hint::Notification(_) => "payhook.notification",
        Hint::Ask { .. } => "payhook.ask",
        Hint::Tend { .. } => "payhook.tend",
        Hint::Release { .. } => "payhook.release",
    };
    let key = envelope.payment().map_or_else(|| envelope.id.to_string(), |payment| payment.to_string());
    (properties.with_type(kind.into()).with_message_id(envelope.id.to_string().into()), short(key))
}

/// Lets a message leave its queue after `wait`, if that is less than the queue's own delay. The broker takes this off
/// when it moves the message on, and none of it is copied: what is retried again is published anew.
pub(super) fn expiring(properties: BasicProperties, wait: Duration) -> BasicProperties {
    // Whole milliseconds, up: it is hidden for at least what was asked.
    let milliseconds = wait.as_nanos().div_ceil(1_000_000);
    properties.with_expiration(milliseconds.to_string().into())
}

/// A CloudEvent's properties: its attributes again, as headers a consumer can filter by without reading the body.
pub(super) fn event(event: &Event, now: Timestamp) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("cloudEvents_id".into(), text(&event.id.to_string()));
    headers.insert("cloudEvents_type".into(), text(event.event_type.as_str()));
    headers.insert("cloudEvents_source".into(), text(&event.source));
    headers.insert("cloudEvents_subject".into(), text(event.subject.as_str()));
    headers.insert("cloudEvents_time".into(), text(&event.time.to_string()));
    properties(CLOUD_EVENT, now)
        .with_message_id(event.id.to_string().into())
        .with_type(event.event_type.as_str().into())
        .with_headers(headers)
}

/// A message whose confirm proves that its way works.
pub(super) fn probe(now: Timestamp) -> BasicProperties {
    properties("application/json", now).with_type(PROBE.into())
}

pub(super) fn is_probe(properties: &BasicProperties) -> bool {
    properties.kind().as_ref().is_some_and(|kind| kind.as_str() == PROBE)
}

/// A message of `payhook.unrouted`, and the properties it is published with again: ours alone, without the broker's
/// `x-death`.
pub(super) fn unrouted(message: &lapin::message::Delivery) -> (Unrouted, BasicProperties) {
    let properties = &message.properties;
    let none = FieldTable::default();
    let headers = properties.headers().as_ref().unwrap_or(&none);
    let kind = if properties.content_type().as_ref().is_some_and(|kind| kind.as_str() == CLOUD_EVENT) {
        UnroutedKind::Event
    } else if died_in(headers, DEAD) {
        UnroutedKind::Crashing
    } else if headers.inner().contains_key(CAUSE) {
        UnroutedKind::DeadLetter
    } else {
        UnroutedKind::Hint
    };
    let mut ours = FieldTable::default();
    for name in [ATTEMPT, FIRST_FAILED_AT, CAUSE, DETAIL, DIED_AT, RETURNS] {
        if let Some(value) = headers.inner().get(name) {
            ours.insert(name.into(), value.clone());
        }
    }
    let unrouted = Unrouted {
        kind,
        message_id: properties.message_id().as_ref().map(|id| id.as_str().to_owned()),
        key: message.routing_key.as_str().to_owned(),
        sent_at: properties.timestamp().map(from_seconds),
        bytes: message.data.len(),
    };
    let again = properties.clone().with_headers(ours).with_delivery_mode(PERSISTENT);
    (unrouted, again)
}

/// Returns how often a message was handed out before, as the broker counts.
pub(super) fn deliveries(properties: &BasicProperties) -> i64 {
    properties.headers().as_ref().and_then(|headers| read_number(headers, "x-delivery-count")).unwrap_or(0)
}

/// Returns how often a hint came back before this copy of it was published, as our header says.
pub(super) fn returns_before(properties: &BasicProperties) -> i64 {
    let returns = properties.headers().as_ref().and_then(|headers| read_number(headers, RETURNS));
    returns.unwrap_or(0).max(0)
}

/// Returns true if the broker gave up delivering it from `queue`.
fn died_in(headers: &FieldTable, queue: &str) -> bool {
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else { return false };
    deaths.as_slice().iter().any(|death| match death {
        AMQPValue::FieldTable(death) => {
            read_text(death, "queue").as_deref() == Some(queue)
                && read_text(death, "reason").as_deref() == Some("delivery_limit")
        }
        _ => false,
    })
}

fn properties(content_type: &str, now: Timestamp) -> BasicProperties {
    BasicProperties::default()
        .with_content_type(content_type.into())
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(now.as_second().unsigned_abs())
}

/// Reads what the broker handed over. Headers of others are no reason to fail: what cannot be read is as if absent.
pub(super) fn delivery(lane: Lane, message: lapin::message::Delivery) -> Delivery {
    let none = FieldTable::default();
    let headers = message.properties.headers().as_ref().unwrap_or(&none);
    let attempt = read_number(headers, ATTEMPT).and_then(|attempt| u32::try_from(attempt).ok());
    let death = match lane {
        Lane::Notifications => None,
        Lane::Dead => Some(death(headers, message.properties.timestamp().unwrap_or(0))),
    };
    Delivery {
        tag: message.delivery_tag,
        envelope: Envelope::decode(&message.data),
        attempt: attempt.unwrap_or(1).max(1),
        first_failed_at: read_time(headers, FIRST_FAILED_AT),
        death,
        bytes: message.data,
    }
}

/// Reads the cause of a dead letter. The broker's own comes first: our own publishes carry no `x-death`, so an
/// `x-death` is newer.
fn death(headers: &FieldTable, sent_at_s: u64) -> Death {
    if let Some(death) = by_the_broker(headers) {
        return death;
    }
    let cause = read_text(headers, CAUSE).and_then(|cause| cause.parse().ok());
    let no_detail = if cause.is_some() { "" } else { "it came into the dead letters without a cause" };
    Death {
        cause: cause.unwrap_or(DeadCause::Poison),
        detail: read_text(headers, DETAIL).unwrap_or_else(|| no_detail.to_owned()),
        died_at: read_time(headers, DIED_AT).unwrap_or_else(|| from_seconds(sent_at_s)),
    }
}

fn by_the_broker(headers: &FieldTable) -> Option<Death> {
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else { return None };
    // Others of them tell of the retry queues it came through; this one is terminal, so there is one at most.
    deaths.as_slice().iter().find_map(|death| {
        let AMQPValue::FieldTable(death) = death else { return None };
        let detail = match read_text(death, "reason")?.as_str() {
            "delivery_limit" => HANDED_OUT_TOO_OFTEN,
            "rejected" => "rejected by a consumer",
            "maxlen" => "the queue was full",
            _ => return None,
        };
        let at_s = match death.inner().get("time") {
            Some(AMQPValue::Timestamp(at_s)) => *at_s,
            _ => 0,
        };
        Some(Death { cause: DeadCause::Poison, detail: detail.to_owned(), died_at: from_seconds(at_s) })
    })
}

fn from_seconds(at_s: u64) -> Timestamp {
    i64::try_from(at_s).ok().and_then(|at_s| Timestamp::from_second(at_s).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn read_text(headers: &FieldTable, name: &str) -> Option<String> {
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn read_number(headers: &FieldTable, name: &str) -> Option<i64> {
    match *headers.inner().get(name)? {
        AMQPValue::ShortShortInt(number) => Some(number.into()),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::ShortInt(number) => Some(number.into()),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::LongInt(number) => Some(number.into()),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::LongLongInt(number) => Some(number),
        _ => None,
    }
}

fn read_time(headers: &FieldTable, name: &str) -> Option<Timestamp> {
    read_text(headers, name)?.parse().ok()
}

fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(SHORT_TEXT_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    #[test]
    fn the_brokers_delivery_limit_is_poison_whatever_else_the_headers_say() {
        let expired = AMQPValue::FieldTable(table(&[("reason", text("expired"))]));
        let limit = table(&[("reason", text("delivery_limit")), ("time", AMQPValue::Timestamp(1_767_225_600))]);
        let deaths = |list: Vec<AMQPValue>| ("x-death", AMQPValue::FieldArray(list.into()));
        let ours = ("x-cause", text("unknown_payment"));
        let dead = death(&table(&[deaths(vec![AMQPValue::FieldTable(limit), expired.clone()]), ours.clone()]), 0);
        assert_eq!((dead.cause, dead.died_at.as_second()), (DeadCause::Poison, 1_767_225_600));
        assert_eq!(death(&table(&[deaths(vec![expired]), ours]), 0).cause, DeadCause::UnknownPayment);
    }

    #[test]
    fn a_dead_letter_without_a_known_cause_is_poison() {
        let dead = death(&table(&[("x-cause", text("a word of tomorrow")), ("x-detail", text("why"))]), 7);
        assert_eq!((dead.cause, dead.detail.as_str(), dead.died_at.as_second()), (DeadCause::Poison, "why", 7));
    }

    #[test]
    fn each_kind_of_hint_has_its_own_message_type() {
        let now = Timestamp::UNIX_EPOCH;
        let order = payhook_schema::OrderId::new("A-1").unwrap();
        let released = Envelope::release(order, uuid::Uuid::from_u128(6));
        let (properties, key) = hint(Some(&released), &Trail::NEW, now);
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "payhook.release");
        assert_eq!(key, released.id.to_string());
        let authorization = payhook_schema::AuthorizationId::new("AU-1").unwrap();
        let tended = Envelope::tend(authorization, payhook_schema::Because::Sweep, now);
        let (properties, _) = hint(Some(&tended), &Trail::NEW, now);
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "payhook.tend");
        let (properties, key) = hint(None, &Trail::NEW, now);
        assert_eq!((properties.kind().as_ref().unwrap().as_str(), key.as_str()), ("unreadable", "unreadable"));
    }

    #[test]
    fn a_wait_of_its_own_is_in_whole_milliseconds_and_never_shorter() {
        let of = |wait| expiring(BasicProperties::default(), wait).expiration().as_ref().unwrap().to_string();
        assert_eq!(of(Duration::ZERO), "0");
        assert_eq!(of(Duration::from_nanos(1)), "1");
        assert_eq!(of(Duration::from_micros(1_500_001)), "1501");
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let death = Death { cause: DeadCause::Poison, detail: "é".repeat(4000), died_at: Timestamp::UNIX_EPOCH };
        let headers = Trail { death: Some(&death), ..Trail::NEW }.headers();
        assert_eq!(read_text(&headers, DETAIL).unwrap(), "é".repeat(512));
    }
}
