//! Reads the rows of an authorization, and checks what can be stored of it, alike for both databases.

use jiff::Timestamp;
use payhook_schema::{
    About, Authorization, AuthorizationId, AuthorizationName, Code, Event, NewAuthorization, Notification, Sealed,
    SecretDigest, TimelineKind, Token,
};
use serde_json::json;

use crate::batch::{self, has_nul};
use crate::columns::{Columns, some, wrong};
use crate::rows::read;
use crate::{AuthorizationChange, AuthorizationRegistered, AuthorizationSettlement, TimelineEntry, notifications};

/// The most notifications that are read back for an authorization they name: one is usual, and each is acted upon.
pub(crate) const NOTIFICATIONS_MAX: i64 = 100;

/// The columns of an authorization, as [`authorization`] reads them.
macro_rules! authorization_columns {
    () => {
        "id, account, auth_state, wallet, state, version, revision, code_digest, code_key, code, token_digest, \
         access_token_key, access_token, refresh_token_key, refresh_token, expires_at, refresh_expires_at, issued_at, \
         reason, next_check_at, cast(attempts as bigint) as attempts, created_at, updated_at"
    };
}
pub(crate) use authorization_columns;

pub(crate) fn authorization(row: &impl Columns) -> sqlx::Result<Authorization> {
    let code = match read::<SecretDigest>(row, "code_digest")? {
        Some(digest) => Some(Code { digest, sealed: sealed(row, "code_key", "code")? }),
        None => None,
    };
    let token = match read::<SecretDigest>(row, "token_digest")? {
        Some(digest) => Some(Token {
            digest,
            access: sealed(row, "access_token_key", "access_token")?,
            refresh: sealed(row, "refresh_token_key", "refresh_token")?,
            expires_at: row.time("expires_at")?,
            refresh_expires_at: row.time("refresh_expires_at")?,
            issued_at: some("issued_at", row.time("issued_at"))?,
        }),
        None => None,
    };
    Ok(Authorization {
        id: some("id", read(row, "id"))?,
        account: some("account", read(row, "account"))?,
        auth_state: some("auth_state", read(row, "auth_state"))?,
        wallet: some("wallet", read(row, "wallet"))?,
        state: some("state", read(row, "state"))?,
        version: some("version", row.int("version"))?,
        revision: some("revision", row.int("revision"))?,
        code,
        token,
        reason: row.text("reason")?,
        next_check_at: row.time("next_check_at")?,
        attempts: some("attempts", row.int("attempts"))? as i32,
        created_at: some("created_at", row.time("created_at"))?,
        updated_at: some("updated_at", row.time("updated_at"))?,
    })
}

/// Reads what is sealed in the column `bytes` under the key in the column `key`.
pub(crate) fn sealed(row: &impl Columns, key: &str, bytes: &str) -> sqlx::Result<Option<Sealed>> {
    let under = row.int(key)?.map(|under| u32::try_from(under).map_err(|error| wrong(key, error))).transpose()?;
    Ok(under.zip(row.bytes(bytes)?).map(|(key, bytes)| Sealed { key, bytes }))
}

/// Ids of the authorizations that were due, the one that waited longest first; the database returns them in any order.
pub(crate) fn due(rows: &[impl Columns]) -> sqlx::Result<Vec<AuthorizationId>> {
    let mut due = Vec::with_capacity(rows.len());
    for row in rows {
        due.push((some("due_at", row.time("due_at"))?, some("id", read::<AuthorizationId>(row, "id"))?));
    }
    due.sort();
    Ok(due.into_iter().map(|(_, id)| id).collect())
}

/// A notification as it was archived; the row was looked up by `name`.
pub(crate) fn notification(row: &impl Columns, name: &AuthorizationName) -> sqlx::Result<Notification> {
    notifications::notification(row, About::Authorization(name.clone()))
}

/// Returns the answer to registering `new` where `registered` has its id already.
pub(crate) fn again(registered: Authorization, new: &NewAuthorization) -> AuthorizationRegistered {
    let same = (&registered.account, &registered.auth_state, &registered.wallet)
        == (&new.account, &new.auth_state, &new.wallet);
    if same {
        AuthorizationRegistered::Authorization { authorization: registered, created: false, parked: false }
    } else {
        AuthorizationRegistered::Differs
    }
}

/// The entry of a registration in the history. The auth state is for the merchant and the wallet alone.
pub(crate) fn entry(new: &NewAuthorization, now: Timestamp) -> TimelineEntry {
    TimelineEntry {
        at: now,
        kind: TimelineKind::Registered,
        payment: None,
        text: format!("registered: {} under {}", new.wallet, new.account),
        detail: json!({ "account": new.account, "customer_belongs_to": new.wallet }),
    }
}

/// Returns the history entries of a settlement, and the authorization they belong to.
pub(crate) fn history(settlement: &AuthorizationSettlement) -> Option<(&AuthorizationId, &[TimelineEntry])> {
    let (id, entries) = settlement.timeline.as_ref()?;
    let changed = settlement.change.as_ref().map(|change| &change.authorization.id);
    Some((changed.unwrap_or(id), entries))
}

/// Returns the reason if a settlement can never be written, before any database sees it.
pub(crate) fn unkeepable(settlement: &AuthorizationSettlement) -> Option<String> {
    let AuthorizationSettlement { notifications, change, timeline } = settlement;
    let entries = || timeline.iter().flat_map(|(_, entries)| entries);
    let nul = notifications.iter().any(|notification| !batch::keepable(notification))
        || entries().any(batch::entry_has_nul)
        || change.as_ref().is_some_and(change_has_nul);
    if nul {
        return Some("a text has a NUL character in it".to_owned());
    }
    if entries().any(|entry| entry.payment.is_some()) {
        return Some("an entry of an authorization's history names a payment".to_owned());
    }
    change.as_ref().and_then(wrong_change)
}

fn change_has_nul(change: &AuthorizationChange) -> bool {
    let reason = change.authorization.reason.as_ref();
    reason.is_some_and(|text| has_nul(text)) || change.events.iter().any(batch::event_has_nul)
}

/// Returns the contradiction inside a change, if any, whatever the store holds.
fn wrong_change(AuthorizationChange { authorization, events }: &AuthorizationChange) -> Option<String> {
    let first = authorization.version - events.len() as i64 + 1;
    for (event, version) in events.iter().zip(first..) {
        if !is_of(event, &authorization.id) || event.version() != version {
            let (of, at, id) = (&event.subject, event.version(), &authorization.id);
            return Some(format!("event {at} of {of} is not event {version} of authorization {id}"));
        }
    }
    None
}

fn is_of(event: &Event, id: &AuthorizationId) -> bool {
    match &event.data {
        payhook_schema::EventData::Authorization(data) => data.authorization_id == *id,
        payhook_schema::EventData::Order(_) => false,
    }
}
