use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::Deserialize;

use super::body::{Edge, edges, forms};
use super::reprint::Layout;
use super::{Cause, Change, Diagnosis, Dimension, header, look, picked, without_headers};
use crate::omise::{Keying, SIGNATURE_CHARS_MAX, TIMESTAMP_CHARS_MAX, WebhookSecret, candidates};
use crate::{AgeLimit, OmiseAccount, Received};

const HEADERS: [&str; 2] = ["omise-signature", "omise-signature-timestamp"];

const HEADERS_ADVICE: &str = "Omise signs once that mode's webhook settings have a secret: make one there; and let the proxy hand \
                              both headers on, once each and unchanged";
const COMPUTED: &str = "compute it as Omise does: HMAC-SHA256, the key the secret's base64 decoded, over the timestamp, a dot and the \
                        body's bytes, in hexadecimal";
const SECRET: &str = "configure the secret as the dashboard shows it: one layer of base64";
const MODES: &str = "give test and live mode an account and a URL each: their secrets are their own";

/// A timestamp in milliseconds has 13 digits until the year 2286, one in seconds 10.
const MILLISECOND_DIGITS: usize = 13;

/// What may have been put before the body.
enum Message {
    /// A timestamp, and the dot if there is one.
    Timestamp(String, &'static str),
    Nothing,
}

struct Request<'r> {
    account: &'r OmiseAccount,
    body: &'r [u8],
    timestamp: &'r str,
    digests: Vec<[u8; 32]>,
    edges: Vec<Change<Edge>>,
    forms: Vec<Change<Vec<u8>>>,
    messages: Vec<Change<Message>>,
    encodings: Vec<Change<Vec<[u8; 32]>>>,
    keyings: Vec<Change<Keying>>,
}

pub(super) fn diagnose(account: &OmiseAccount, received: &Received<'_>) -> Diagnosis {
    let mut missing = Vec::new();
    let signature = header(received, HEADERS[0], SIGNATURE_CHARS_MAX, &mut missing);
    let timestamp = header(received, HEADERS[1], TIMESTAMP_CHARS_MAX, &mut missing);
    let signed_at = timestamp.and_then(read_time);
    let (Some(signature), Some(timestamp)) = (signature, timestamp) else {
        return Diagnosis { signed_at, ..without_headers(missing, received, &HEADERS, HEADERS_ADVICE) };
    };
    if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        missing.push("`omise-signature-timestamp` is not Unix seconds".to_owned());
    }
    let digests = candidates(signature);
    if digests.is_empty() {
        missing.push("`omise-signature` has no hexadecimal digest".to_owned());
    }
    let mut request = Request {
        account,
        body: received.body,
        timestamp,
        digests,
        edges: Vec::new(),
        forms: Vec::new(),
        messages: Vec::new(),
        encodings: Vec::new(),
        keyings: Vec::new(),
    };
    let mut diagnosis = Diagnosis { signed_at, missing, ..Diagnosis::empty() };
    diagnosis.by = request.holds(&[0; 5]);
    diagnosis.holds = diagnosis.by.is_some();
    if diagnosis.holds {
        diagnosis.causes.extend(request.in_milliseconds());
        diagnosis.causes.extend(request.of_the_other_mode(true));
        return diagnosis;
    }
    request.edges = edges();
    request.forms = forms(received.body, &[Layout::Omise, Layout::Pretty]);
    request.messages = request.messages();
    request.encodings = encodings(signature);
    request.keyings = keyings();
    let dimensions: [&dyn Dimension; 5] =
        [&request.edges, &request.forms, &request.messages, &request.encodings, &request.keyings];
    match look(&dimensions, &mut diagnosis.tried, |picks| request.holds(picks)) {
        Some(found) => {
            diagnosis.by = Some(found.by);
            diagnosis.causes = found.causes;
            diagnosis.causes.extend(request.of_the_other_mode(true));
        }
        None => {
            if !diagnosis.missing.is_empty() {
                diagnosis.causes.push(Cause::likely("header_malformed", diagnosis.missing.join("; "), COMPUTED));
            }
            diagnosis.causes.extend(request.of_the_other_mode(false));
            if account.webhook_secrets.is_empty() {
                let what = "this account has no webhook secret configured";
                diagnosis.causes.push(Cause::likely("no_secret_configured", what, SECRET));
            }
        }
    }
    diagnosis
}

/// Unix seconds, as documented, or milliseconds.
fn read_time(timestamp: &str) -> Option<Timestamp> {
    let number: i64 = timestamp.parse().ok()?;
    match timestamp.len() {
        MILLISECOND_DIGITS => Timestamp::from_millisecond(number).ok(),
        _ => Timestamp::from_second(number).ok(),
    }
}

impl Request<'_> {
    /// Which secret the digest is of, with these changes made.
    fn holds(&self, picks: &[usize]) -> Option<String> {
        let &[edge, form, message, encoding, keying] = picks else { return None };
        let digests = picked(&self.encodings, encoding).unwrap_or(&self.digests);
        let body: Cow<'_, [u8]> = picked(&self.forms, form).map_or(self.body.into(), Cow::from);
        let body = match picked(&self.edges, edge) {
            Some(undo) => Cow::from(undo(&body)?),
            None => body,
        };
        let (timestamp, dot) = match picked(&self.messages, message) {
            None => (self.timestamp, "."),
            Some(Message::Timestamp(timestamp, dot)) => (timestamp.as_str(), *dot),
            Some(Message::Nothing) => ("", ""),
        };
        let keying = picked(&self.keyings, keying).copied().unwrap_or(Keying::Right);
        let message: [&[u8]; 3] = [timestamp.as_bytes(), dot.as_bytes(), &body];
        let mut secrets = self.account.webhook_secrets.iter();
        secrets.find(|secret| secret.would_hold(keying, &message, digests)).map(WebhookSecret::name)
    }

    fn messages(&self) -> Vec<Change<Message>> {
        let now = self.timestamp;
        let with = |word, what: &str, message| Change::new(word, what, COMPUTED, message);
        let mut messages = vec![
            with(
                "dot_omitted",
                "the dot between timestamp and body was left out",
                Message::Timestamp(now.to_owned(), ""),
            ),
            with("timestamp_not_signed", "the body alone was signed, without the timestamp", Message::Nothing),
        ];
        let (word, dot) = ("timestamp_in_milliseconds", ".");
        match now.strip_suffix("000").filter(|_| now.len() == MILLISECOND_DIGITS) {
            Some(seconds) => {
                let what = "the timestamp was signed in seconds, and its header has milliseconds";
                messages.push(with(word, what, Message::Timestamp(seconds.to_owned(), dot)));
            }
            None => {
                let what = "the timestamp was signed in milliseconds";
                messages.push(with(word, what, Message::Timestamp(format!("{now}000"), dot)));
            }
        }
        messages
    }

    /// Omise counts seconds: what holds over milliseconds is of another program, and its age cannot be limited.
    fn in_milliseconds(&self) -> Option<Cause> {
        let what = "the timestamp is in milliseconds; Omise's has seconds, and this account limits a signature's age";
        let is_refused = self.account.signature_age_max != AgeLimit::Off && self.timestamp.len() == MILLISECOND_DIGITS;
        is_refused.then(|| Cause::proven("timestamp_in_milliseconds", what, COMPUTED))
    }

    /// Why an event is not for this account, whatever its signature.
    fn of_the_other_mode(&self, proven: bool) -> Option<Cause> {
        #[derive(Deserialize)]
        struct Mode {
            livemode: bool,
        }
        let body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(self.body);
        let Mode { livemode } = serde_json::from_slice(body).ok()?;
        let (word, what) = match (livemode, self.account.livemode) {
            (true, false) => ("live_at_test", "the event is of live mode, and this account of test mode"),
            (false, true) => ("test_at_live", "the event is of test mode, and this account of live mode"),
            _ => return None,
        };
        Some(Cause { proven, ..Cause::likely(word, what, MODES) })
    }
}

/// The digests of a header that has them otherwise than in hexadecimal between commas.
fn encodings(header: &str) -> Vec<Change<Vec<[u8; 32]>>> {
    let parts = || header.split(',').map(str::trim);
    let base64 = parts().filter_map(|part| BASE64_STANDARD.decode(part).ok()?.try_into().ok()).collect();
    let named: Vec<&str> = parts().map(|part| part.rsplit_once('=').map_or(part, |(_, value)| value)).collect();
    let changes = [
        ("digest_in_base64", "the digest is in base64 instead of hexadecimal", base64),
        ("digest_named", "the digest has a name before it, as in `v1=`", candidates(&named.join(","))),
    ];
    let told = changes.into_iter().filter(|(_, _, digests)| !digests.is_empty() && *digests != candidates(header));
    told.map(|(word, what, digests)| Change::new(word, what, COMPUTED, digests)).collect()
}

fn keyings() -> Vec<Change<Keying>> {
    vec![
        Change::new(
            "secret_used_as_text",
            "the secret's text itself was the key, not what its base64 decodes to",
            COMPUTED,
            Keying::AsText,
        ),
        Change::new("secret_encoded_twice", "the configured secret is in base64 twice", SECRET, Keying::DecodedTwice),
    ]
}
