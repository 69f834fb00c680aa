use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::{AskError, Grant, IssuedToken};
use payhook_schema::{
    Authorization, AuthorizationId, AuthorizationState, Provider, Sealed, SealedPlace, TimelineKind, new_id,
};
use payhook_store::{AuthorizationChange, AuthorizationSettlement, TimelineEntry};
use secrecy::SecretString;
use tracing::{error, info, warn};

use super::decide::{Told, decide, refresh_at};
use super::{Applied, Unlearned};
use crate::inquire::measured;
use crate::worker::Context;

/// One worker may take this long for a call and what it writes of it; then another may take over. The call has ten seconds.
const CLAIM_FOR: Duration = Duration::from_mins(1);
/// A token that could not be refreshed is tried again this often once the schedule is used up, until it expires.
const HOURLY: SignedDuration = SignedDuration::from_hours(1);

/// What is to be done next for an authorization, and with which secret.
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

impl Context {
    /// Exchanges a code or refreshes a token, if that is due and nobody else does it now.
    ///
    /// The claim makes it one exchange, however many workers hold the code. Should we die between the call and the write, the claim
    /// runs out and the code is tried once more: Antom may give the same token for it or refuse, and a refused one needs a new consent.
    pub(crate) async fn take_next_step(&self, id: &AuthorizationId) {
        let (holder, now) = (new_id(self.clock.now()), self.clock.now());
        let get = || self.store.authorization_get(id);
        match self.patiently("looking an authorization up", get).await {
            Ok(Some(authorization)) if Step::of(&authorization, now).is_some() => {}
            Ok(_) | Err(_) => return,
        }
        let claim = || self.store.authorization_claim(id, holder, now, CLAIM_FOR);
        let Ok(Some(authorization)) = self.patiently("claiming an authorization", claim).await else { return };
        let Some(step) = Step::of(&authorization, now) else { return };
        let answer = self.call(&authorization, &step).await;
        let written = match answer {
            Ok(token) => self.keep(id, &token).await,
            Err(error) => self.note(id, step.word(), &error).await,
        };
        // What was not written is due again: the sweep finds it.
        if let Err(unlearned) = written {
            error!(authorization.id = %id, "cannot write what became of a {} of {id}: {unlearned:?}", step.word());
        }
    }

    async fn call(&self, authorization: &Authorization, step: &Step<'_>) -> Result<IssuedToken, AskError> {
        let Authorization { id, account, wallet, .. } = authorization;
        let account = self.account(Provider::Antom, account)?;
        let open = |place: SealedPlace, sealed| -> Result<SecretString, AskError> {
            let opened = self.vault.open_text(&place, sealed);
            opened.map_err(|error| AskError::Misconfigured { what: error.to_string() })
        };
        let secret = match step {
            Step::Exchange(code) => open(SealedPlace::Code(id.clone()), code)?,
            Step::Refresh(token) => open(SealedPlace::RefreshToken(id.clone()), token)?,
        };
        let grant = match step {
            Step::Exchange(_) => Grant::Code(&secret),
            Step::Refresh(_) => Grant::Refresh(&secret),
        };
        let _permit = self.asking.acquire().await.expect("the semaphore is never closed");
        measured(Provider::Antom, step.word(), self.client.apply_token(&account, wallet, grant)).await
    }

    /// Keeps a token we were given, whatever else happens to the authorization meanwhile.
    async fn keep(&self, id: &AuthorizationId, token: &IssuedToken) -> Result<(), Unlearned> {
        loop {
            let get = || self.store.authorization_get(id);
            let Some(authorization) = self.patiently("looking an authorization up", get).await? else { return Ok(()) };
            let told = self.issued(&authorization, token).await?;
            // What we were given now is the newest there is.
            let told = match told {
                Told::Issued { token, .. } => Told::Issued { token, former: false },
                other => other,
            };
            let decision = decide(&authorization, told, self.clock.now());
            let settlement = AuthorizationSettlement {
                notifications: Vec::new(),
                change: decision.change,
                timeline: Some((id.clone(), decision.timeline)),
            };
            match self.write_authorization(settlement).await? {
                Applied::Changed(next) => {
                    info!(authorization.id = %id, state = %next.state, "authorization {id} has a token");
                    return Ok(());
                }
                Applied::Unchanged => return Ok(()),
                Applied::Conflict => {}
            }
        }
    }

    /// Notes what went wrong, and when to try again: never, where Antom's no is final.
    async fn note(&self, id: &AuthorizationId, step: &'static str, why: &AskError) -> Result<(), Unlearned> {
        warn!(authorization.id = %id, error = %why, "cannot {step} for authorization {id}: {why}");
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
            let entry = TimelineEntry {
                at: now,
                kind: TimelineKind::Inquiry,
                payment: None,
                text: format!("{} failed: {why}; {outlook}", step.word()),
                detail: serde_json::Value::Null,
            };
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
        why: &AskError,
        now: Timestamp,
    ) -> Authorization {
        let attempts = authorization.attempts.saturating_add(1);
        let delay = self.schedule.retry_after(u32::try_from(attempts).unwrap_or(u32::MAX));
        let by_schedule = delay.and_then(|delay| now.checked_add(delay).ok());
        let is_final = matches!(why, AskError::Refused { .. } | AskError::OutsideTables { .. });
        let expires_at = authorization.token.as_ref().and_then(|token| token.expires_at);
        let next_check_at = match step {
            _ if is_final => None,
            Step::Exchange(_) => by_schedule,
            Step::Refresh(_) => by_schedule.or(Some(now + HOURLY)).filter(|at| expires_at.is_none_or(|end| *at < end)),
        };
        let reason = match why {
            AskError::Refused { code } => code.clone(),
            other => other.to_string(),
        };
        let mut next =
            Authorization { attempts, next_check_at, reason: Some(reason), updated_at: now, ..authorization.clone() };
        if let (Step::Exchange(_), None, Some(code)) = (step, next_check_at, &mut next.code) {
            code.sealed = None;
        }
        next
    }
}
