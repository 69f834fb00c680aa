use std::borrow::Cow;

use super::body::{Edge, edges, forms};
use super::reprint::Layout;
use super::{Cause, Change, Diagnosis, header, look, paths, picked, without_headers};
use crate::antom::{HEADER_CHARS_MAX, SIGNATURE_CHARS_MAX, SignatureHeader, read_time, signed_message};
use crate::{AntomAccount, PublicKey, Received};

const HEADERS: [&str; 3] = ["client-id", "request-time", "signature"];

const HEADERS_ADVICE: &str = "let the proxy hand on `client-id`, `request-time` and `signature`, once each and unchanged; a request \
                              without them is not Antom's";
const KEEP_HEADER: &str = "let the proxy hand on the `signature` header unchanged; nothing may decode or encode it";
const MODES: &str =
    "give the sandbox and live an account and a notify URL each: their client ids and keys are their own";

/// The sandbox's client ids begin with it, and live ones do not.
///
/// # Source
/// `reference/antom.md` section 1.4.
const SANDBOX: &str = "SANDBOX_";

/// A request, and what may have been done to it.
struct Request<'r> {
    account: &'r AntomAccount,
    received: &'r Received<'r>,
    client_id: &'r str,
    time: &'r str,
    signature: Option<SignatureHeader>,
    own: Option<PublicKey>,
    paths: Vec<Change<String>>,
    edges: Vec<Change<Edge>>,
    forms: Vec<Change<Vec<u8>>>,
    signatures: Vec<Change<SignatureHeader>>,
    clients: Vec<Change<String>>,
    keys: Vec<Change<Key>>,
}

enum Key {
    Version(u32),
    Own,
}

pub(super) fn diagnose(account: &AntomAccount, received: &Received<'_>) -> Diagnosis {
    let mut missing = Vec::new();
    let client_id = header(received, HEADERS[0], HEADER_CHARS_MAX, &mut missing);
    let time = header(received, HEADERS[1], HEADER_CHARS_MAX, &mut missing);
    let signature = header(received, HEADERS[2], SIGNATURE_CHARS_MAX, &mut missing);
    let signed_at = time.and_then(read_time);
    let (Some(client_id), Some(time), Some(text)) = (client_id, time, signature) else {
        return Diagnosis { signed_at, ..without_headers(missing, received, &HEADERS, HEADERS_ADVICE) };
    };
    if signed_at.is_none() {
        missing.push("`request-time` is neither epoch milliseconds nor ISO 8601".to_owned());
    }
    let signature = SignatureHeader::parse(text);
    if let Err(why) = &signature {
        missing.push((*why).to_owned());
    }
    let mut request = Request {
        account,
        received,
        client_id,
        time,
        signature: signature.ok(),
        own: account.private_key.as_ref().map(crate::PrivateKey::public_key),
        paths: Vec::new(),
        edges: Vec::new(),
        forms: Vec::new(),
        signatures: Vec::new(),
        clients: Vec::new(),
        keys: Vec::new(),
    };
    let mut diagnosis = Diagnosis { signed_at, missing, ..Diagnosis::empty() };
    diagnosis.by = request.holds(&[0; 6]);
    diagnosis.holds = diagnosis.by.is_some();
    if diagnosis.holds {
        diagnosis.causes.extend(request.of_another_client(true));
        return diagnosis;
    }
    request.paths = paths::changes(&account.name, received);
    request.edges = edges();
    request.forms = forms(received.body, &[Layout::Compact]);
    request.signatures = signatures(text);
    request.clients = request.clients();
    request.keys = request.keys();
    let dimensions: [&dyn super::Dimension; 6] =
        [&request.paths, &request.edges, &request.forms, &request.signatures, &request.clients, &request.keys];
    match look(&dimensions, &mut diagnosis.tried, |picks| request.holds(picks)) {
        Some(found) => {
            diagnosis.by = Some(found.by);
            diagnosis.causes = found.causes;
            if found.picks[4] == 0 {
                diagnosis.causes.extend(request.of_another_client(true));
            }
        }
        None => diagnosis.causes = request.likely(&diagnosis.missing),
    }
    diagnosis
}

impl Request<'_> {
    /// Which key the signature is of, with these changes made.
    fn holds(&self, picks: &[usize]) -> Option<String> {
        let &[path, edge, form, signature, client, key] = picks else { return None };
        let signature = match picked(&self.signatures, signature) {
            Some(changed) => changed,
            None => self.signature.as_ref()?,
        };
        let body: Cow<'_, [u8]> = picked(&self.forms, form).map_or(self.received.body.into(), Cow::from);
        let body = match picked(&self.edges, edge) {
            Some(undo) => Cow::from(undo(&body)?),
            None => body,
        };
        let client_id = picked(&self.clients, client).map_or(self.client_id, String::as_str);
        let with_query = self.received.query.map(|query| format!("{}?{query}", self.received.path));
        let mut paths: Vec<&str> = match picked(&self.paths, path) {
            Some(changed) => vec![changed],
            None => with_query.iter().map(String::as_str).chain([self.received.path]).collect(),
        };
        paths.dedup();
        let messages = paths.into_iter().map(|path| signed_message(path, client_id, self.time, &body));
        let key = picked(&self.keys, key);
        messages.into_iter().find_map(|message| self.key_of(signature, &message, key))
    }

    fn key_of(&self, signature: &SignatureHeader, message: &[u8], key: Option<&Key>) -> Option<String> {
        match key {
            None => {
                signature.verify(message, &self.account.public_keys).ok().map(|version| format!("keyVersion {version}"))
            }
            Some(Key::Version(version)) => {
                let key = self.account.public_keys.get(version)?;
                signature.is_of(message, key).then(|| format!("keyVersion {version}"))
            }
            Some(Key::Own) => signature.is_of(message, self.own.as_ref()?).then(|| "our own key".to_owned()),
        }
    }

    /// The client ids it may have been signed for, if not for the one it names.
    fn clients(&self) -> Vec<Change<String>> {
        let toggled = match self.client_id.strip_prefix(SANDBOX) {
            Some(live) => live.to_owned(),
            None => format!("{SANDBOX}{}", self.client_id),
        };
        let mut others = vec![self.account.client_id.clone(), toggled];
        others.dedup();
        others.retain(|other| other != self.client_id);
        let what = "it was signed for another client id than its `client-id` header names";
        let advice = "let the proxy hand on the `client-id` header unchanged";
        others.into_iter().map(|other| Change::new("client_id_altered", what, advice, other)).collect()
    }

    /// The keys it may be of, if not of the one it names.
    fn keys(&self) -> Vec<Change<Key>> {
        let named = self.signature.as_ref().or(self.signatures.first().map(|change| &change.value));
        let mut keys = Vec::new();
        if let Some(named) = named.and_then(SignatureHeader::key_version) {
            let others = self.account.public_keys.keys().filter(|version| **version != named);
            keys.extend(others.map(|version| {
                let what = format!("it is of the key configured as keyVersion {version}, and its header names {named}");
                let advice = "number the `public_keys` as Antom's dashboard does";
                Change::new("other_key_version", what, advice, Key::Version(*version))
            }));
        }
        if self.own.is_some() {
            let what = "it was signed with our own private key: it is ours, not Antom's";
            let advice = "a program of ours sent it; only what Antom signs is a notification";
            keys.push(Change::new("signed_by_our_own_key", what, advice, Key::Own));
        }
        keys
    }

    /// Why a notification is not for this account, whatever its signature.
    fn of_another_client(&self, proven: bool) -> Option<Cause> {
        let ours = self.account.client_id.as_str();
        if self.client_id == ours {
            return None;
        }
        let (word, what) = match (self.client_id.starts_with(SANDBOX), ours.starts_with(SANDBOX)) {
            (true, false) => ("sandbox_at_live", "its `client-id` is the sandbox's, and this account is live"),
            (false, true) => ("live_at_sandbox", "its `client-id` is a live one, and this account is the sandbox's"),
            _ => ("other_client_id", "its `client-id` is not this account's"),
        };
        let advice =
            if word == "other_client_id" { "send each client's notifications to its own account's URL" } else { MODES };
        Some(Cause { proven, ..Cause::likely(word, what, advice) })
    }

    /// What the request and the account say of themselves, where nothing makes the signature hold.
    fn likely(&self, missing: &[String]) -> Vec<Cause> {
        let mut causes = Vec::new();
        if !missing.is_empty() {
            causes.push(Cause::likely("header_malformed", missing.join("; "), HEADERS_ADVICE));
        }
        causes.extend(self.of_another_client(false));
        let keys = &self.account.public_keys;
        let named = self.signature.as_ref().and_then(SignatureHeader::key_version);
        if let Some(version) = named.filter(|version| !keys.contains_key(version)) {
            let what = format!("its header names keyVersion {version}, which is not configured");
            causes.push(Cause::likely(
                "key_version_unknown",
                what,
                "add this version's key from Antom's dashboard to `public_keys`",
            ));
        }
        for (version, key) in keys {
            if self.is_our_own(key) {
                let what = format!("what is configured as Antom's keyVersion {version} is our own public key");
                let advice = "copy Antom's public key from its dashboard: it shows both";
                causes.push(Cause::likely("own_key_configured", what, advice));
            }
        }
        causes
    }

    /// Keys show nothing of themselves to compare; what one signs, its own other half accepts.
    fn is_our_own(&self, key: &PublicKey) -> bool {
        const PROBE: &[u8] = b"whose key is this?";
        self.account.private_key.as_ref().is_some_and(|own| key.holds(PROBE, &own.sign(PROBE)))
    }
}

/// What may have been done to the `signature` header, as far as it then reads.
fn signatures(header: &str) -> Vec<Change<SignatureHeader>> {
    let value = |change: fn(&str) -> String| {
        rewritten(header, |name, value| match name {
            "signature" => Some(change(value)),
            _ => Some(value.to_owned()),
        })
    };
    let without = |left_out: &str| rewritten(header, |name, value| (name != left_out).then(|| value.to_owned()));
    let candidates = [
        (
            "plus_became_blank",
            "each `+` of its signature became a blank",
            value(|value| value.replace(' ', "+").replace("%20", "%2B")),
        ),
        ("percent_encoded_twice", "its signature was percent-encoded twice", value(|value| value.replace("%25", "%"))),
        (
            "base64_url_alphabet",
            "its signature is in the URL alphabet of base64",
            value(|value| value.replace('-', "+").replace('_', "/")),
        ),
        (
            "signature_unnamed",
            "its header has the signature alone, without `signature=`",
            format!("signature={header}"),
        ),
        ("algorithm_named_otherwise", "its header names another algorithm than RSA256", without("algorithm")),
        ("key_version_malformed", "its header's keyVersion is not a number", without("keyVersion")),
    ];
    let mut changes = Vec::new();
    for (word, what, text) in candidates {
        // What only leaves out what is read well enough already tells nothing new.
        let leaves_out = matches!(word, "algorithm_named_otherwise" | "key_version_malformed");
        if text == header || (leaves_out && SignatureHeader::parse(header).is_ok()) {
            continue;
        }
        if let Ok(signature) = SignatureHeader::parse(&text) {
            changes.push(Change::new(word, what, KEEP_HEADER, signature));
        }
    }
    changes
}

/// The header with each part's value changed, or the part left out.
fn rewritten(header: &str, change: impl Fn(&str, &str) -> Option<String>) -> String {
    let parts = header.split(',').filter_map(|part| match part.split_once('=') {
        Some((name, value)) => Some(format!("{}={}", name.trim(), change(name.trim(), value.trim())?)),
        None => Some(part.to_owned()),
    });
    parts.collect::<Vec<_>>().join(",")
}
