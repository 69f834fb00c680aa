//! Authorizations of Auto Debit, and the rotation of the keys that seal their tokens.

use std::collections::BTreeMap;

use jiff::Timestamp;
use payhook_schema::{AccountName, AuthState, Authorization, AuthorizationId, AuthorizationState, Provider, Wallet};
use serde::{Deserialize, Serialize};

use super::TimelineView;

/// Registers an authorization, before the customer is sent to the wallet.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationRegistration {
    pub account: AccountName,
    pub auth_state: AuthState,
    /// Antom adds wallets several times a year: a name we do not know is one of them.
    pub customer_belongs_to: Wallet,
}

/// Everything that happened to an authorization, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuthorizationTimeline {
    pub authorization_id: AuthorizationId,
    pub timeline: Vec<TimelineView>,
}

/// The progress of one request to seal everything anew.
#[derive(Debug, Serialize, Deserialize)]
pub struct RotationReport {
    /// The number of the key that everything is sealed under in the end.
    pub newest: u32,
    /// Things this request sealed anew.
    pub resealed: usize,
    /// Things that are still sealed under other keys, by the key's number.
    pub left: BTreeMap<u32, u64>,
    /// Things that no configured key opens.
    pub unopened: usize,
}

/// An authorization as the API shows it: no token, no digest of one, no code.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuthorizationView {
    pub authorization_id: AuthorizationId,
    pub provider: Provider,
    pub account: AccountName,
    pub customer_belongs_to: Wallet,
    pub state: AuthorizationState,
    pub version: i64,
    pub expires_at: Option<Timestamp>,
    pub refresh_expires_at: Option<Timestamp>,
    pub reason: Option<String>,
    pub next_check_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl AuthorizationView {
    pub(crate) fn of(authorization: &Authorization) -> Self {
        let token = authorization.token.as_ref();
        Self {
            authorization_id: authorization.id.clone(),
            provider: Authorization::PROVIDER,
            account: authorization.account.clone(),
            customer_belongs_to: authorization.wallet.clone(),
            state: authorization.state,
            version: authorization.version,
            expires_at: token.and_then(|token| token.expires_at),
            refresh_expires_at: token.and_then(|token| token.refresh_expires_at),
            reason: authorization.reason.clone(),
            next_check_at: authorization.next_check_at,
            created_at: authorization.created_at,
            updated_at: authorization.updated_at,
        }
    }
}
