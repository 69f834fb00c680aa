//! Names the accidents that happen to Antom's requests on their way.

use std::collections::BTreeMap;

use super::signature::{HEADER_CHARS_MAX as SIGNATURE_CHARS_MAX, SignatureHeader, read_time};
use super::{HEADER_CHARS_MAX, signed_by};
use crate::diagnose::{Attempt, Cause, Traces};
use crate::{AntomAccount, PublicKey, Received};

const HEADERS: &[&str] = &["client-id", "request-time", "signature"];
const KEEP_HEADER: &str = "let the proxy hand on the `signature` header unchanged; nothing may decode or encode it";
const PUBLIC_BASE: &str =
    "give `[ingress] public_base` the public address, so that the path is checked as Antom has it";
const REGISTERED: &str = "check it as it came, with the path of the URL Antom was given, byte for byte";

/// Notifications come under one of these, after the account's name.
const CALLS: [&str; 3] = ["notifyPayment", "notifyRefund", "notifyAuthorization"];
/// Prefixes that proxies often strip. Another prefix is not found; the advice is the same.
const PREFIXES: [&str; 6] = ["/pay", "/payment", "/payhook", "/api", "/webhooks", "/hooks"];
/// Leading parts of the received path that may be a proxy's.
const PARTS_MAX: usize = 3;
/// The sandbox's client ids begin with it, and live ones do not.
const SANDBOX: &str = "SANDBOX_";

pub(super) fn traces(account: &AntomAccount, received: &Received<'_>) -> Traces {
    let header = received.header("signature", SIGNATURE_CHARS_MAX).unwrap_or_default();
    Traces {
        headers: HEADERS,
        signed_at: received.header("request-time", HEADER_CHARS_MAX).ok().and_then(read_time),
        attempts: headers(account, header).chain(paths(account, received.path)).collect(),
        guesses: guesses(account, received, header),
    }
}

/// Undoes what proxies do to the `signature` header, and names the other keys it may be of.
fn headers(account: &AntomAccount, header: &str) -> impl Iterator<Item = Attempt> {
    let value = |change: fn(&str) -> String| match header.split_once("signature=") {
        Some((before, value)) => format!("{before}signature={}", change(value)),
        None => header.to_owned(),
    };
    let blanks = value(|value| value.replace(' ', "+").replace("%20", "%2B"));
    let encoded = value(|value| value.replace("%25", "%"));
    let mut attempts = vec![
        ("plus_became_blank", "each `+` of its signature became a blank".to_owned(), KEEP_HEADER, blanks),
        ("percent_encoded_twice", "its signature was percent-encoded twice".to_owned(), KEEP_HEADER, encoded),
    ];
    let named = SignatureHeader::parse(header).ok().and_then(|signature| signature.key_version());
    for (version, named) in account.public_keys.keys().filter_map(|version| Some((version, named?))) {
        let what = format!("it is of the key configured as keyVersion {version}, and its header names {named}");
        let other = header.replace(&format!("keyVersion={named}"), &format!("keyVersion={version}"));
        attempts.push(("other_key_version", what, "number the `public_keys` as Antom's dashboard does", other));
    }
    let changed: Vec<_> = attempts.into_iter().filter(|(.., before)| before != header).collect();
    changed.into_iter().map(|(word, what, advice, before)| Attempt {
        header: Some(("signature", before)),
        ..Attempt::new(word, what, advice)
    })
}

/// Undoes what proxies do to the path. The query is in no text: it may be a secret.
fn paths(account: &AntomAccount, path: &str) -> impl Iterator<Item = Attempt> {
    let slash = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    let calls = CALLS.map(|call| ("other_path", REGISTERED, format!("/antom/{}/{call}", account.name)));
    let parts = path.match_indices('/').skip(1).take(PARTS_MAX);
    let added = parts.map(|(from, _)| ("proxy_prefix_added", PUBLIC_BASE, path[from..].to_owned()));
    let missing = PREFIXES.map(|prefix| ("proxy_prefix_missing", PUBLIC_BASE, format!("{prefix}{path}")));
    let all: Vec<_> =
        [("trailing_slash", REGISTERED, slash)].into_iter().chain(calls).chain(added).chain(missing).collect();
    all.into_iter().map(|(word, advice, before)| {
        let what = format!("it was signed for the path `{before}`");
        Attempt { path: Some(before), ..Attempt::new(word, what, advice) }
    })
}

fn guesses(account: &AntomAccount, received: &Received<'_>, header: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let signature = SignatureHeader::parse(header);
    if let Err(why) = &signature {
        causes.push(Cause::likely("header_malformed", *why, KEEP_HEADER));
    }
    causes.extend(of_another_client(account, received));
    let named = signature.ok().and_then(|signature| signature.key_version());
    if let Some(version) = named.filter(|version| !account.public_keys.contains_key(version)) {
        let what = format!("its header names keyVersion {version}, which is not configured");
        let advice = "add this version's key from Antom's dashboard to `public_keys`";
        causes.push(Cause::likely("key_version_unknown", what, advice));
    }
    if let Some(own) = account.private_key.as_ref().map(crate::PrivateKey::public_key) {
        causes.extend(of_our_own_key(account, received, own, named));
    }
    if received.query.is_some() {
        let what = "it came with a query, and Antom signs the URL as it was registered: a query that was added or changed breaks it";
        causes.push(Cause::likely("query_changed", what, REGISTERED));
    }
    causes
}

/// A notification with another account's `client-id` is refused with every signature.
///
/// # Source
/// "Sandbox", docs.antom.com, read 2026-11-21: sandbox client ids begin with `SANDBOX_`.
fn of_another_client(account: &AntomAccount, received: &Received<'_>) -> Option<Cause> {
    const MODES: &str =
        "give the sandbox and live an account and a notify URL each: their client ids and keys are their own";
    let theirs = received.header("client-id", HEADER_CHARS_MAX).ok().filter(|theirs| *theirs != account.client_id)?;
    let cause = match (theirs.starts_with(SANDBOX), account.client_id.starts_with(SANDBOX)) {
        (true, false) => ("sandbox_at_live", "its `client-id` is the sandbox's, and this account is live", MODES),
        (false, true) => ("live_at_sandbox", "its `client-id` is a live one, and this account is the sandbox's", MODES),
        _ => (
            "other_client_id",
            "its `client-id` is not this account's",
            "send each client's notifications to its own URL",
        ),
    };
    Some(Cause::proven(cause.0, cause.1, cause.2))
}

/// Our own key where Antom's should be: it signed the request, or is configured as Antom's.
fn of_our_own_key(account: &AntomAccount, received: &Received<'_>, own: PublicKey, named: Option<u32>) -> Vec<Cause> {
    const PROBE: &[u8] = b"whose key is this?";
    let probe = account.private_key.as_ref().map(|key| key.sign(PROBE)).unwrap_or_default();
    let configured = account.public_keys.iter().filter(|(_, key)| key.holds(PROBE, &probe));
    let mut causes: Vec<Cause> = configured
        .map(|(version, _)| {
            let what = format!("the key configured as Antom's keyVersion {version} is our own public key");
            Cause::proven("own_key_configured", what, "copy Antom's public key from its dashboard: it shows both")
        })
        .collect();
    let keys = BTreeMap::from([(named.unwrap_or(1), own)]);
    if signed_by(&keys, &account.client_id, received).is_ok() {
        let what = "it was signed with our own private key: it is ours, not Antom's";
        let advice = "a program of ours sent it; only what Antom signs is a notification";
        causes.push(Cause::proven("signed_by_our_own_key", what, advice));
    }
    causes
}
