//! Antom (Ant International): what it signs and how, its notifications, its answers to what we ask.

mod authorization;
mod call;
mod dispute;
mod inquiry;
mod notification;
mod protocol;
mod refund;
mod signature;
mod token;
mod wire;

pub use authorization::{AuthorizationSaid, read_authorization};
pub use call::api_path;
pub(crate) use call::call;
pub use dispute::read_dispute;
pub use inquiry::{INQUIRY_PAYMENT, inquiry_body, read_inquiry};
pub use protocol::PROTOCOL;
pub use refund::{INQUIRY_REFUND, RefundAnswer, read_refund, refund_inquiry_body};
pub(crate) use signature::{HEADER_CHARS_MAX as SIGNATURE_CHARS_MAX, SignatureHeader, read_time};
pub use signature::{sign, signed_message};
pub(crate) use token::token_body;
pub use token::{APPLY_TOKEN, Grant, IssuedToken, read_token};

use std::collections::BTreeMap;

use payhook_schema::{Notification, Provider, Verified};

use crate::meaning::Meaning;
use crate::request::{Signed, check_age};
use crate::{AntomAccount, PublicKey, Received, Refusal};

/// The answer Antom documents for every notification, whatever it reports; anything else makes it resend.
///
/// # Source
/// Antom's notifyPayment, notifyRefund and notifyAuthorization pages, read 2026-11-21; `docs/providers/antom.md#acknowledging-a-notification`.
pub const SUCCESS: &str = r#"{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}"#;

/// Longest `client-id` and `request-time` accepted, in characters; documented values have some thirty.
pub(crate) const HEADER_CHARS_MAX: usize = 128;

/// Checks one of Antom's notifications: any kind on any path, since the URL in the API call decides where they go.
///
/// # Source
/// "Sign a request and verify the signature", docs.antom.com, 2024-05-24; `docs/providers/antom.md#verifying-a-notification`.
pub(crate) fn verify(account: &AntomAccount, received: &Received<'_>) -> Result<Verified<Notification>, Refusal> {
    let signed = signed(account, received)?;
    check_age(signed.at, received.at, account.signature_age_max)?;
    let meaning = meaning(received.body)?;
    let signed_id = signed.id(Provider::Antom, &account.name, received.body);
    Ok(Verified::vouch(Notification {
        id: received.id,
        provider: Provider::Antom,
        account: account.name.clone(),
        kind: meaning.kind,
        about: meaning.about,
        idempotency_key: meaning.idempotency_key,
        received_at: received.at,
        signed_at: signed.at,
        verified_by: signed.by,
        signed_path: signed.path,
        signed_id: Some(signed_id),
        headers: signed.headers,
        body: received.body.to_vec(),
        sealed_with: None,
    }))
}

/// Names one of Antom's keys, in logs and in the archive.
pub(crate) fn key_name(version: u32) -> String {
    format!("keyVersion {version}")
}

/// Checks the signature alone.
pub(crate) fn signed(account: &AntomAccount, received: &Received<'_>) -> Result<Signed, Refusal> {
    signed_by(&account.public_keys, &account.client_id, received)
}

pub(crate) fn signed_by(
    keys: &BTreeMap<u32, PublicKey>,
    client_id: &str,
    received: &Received<'_>,
) -> Result<Signed, Refusal> {
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

/// Reads what a genuine notification says. Content that cannot be interpreted has a meaning, too: a person must look.
pub(crate) fn meaning(body: &[u8]) -> Result<Meaning, Refusal> {
    notification::read(body).or_else(|refusal| refusal.meaning(body))
}

#[cfg(test)]
mod tests;
