//! Antom (Ant International): what it signs and how, its notifications, its answers to what we ask.

mod account;
mod authorization;
mod call;
mod diagnose;
mod dispute;
mod inquiry;
mod methods;
mod notification;
mod protocol;
mod refund;
mod signature;
mod token;
mod wire;

pub use account::AntomAccount;
pub use authorization::{AuthorizationNotice, read_authorization};
pub use call::api_path;
pub use dispute::read_dispute;
pub use inquiry::{INQUIRY_PAYMENT, inquiry_body, read_inquiry};
pub use protocol::PROTOCOL;
pub use refund::{INQUIRY_REFUND, RefundAnswer, read_refund, refund_inquiry_body};
use signature::SignatureHeader;
pub use signature::{sign, signed_message};
pub use token::{APPLY_TOKEN, Grant, IssuedToken, read_token};

use std::collections::BTreeMap;

use crate::request::Signed;
use crate::{PublicKey, Received, Refusal};

/// The answer Antom documents for every notification, whatever it reports; anything else makes it resend.
///
/// # Source
/// Antom's notifyPayment, notifyRefund and notifyAuthorization pages, read 2026-11-21;
/// `docs/providers/antom.md#acknowledging-a-notification`.
pub const SUCCESS: &str = r#"{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}"#;

/// Longest `client-id` and `request-time` accepted, in characters; documented values have some thirty.
const HEADER_CHARS_MAX: usize = 128;

/// Names one of Antom's keys, in logs and in the archive.
fn key_name(version: u32) -> String {
    format!("keyVersion {version}")
}

/// Checks a notification's signature: any kind on any path, since the URL in the API call decides where they go.
///
/// # Source
/// "Sign a request and verify the signature", docs.antom.com, 2024-05-24;
/// `docs/providers/antom.md#verifying-a-notification`.
fn signed_by(keys: &BTreeMap<u32, PublicKey>, client_id: &str, received: &Received<'_>) -> Result<Signed, Refusal> {
    let theirs = received.header("client-id", HEADER_CHARS_MAX)?;
    let time = received.header("request-time", HEADER_CHARS_MAX)?;
    let header = received.header("signature", signature::HEADER_CHARS_MAX)?;
    if theirs != client_id {
        return Err(Refusal::not_genuine("`client-id` is not this account's"));
    }
    let signature = SignatureHeader::parse(header).map_err(|why| match why {
        signature::OTHER_ALGORITHM => Refusal::not_genuine(why),
        _ => Refusal::malformed(why),
    })?;

    // Antom does not document beyond doubt that the query belongs to the signed path: with it first, then without.
    let with_query = received.query.map(|query| format!("{}?{query}", received.path));
    let paths = with_query.iter().map(String::as_str).chain([received.path]);
    let held = paths.into_iter().find_map(|path| {
        let message = signed_message(path, client_id, time, received.body);
        Some((path.to_owned(), signature.verify(&message, keys).ok()?))
    });
    let (path, key_version) = held.ok_or_else(|| Refusal::not_genuine(signature.why_not(keys)))?;
    let headers = [("client-id", theirs), ("request-time", time), ("signature", header)];
    Ok(Signed {
        by: key_name(key_version),
        at: signature::read_time(time),
        before_body: signed_message(&path, client_id, time, b""),
        path,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    })
}

#[cfg(test)]
mod tests;
