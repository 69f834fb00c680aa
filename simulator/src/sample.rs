//! Single notifications without a running simulator: for `payhook send`, and for signing any given body.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use payhook_provider::omise::WebhookSecret;
use payhook_provider::{Account, AntomAccount, PrivateKey, Protocol, antom};
use payhook_schema::{AccountName, Money, PaymentId, Provider};

use crate::antom::{AntomOutcome, AntomPayment, AntomStatus, TransactionType, iso, of_payment};
use crate::ids::{Ids, antom_id, omise_id};
use crate::json::compact;
use crate::omise::{KEYS, OmiseCharge, OmiseEvent};
#[cfg(debug_assertions)]
use crate::tamarind;
use crate::{AntomKind, Keys, OmiseVersion, SimulatorError};

/// The key that signs a sample.
#[derive(Debug, Clone, Copy)]
pub enum SampleKey<'a> {
    /// A fresh key, which nobody believes.
    Forged,
    /// The provider's key, as its file has it.
    Given(&'a str),
    /// The provider's key in the account, if the account has it.
    Configured,
}

/// Returns the path on which payhook receives a notification of this kind.
pub fn path(provider: Provider, account: &AccountName, kind: &str) -> String {
    match provider {
        Provider::Antom => {
            let kind = AntomKind::ALL.into_iter().find(|known| known.as_str() == kind);
            format!("/antom/{account}/{}", kind.map_or("notifyPayment", AntomKind::call))
        }
        Provider::Omise => Protocol::notify_path(provider, account),
        #[cfg(debug_assertions)]
        Provider::Tamarind => Protocol::notify_path(provider, account),
    }
}

/// Makes the body of a provider's notification about a payment of this amount, by the provider's word for its kind.
///
/// # Errors
/// As [`antom()`] and [`omise()`]; [`SimulatorError::Lacking`] for a kind that the provider does not send.
pub fn body(
    provider: Provider,
    kind: &str,
    payment: &PaymentId,
    amount: Money,
    now: Timestamp,
) -> Result<Vec<u8>, SimulatorError> {
    match provider {
        Provider::Antom => {
            let known = antom_kinds().find(|known| known.as_str() == kind).ok_or_else(|| {
                let known: Vec<&str> = antom_kinds().map(AntomKind::as_str).collect();
                SimulatorError::Lacking {
                    what: format!("`{kind}` is no notification of Antom's"),
                    hint: format!("known are {}", known.join(", ")),
                }
            })?;
            antom(known, payment, amount, now)
        }
        Provider::Omise => omise(kind, payment, amount, now),
        #[cfg(debug_assertions)]
        Provider::Tamarind => Ok(tamarind::notification(kind, payment, now)),
    }
}

/// Makes the headers under which the account's provider would post `body` to `path`.
///
/// # Errors
/// [`SimulatorError::Lacking`]: the provider's key is not in the account. [`SimulatorError::NotPossible`]: the text is
/// no key.
pub fn sign(
    account: &Account,
    key: SampleKey<'_>,
    path: &str,
    now: Timestamp,
    body: &[u8],
) -> Result<Vec<(String, String)>, SimulatorError> {
    fn wrong(error: &impl ToString) -> SimulatorError {
        SimulatorError::NotPossible(error.to_string())
    }
    match account {
        Account::Antom(antom) => {
            let key = match key {
                SampleKey::Forged => PrivateKey::generate(),
                SampleKey::Given(text) => PrivateKey::parse(text).map_err(|error| wrong(&error))?,
                // It is in nobody's configuration but the simulator's.
                SampleKey::Configured => {
                    return Err(SimulatorError::Lacking {
                        what: "signing as Antom needs Antom's side's private key".to_owned(),
                        hint: "`payhook simulate` keeps one: --key simulator-keys/antom_private_key".to_owned(),
                    });
                }
            };
            Ok(sign_antom(&key, key_version(antom, &key), &antom.client_id, path, now, body))
        }
        Account::Omise(omise) => {
            let secret = match key {
                SampleKey::Forged => Keys::generate().webhook().clone(),
                SampleKey::Given(text) => WebhookSecret::parse(text).map_err(|error| wrong(&error))?,
                SampleKey::Configured => omise.webhook_secrets.first().expect("an account has a secret").clone(),
            };
            Ok(sign_omise(&secret, now, body))
        }
        #[cfg(debug_assertions)]
        Account::Tamarind(account) => Ok(tamarind::sign_sample(account, key, now, body)),
    }
}

/// Returns the `keyVersion` under which the account has this key. A key it has under none is sent as the newest, and
/// refused.
fn key_version(account: &AntomAccount, key: &PrivateKey) -> u32 {
    let probe = b"payhook send";
    let signature = key.sign(probe);
    let ours = account.public_keys.iter().find(|(_, public)| public.holds(probe, &signature));
    ours.or(account.public_keys.last_key_value()).map_or(1, |(version, _)| *version)
}

/// The kinds [`antom()`] makes, each with its name: all but those that tell the truth of a state, which a sample has
/// none of.
pub fn antom_kinds() -> impl Iterator<Item = AntomKind> {
    AntomKind::ALL.into_iter().filter(|kind| !matches!(kind, AntomKind::State | AntomKind::RefundState))
}

/// The event keys Omise documents; [`omise()`] makes any of them, and others.
pub fn omise_kinds() -> &'static [&'static str] {
    &KEYS
}

/// The body of one of Antom's notifications about a payment of this amount, in the state its kind says. A refund's and
/// an authorization's are named after the payment: `RF-` and `AS-` before its id.
///
/// # Errors
/// [`SimulatorError::NotPossible`] for [`AntomKind::State`] and [`AntomKind::RefundState`]: a sample has no state but
/// what it says.
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
    let mut sample = AntomPayment::new(payment, antom_id(midnight, number("payment")), amount, now);
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
    Ok(compact(&of_payment(&sample, kind, now)?))
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
    let about = Some(OmiseCharge::sample(key, charge, amount, &Ids::default(), now)?);
    let time = now.as_microsecond().to_string();
    let id = omise_id("evnt", now, number(&[charge.as_str(), key, &time]));
    Ok(OmiseEvent { id, key: key.to_owned(), created_at: now, about, version }.body())
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
    let signature = antom::sign(key, version, &antom::signed_message(path, client_id, &time, body));
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
