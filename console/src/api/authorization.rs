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

view! {
    /// An authorization as the API shows it: no token, no digest of one, no code.
    pub struct AuthorizationView of (authorization: &Authorization) {
        authorization_id: AuthorizationId = authorization.id.clone(),
        provider: Provider = Authorization::PROVIDER,
        account: AccountName = authorization.account.clone(),
        customer_belongs_to: Wallet = authorization.wallet.clone(),
        state: AuthorizationState = authorization.state,
        version: i64 = authorization.version,
        expires_at: Option<Timestamp> = authorization.token.as_ref().and_then(|token| token.expires_at),
        refresh_expires_at: Option<Timestamp> = authorization.token.as_ref().and_then(|token| token.refresh_expires_at),
        reason: Option<String> = authorization.reason.clone(),
        next_check_at: Option<Timestamp> = authorization.next_check_at,
        created_at: Timestamp = authorization.created_at,
        updated_at: Timestamp = authorization.updated_at,
    }
}
