//! A customer's consent to be charged, its code and its tokens.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{AuthState, Wallet};

use super::{Antom, AntomHabits};
use crate::SimulatorError;
use crate::ids::Ids;

/// Wallets that give no refresh token: theirs lives long, and then the customer has to agree anew.
const WITHOUT_REFRESH: [&str; 2] = ["ZALOPAY", "PAYPAY"];

/// The result code of `applyToken` for a code or token that is not good. The documentation names it, but does not say
/// when it is returned.
const NOT_GOOD: &str = "OAUTH_FAILED";

/// A customer's consent to be charged by one wallet, from `consult` on.
pub(crate) struct Consent {
    pub(crate) auth_state: AuthState,
    pub(crate) wallet: Wallet,
    pub(crate) code: Option<AuthCode>,
    pub(crate) token: Option<TokenPair>,
    pub(crate) refreshes: u32,
    /// Set once there is no consent any more.
    pub(crate) cancelled: Option<Cancelled>,
}

pub(crate) struct Cancelled {
    /// In the customer's words.
    pub(crate) reason: Option<String>,
}

pub(crate) struct AuthCode {
    pub(crate) text: String,
    /// The number of `applyToken` calls with this code.
    pub(crate) presented: u32,
    spent: bool,
}

pub(crate) struct TokenPair {
    pub(crate) access: String,
    pub(crate) access_expires_at: Timestamp,
    pub(crate) refresh: Option<Refresh>,
}

pub(crate) struct Refresh {
    pub(crate) text: String,
    pub(crate) expires_at: Timestamp,
}

impl TokenPair {
    fn new(wallet: &Wallet, habits: AntomHabits, ids: &Ids, now: Timestamp) -> Self {
        let after = |lives: SignedDuration| now.saturating_add(lives).unwrap_or(Timestamp::MAX);
        let refresh =
            || Refresh { text: format!("28100104{}", ids.antom(now)), expires_at: after(habits.refresh_token_lives) };
        Self {
            access: format!("28100103{}", ids.antom(now)),
            access_expires_at: after(habits.access_token_lives),
            refresh: (!WITHOUT_REFRESH.contains(&wallet.as_str())).then(refresh),
        }
    }
}

impl Consent {
    /// A sample of one that has all an authorization can have, made of `name` alone.
    pub(crate) fn sample(auth_state: AuthState, wallet: Wallet, name: &str, now: Timestamp) -> Self {
        let code = AuthCode { text: format!("2810010312{name}"), presented: 0, spent: false };
        let token = TokenPair { access: format!("28100103{name}"), access_expires_at: now, refresh: None };
        let cancelled = Some(Cancelled { reason: Some("user request".to_owned()) });
        Self { auth_state, wallet, code: Some(code), token: Some(token), refreshes: 0, cancelled }
    }
}

/// Every authorization, by the merchant's name for it.
#[derive(Default)]
pub(crate) struct Consents(HashMap<AuthState, Consent>);

impl Consents {
    pub(crate) fn get_mut(&mut self, auth_state: &AuthState) -> Result<&mut Consent, SimulatorError> {
        let unknown = || {
            SimulatorError::Unknown(format!("the simulated Antom has no authorization `{auth_state}`: consult first"))
        };
        self.0.get_mut(auth_state).ok_or_else(unknown)
    }

    /// Finds the authorization that a code or refresh token belongs to; the journal names it instead of the secret.
    pub(super) fn whose(&self, code: Option<&str>, refresh: Option<&str>) -> Option<&AuthState> {
        let has = |it: &&Consent| {
            let known = it.token.as_ref().and_then(|token| token.refresh.as_ref()).map(|refresh| refresh.text.as_str());
            let known_code = it.code.as_ref().map(|code| code.text.as_str());
            (code.is_some() && known_code == code) || (refresh.is_some() && known == refresh)
        };
        self.0.values().find(has).map(|authorization| &authorization.auth_state)
    }

    /// `applyToken` with a code. A code is good once: for the one wallet it was given by, and while the customer
    /// agrees.
    ///
    /// # Errors
    /// The result code of Antom's F.
    pub(super) fn exchange(
        &mut self,
        code: &str,
        wallet: &str,
        habits: AntomHabits,
        ids: &Ids,
        now: Timestamp,
    ) -> Result<&TokenPair, &'static str> {
        let whose = self.whose(Some(code), None).cloned().ok_or(NOT_GOOD)?;
        let authorization = self.0.get_mut(&whose).ok_or(NOT_GOOD)?;
        let known = authorization.code.as_mut().ok_or(NOT_GOOD)?;
        known.presented += 1;
        if known.spent || authorization.cancelled.is_some() || authorization.wallet.as_str() != wallet {
            return Err(NOT_GOOD);
        }
        known.spent = true;
        let token = TokenPair::new(&authorization.wallet, habits, ids, now);
        Ok(authorization.token.insert(token))
    }

    /// `applyToken` with a refresh token: both tokens are replaced, and the old ones are worth nothing from then on.
    ///
    /// # Errors
    /// The result code of Antom's F.
    pub(super) fn refresh(
        &mut self,
        refresh: &str,
        wallet: &str,
        habits: AntomHabits,
        ids: &Ids,
        now: Timestamp,
    ) -> Result<&TokenPair, &'static str> {
        let whose = self.whose(None, Some(refresh)).cloned().ok_or(NOT_GOOD)?;
        let authorization = self.0.get_mut(&whose).ok_or(NOT_GOOD)?;
        let known = authorization.token.as_ref().and_then(|token| token.refresh.as_ref());
        let good = known.is_some_and(|known| now < known.expires_at);
        if !good || authorization.cancelled.is_some() || authorization.wallet.as_str() != wallet {
            return Err(NOT_GOOD);
        }
        authorization.refreshes += 1;
        let token = TokenPair::new(&authorization.wallet, habits, ids, now);
        Ok(authorization.token.insert(token))
    }
}

/// Auto Debit: what the customer does in the wallet.
impl Antom {
    /// Asks the customer, as after the merchant's call of `consult`. Replaces an existing authorization of this name.
    pub fn consult(&self, auth_state: &AuthState, wallet: &Wallet) {
        let (auth_state, wallet) = (auth_state.clone(), wallet.clone());
        let begun =
            Consent { auth_state: auth_state.clone(), wallet, code: None, token: None, refreshes: 0, cancelled: None };
        self.0.authorizations().0.insert(auth_state, begun);
    }

    /// The customer agrees. Answers with the auth code, which is good once; agreeing again makes another.
    pub fn agree(&self, auth_state: &AuthState) -> Result<String, SimulatorError> {
        let text = format!("2810010312{}", self.0.ids.antom(self.0.clock.now()));
        let mut authorizations = self.0.authorizations();
        let authorization = authorizations.get_mut(auth_state)?;
        authorization.unless_cancelled()?;
        authorization.code = Some(AuthCode { text: text.clone(), presented: 0, spent: false });
        Ok(text)
    }

    /// The wallet makes the token itself, as some do: `TOKEN_CREATED` without any exchange. Answers with the access
    /// token.
    pub fn issue_token(&self, auth_state: &AuthState) -> Result<String, SimulatorError> {
        let (now, habits) = (self.0.clock.now(), self.habits());
        let mut authorizations = self.0.authorizations();
        let authorization = authorizations.get_mut(auth_state)?;
        authorization.unless_cancelled()?;
        let token = TokenPair::new(&authorization.wallet, habits, &self.0.ids, now);
        Ok(authorization.token.insert(token).access.clone())
    }

    /// The wallet gives the customer the token they have, or had, under another authorization: `TOKEN_CREATED` without
    /// any exchange.
    pub fn share_token(&self, from: &AuthState, to: &AuthState) -> Result<(), SimulatorError> {
        self.issue_token(to)?;
        let mut authorizations = self.0.authorizations();
        let shared = authorizations.get_mut(from)?.token.as_ref().map(|token| token.access.clone());
        let shared =
            shared.ok_or_else(|| SimulatorError::NotPossible(format!("authorization `{from}` has no token")))?;
        if let Some(token) = &mut authorizations.get_mut(to)?.token {
            token.access = shared;
        }
        Ok(())
    }

    /// The customer takes the consent back: code and tokens are dead, also for other authorizations with the same
    /// token.
    pub fn revoke(&self, auth_state: &AuthState, reason: Option<&str>) -> Result<(), SimulatorError> {
        let mut authorizations = self.0.authorizations();
        let access = authorizations.get_mut(auth_state)?.token.as_ref().map(|token| token.access.clone());
        for (name, authorization) in &mut authorizations.0 {
            let has_it = authorization.token.as_ref().is_some_and(|token| Some(&token.access) == access.as_ref());
            if name == auth_state || has_it {
                authorization.cancelled = Some(Cancelled { reason: reason.map(str::to_owned) });
            }
        }
        Ok(())
    }

    /// The latest access token, if one was issued. The customer may have cancelled it since.
    pub fn access_token(&self, auth_state: &AuthState) -> Result<Option<String>, SimulatorError> {
        let mut authorizations = self.0.authorizations();
        Ok(authorizations.get_mut(auth_state)?.token.as_ref().map(|token| token.access.clone()))
    }

    /// The number of `applyToken` calls with the customer's latest code, successful or not.
    pub fn exchanges(&self, auth_state: &AuthState) -> Result<u32, SimulatorError> {
        let mut authorizations = self.0.authorizations();
        Ok(authorizations.get_mut(auth_state)?.code.as_ref().map_or(0, |code| code.presented))
    }

    /// The number of times `applyToken` replaced its tokens.
    pub fn refreshes(&self, auth_state: &AuthState) -> Result<u32, SimulatorError> {
        Ok(self.0.authorizations().get_mut(auth_state)?.refreshes)
    }

    /// The authorization in Antom's words; never a code or token.
    pub fn authorization_shown(&self, auth_state: &AuthState) -> Result<serde_json::Value, SimulatorError> {
        let mut authorizations = self.0.authorizations();
        let it = &*authorizations.get_mut(auth_state)?;
        let token = it.token.as_ref();
        let state = match it {
            Consent { cancelled: Some(_), .. } => "cancelled",
            Consent { token: Some(_), .. } => "token_issued",
            Consent { code: Some(_), .. } => "agreed",
            _ => "asked",
        };
        Ok(serde_json::json!({
            "authState": it.auth_state,
            "customerBelongsTo": it.wallet,
            "state": state,
            "exchanges": it.code.as_ref().map_or(0, |code| code.presented),
            "refreshes": it.refreshes,
            "accessTokenExpiryTime": token.map(|token| token.access_expires_at),
            "refreshTokenExpiryTime": token.and_then(|token| token.refresh.as_ref()).map(|refresh| refresh.expires_at),
        }))
    }
}

impl Consent {
    fn unless_cancelled(&self) -> Result<(), SimulatorError> {
        match self.cancelled {
            None => Ok(()),
            Some(_) => {
                let no = format!(
                    "the customer cancelled authorization `{}`: a new one wants a new `consult`",
                    self.auth_state
                );
                Err(SimulatorError::NotPossible(no))
            }
        }
    }
}
