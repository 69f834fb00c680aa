//! Decides what a fact means for an authorization. Pure.

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{Authorization, AuthorizationState, Code, SecretDigest, TimelineKind, Token};
use payhook_store::{AuthorizationChange, TimelineEntry};

use crate::money::announce::announce_authorization;

/// A fact learned about an authorization: from a notification, or from the answer to a call of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuthorizationFact {
    /// The customer agreed. The code is sealed where it is ours to exchange.
    Granted(Code),
    /// There is a token.
    Issued { token: Token, source: TokenSource },
    /// A token is dead, or where none is named, all of them. `reason` in the customer's words. `is_old`: the customer
    /// agreed after that.
    Cancelled { token: Option<SecretDigest>, reason: Option<String>, is_old: bool },
}

/// The way we heard of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenSource {
    /// In answer to a call of ours: the newest there is, with everything that belongs to it.
    Answered,
    /// By a notification, which tells the token alone.
    Notified,
    /// By a notification, and another one took its place since.
    Former,
}

/// The effect of a fact: nothing but a line in the history, or a change with the events that tell of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuthorizationDecision {
    pub(crate) change: Option<AuthorizationChange>,
    pub(crate) timeline: Vec<TimelineEntry>,
}

/// A token is refreshed when a tenth of its life is left, a week at most: time for a person, should the wallet refuse.
const REFRESH_AHEAD_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A token that was just given is not asked for again sooner, however short its life.
const REFRESH_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// Returns the time to refresh a token; `None` if it does not expire, or the wallet gave nothing to refresh it with.
pub(crate) fn refresh_at(token: &Token) -> Option<Timestamp> {
    let expires_at = token.expires_at.filter(|_| token.refresh.is_some())?;
    let life = expires_at.duration_since(token.issued_at);
    Some(expires_at - (life / 10).clamp(SignedDuration::ZERO, REFRESH_AHEAD_MAX))
}

/// Applies `fact` to `authorization`: a pure function. States only go forward, repeats change nothing, and what is over
/// stays over.
pub(crate) fn decide(authorization: &Authorization, fact: AuthorizationFact, now: Timestamp) -> AuthorizationDecision {
    let mut next = Authorization { updated_at: now, ..authorization.clone() };
    let moved = match fact {
        AuthorizationFact::Granted(code) => granted(authorization, &mut next, code, now),
        AuthorizationFact::Issued { token, source } => issued(authorization, &mut next, token, source, now),
        AuthorizationFact::Cancelled { token, reason, is_old } => {
            cancelled(authorization, &mut next, token.as_ref(), reason, is_old)
        }
    };
    let entry = |kind, text| TimelineEntry::new(now, kind, None, text);
    match moved {
        AuthorizationMove::Not(why) => {
            AuthorizationDecision { change: None, timeline: vec![entry(TimelineKind::Refusal, why.to_owned())] }
        }
        AuthorizationMove::Repeat => AuthorizationDecision { change: None, timeline: Vec::new() },
        AuthorizationMove::To(text) => {
            let events = announce_authorization(authorization, &mut next, now);
            let change = AuthorizationChange { authorization: next, events };
            AuthorizationDecision { change: Some(change), timeline: vec![entry(TimelineKind::Transition, text)] }
        }
    }
}

enum AuthorizationMove {
    To(String),
    Repeat,
    Not(&'static str),
}

fn granted(was: &Authorization, next: &mut Authorization, code: Code, now: Timestamp) -> AuthorizationMove {
    let is_known = was.code.as_ref().is_some_and(|known| known.digest == code.digest);
    match was.state {
        _ if is_known => AuthorizationMove::Repeat,
        AuthorizationState::TokenIssued => {
            AuthorizationMove::Not("a code, though there is a token already; nothing changes")
        }
        AuthorizationState::Cancelled => AuthorizationMove::Not("a code for what was cancelled; nothing changes"),
        AuthorizationState::Granted if was.code.as_ref().is_some_and(|known| known.sealed.is_some()) => {
            AuthorizationMove::Not("another code, while the first one is being exchanged; nothing changes")
        }
        AuthorizationState::Awaiting | AuthorizationState::Granted => {
            next.state = AuthorizationState::Granted;
            next.next_check_at = code.sealed.is_some().then_some(now);
            next.attempts = 0;
            next.reason = None;
            let to_do =
                if code.sealed.is_some() { "its code is to be exchanged" } else { "its code is not ours to exchange" };
            next.code = Some(code);
            AuthorizationMove::To(format!("authorization {} -> granted; {to_do}", was.state))
        }
    }
}

fn issued(
    was: &Authorization,
    next: &mut Authorization,
    token: Token,
    source: TokenSource,
    now: Timestamp,
) -> AuthorizationMove {
    let known = was.token.as_ref().filter(|known| known.digest == token.digest);
    match (was.state, known) {
        // The cancelled token was being refreshed: what its refresh brought is another token, nobody cancelled it, and
        // this is its only copy.
        (AuthorizationState::Cancelled, None) if source == TokenSource::Answered && was.token.is_some() => {
            replace(was, next, token)
        }
        (AuthorizationState::Cancelled, _) => AuthorizationMove::Not("a token for what was cancelled; nothing changes"),
        (_, None) if source == TokenSource::Former => {
            AuthorizationMove::Not("a token that was replaced by a newer one; nothing changes")
        }
        (_, Some(known)) if source == TokenSource::Answered => {
            // The wallet gave the same token again: what belongs to it now is what it says now.
            let refresh = token.refresh.or(known.refresh.clone());
            let whole = Token { refresh, ..token };
            next.next_check_at = refresh_at(&whole).map(|at| at.max(now + REFRESH_AGAIN));
            (next.attempts, next.reason) = (0, None);
            next.token = Some(whole);
            AuthorizationMove::To("the wallet gave the same token again".to_owned())
        }
        (_, Some(known)) => {
            let whole = Token {
                refresh: known.refresh.clone().or(token.refresh),
                expires_at: known.expires_at.or(token.expires_at),
                refresh_expires_at: known.refresh_expires_at.or(token.refresh_expires_at),
                ..known.clone()
            };
            if whole == *known {
                return AuthorizationMove::Repeat;
            }
            next.next_check_at = refresh_at(&whole);
            next.token = Some(whole);
            AuthorizationMove::To("the token's expiry is known now".to_owned())
        }
        (_, None) => replace(was, next, token),
    }
}

/// Puts a token in the place of the one there was, if any.
fn replace(was: &Authorization, next: &mut Authorization, token: Token) -> AuthorizationMove {
    next.state = AuthorizationState::TokenIssued;
    next.next_check_at = refresh_at(&token);
    next.attempts = 0;
    next.reason = None;
    if let Some(code) = &mut next.code {
        code.sealed = None;
    }
    let until = token.expires_at.map_or(String::new(), |at| format!(", good until {at}"));
    next.token = Some(token);
    match was.state {
        AuthorizationState::TokenIssued => {
            AuthorizationMove::To(format!("a new token takes the old one's place{until}"))
        }
        AuthorizationState::Cancelled => AuthorizationMove::To(format!(
            "authorization cancelled -> token_issued{until}: the cancelled token was being refreshed, and its successor was not cancelled"
        )),
        from => AuthorizationMove::To(format!("authorization {from} -> token_issued{until}")),
    }
}

fn cancelled(
    was: &Authorization,
    next: &mut Authorization,
    token: Option<&SecretDigest>,
    reason: Option<String>,
    is_old: bool,
) -> AuthorizationMove {
    let is_current = token.is_none_or(|token| was.token.as_ref().is_some_and(|current| current.digest == *token));
    match was.state {
        AuthorizationState::Cancelled => AuthorizationMove::Repeat,
        _ if !is_current => AuthorizationMove::Not("a former token was cancelled; the one that counts is not touched"),
        _ if is_old => {
            AuthorizationMove::Not("its token was cancelled before the customer agreed to this; nothing changes")
        }
        from => {
            next.state = AuthorizationState::Cancelled;
            next.next_check_at = None;
            next.reason = reason;
            if let Some(token) = &mut next.token {
                (token.access, token.refresh) = (None, None);
            }
            AuthorizationMove::To(format!("authorization {from} -> cancelled"))
        }
    }
}

#[cfg(test)]
mod tests;
