//! Names the likely cause when a signature does not hold. It informs a person and never decides anything.
//!
//! Each known accident is undone, one at a time, until the signature holds. The result is never shown to a sender.

use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use payhook_schema::About;
use serde::de::IgnoredAny;

use crate::account::{ProviderAccount, each};
use crate::request::Signed;
use crate::{Account, AgeLimit, Received, Refusal, verify};

pub(crate) const AS_IT_CAME: &str = "hand the body on byte for byte: verify before anything parses, trims or prints it";

/// The result of looking into one request's signature. It holds no body, signature, secret or query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The key by which the signature holds over exactly the received bytes: `keyVersion 1`, `secret 1a2b3c4d`.
    pub by: Option<String>,
    /// The provider's time of signing; absent if the header cannot be read.
    pub signed_at: Option<Timestamp>,
    /// From signing to receiving; negative if the time of signing is still to come.
    pub age: Option<SignedDuration>,
    /// The reasons for the refusal, most certain first. Empty if the request is accepted, or if no attempt helps.
    pub causes: Vec<Cause>,
}

/// A reason for refusing a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Stable, in snake_case: `final_newline_missing`.
    pub word: &'static str,
    /// The cause in one sentence.
    pub what: String,
    /// The next step.
    pub advice: String,
    /// True if the signature holds with this undone, or if the request is refused for this with every signature.
    pub proven: bool,
}

impl Cause {
    pub(crate) fn proven(word: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { word, what: what.into(), advice: advice.into(), proven: true }
    }

    pub(crate) fn likely(word: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { proven: false, ..Self::proven(word, what, advice) }
    }
}

/// An attempt to undo a known accident: the parts of the request as they were before it.
pub(crate) struct Attempt {
    pub(crate) cause: Cause,
    pub(crate) path: Option<String>,
    pub(crate) header: Option<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Attempt {
    pub(crate) fn new(word: &'static str, what: impl Into<String>, advice: &'static str) -> Self {
        Self { cause: Cause::proven(word, what, advice), path: None, header: None, body: None }
    }

    /// Returns true if the signature holds over the request as it was before.
    fn holds(&self, account: &Account, received: &Received<'_>) -> bool {
        let mut headers = received.headers.clone();
        if let Some((name, value)) = &self.header {
            let Ok(value) = HeaderValue::from_str(value) else { return false };
            headers.insert(*name, value);
        }
        let before = Received {
            path: self.path.as_deref().unwrap_or(received.path),
            headers: &headers,
            body: self.body.as_deref().unwrap_or(received.body),
            ..*received
        };
        signed(account, &before).is_ok()
    }
}

fn signed(account: &Account, received: &Received<'_>) -> Result<Signed, Refusal> {
    each!(account, account => account.signed(received))
}

/// A provider's findings about a request whose signature does not hold.
pub(crate) struct Traces {
    /// The headers that carry the signature.
    pub(crate) headers: &'static [&'static str],
    pub(crate) signed_at: Option<Timestamp>,
    pub(crate) attempts: Vec<Attempt>,
    /// Likely causes, read from the request and the account alone.
    pub(crate) guesses: Vec<Cause>,
}

/// Looks into a request's signature: the key it holds by, or the likely cause why it does not. At most some thirty
/// verifications.
pub fn diagnose(account: &Account, received: &Received<'_>) -> Diagnosis {
    let traces = each!(account, account => account.traces(received));
    let age = traces.signed_at.map(|signed_at| received.at.duration_since(signed_at));
    let mut diagnosis = Diagnosis { by: None, signed_at: traces.signed_at, age, causes: Vec::new() };
    match signed(account, received) {
        Ok(signed) => {
            diagnosis.causes.extend(refused(account, received, age));
            diagnosis.by = Some(signed.by);
        }
        Err(refusal) => diagnosis.causes = not_signed(traces, account, received, &refusal),
    }
    diagnosis
}

/// Lists the causes why the signature does not hold.
fn not_signed(traces: Traces, account: &Account, received: &Received<'_>, refusal: &Refusal) -> Vec<Cause> {
    if traces.headers.iter().any(|name| received.headers.get_all(*name).iter().count() != 1) {
        let advice = format!("let the proxy hand on {}, once each and unchanged", traces.headers.join(", "));
        return vec![Cause::proven("header_missing", refusal.why(), advice)];
    }
    let bodies = bodies(received.body);
    let found = traces.attempts.into_iter().chain(bodies).find(|attempt| attempt.holds(account, received));
    match found {
        Some(attempt) => vec![attempt.cause],
        None => traces.guesses.into_iter().chain(not_whole(received.body)).collect(),
    }
}

/// Returns the reason why a request is refused, or left to a person, although its signature holds.
fn refused(account: &Account, received: &Received<'_>, age: Option<SignedDuration>) -> Option<Cause> {
    let refusal = match verify(account, received) {
        Ok(notification) => match &notification.about {
            About::Unreadable(why) => {
                let what = format!("it is genuine, and not what the provider documents: {why}");
                let advice = "payhook answers 200 and keeps it as a `poison` dead letter; compare its body with the provider's documentation";
                return Some(Cause::proven("unreadable", what, advice));
            }
            _ => return None,
        },
        Err(refusal) => refusal,
    };
    let what = format!("its signature holds, and it is refused: {}", refusal.why());
    let cause = match (account.signature_age_max(), age) {
        (AgeLimit::Within(max), Some(age)) if age.unsigned_abs() > max && age.is_positive() => {
            ("too_old", "a resend may carry its first signature: raise `signature_age_max` or set it to off")
        }
        (AgeLimit::Within(max), Some(age)) if age.unsigned_abs() > max => ("too_new", "set this machine's clock"),
        (AgeLimit::Within(_), None) => ("time_unreadable", "set `signature_age_max` to off"),
        _ => ("refused", "give test and live mode, and each client id, an account and a notify URL of their own"),
    };
    Some(Cause::proven(cause.0, what, cause.1))
}

/// Undoes what is done to bodies on their way: trimmed or padded ends, converted line ends, JSON parsed and printed
/// again.
fn bodies(body: &[u8]) -> Vec<Attempt> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let text = String::from_utf8_lossy(body);
    let before = [
        ("final_newline_missing", "the body was signed with a line feed at its end", [body, b"\n"].concat()),
        ("blanks_added", "the body was signed without the blanks around it", body.trim_ascii().to_vec()),
        (
            "byte_order_mark_added",
            "the body was signed without the byte order mark before it",
            body.strip_prefix(MARK).unwrap_or(body).to_vec(),
        ),
        (
            "line_endings_changed",
            "the body was signed with LF where it has CR LF",
            text.replace("\r\n", "\n").into_bytes(),
        ),
        (
            "json_reprinted",
            "the body was signed as JSON without blanks",
            compact(&text).unwrap_or_default().into_bytes(),
        ),
    ];
    let changed = before.into_iter().filter(|(_, _, before)| before != body);
    changed.map(|(word, what, before)| Attempt { body: Some(before), ..Attempt::new(word, what, AS_IT_CAME) }).collect()
}

/// Returns the same JSON without blanks and without needless escapes; numbers keep their digits. `None` if it is not
/// JSON.
fn compact(text: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        out.extend(rest[..start].split_ascii_whitespace());
        let mut texts = serde_json::Deserializer::from_str(&rest[start..]).into_iter::<String>();
        out.push_str(&serde_json::to_string(&texts.next()?.ok()?).ok()?);
        rest = &rest[start + texts.byte_offset()..];
    }
    out.extend(rest.split_ascii_whitespace());
    Some(out)
}

/// Returns a cause if the body itself shows that a part of it is missing.
fn not_whole(body: &[u8]) -> Option<Cause> {
    let advice = "compare its length with `content-length`, and look for a limit on the way";
    if body.trim_ascii().is_empty() {
        return Some(Cause::likely("body_empty", "the body is empty", advice));
    }
    match serde_json::from_slice::<IgnoredAny>(body) {
        Err(error) if error.is_eof() => {
            Some(Cause::likely("body_cut_short", "the body ends in the middle of its JSON", advice))
        }
        Err(_) => Some(Cause::likely(
            "body_not_json",
            "the body is not JSON",
            "hand the body on as it came: not compressed, not as a form, not in base64",
        )),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests;
