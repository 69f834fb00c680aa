use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::{Grant, IssuedToken};
use payhook_schema::{Authorization, AuthorizationId, AuthorizationState, Sealed, SealedPlace, TimelineKind, new_id};
use payhook_store::{AuthorizationChange, AuthorizationSettlement, TimelineEntry};
use secrecy::SecretString;
use tracing::{error, info, warn};

use super::decide::{Telling, Told, refresh_at};
use super::{Applied, Unlearned};
use crate::breaker::Wait;
use crate::class::Class;
use crate::gate::{Shut, Who};
use crate::outcome::Failure;
use crate::patience::GaveUp;
use crate::worker::Context;

/// The time a worker may take for a call and for writing its result; then another may take over. The call has ten
/// seconds, and the clocks of two workers may be a minute apart.
const CLAIM_FOR: Duration = Duration::from_mins(3);
/// A token that could not be refreshed is tried again at least this often, for as long as it can be refreshed at all.
const HOURLY: Duration = Duration::from_hours(1);

/// Authorizations one worker sees to at once; beyond that, refreshes wait in the store, where they do not stand before payments.
const TENDED_AT_ONCE: usize = 16;

/// The next step for an authorization, and the secret it needs.
enum Step<'a> {
    Exchange(&'a Sealed),
    Refresh(&'a Sealed),
}

impl Step<'_> {
    fn of(authorization: &Authorization, now: Timestamp) -> Option<Step<'_>> {
        match authorization.state {
            AuthorizationState::Granted => authorization.code.as_ref()?.sealed.as_ref().map(Step::Exchange),
            AuthorizationState::TokenIssued => {
                let token = authorization.token.as_ref()?;
                refresh_at(token).filter(|at| *at <= now)?;
                token.refresh.as_ref().map(Step::Refresh)
            }
            AuthorizationState::Awaiting | AuthorizationState::Cancelled => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Exchange(_) => "exchange",
            Self::Refresh(_) => "refresh",
        }
    }
}

/// The authorizations this worker sees to, each once.
#[derive(Default)]
pub(crate) struct Tended(Mutex<HashSet<AuthorizationId>>);

/// An authorization is seen to until this is dropped.
struct Tending<'a> {
    tended: &'a Tended,
    id: AuthorizationId,
}

impl Tended {
    /// Returns `None` if it is seen to already, or if so many tokens are being refreshed that another would only stand
    /// in the way of those who ask about payments. A code never waits: it is good for minutes.
    fn begin(&self, id: &AuthorizationId, step: &Step<'_>) -> Option<Tending<'_>> {
        let mut tended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = tended.len() >= TENDED_AT_ONCE && matches!(step, Step::Refresh(_));
        (!is_full && tended.insert(id.clone())).then(|| Tending { tended: self, id: id.clone() })
    }
}

impl Drop for Tending<'_> {
    fn drop(&mut self) {
        self.tended.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Context {
    /// Exchanges a code or refreshes a token, if that is due and nobody else does it now.
    ///
    /// The claim makes it one exchange, however many workers hold the code. Should we die between the call and the write, the claim
    /// runs out and the code is tried once more: Antom may give the same token for it or refuse, and a refused one needs a new consent.
    pub(crate) async fn take_next_step(&self, id: &AuthorizationId) {
        let get = || self.store.authorization_get(id);
        let Ok(Some(authorization)) = self.patiently("looking an authorization up", get).await else { return };
        let Some(step) = Step::of(&authorization, self.clock.now()) else { return };
        // What is not begun is due again, and found by the sweep.
        let Some(_tended) = self.tended.begin(id, &step) else { return };
        let word = step.word();
        let written = match self.take(&authorization).await {
            Ok(Some(token)) => self.keep_patiently(id, &token).await,
            // Somebody else does it, or it was done meanwhile.
            Ok(None) => return,
            Err(failure) => self.note_failure(id, word, &failure).await,
        };
        // What was not written is due again: the sweep finds it.
        if let Err(unlearned) = written {
            error!(authorization.id = %id, "cannot write what became of a {word} of {id}: {unlearned:?}");
        }
    }

    /// Waits for a turn, claims what is to be done, and does it: in this order, so that the claim outlasts the call.
    async fn take(&self, authorization: &Authorization) -> Result<Option<IssuedToken>, Failure> {
        let Authorization { id, account: name, wallet, .. } = authorization;
        // What is the account's trouble counts against no code.
        let uncounted = |after, detail| Failure { class: Class::Throttled { after }, detail };
        let alone =
            |wait: Wait| uncounted(Some(wait.after.max(wait.rest)), format!("not asked: {}", wait.why.as_str()));
        let gate = self.gate(Authorization::PROVIDER, name, None, Who::Chore).await.map_err(|shut| match shut {
            Shut::Failed(failure) => failure,
            Shut::Wait(wait) => alone(wait),
        })?;
        // A worker that stops could be gone between the answer and its being kept.
        if self.in_hand.is_closed() {
            return Ok(None);
        }
        let now = self.clock.now();
        // Another worker may have done it while we waited for our turn. A claim for nothing would keep everybody from the next step.
        let Ok(Some(current)) = self.store.authorization_get(id).await else { return Ok(None) };
        if Step::of(&current, now).is_none() {
            return Ok(None);
        }
        let holder = new_id(now);
        // Once, and not patiently: a claim written late would be over when it begins. What is not claimed is due again.
        let claimed = self.store.authorization_claim(id, holder, now, CLAIM_FOR).await;
        let Ok(Some(claimed)) = claimed else { return Ok(None) };
        let Some(step) = Step::of(&claimed, now) else { return Ok(None) };
        let secret = self.secret(id, &step)?;
        let asking = gate.pass(None).map_err(alone)?;
        let grant = match step {
            Step::Exchange(_) => Grant::Code(&secret),
            Step::Refresh(_) => Grant::Refresh(&secret),
        };
        match asking.token(wallet, grant).await {
            Ok(token) => Ok(Some(token)),
            Err(error) if asking.is_probe => {
                let failure = Failure::from(error);
                Err(if failure.class.is_final() { failure } else { uncounted(None, failure.detail) })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn secret(&self, id: &AuthorizationId, step: &Step<'_>) -> Result<SecretString, Failure> {
        let (place, sealed) = match step {
            Step::Exchange(code) => (SealedPlace::Code(id.clone()), code),
            Step::Refresh(token) => (SealedPlace::RefreshToken(id.clone()), token),
        };
        let class = Class::Misconfigured;
        self.vault.open_text(&place, sealed).map_err(|error| Failure { class, detail: error.to_string() })
    }

    /// Keeps a token for as long as this worker lives: it is the only copy, and what it was exchanged for is used up.
    async fn keep_patiently(&self, id: &AuthorizationId, token: &IssuedToken) -> Result<(), Unlearned> {
        loop {
            match self.keep(id, token).await {
                Err(Unlearned::Store(GaveUp::TooLong)) => {
                    error!(authorization.id = %id, "a token of {id} waits for the store: it is kept nowhere else");
                }
                kept => return kept,
            }
        }
    }

    /// Keeps a token we were given, whatever else happens to the authorization meanwhile.
    async fn keep(&self, id: &AuthorizationId, token: &IssuedToken) -> Result<(), Unlearned> {
        loop {
            let get = || self.store.authorization_get(id);
            let Some(authorization) = self.patiently("looking an authorization up", get).await? else { return Ok(()) };
            let told = Told::Issued { token: self.sealed(id, token)?, told: Telling::Answered };
            match self.apply(&authorization, told, Vec::new()).await? {
                Applied::Changed(next) => {
                    info!(authorization.id = %id, state = %next.state, "authorization {id} has a token");
                    return self.catch_up_on_token(&next).await;
                }
                Applied::Unchanged => return Ok(()),
                Applied::Conflict => {}
            }
        }
    }

    /// Notes what went wrong, and when to try again: never, where Antom's no is final.
    async fn note_failure(&self, id: &AuthorizationId, step: &'static str, why: &Failure) -> Result<(), Unlearned> {
        warn!(authorization.id = %id, "cannot {step} for authorization {id}: {}", why.detail);
        metrics::counter!("payhook_authorization_failures_total", "step" => step).increment(1);
        loop {
            let get = || self.store.authorization_get(id);
            let Some(authorization) = self.patiently("looking an authorization up", get).await? else { return Ok(()) };
            let now = self.clock.now();
            let Some(step) = Step::of(&authorization, now) else { return Ok(()) };
            let next = self.after_failure(&authorization, &step, why, now);
            let outlook = match next.next_check_at {
                Some(at) => format!("tried again at {at}"),
                None => "given up; the customer has to agree anew".to_owned(),
            };
            let text = format!("{} failed: {}; {outlook}", step.word(), why.detail);
            let entry = TimelineEntry::new(now, TimelineKind::Inquiry, None, text);
            let settlement = AuthorizationSettlement {
                notifications: Vec::new(),
                change: Some(AuthorizationChange { authorization: next, events: Vec::new() }),
                timeline: Some((id.clone(), vec![entry])),
            };
            if !matches!(self.write_authorization(settlement).await?, Applied::Conflict) {
                return Ok(());
            }
        }
    }

    fn after_failure(
        &self,
        authorization: &Authorization,
        step: &Step<'_>,
        why: &Failure,
        now: Timestamp,
    ) -> Authorization {
        let counted = why.class.is_counted();
        let attempts = authorization.attempts.saturating_add(i32::from(counted));
        let delay = self.schedule.retry_after(u32::try_from(attempts.max(1)).unwrap_or(u32::MAX));
        let wait = |delay| why.class.wait(delay).max(why.class.at_least());
        let at = |wait| SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
        let next_check_at = match step {
            _ if why.class.is_final() => None,
            // A code is good for minutes: what the schedule does not bring about is lost.
            Step::Exchange(_) => delay.and_then(|delay| at(wait(delay))),
            // A refresh token may be good long after the access token: only the wallet's word, or its own end, ends it.
            Step::Refresh(_) => {
                let ends_at = authorization.token.as_ref().and_then(|token| token.refresh_expires_at);
                at(wait(delay.unwrap_or(HOURLY).min(HOURLY))).filter(|at| ends_at.is_none_or(|end| *at < end))
            }
        };
        let reason = why.detail.clone();
        let mut next =
            Authorization { attempts, next_check_at, reason: Some(reason), updated_at: now, ..authorization.clone() };
        if let (Step::Exchange(_), None, Some(code)) = (step, next_check_at, &mut next.code) {
            code.sealed = None;
        }
        next
    }
}
