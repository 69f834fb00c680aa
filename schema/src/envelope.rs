//! Defines the messages on the queue and their bytes. Messages of older versions are still read.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::words::words;
use crate::{About, AuthorizationId, Notification, OrderId, PaymentKey, Verified, keepable_time, new_id};

/// The version of what [`Envelope::encode`] writes. A reader that meets another refuses it as poison: never a guess.
pub const ENVELOPE_VERSION: u32 = 1;

/// The largest notification body accepted, in bytes. Providers send 1 to 6 KB; the brokers' own limit is 16 MiB.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Half as much again as base64 makes of the largest body, for the fields around it.
const ENVELOPE_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
/// An upper bound of the bytes that sealing adds to a body.
const SEAL_BYTES_MAX: usize = 1024;
/// The longest name in a notification, in bytes: the longest ones we make have 255 characters of four bytes, and an
/// index takes little more.
const NAME_BYTES_MAX: usize = 1024;
/// The headers a signature is made of are three.
const HEADERS_MAX: usize = 16;

words! {
    /// The reason to ask a provider without a notification.
    pub enum Because ("reason to ask") {
        /// The payment is not final and its next check is due.
        Sweep = "sweep",
        /// Somebody asked for it.
        Refresh = "refresh",
        /// It was registered after its notification came.
        Registered = "registered",
        /// An operator replays what was stored.
        Replay = "replay",
        /// The provider's own list of events names it.
        Feed = "feed",
    }
}

/// Work for a worker: usually, to ask the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// As it came off the queue: whoever settles it checks its signature again.
    Notification(Box<Notification>),
    Ask {
        payment: PaymentKey,
        because: Because,
    },
    /// See to an authorization: a code to exchange, a token to refresh, a notification that came before it was
    /// registered.
    Tend {
        authorization: AuthorizationId,
        because: Because,
    },
    /// A person released a held order. The person, the reason, and the version are in the store: write access to the
    /// broker is not enough to release an order.
    Release {
        order: OrderId,
        /// The release's id in the store.
        id: Uuid,
    },
}

/// A message on the queue: one hint, versioned and named. The number of tries travels beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The message's id on the queue. A notification's envelope carries the notification's id.
    pub id: Uuid,
    pub hint: Hint,
    /// The item of a replay it was made for: whoever settles it notes what became of it.
    pub replay: Option<Uuid>,
}

/// The reason bytes from the queue are not an envelope. Trying again does not help.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    #[error("the envelope has {0} bytes, more than any payhook writes")]
    TooLarge(usize),
    #[error("the envelope is of version {0}; this program reads version {ENVELOPE_VERSION}")]
    Version(u32),
    #[error("an older payhook wrote this release of order {0}; release the order again")]
    OldRelease(OrderId),
    #[error("the envelope cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// It has a value that no payhook writes and not every store accepts.
    #[error("the envelope's `{field}` {what}")]
    Value { field: &'static str, what: &'static str },
}

/// An envelope as its JSON has it: one of the four hints is there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    v: u32,
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<Cow<'a, Notification>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<WireAsk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tend: Option<WireTend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<WireRelease>,
}

#[derive(Serialize, Deserialize)]
struct WireAsk {
    payment: PaymentKey,
    because: Because,
}

#[derive(Serialize, Deserialize)]
struct WireTend {
    authorization: AuthorizationId,
    because: Because,
}

#[derive(Serialize, Deserialize)]
struct WireRelease {
    order: OrderId,
    /// The first versions sent who released what instead: nobody can check that.
    id: Option<Uuid>,
}

/// Read first: the rest of an unknown version may be anything.
#[derive(Deserialize)]
struct WireVersion {
    v: u32,
}

impl Envelope {
    /// Envelops a notification whose signature held; there is no other way to put one on the queue.
    pub fn notification(notification: Verified<Notification>) -> Self {
        Self { id: notification.id, hint: Hint::Notification(Box::new(notification.into_inner())), replay: None }
    }

    pub fn ask(payment: PaymentKey, because: Because, now: Timestamp) -> Self {
        Self { id: new_id(now), hint: Hint::Ask { payment, because }, replay: None }
    }

    /// Points to a release that the store has.
    pub fn release(order: OrderId, id: Uuid) -> Self {
        Self { id, hint: Hint::Release { order, id }, replay: None }
    }

    /// A notification out of the archive, hinted at again for an item of a replay.
    pub fn again(archived: Notification, replay: Uuid) -> Self {
        Self { id: replay, hint: Hint::Notification(Box::new(archived)), replay: Some(replay) }
    }

    /// A payment to be asked about for an item of a replay.
    pub fn ask_again(payment: PaymentKey, replay: Uuid) -> Self {
        Self { id: replay, hint: Hint::Ask { payment, because: Because::Replay }, replay: Some(replay) }
    }

    pub fn tend(authorization: AuthorizationId, because: Because, now: Timestamp) -> Self {
        Self { id: new_id(now), hint: Hint::Tend { authorization, because }, replay: None }
    }

    /// The payment this hint is about, if it names one.
    pub fn payment(&self) -> Option<PaymentKey> {
        match &self.hint {
            Hint::Notification(notification) => notification.payment(),
            Hint::Ask { payment, .. } => Some(payment.clone()),
            Hint::Tend { .. } | Hint::Release { .. } => None,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let (v, id, replay) = (ENVELOPE_VERSION, self.id, self.replay);
        let mut wire = Wire { v, id, replay, notification: None, ask: None, tend: None, release: None };
        match &self.hint {
            Hint::Notification(notification) => wire.notification = Some(Cow::Borrowed(notification)),
            Hint::Ask { payment, because } => {
                wire.ask = Some(WireAsk { payment: payment.clone(), because: *because });
            }
            Hint::Tend { authorization, because } => {
                wire.tend = Some(WireTend { authorization: authorization.clone(), because: *because });
            }
            Hint::Release { order, id } => wire.release = Some(WireRelease { order: order.clone(), id: Some(*id) }),
        }
        serde_json::to_vec(&wire).expect("plain data always serialises")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLarge(bytes.len()));
        }
        let WireVersion { v } = serde_json::from_slice(bytes).map_err(EnvelopeError::Unreadable)?;
        if v != ENVELOPE_VERSION {
            return Err(EnvelopeError::Version(v));
        }
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(EnvelopeError::Unreadable)?;
        let hint = match (wire.notification, wire.ask, wire.tend, wire.release) {
            (Some(notification), None, None, None) => {
                check(&notification)?;
                Hint::Notification(Box::new(notification.into_owned()))
            }
            (None, Some(WireAsk { payment, because }), None, None) => Hint::Ask { payment, because },
            (None, None, Some(WireTend { authorization, because }), None) => Hint::Tend { authorization, because },
            (None, None, None, Some(WireRelease { order, id: Some(id) })) => Hint::Release { order, id },
            (None, None, None, Some(WireRelease { order, id: None })) => return Err(EnvelopeError::OldRelease(order)),
            _ => {
                let wrong = serde::de::Error::custom("an envelope carries one hint");
                return Err(EnvelopeError::Unreadable(wrong));
            }
        };
        Ok(Self { id: wire.id, hint, replay: wire.replay })
    }
}

/// Refuses what only a broken or forged envelope has: a store that cannot keep a value would stop everything behind it.
fn check(notification: &Notification) -> Result<(), EnvelopeError> {
    let wrong = |field, what| Err(EnvelopeError::Value { field, what });
    let Notification { kind, about, idempotency_key, received_at, signed_at, .. } = notification;
    let Notification { verified_by, signed_path, headers, body, .. } = notification;
    for (field, at) in [("received_at", Some(*received_at)), ("signed_at", *signed_at)] {
        if at.is_some_and(|at| keepable_time(at).is_none()) {
            return wrong(field, "is no time that is stored: from 1970 until the year 9000");
        }
    }
    let about = match about {
        About::Reference(text) | About::Unreadable(text) => text,
        About::Payment(_) | About::Refund { .. } | About::Authorization(_) | About::Other => "",
    };
    let names =
        [("kind", &**kind), ("about", about), ("idempotency_key", idempotency_key), ("verified_by", verified_by)];
    if let Some((field, _)) = names.iter().find(|(_, text)| text.len() > NAME_BYTES_MAX) {
        return wrong(field, "is longer than 1024 bytes");
    }
    if headers.len() > HEADERS_MAX {
        return wrong("headers", "are more than 16");
    }
    if body.len() > BODY_BYTES_MAX + SEAL_BYTES_MAX {
        return wrong("body", "is larger than any that is accepted");
    }
    let headers = headers.iter().flat_map(|(name, value)| [("headers", &**name), ("headers", &**value)]);
    let mut texts = names.into_iter().chain([("signed_path", &**signed_path)]).chain(headers);
    match texts.find(|(_, text)| text.contains('\0')) {
        Some((field, _)) => wrong(field, "has a NUL character"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountName, PaymentId, Provider};

    fn envelope() -> Envelope {
        let now = Timestamp::from_second(1_767_225_600).unwrap();
        Envelope::notification(Verified::vouch(Notification {
            id: new_id(now),
            provider: Provider::Omise,
            account: AccountName::new("shop-th").unwrap(),
            kind: "charge.complete".to_owned(),
            about: About::Payment(PaymentId::new("chrg_test_1").unwrap()),
            idempotency_key: "evnt_test_1".to_owned(),
            received_at: now,
            signed_at: Some(now),
            verified_by: "secret 1".to_owned(),
            signed_path: String::new(),
            signed_id: None,
            headers: vec![("omise-signature".to_owned(), "00".to_owned())],
            body: b"{\n\xe0\xb8\x84\xff\0}\n".to_vec(),
            sealed_with: None,
        }))
    }

    #[test]
    fn an_envelope_gives_back_the_exact_bytes() {
        let sent = envelope();
        assert_eq!(Envelope::decode(&sent.encode()).unwrap(), sent);
        let now = Timestamp::UNIX_EPOCH;
        let asked = Envelope::ask(sent.payment().unwrap(), Because::Sweep, now);
        assert_eq!(Envelope::decode(&asked.encode()).unwrap(), asked);
        let tended = Envelope::tend(AuthorizationId::new("AU-1").unwrap(), Because::Registered, now);
        assert_eq!(Envelope::decode(&tended.encode()).unwrap(), tended);
        let order = OrderId::new("A-1").unwrap();
        let released = Envelope::release(order, Uuid::from_u128(6));
        assert_eq!(Envelope::decode(&released.encode()).unwrap(), released);
        let replayed = Envelope::ask_again(sent.payment().unwrap(), Uuid::from_u128(7));
        assert_eq!(Envelope::decode(&replayed.encode()).unwrap().replay, Some(Uuid::from_u128(7)));
    }

    /// Messages of older versions wait on queues, and older processes read newer messages.
    #[test]
    fn the_bytes_of_each_hint_are_those_of_the_first_version() {
        let (id, now) = ("01939b5e-0000-7000-8000-000000000000", "2026-01-01T00:00:00Z");
        let payment = r#"{"provider":"omise","account":"shop","id":"chrg_test_1"}"#;
        let notification = format!(
            r#"{{"id":"{id}","provider":"omise","account":"shop","kind":"charge.complete","about":{{"payment":"chrg_test_1"}},"idempotency_key":"evnt_test_1","received_at":"{now}","signed_at":null,"verified_by":"secret 1","signed_path":"","headers":[["omise-signature","00"]],"body":"e30="}}"#
        );
        for hint in [
            format!(r#""notification":{notification}"#),
            format!(r#""ask":{{"payment":{payment},"because":"sweep"}}"#),
            format!(r#""replay":"{id}","ask":{{"payment":{payment},"because":"replay"}}"#),
            r#""tend":{"authorization":"AU-1","because":"registered"}"#.to_owned(),
            format!(r#""release":{{"order":"A-1","id":"{id}"}}"#),
        ] {
            let bytes = format!(r#"{{"v":1,"id":"{id}",{hint}}}"#);
            let envelope = Envelope::decode(bytes.as_bytes()).unwrap_or_else(|error| panic!("{hint}: {error:?}"));
            assert_eq!(String::from_utf8(envelope.encode()).unwrap(), bytes);
        }
        let ask = format!(r#""ask":{{"payment":{payment},"because":"sweep"}}"#);
        for wrong in [format!(r#"{ask},"surprise":1"#), format!(r#"{ask},"release":{{"order":"A-1","id":"{id}"}}"#)] {
            let bytes = format!(r#"{{"v":1,"id":"{id}",{wrong}}}"#);
            assert!(matches!(Envelope::decode(bytes.as_bytes()), Err(EnvelopeError::Unreadable(_))), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_version_is_refused_whatever_else_it_says() {
        let error = Envelope::decode(br#"{"v":2,"surprise":true}"#).unwrap_err();
        assert!(matches!(error, EnvelopeError::Version(2)));
        assert!(Envelope::decode(b"{").is_err());
        assert!(Envelope::decode(br#"{"v":1,"id":"01939b5e-0000-7000-8000-000000000000"}"#).is_err());
    }

    /// An envelope as a stranger with the broker's password may write it.
    fn forged(change: impl FnOnce(&mut Notification)) -> Result<Envelope, EnvelopeError> {
        let Hint::Notification(notification) = envelope().hint else { unreachable!("a notification") };
        let mut notification = *notification;
        change(&mut notification);
        Envelope::decode(&Envelope::notification(Verified::vouch(notification)).encode())
    }

    type Forgery = Box<dyn FnOnce(&mut Notification)>;

    #[test]
    fn a_value_that_no_store_keeps_is_refused_when_it_is_decoded() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        forged(|_| {}).unwrap();
        forged(|notification| notification.kind = "ก".repeat(255)).unwrap();
        forged(|notification| notification.about = About::Unreadable("why".to_owned())).unwrap();
        let refused: [(&str, Forgery); 12] = [
            ("received_at", Box::new(move |notification| notification.received_at = time("-009998-01-01T00:00:00Z"))),
            ("received_at", Box::new(move |notification| notification.received_at = time("9999-12-30T00:00:00Z"))),
            ("signed_at", Box::new(move |notification| notification.signed_at = Some(time("-000001-01-01T00:00:00Z")))),
            ("kind", Box::new(|notification| notification.kind = "a\0b".to_owned())),
            ("about", Box::new(|notification| notification.about = About::Reference("2024\0".to_owned()))),
            ("about", Box::new(|notification| notification.about = About::Reference("2".repeat(1025)))),
            ("idempotency_key", Box::new(|notification| notification.idempotency_key = "k".repeat(1025))),
            ("verified_by", Box::new(|notification| notification.verified_by = "\0".to_owned())),
            ("signed_path", Box::new(|notification| notification.signed_path = "/\0".to_owned())),
            ("headers", Box::new(|notification| notification.headers[0].1 = "\0".to_owned())),
            ("headers", Box::new(|notification| notification.headers = vec![(String::new(), String::new()); 17])),
            ("body", Box::new(|notification| notification.body = vec![0; BODY_BYTES_MAX + 1025])),
        ];
        for (wanted, change) in refused {
            match forged(change) {
                Err(EnvelopeError::Value { field, .. }) => assert_eq!(field, wanted),
                other => panic!("{wanted}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_release_that_does_not_point_to_the_store_is_refused() {
        let hold = r#"{"reason":"double_payment","detail":"paid by P1 and by P2"}"#;
        let release = format!(r#"{{"order":"A-1","hold":{hold},"who":"ann","reason":"checked"}}"#);
        let old = format!(r#"{{"v":1,"id":"01939b5e-0000-7000-8000-000000000000","release":{release}}}"#);
        let error = Envelope::decode(old.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("release the order again"), "{error}");
    }

    #[test]
    fn a_printed_envelope_shows_no_body_and_no_signature() {
        let printed = format!("{:?}", envelope());
        assert!(!printed.contains("omise-signature") && printed.contains("body_bytes"), "{printed}");
    }
}
