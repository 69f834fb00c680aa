//! Exchanges codes for tokens and refreshes tokens: the calls that an authorization needs, each claimed so that one
//! worker makes it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::{Grant, IssuedToken};
use payhook_schema::{
    Authorization, AuthorizationId, AuthorizationState, Because, Sealed, SealedPlace, TimelineKind, new_id,
};
use payhook_store::{AuthorizationChange, AuthorizationSettlement, TimelineEntry};
use secrecy::SecretString;
use tracing::{error, info, warn};

use crate::ask::failure::{Class, HintFailure, NotAsked, Unfinished};
use crate::ask::gate::Who;
use crate::authorization::AuthorizationTasks;
use crate::authorization::decide::{AuthorizationFact, TokenSource, refresh_at};
use crate::authorization::learn::Learned;
use crate::wait::HintWait;

/// The time a worker may take for a call and for writing its result; then another may take over. The call has ten
/// seconds, and the clocks of two workers may be a minute apart.
const CLAIM_FOR: Duration = Duration::from_mins(3);
/// A token that could not be refreshed is tried again at least this often, for as long as it can be refreshed at all.
const HOURLY: Duration = Duration::from_hours(1);

/// The next step for an authorization, and the secret it needs.
enum TokenStep<'a> {
    Exchange(&'a Sealed),
    Refresh(&'a Sealed),
}

impl TokenStep<'_> {
    fn of(authorization: &Authorization, now: Timestamp) -> Option<TokenStep<'_>> {
        match authorization.state {
            AuthorizationState::Granted => authorization.code.as_ref()?.sealed.as_ref().map(TokenStep::Exchange),
            AuthorizationState::TokenIssued => {
                let token = authorization.token.as_ref()?;
                refresh_at(token).filter(|at| *at <= now)?;
                token.refresh.as_ref().map(TokenStep::Refresh)
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

impl AuthorizationTasks {
    /// A hint to see to an authorization.
    pub(crate) async fn tend(&self, id: &AuthorizationId, because: Because) -> Result<Learned, Unfinished> {
        let learned = |due| Ok(Learned { due, word: "tended" });
        let Some(authorization) = self.stored(id).await? else { return learned(Vec::new()) };
        // An awaiting authorization is due for one reason: notifications came before it was registered.
        if because == Because::Registered || authorization.state == AuthorizationState::Awaiting {
            self.catch_up(&authorization).await?;
        }
        // The worker that stored the token may have died before that.
        if let Some(now) = self.stored(id).await? {
            self.catch_up_on_token(&now).await?;
        }
        learned(vec![id.clone()])
    }

    /// Exchanges a code or refreshes a token, if that is due and nobody else does it now.
    ///
    /// The claim makes it one exchange, however many workers hold the code. Should we die between the call and the
    /// write, the claim runs out and the code is tried once more: Antom may give the same token for it or refuse, and a
    /// refused one needs a new consent.
    pub(crate) async fn take_next_step(&self, id: &AuthorizationId) {
        let Ok(Some(authorization)) = self.stored(id).await else { return };
        let Some(step) = TokenStep::of(&authorization, self.context.clock.now()) else { return };
        // A step that is not begun is due again, and the sweep finds it. A code never waits: it is good for minutes.
        let Some(_tended) = self.tended.begin(id, matches!(step, TokenStep::Refresh(_))) else { return };
        let word = step.word();
        let written = match self.take(&authorization).await {
            Ok(Some(token)) => self.store_for_ever(id, &token).await,
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
    async fn take(&self, authorization: &Authorization) -> Result<Option<IssuedToken>, HintFailure> {
        let Authorization { id, account: name, wallet, .. } = authorization;
        // What is the account's trouble counts against no code.
        let uncounted = |after, detail| HintFailure { class: Class::Throttled { after }, detail };
        let alone =
            |wait: HintWait| uncounted(Some(wait.after.max(wait.rest())), format!("not asked: {}", wait.why.as_str()));
        let turn = self.gate.turn(Authorization::PROVIDER, name, None, Who::Chore).await;
        let turn = turn.map_err(|not_asked| match not_asked {
            NotAsked::Failed(failure) => failure,
            NotAsked::Wait(wait) => alone(wait),
        })?;
        // A worker that stops could be gone between the answer and its write.
        if self.context.in_hand.is_closed() {
            return Ok(None);
        }
        let now = self.context.clock.now();
        // Another worker may have done it while we waited for our turn. A claim for nothing would keep everybody from
        // the next step.
        let Ok(Some(current)) = self.context.store.authorization_get(id).await else { return Ok(None) };
        if TokenStep::of(&current, now).is_none() {
            return Ok(None);
        }
        let holder = new_id(now);
        // Once, and not retried: a claim written late would be over when it begins. An authorization that is not
        // claimed is due again.
        let claimed = self.context.store.authorization_claim(id, holder, now, CLAIM_FOR).await;
        let Ok(Some(claimed)) = claimed else { return Ok(None) };
        let Some(step) = TokenStep::of(&claimed, now) else { return Ok(None) };
        let secret = self.secret(id, &step)?;
        let asking = turn.pass(None).map_err(alone)?;
        let grant = match step {
            TokenStep::Exchange(_) => Grant::Code(&secret),
            TokenStep::Refresh(_) => Grant::Refresh(&secret),
        };
        match asking.token(wallet, grant).await {
            Ok(token) => Ok(Some(token)),
            Err(error) if asking.is_probe => {
                let failure = HintFailure::from(error);
                Err(if failure.class.is_final() { failure } else { uncounted(None, failure.detail) })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn secret(&self, id: &AuthorizationId, step: &TokenStep<'_>) -> Result<SecretString, HintFailure> {
        let (place, sealed) = match step {
            TokenStep::Exchange(code) => (SealedPlace::Code(id.clone()), code),
            TokenStep::Refresh(token) => (SealedPlace::RefreshToken(id.clone()), token),
        };
        self.context.vault.open_text(&place, sealed).map_err(|error| HintFailure::misconfigured(error.to_string()))
    }

    /// Tries to store a token for as long as this worker lives: it is the only copy, and what it was exchanged for is
    /// used up.
    async fn store_for_ever(&self, id: &AuthorizationId, token: &IssuedToken) -> Result<(), Unfinished> {
        loop {
            match self.store_token(id, token).await {
                Err(Unfinished::StoreAway) => {
                    error!(authorization.id = %id, "a token of {id} waits for the store: it is stored nowhere else");
                }
                stored => return stored,
            }
        }
    }

    /// Stores a token we were given, whatever else happens to the authorization meanwhile.
    async fn store_token(&self, id: &AuthorizationId, token: &IssuedToken) -> Result<(), Unfinished> {
        let issued = |stored: &Authorization| {
            let fact = AuthorizationFact::Issued { token: self.sealed(id, token)?, source: TokenSource::Answered };
            Ok(Some(self.settlement(stored, fact, Vec::new())))
        };
        let Some(next) = self.update(id, issued).await? else { return Ok(()) };
        info!(authorization.id = %id, state = %next.state, "authorization {id} has a token");
        self.catch_up_on_token(&next).await
    }

    /// Notes what went wrong, and when to try again: never, where Antom's no is final.
    async fn note_failure(
        &self,
        id: &AuthorizationId,
        step: &'static str,
        why: &HintFailure,
    ) -> Result<(), Unfinished> {
        warn!(authorization.id = %id, "cannot {step} for authorization {id}: {}", why.detail);
        metrics::counter!("payhook_authorization_failures_total", "step" => step).increment(1);
        let failed = |stored: &Authorization| {
            let now = self.context.clock.now();
            let Some(step) = TokenStep::of(stored, now) else { return Ok(None) };
            let next = self.after_failure(stored, &step, why, now);
            let outlook = match next.next_check_at {
                Some(at) => format!("tried again at {at}"),
                None => "given up; the customer has to agree anew".to_owned(),
            };
            let text = format!("{} failed: {}; {outlook}", step.word(), why.detail);
            let entry = TimelineEntry::new(now, TimelineKind::Inquiry, None, text);
            Ok(Some(AuthorizationSettlement {
                notifications: Vec::new(),
                change: Some(AuthorizationChange { authorization: next, events: Vec::new() }),
                timeline: Some((id.clone(), vec![entry])),
            }))
        };
        self.update(id, failed).await.map(drop)
    }

    fn after_failure(
        &self,
        authorization: &Authorization,
        step: &TokenStep<'_>,
        why: &HintFailure,
        now: Timestamp,
    ) -> Authorization {
        let counted = why.class.is_counted();
        let attempts = authorization.attempts.saturating_add(i32::from(counted));
        let delay = self.context.schedule.retry_after(u32::try_from(attempts.max(1)).unwrap_or(u32::MAX));
        let wait = |delay| why.class.wait(delay).max(why.class.at_least());
        let at = |wait| SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
        let next_check_at = match step {
            _ if why.class.is_final() => None,
            // A code is good for minutes: what the schedule does not bring about is lost.
            TokenStep::Exchange(_) => delay.and_then(|delay| at(wait(delay))),
            // A refresh token may be good long after the access token: only the wallet's word, or its own end, ends it.
            TokenStep::Refresh(_) => {
                let ends_at = authorization.token.as_ref().and_then(|token| token.refresh_expires_at);
                at(wait(delay.unwrap_or(HOURLY).min(HOURLY))).filter(|at| ends_at.is_none_or(|end| *at < end))
            }
        };
        let reason = why.detail.clone();
        let mut next =
            Authorization { attempts, next_check_at, reason: Some(reason), updated_at: now, ..authorization.clone() };
        if let (TokenStep::Exchange(_), None, Some(code)) = (step, next_check_at, &mut next.code) {
            code.sealed = None;
        }
        next
    }
}
