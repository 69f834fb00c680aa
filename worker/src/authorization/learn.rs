//! Learns about authorizations from notifications, believed on their signature. All that is learned takes one way:
//! decide on what is stored, write it if that still stands, else start again.

use payhook_provider::{AuthorizationNotice, IssuedToken, authorization_in};
use payhook_schema::{
    About, AccountName, Authorization, AuthorizationId, AuthorizationName, AuthorizationState, Code, Notification,
    SealedPlace, SecretDigest, Token,
};
use payhook_store::{AuthorizationChange, AuthorizationSettlement, Settled};
use payhook_vault::VaultError;
use secrecy::ExposeSecret;
use tracing::{info, warn};

use crate::ask::failure::Unfinished;
use crate::authorization::AuthorizationTasks;
use crate::authorization::decide::{AuthorizationFact, TokenSource, decide};

/// The result of a delivery, and the authorizations whose next step is due now.
pub(crate) struct Learned {
    pub(crate) due: Vec<AuthorizationId>,
    pub(crate) word: &'static str,
}

impl AuthorizationTasks {
    /// Learns from a delivery, and from what was archived before the authorizations it is about had their tokens.
    ///
    /// The second is done for a repeat as well: the worker that took the delivery first may have died before that.
    pub(crate) async fn learn_from(&self, notification: &Notification) -> Result<Learned, Unfinished> {
        let Some(named) = self.learn(notification).await? else {
            return Ok(Learned { due: Vec::new(), word: "kept" });
        };
        let mut due = Vec::new();
        for NamedAuthorization { authorization, changed } in &named {
            self.catch_up_on_token(authorization).await?;
            let is_due = authorization.next_check_at.is_some_and(|at| at <= self.context.clock.now());
            due.extend((*changed && is_due).then(|| authorization.id.clone()));
        }
        let word = if named.iter().any(|named| named.changed) { "applied" } else { "unchanged" };
        Ok(Learned { due, word })
    }

    /// Reads a notification, archives it, and applies what it says to each authorization that it names; nothing where
    /// its kind is one we know nothing of.
    async fn learn(&self, notification: &Notification) -> Result<Option<Vec<NamedAuthorization>>, Unfinished> {
        let About::Authorization(name) = &notification.about else {
            unreachable!("only notifications about authorizations come here");
        };
        let body = self.context.vault.open_body(notification)?;
        let mut archived = notification.clone();
        self.context.vault.seal_body(&mut archived);
        let account = &notification.account;
        let Some(learned) = authorization_in(notification, &body) else {
            let archive = AuthorizationSettlement { notifications: vec![archived], ..Default::default() };
            self.context.store_retry("archiving", || self.context.store.authorization_settle(&archive)).await?;
            return Ok(None);
        };
        let mut named: Vec<NamedAuthorization> = Vec::new();
        loop {
            let find = || self.context.store.authorization_find(account, name);
            let found = self.context.store_retry("looking an authorization up", find).await?;
            let is_new = |other: &Authorization| named.iter().all(|named| named.authorization.id != other.id);
            let new: Vec<Authorization> = found.into_iter().filter(is_new).collect();
            match (new.is_empty(), named.is_empty()) {
                (true, true) => return Err(Unfinished::Unknown(unknown(account, name))),
                (true, false) => return Ok(Some(named)),
                (false, _) => {}
            }
            for authorization in new {
                // With the first write: a repeat is counted there, and counts once.
                let archives = named.is_empty();
                named.push(self.learn_about(authorization, name, &learned, &archived, archives).await?);
            }
            // Once more: one that is issued the token meanwhile looks for what is archived. Whichever comes first sees
            // the other.
        }
    }

    /// Applies what a notification says to one authorization, in a write of its own.
    async fn learn_about(
        &self,
        mut authorization: Authorization,
        name: &AuthorizationName,
        learned: &AuthorizationNotice,
        archived: &Notification,
        archives: bool,
    ) -> Result<NamedAuthorization, Unfinished> {
        loop {
            let fact = self.fact(&authorization, name, learned, archived).await?;
            let notifications = if archives { vec![archived.clone()] } else { Vec::new() };
            match self.write_authorization(self.settlement(&authorization, fact, notifications)).await? {
                AuthorizationWrite::Changed(next) => {
                    info!(authorization.id = %next.id, state = %next.state, "authorization {} is {}", next.id, next.state);
                    return Ok(NamedAuthorization { authorization: *next, changed: true });
                }
                AuthorizationWrite::Unchanged => return Ok(NamedAuthorization { authorization, changed: false }),
                AuthorizationWrite::Conflict => {
                    let now = self.stored(&authorization.id).await?;
                    authorization = now.ok_or_else(|| Unfinished::Unknown(unknown(&archived.account, name)))?;
                }
            }
        }
    }

    /// Builds what is learned from a notification, with its secrets sealed for this authorization.
    async fn fact(
        &self,
        authorization: &Authorization,
        name: &AuthorizationName,
        learned: &AuthorizationNotice,
        notification: &Notification,
    ) -> Result<AuthorizationFact, Unfinished> {
        match learned {
            AuthorizationNotice::Granted { code } => {
                let ours_to_exchange = self.exchanges(&authorization.account);
                let place = SealedPlace::Code(authorization.id.clone());
                let seal = || self.context.vault.seal(&place, code.expose_secret().as_bytes());
                let sealed = ours_to_exchange.then(seal).transpose()?;
                Ok(AuthorizationFact::Granted(Code { digest: SecretDigest::of(code.expose_secret()), sealed }))
            }
            AuthorizationNotice::Issued { token } => {
                let token = self.sealed(&authorization.id, token)?;
                let source = self.source_of(authorization, &token.digest).await?;
                Ok(AuthorizationFact::Issued { token, source })
            }
            AuthorizationNotice::Cancelled { reason } => {
                let token = match name {
                    AuthorizationName::Token(digest) => Some(digest.clone()),
                    AuthorizationName::State(_) => authorization.token.as_ref().map(|token| token.digest.clone()),
                };
                let is_old = self.precedes_consent(authorization, notification).await?;
                Ok(AuthorizationFact::Cancelled { token, reason: reason.clone(), is_old })
            }
        }
    }

    /// Returns true if a notification was signed before the customer agreed to this authorization. A wallet may give
    /// the token that was cancelled then to a customer who comes back.
    ///
    /// All of these times are Antom's: no clock of ours decides. If it named no time, or nothing of the consent is
    /// archived, our times count.
    async fn precedes_consent(
        &self,
        authorization: &Authorization,
        notification: &Notification,
    ) -> Result<bool, Unfinished> {
        let (account, name) = (&authorization.account, AuthorizationName::State(authorization.auth_state.clone()));
        let archived = || self.context.store.authorization_notifications(account, &name);
        let of_consent = self.context.store_retry("looking for the consent", archived).await?;
        let signed = |archived: &Notification| archived.signed_at.unwrap_or(archived.received_at);
        let agreed_at = of_consent.iter().map(signed).min().unwrap_or(authorization.created_at);
        Ok(signed(notification) < agreed_at)
    }

    /// A token, sealed for its authorization.
    pub(super) fn sealed(&self, id: &AuthorizationId, token: &IssuedToken) -> Result<Token, VaultError> {
        let access = token.access.expose_secret();
        let seal = |place, secret: &str| self.context.vault.seal(&place, secret.as_bytes());
        let refresh = token.refresh.as_ref();
        Ok(Token {
            access: Some(seal(SealedPlace::AccessToken(id.clone()), access)?),
            refresh: refresh
                .map(|secret| seal(SealedPlace::RefreshToken(id.clone()), secret.expose_secret()))
                .transpose()?,
            expires_at: token.expires_at,
            refresh_expires_at: token.refresh_expires_at,
            issued_at: self.context.clock.now(),
            digest: SecretDigest::of(access),
        })
    }

    /// Returns `Former` for a token of this authorization that another one replaced since, else `Notified`.
    async fn source_of(&self, authorization: &Authorization, digest: &SecretDigest) -> Result<TokenSource, Unfinished> {
        let name = AuthorizationName::Token(digest.clone());
        let find = || self.context.store.authorization_find(&authorization.account, &name);
        let holders = self.context.store_retry("looking a token up", find).await?;
        let current = authorization.token.as_ref().is_some_and(|current| current.digest == *digest);
        let ours = holders.iter().any(|holder| holder.id == authorization.id);
        Ok(if ours && !current { TokenSource::Former } else { TokenSource::Notified })
    }

    pub(super) async fn stored(&self, id: &AuthorizationId) -> Result<Option<Authorization>, Unfinished> {
        let get = || self.context.store.authorization_get(id);
        Ok(self.context.store_retry("looking an authorization up", get).await?)
    }

    /// Decides on an authorization as it is stored and writes that, again for as long as it moves in between. `decide`
    /// returns `None` where there is nothing to write. Returns the authorization if that changed it.
    pub(super) async fn update(
        &self,
        id: &AuthorizationId,
        decide: impl Fn(&Authorization) -> Result<Option<AuthorizationSettlement>, Unfinished>,
    ) -> Result<Option<Authorization>, Unfinished> {
        loop {
            let settlement = self.stored(id).await?.map(|stored| decide(&stored)).transpose()?.flatten();
            let Some(settlement) = settlement else { return Ok(None) };
            match self.write_authorization(settlement).await? {
                AuthorizationWrite::Changed(next) => return Ok(Some(*next)),
                AuthorizationWrite::Unchanged => return Ok(None),
                AuthorizationWrite::Conflict => {}
            }
        }
    }

    /// Decides about a fact. The change is written only if what it was decided on still stands.
    pub(super) fn settlement(
        &self,
        authorization: &Authorization,
        fact: AuthorizationFact,
        notifications: Vec<Notification>,
    ) -> AuthorizationSettlement {
        let decision = decide(authorization, fact, self.context.clock.now());
        for refusal in decision.timeline.iter().filter(|_| decision.change.is_none()) {
            warn!(authorization.id = %authorization.id, "authorization {}: {}", authorization.id, refusal.text);
        }
        let timeline = Some((authorization.id.clone(), decision.timeline));
        AuthorizationSettlement { notifications, change: decision.change, timeline }
    }

    async fn write_authorization(&self, settlement: AuthorizationSettlement) -> Result<AuthorizationWrite, Unfinished> {
        let write = || self.context.store.authorization_settle(&settlement);
        match self.context.store_retry("writing an authorization", write).await? {
            Settled::Written => Ok(match settlement.change {
                Some(AuthorizationChange { authorization, events }) => {
                    if !events.is_empty() {
                        self.context.events_written.notify_one();
                    }
                    AuthorizationWrite::Changed(Box::new(authorization))
                }
                None => AuthorizationWrite::Unchanged,
            }),
            Settled::Conflict => Ok(AuthorizationWrite::Conflict),
            Settled::Refused(why) => Err(Unfinished::Poison(why)),
        }
    }

    /// Returns true if codes of this account are ours to exchange.
    fn exchanges(&self, account: &AccountName) -> bool {
        let account = self.context.accounts.get(Authorization::PROVIDER, account);
        account.is_some_and(|account| account.exchanges_codes())
    }

    /// Applies the notifications that came before the authorization was registered; those applied already change
    /// nothing.
    pub(super) async fn catch_up(&self, authorization: &Authorization) -> Result<(), Unfinished> {
        let (account, name) = (&authorization.account, AuthorizationName::State(authorization.auth_state.clone()));
        let archived = || self.context.store.authorization_notifications(account, &name);
        for notification in self.context.store_retry("looking for early notifications", archived).await? {
            self.learn_early(&notification).await?;
        }
        self.nothing_more_is_due(&authorization.id).await
    }

    /// Applies notifications that named a token before it was known that this authorization has it: it may be cancelled
    /// already.
    pub(crate) async fn catch_up_on_token(&self, authorization: &Authorization) -> Result<(), Unfinished> {
        let Some(token) = authorization.token.as_ref().filter(|token| token.access.is_some()) else { return Ok(()) };
        let name = AuthorizationName::Token(token.digest.clone());
        let archived = || self.context.store.authorization_notifications(&authorization.account, &name);
        for notification in self.context.store_retry("looking for early notifications", archived).await? {
            if !self.precedes_consent(authorization, &notification).await? {
                self.learn_early(&notification).await?;
            }
        }
        Ok(())
    }

    /// Clears the next check if early notifications changed nothing: there is nothing to look for again.
    async fn nothing_more_is_due(&self, id: &AuthorizationId) -> Result<(), Unfinished> {
        let cleared = |stored: &Authorization| {
            let is_due = stored.state == AuthorizationState::Awaiting && stored.next_check_at.is_some();
            let authorization = Authorization { next_check_at: None, ..stored.clone() };
            let change = is_due.then(|| AuthorizationChange { authorization, events: Vec::new() });
            Ok(change.map(|change| AuthorizationSettlement { change: Some(change), ..Default::default() }))
        };
        self.update(id, cleared).await.map(drop)
    }

    /// Learns from an early notification. A notification that cannot be used, such as one that does not open, is logged
    /// and does not hold up the others.
    async fn learn_early(&self, notification: &Notification) -> Result<(), Unfinished> {
        match self.learn(notification).await {
            Ok(_) => Ok(()),
            Err(gave_up @ (Unfinished::StoreAway | Unfinished::Stopped)) => Err(gave_up),
            Err(why) => {
                warn!(notification.id = %notification.id, "passed over an early notification: {why:?}");
                Ok(())
            }
        }
    }
}

/// An authorization that a notification named, as it now is.
struct NamedAuthorization {
    authorization: Authorization,
    changed: bool,
}

/// The result of a write.
enum AuthorizationWrite {
    Changed(Box<Authorization>),
    Unchanged,
    /// It moved on since it was read.
    Conflict,
}

/// Says which authorization nobody knows, and nothing of its token.
fn unknown(account: &AccountName, name: &AuthorizationName) -> String {
    match name {
        AuthorizationName::State(state) => {
            format!("no authorization of `{account}` is registered with auth state {state}")
        }
        AuthorizationName::Token(_) => format!("no authorization of `{account}` is known with this token"),
    }
}
