//! Single notifications without a running simulator: for `payhook send`, and for signing any given body.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use payhook_provider::PrivateKey;
use payhook_provider::omise::WebhookSecret;
use payhook_schema::{Money, PaymentId};

use crate::antom::{AntomOutcome, AntomStatus, Payment, TransactionType, iso, of_payment};
use crate::ids::{Ids, antom_id, omise_id};
use crate::omise::{Charge, Event, KEYS};
use crate::request::antom_signature;
use crate::{AntomKind, OmiseVersion, SimulatorError};

/// The kinds [`antom`] makes, each with its name: all but those that tell the truth of a state, which a sample has none of.
pub fn antom_kinds() -> impl Iterator<Item = AntomKind> {
    AntomKind::ALL.into_iter().filter(|kind| !matches!(kind, AntomKind::State | AntomKind::RefundState))
}

/// The event keys Omise documents; [`omise`] makes any of them, and others.
pub fn omise_kinds() -> &'static [&'static str] {
    &KEYS
}

/// The body of one of Antom's notifications about a payment of this amount, in the state its kind says. A refund's and an
/// authorization's are named after the payment: `RF-` and `AS-` before its id.
///
/// # Errors
/// [`SimulatorError::NotPossible`] for [`AntomKind::State`] and [`AntomKind::RefundState`]: a sample has no state but what it says.
pub fn antom(kind: AntomKind, payment: &PaymentId, amount: Money, now: Timestamp) -> Result<Vec<u8>, SimulatorError> {
    if kind == AntomKind::RefundState {
        return Err(SimulatorError::NotPossible(
            "a sample has no state to tell: `refund` or `refund_failed`".to_owned(),
        ));
    }
    // One payment keeps its `paymentId` all day: two samples about it are about the same one.
    let day = now.as_second().div_euclid(86_400) * 86_400;
    let midnight = Timestamp::from_second(day).unwrap_or(now);
    let number = |what: &str| number(&[payment.as_str(), what]);
    let mut sample = Payment::new(payment, antom_id(midnight, number("payment")), amount, now);
    let moves = match kind {
        AntomKind::Refund | AntomKind::RefundFailed => Some((TransactionType::Refund, format!("RF-{payment}"))),
        AntomKind::Capture | AntomKind::CaptureFailed => Some((TransactionType::Capture, format!("CP-{payment}-1"))),
        _ => None,
    };
    if kind == AntomKind::Paid || moves.is_some() {
        sample.decide(AntomStatus::Success, now);
    }
    if let Some((what, request_id)) = moves {
        let antom_id = antom_id(midnight, number("transaction"));
        sample.begin(what, request_id.clone(), antom_id, amount.amount_minor, now)?;
        sample.decide_transaction(&request_id, AntomOutcome::Success, now);
    }
    of_payment(&sample, kind, now)
}

/// The body of one of Omise's webhook events, with the charge in the state its key makes one think of: paid at
/// `charge.complete`, wholly refunded at `refund.create`, lost at `dispute.close`. Another time makes another event.
///
/// # Errors
/// [`SimulatorError::NotPossible`]: the id is none that Omise gives charges in test mode.
pub fn omise(key: &str, charge: &PaymentId, amount: Money, now: Timestamp) -> Result<Vec<u8>, SimulatorError> {
    omise_in(OmiseVersion::default(), key, charge, amount, now)
}

/// The same, as an account of this API version gets it.
pub fn omise_in(
    version: OmiseVersion,
    key: &str,
    charge: &PaymentId,
    amount: Money,
    now: Timestamp,
) -> Result<Vec<u8>, SimulatorError> {
    if !charge.as_str().starts_with("chrg_test_") {
        return Err(SimulatorError::NotPossible(format!("`{charge}` is no charge of test mode: `chrg_test_…` is")));
    }
    let about = Some(Charge::sample(key, charge, amount, &Ids::default(), now)?);
    let time = now.as_microsecond().to_string();
    let id = omise_id("evnt", now, number(&[charge.as_str(), key, &time]));
    Ok(Event { id, key: key.to_owned(), created_at: now, about, version }.body())
}

/// The headers under which Antom would post `body` to `path`, signed with its key of this `keyVersion`.
pub fn sign_antom(
    key: &PrivateKey,
    version: u32,
    client_id: &str,
    path: &str,
    time: Timestamp,
    body: &[u8],
) -> Vec<(String, String)> {
    let time = iso(time, 8);
    let signature = antom_signature(key, version, client_id, path, &time, body);
    owned([
        ("content-type", "application/json; charset=UTF-8"),
        ("client-id", client_id),
        ("request-time", &time),
        ("signature", &signature),
    ])
}

/// The headers under which Omise would post `body`, wherever to.
pub fn sign_omise(secret: &WebhookSecret, time: Timestamp, body: &[u8]) -> Vec<(String, String)> {
    let timestamp = time.as_second().to_string();
    let signature = secret.sign(&timestamp, body);
    owned([
        ("content-type", "application/json"),
        ("omise-signature", &signature),
        ("omise-signature-timestamp", &timestamp),
    ])
}

fn owned<const N: usize>(headers: [(&str, &str); N]) -> Vec<(String, String)> {
    headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// A number that is the same for the same words.
fn number(words: &[&str]) -> u64 {
    let mut hash = DefaultHasher::new();
    words.hash(&mut hash);
    hash.finish()
}
