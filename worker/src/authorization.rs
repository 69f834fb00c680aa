//! A customer's consent to be charged: from notifications, believed on their signature, and from calls of ours that
//! exchange a code or refresh a token. All that is learned takes one way: decide on what is stored, write it if that
//! still stands, else start again.

use std::sync::Arc;

use payhook_provider::{AuthorizationNotice, IssuedToken, authorization_in};
use payhook_schema::{
    About, AccountName, Authorization, AuthorizationId, AuthorizationName, AuthorizationState, Because, Code, Hint,
    Notification, SealedPlace, SecretDigest, Token,
};
use payhook_store::{AuthorizationChange, AuthorizationSettlement, Settled};
use payhook_vault::VaultError;
use secrecy::ExposeSecret;
use tracing::{error, info, warn};

use crate::class::Class;
use crate::flights::InHand;
use crate::outcome::{Failure, Making};
use crate::patience::GaveUp;
use crate::worker::Context;
use crate::writer;

mod decide;
mod tend;

use decide::{Telling, Told, decide};
pub(crate) use tend::Tended;

/// The reason why something about an authorization was not learned.
#[derive(Debug)]
pub(crate) enum Unlearned {
    /// It is not registered, or its token is not known yet.
    Unknown(String),
    /// We cannot keep its secrets: a person must mend the configuration.
    Vault(VaultError),
    /// The store can never keep it.
    Refused(String),
    Store(GaveUp),
}

impl From<GaveUp> for Unlearned {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::Refused(why) => Self::Refused(why),
            gave_up => Self::Store(gave_up),
        }
    }
}

impl From<VaultError> for Unlearned {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

/// Deals with one delivery about an authorization.
pub(crate) async fn settle(context: Arc<Context>, in_hand: InHand) {
    let learned = match in_hand.delivery.envelope.as_ref().map(|envelope| &envelope.hint) {
        Ok(Hint::Notification(it)) => context.learn_from(it).await,
        Ok(Hint::Tend { authorization, because }) => context.tend(authorization, *because).await,
        Ok(Hint::Ask { .. } | Hint::Release { .. }) | Err(_) => return,
    };
    let making = context.making();
    let outcome = match learned {
        Ok(Learned { again, word }) => {
            // A graceful stop waits for what was begun, too: a code that was exchanged must be kept.
            let _begun = context.in_hand.token();
            context.write(Making::done(in_hand, word)).await;
            for id in again {
                context.take_next_step(&id).await;
            }
            return;
        }
        Err(Unlearned::Unknown(what)) => making.parked(None, what, vec![in_hand]),
        Err(Unlearned::Vault(why)) => {
            error!("a notification about an authorization cannot be dealt with: {why}");
            let class = Class::Misconfigured;
            making.not_found_out(in_hand, &Failure { class, detail: why.to_string() }, false)
        }
        Err(Unlearned::Refused(why)) => making.poison(in_hand, why),
        Err(Unlearned::Store(GaveUp::Stopped)) => return,
        Err(Unlearned::Store(GaveUp::TooLong | GaveUp::Refused(_))) => {
            return writer::go_round(&context, vec![in_hand]).await;
        }
    };
    context.write(outcome).await;
}

/// The result of a delivery, and the authorizations whose next step is due now.
pub(crate) struct Learned {
    again: Vec<AuthorizationId>,
    word: &'static str,
}

impl Context {
    /// Learns from a delivery, and from what was archived before the authorizations it is about had their tokens.
    ///
    /// The second is done for a repeat as well: the worker that took the delivery first may have died before that.
    async fn learn_from(&self, notification: &Notification) -> Result<Learned, Unlearned> {
        let Some(touched) = self.learn(notification).await? else {
            return Ok(Learned { again: Vec::new(), word: "kept" });
        };
        let mut again = Vec::new();
        for Touched { authorization, changed } in &touched {
            self.catch_up_on_token(authorization).await?;
            let is_due = authorization.next_check_at.is_some_and(|at| at <= self.clock.now());
            again.extend((*changed && is_due).then(|| authorization.id.clone()));
        }
        let word = if touched.iter().any(|touched| touched.changed) { "applied" } else { "unchanged" };
        Ok(Learned { again, word })
    }

    /// Reads a notification, archives it, and applies what it says to each authorization that it names; nothing where its kind is one we
    /// know nothing of.
    async fn learn(&self, notification: &Notification) -> Result<Option<Vec<Touched>>, Unlearned> {
        let About::Authorization(name) = &notification.about else {
            unreachable!("only notifications about authorizations come here");
        };
        let body = self.vault.open_body(notification)?;
        let mut archived = notification.clone();
        self.vault.seal_body(&mut archived);
        let account = &notification.account;
        let Some(said) = authorization_in(notification, &body) else {
            let kept = AuthorizationSettlement { notifications: vec![archived], ..Default::default() };
            self.patiently("archiving", || self.store.authorization_settle(&kept)).await?;
            return Ok(None);
        };
        let mut touched: Vec<Touched> = Vec::new();
        loop {
            let find = || self.store.authorization_find(account, name);
            let named = self.patiently("looking an authorization up", find).await?;
            let is_new = |it: &Authorization| touched.iter().all(|touched| touched.authorization.id != it.id);
            let new: Vec<Authorization> = named.into_iter().filter(is_new).collect();
            match (new.is_empty(), touched.is_empty()) {
                (true, true) => return Err(Unlearned::Unknown(unknown(account, name))),
                (true, false) => return Ok(Some(touched)),
                (false, _) => {}
            }
            for authorization in new {
                // With the first write: a repeat is counted there, and counts once.
                let archives = touched.is_empty();
                touched.push(self.learn_about(authorization, name, &said, &archived, archives).await?);
            }
            // Once more: one that is issued the token meanwhile looks for what is archived. Whichever comes first sees the other.
        }
    }

    /// Applies what a notification says to one authorization, in a write of its own.
    async fn learn_about(
        &self,
        mut authorization: Authorization,
        name: &AuthorizationName,
        said: &AuthorizationNotice,
        archived: &Notification,
        archives: bool,
    ) -> Result<Touched, Unlearned> {
        loop {
            let told = self.told(&authorization, name, said, archived).await?;
            let notifications = if archives { vec![archived.clone()] } else { Vec::new() };
            match self.apply(&authorization, told, notifications).await? {
                Applied::Changed(next) => {
                    info!(authorization.id = %next.id, state = %next.state, "authorization {} is {}", next.id, next.state);
                    return Ok(Touched { authorization: *next, changed: true });
                }
                Applied::Unchanged => return Ok(Touched { authorization, changed: false }),
                Applied::Conflict => {
                    let get = || self.store.authorization_get(&authorization.id);
                    let now = self.patiently("reading an authorization again", get).await?;
                    authorization = now.ok_or_else(|| Unlearned::Unknown(unknown(&archived.account, name)))?;
                }
            }
        }
    }

    /// Builds what is learned from a notification, with its secrets sealed for this authorization.
    async fn told(
        &self,
        authorization: &Authorization,
        name: &AuthorizationName,
        said: &AuthorizationNotice,
        notification: &Notification,
    ) -> Result<Told, Unlearned> {
        match said {
            AuthorizationNotice::Granted { code } => {
                let ours_to_exchange = self.exchanges(&authorization.account);
                let place = SealedPlace::Code(authorization.id.clone());
                let seal = || self.vault.seal(&place, code.expose_secret().as_bytes());
                let sealed = ours_to_exchange.then(seal).transpose()?;
                Ok(Told::Granted(Code { digest: SecretDigest::of(code.expose_secret()), sealed }))
            }
            AuthorizationNotice::Issued { token } => {
                let token = self.sealed(&authorization.id, token)?;
                let told = self.telling(authorization, &token.digest).await?;
                Ok(Told::Issued { token, told })
            }
            AuthorizationNotice::Cancelled { reason } => {
                let token = match name {
                    AuthorizationName::Token(digest) => Some(digest.clone()),
                    AuthorizationName::State(_) => authorization.token.as_ref().map(|token| token.digest.clone()),
                };
                let is_old = self.precedes_consent(authorization, notification).await?;
                Ok(Told::Cancelled { token, reason: reason.clone(), is_old })
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
    ) -> Result<bool, Unlearned> {
        let (account, name) = (&authorization.account, AuthorizationName::State(authorization.auth_state.clone()));
        let archived = || self.store.authorization_notifications(account, &name);
        let of_consent = self.patiently("looking for the consent", archived).await?;
        let signed = |it: &Notification| it.signed_at.unwrap_or(it.received_at);
        let agreed_at = of_consent.iter().map(signed).min().unwrap_or(authorization.created_at);
        Ok(signed(notification) < agreed_at)
    }

    /// A token, sealed for its authorization.
    fn sealed(&self, id: &AuthorizationId, token: &IssuedToken) -> Result<Token, VaultError> {
        let access = token.access.expose_secret();
        let seal = |place, secret: &str| self.vault.seal(&place, secret.as_bytes());
        let refresh = token.refresh.as_ref();
        Ok(Token {
            access: Some(seal(SealedPlace::AccessToken(id.clone()), access)?),
            refresh: refresh.map(|it| seal(SealedPlace::RefreshToken(id.clone()), it.expose_secret())).transpose()?,
            expires_at: token.expires_at,
            refresh_expires_at: token.refresh_expires_at,
            issued_at: self.clock.now(),
            digest: SecretDigest::of(access),
        })
    }

    /// Returns `Former` for a token of this authorization that another one replaced since, else `Notified`.
    async fn telling(&self, authorization: &Authorization, digest: &SecretDigest) -> Result<Telling, Unlearned> {
        let name = AuthorizationName::Token(digest.clone());
        let find = || self.store.authorization_find(&authorization.account, &name);
        let holders = self.patiently("looking a token up", find).await?;
        let current = authorization.token.as_ref().is_some_and(|current| current.digest == *digest);
        let ours = holders.iter().any(|holder| holder.id == authorization.id);
        Ok(if ours && !current { Telling::Former } else { Telling::Notified })
    }

    /// Decides and writes; a change is written only if what it was decided on still stands.
    async fn apply(
        &self,
        authorization: &Authorization,
        told: Told,
        notifications: Vec<Notification>,
    ) -> Result<Applied, Unlearned> {
        let decision = decide(authorization, told, self.clock.now());
        for refusal in decision.timeline.iter().filter(|_| decision.change.is_none()) {
            warn!(authorization.id = %authorization.id, "authorization {}: {}", authorization.id, refusal.text);
        }
        let settlement = AuthorizationSettlement {
            notifications,
            change: decision.change,
            timeline: Some((authorization.id.clone(), decision.timeline)),
        };
        self.write_authorization(settlement).await
    }

    async fn write_authorization(&self, settlement: AuthorizationSettlement) -> Result<Applied, Unlearned> {
        let write = || self.store.authorization_settle(&settlement);
        match self.patiently("writing an authorization", write).await? {
            Settled::Written => Ok(match settlement.change {
                Some(AuthorizationChange { authorization, events }) => {
                    if !events.is_empty() {
                        self.events_written.notify_one();
                    }
                    Applied::Changed(Box::new(authorization))
                }
                None => Applied::Unchanged,
            }),
            Settled::Conflict => Ok(Applied::Conflict),
            Settled::Refused(why) => Err(Unlearned::Refused(why)),
        }
    }

    /// Returns true if codes of this account are ours to exchange.
    fn exchanges(&self, account: &AccountName) -> bool {
        let account = self.accounts.get(Authorization::PROVIDER, account);
        account.is_some_and(|account| account.exchanges_codes())
    }

    /// A hint to see to an authorization.
    async fn tend(&self, id: &AuthorizationId, because: Because) -> Result<Learned, Unlearned> {
        let get = || self.store.authorization_get(id);
        let learned = |again| Ok(Learned { again, word: "tended" });
        let Some(authorization) = self.patiently("looking an authorization up", get).await? else {
            return learned(Vec::new());
        };
        // One that still waits is only ever due because notifications came before it was registered.
        if because == Because::Registered || authorization.state == AuthorizationState::Awaiting {
            self.catch_up(&authorization).await?;
        }
        // The worker that stored the token may have died before that.
        if let Some(now) = self.patiently("looking an authorization up", get).await? {
            self.catch_up_on_token(&now).await?;
        }
        learned(vec![id.clone()])
    }

    /// Applies the notifications that came before the authorization was registered; those applied already change nothing.
    async fn catch_up(&self, authorization: &Authorization) -> Result<(), Unlearned> {
        let (account, name) = (&authorization.account, AuthorizationName::State(authorization.auth_state.clone()));
        let archived = || self.store.authorization_notifications(account, &name);
        for notification in self.patiently("looking for early notifications", archived).await? {
            self.learn_early(&notification).await?;
        }
        self.nothing_more_is_due(&authorization.id).await
    }

    /// Applies notifications that named a token before it was known that this authorization has it: it may be cancelled already.
    pub(crate) async fn catch_up_on_token(&self, authorization: &Authorization) -> Result<(), Unlearned> {
        let Some(token) = authorization.token.as_ref().filter(|token| token.access.is_some()) else { return Ok(()) };
        let name = AuthorizationName::Token(token.digest.clone());
        let archived = || self.store.authorization_notifications(&authorization.account, &name);
        for notification in self.patiently("looking for early notifications", archived).await? {
            if !self.precedes_consent(authorization, &notification).await? {
                self.learn_early(&notification).await?;
            }
        }
        Ok(())
    }

    /// Clears the next check if early notifications changed nothing: there is nothing to look for again.
    async fn nothing_more_is_due(&self, id: &AuthorizationId) -> Result<(), Unlearned> {
        loop {
            let get = || self.store.authorization_get(id);
            let Some(now) = self.patiently("looking an authorization up", get).await? else { return Ok(()) };
            if now.state != AuthorizationState::Awaiting || now.next_check_at.is_none() {
                return Ok(());
            }
            let change =
                AuthorizationChange { authorization: Authorization { next_check_at: None, ..now }, events: Vec::new() };
            let settlement = AuthorizationSettlement { change: Some(change), ..AuthorizationSettlement::default() };
            if !matches!(self.write_authorization(settlement).await?, Applied::Conflict) {
                return Ok(());
            }
        }
    }

    /// Learns from an early notification. A notification that cannot be used, such as one that does not open, is logged
    /// and does not hold up the others.
    async fn learn_early(&self, notification: &Notification) -> Result<(), Unlearned> {
        match self.learn(notification).await {
            Ok(_) => Ok(()),
            Err(Unlearned::Store(gave_up)) => Err(Unlearned::Store(gave_up)),
            Err(unlearned) => {
                warn!(notification.id = %notification.id, "passed over an early notification: {unlearned:?}");
                Ok(())
            }
        }
    }
}

/// An authorization that a notification named, as it now is.
struct Touched {
    authorization: Authorization,
    changed: bool,
}

/// The result of a decision.
pub(crate) enum Applied {
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
