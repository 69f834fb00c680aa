//! Why a signature does not hold: for a person who looks, never for deciding.
//!
//! What is known to happen to requests on their way, and to keys on theirs into a configuration, is undone, one thing at a time
//! and then two at once, until the signature holds. What would have made it hold is the cause. Nothing here is told to a sender.

mod antom;
mod body;
mod omise;
mod paths;
mod reprint;
mod search;

use jiff::{SignedDuration, Timestamp};

use payhook_schema::{About, Notification, Verified};

use crate::{Account, AgeLimit, Received, Refusal, verify};

/// What became of looking into one request's signature. It holds no body, signature, secret or query, nor does its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Whether the signature holds over exactly what was received, by a key this account has for it. [`crate::verify`] accepts the
    /// request where it does and there is no cause, and nowhere else.
    pub holds: bool,
    /// Which key it is of: `keyVersion 1`, `secret 2`, `our own key`. Also where it holds only with the causes undone.
    pub by: Option<String>,
    /// When the provider says it signed; absent where the request does not tell readably.
    pub signed_at: Option<Timestamp>,
    /// How long before the request was received that was; negative for a time still to come.
    pub age: Option<SignedDuration>,
    /// Why the request is refused, most certain first. Empty where it is accepted, or where nothing that was tried helps.
    pub causes: Vec<Cause>,
    /// The words of the causes that were looked for, in this order, up to what helped.
    pub tried: Vec<&'static str>,
    /// Headers that are missing or cannot be right, each in one sentence without its value.
    pub missing: Vec<String>,
}

/// One reason why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Stable, in snake_case: `final_newline_missing`.
    pub word: &'static str,
    /// What is the matter, in one sentence.
    pub what: String,
    /// What to do about it.
    pub advice: String,
    /// Whether the signature holds with this, and at most one other cause, undone, or the request is refused for this whatever its
    /// signature. Otherwise it is what the request and the account say of themselves.
    pub proven: bool,
}

impl Cause {
    fn proven(word: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { word, what: what.into(), advice: advice.into(), proven: true }
    }

    fn likely(word: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { proven: false, ..Self::proven(word, what, advice) }
    }
}

/// Something that may have been done to a request, undone.
struct Change<T> {
    cause: Cause,
    /// What it was before.
    value: T,
}

impl<T> Change<T> {
    fn new(word: &'static str, what: impl Into<String>, advice: impl Into<String>, value: T) -> Self {
        Self { cause: Cause::proven(word, what, advice), value }
    }
}

/// What the change of this number, from 1, makes of it; nothing for 0.
fn picked<T>(changes: &[Change<T>], change: usize) -> Option<&T> {
    changes.get(change.checked_sub(1)?).map(|change| &change.value)
}

/// Changes of one thing, of which at most one is made at a time.
trait Dimension {
    fn size(&self) -> usize;
    /// Of the change of this number, from 1.
    fn cause(&self, change: usize) -> &Cause;
}

impl<T> Dimension for Vec<Change<T>> {
    fn size(&self) -> usize {
        self.len()
    }

    fn cause(&self, change: usize) -> &Cause {
        &self[change - 1].cause
    }
}

/// What made the signature hold, and what that says.
struct Looked {
    picks: Vec<usize>,
    causes: Vec<Cause>,
    by: String,
}

/// Searches for what makes the signature hold, and notes the words of what it tries.
fn look(
    dimensions: &[&dyn Dimension],
    tried: &mut Vec<&'static str>,
    mut holds: impl FnMut(&[usize]) -> Option<String>,
) -> Option<Looked> {
    let sizes: Vec<usize> = dimensions.iter().map(|dimension| dimension.size()).collect();
    let causes = |picks: &[usize]| -> Vec<Cause> {
        let made = dimensions.iter().zip(picks).filter(|(_, change)| **change > 0);
        made.map(|(dimension, change)| dimension.cause(*change).clone()).collect()
    };
    let found = search::search(&sizes, |picks| {
        for cause in causes(picks) {
            if !tried.contains(&cause.word) {
                tried.push(cause.word);
            }
        }
        holds(picks)
    })?;
    Some(Looked { causes: causes(&found.picks), picks: found.picks, by: found.by })
}

/// Looks into a request's signature: by which key it is and when it was made if it holds, and if it does not, what would have made
/// it hold. At most a few hundred verifications.
///
/// Antom's part tries other paths, the body re-printed, what proxies do to headers, the other keys and our own; Omise's the body
/// likewise, and the usual mistakes in computing the digest (`reference/omise.md` section 9, E1 to E5).
pub fn diagnose(account: &Account, received: &Received<'_>) -> Diagnosis {
    let mut diagnosis = match account {
        Account::Antom(account) => antom::diagnose(account, received),
        Account::Omise(account) => omise::diagnose(account, received),
    };
    if let Some(signed_at) = diagnosis.signed_at {
        diagnosis.age = Some(received.at.duration_since(signed_at));
    }
    if diagnosis.by.is_some() {
        diagnosis.causes.extend(untimely(&diagnosis, account));
    }
    if diagnosis.holds && diagnosis.causes.is_empty() {
        let refusal = match verify(account, received).map(Verified::into_inner) {
            Ok(Notification { about: About::Unreadable(why), .. }) => Some(Refusal::Unreadable(why)),
            Ok(_) => None,
            Err(refusal) => Some(refusal),
        };
        let word = if diagnosis.missing.is_empty() { "refused" } else { "header_malformed" };
        diagnosis.causes.extend(refusal.map(|refusal| refused(word, &refusal)));
    }
    if diagnosis.causes.is_empty() && !diagnosis.holds {
        diagnosis.causes.extend(body::not_whole(received.body));
    }
    diagnosis
}

/// Why what holds is refused for its age.
fn untimely(diagnosis: &Diagnosis, account: &Account) -> Option<Cause> {
    let limit = match account {
        Account::Antom(account) => account.signature_age_max,
        Account::Omise(account) => account.signature_age_max,
    };
    let AgeLimit::Within(max) = limit else { return None };
    let seconds = max.as_secs();
    let Some(age) = diagnosis.age else {
        return Some(Cause::proven(
            "time_unreadable",
            "when it was signed cannot be read, and this account limits a signature's age",
            "compare the header with the provider's documentation, or set `signature_age_max` to off",
        ));
    };
    if age.unsigned_abs() <= max {
        return None;
    }
    let apart = age.unsigned_abs().as_secs();
    let cause = if age.is_positive() {
        Cause::proven(
            "too_old",
            format!("it was signed {apart} s before it was received, and this account takes {seconds} s"),
            "a resend may carry its first signature: raise `signature_age_max` or set it to off",
        )
    } else {
        Cause::proven(
            "too_new",
            format!("it was signed {apart} s after it was received, and this account takes {seconds} s"),
            "set this machine's clock",
        )
    };
    Some(cause)
}

/// Why what holds is refused all the same: its mode, its form, or what it says.
fn refused(word: &'static str, refusal: &Refusal) -> Cause {
    match refusal {
        Refusal::Unreadable(why) => Cause::proven(
            "unreadable",
            format!("it is genuine, and not what the provider documents: {why}"),
            "payhook answers 200 and keeps it as a `poison` dead letter; compare its body with the provider's documentation",
        ),
        Refusal::NotGenuine(why) => Cause::proven(
            word,
            format!("its signature holds, and it is refused: {why}"),
            "compare it with the provider's documentation",
        ),
    }
}

/// The header's one value. A header that is not there once, or cannot be right, is told in `missing`.
fn header<'r>(
    received: &Received<'r>,
    name: &'static str,
    chars_max: usize,
    missing: &mut Vec<String>,
) -> Option<&'r str> {
    match received.header(name, chars_max) {
        Ok(value) => Some(value),
        Err(Refusal::NotGenuine(why) | Refusal::Unreadable(why)) => {
            missing.push(why);
            None
        }
    }
}

/// What is told where the headers that carry the signature are not all there: nothing can be tried.
fn without_headers(missing: Vec<String>, received: &Received<'_>, needed: &[&str], advice: &str) -> Diagnosis {
    let absent = needed.iter().any(|name| !received.headers.contains_key(*name));
    let word = if absent { "header_missing" } else { "header_malformed" };
    let cause = Cause::proven(word, missing.join("; "), advice);
    Diagnosis { causes: vec![cause], missing, ..Diagnosis::empty() }
}

impl Diagnosis {
    fn empty() -> Self {
        Self {
            holds: false,
            by: None,
            signed_at: None,
            age: None,
            causes: Vec::new(),
            tried: Vec::new(),
            missing: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
