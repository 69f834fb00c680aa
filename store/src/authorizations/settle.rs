//! Writes what was learned about an authorization.

use payhook_schema::{Authorization, AuthorizationId, Event, EventData, Token};

use super::sql::enter;
use super::{AuthorizationChange, AuthorizationSettlement};
use crate::Settled;
use crate::db::Conn;
use crate::db::value::json;
use crate::notifications::archive::archive;
use crate::settling::batch::{self, NotificationRow, each_once, has_nul};

pub(crate) async fn settle(on: &mut Conn<'_>, settlement: &AuthorizationSettlement) -> sqlx::Result<Settled> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    if let Some(AuthorizationChange { authorization, events }) = &settlement.change {
        if !update(on, authorization, events.len()).await? {
            return Ok(Settled::Conflict);
        }
        if let Some(token) = &authorization.token {
            name(on, authorization, token).await?;
        }
        for event in events {
            announce(on, &authorization.id, event).await?;
        }
    }
    let rows = settlement.notifications.iter().map(|notification| NotificationRow::of(None, notification, None));
    archive(on, &each_once(rows.collect()), true).await?;
    if let Some((id, entries)) = &settlement.timeline {
        let changed = settlement.change.as_ref().map(|change| &change.authorization.id);
        for entry in entries {
            enter(on, changed.unwrap_or(id), entry).await?;
        }
    }
    unit.commit().await?;
    Ok(Settled::Written)
}

/// Writes what changed, only onto the revision it was decided on; whoever claimed it has done what was to be done.
async fn update(on: &mut Conn<'_>, new: &Authorization, events: usize) -> sqlx::Result<bool> {
    let Authorization { code, token, .. } = new;
    let code_sealed = code.as_ref().and_then(|code| code.sealed.as_ref());
    let access = token.as_ref().and_then(|token| token.access.as_ref());
    let refresh = token.as_ref().and_then(|token| token.refresh.as_ref());
    let updated = on
        .query(
            "update authorizations set state = $4, version = $3, revision = revision + 1, code_digest = $5, code_key = $6, \
                code = $7, token_digest = $8, access_token_key = $9, access_token = $10, refresh_token_key = $11, \
                refresh_token = $12, expires_at = $13, refresh_expires_at = $14, issued_at = $15, reason = $16, \
                next_check_at = $17, attempts = $18, updated_at = $19, claimed_by = null, claimed_until = null \
             where id = $1 and revision = $2 and version + $20 = $3",
        )
        .bind(&new.id)
        .bind(new.revision)
        .bind(new.version)
        .bind(new.state.as_str())
        .bind(code.as_ref().map(|code| code.digest.as_str()))
        .bind(code_sealed.map(|sealed| sealed.key))
        .bind(code_sealed.map(|sealed| &sealed.bytes))
        .bind(token.as_ref().map(|token| token.digest.as_str()))
        .bind(access.map(|sealed| sealed.key))
        .bind(access.map(|sealed| &sealed.bytes))
        .bind(refresh.map(|sealed| sealed.key))
        .bind(refresh.map(|sealed| &sealed.bytes))
        .bind(token.as_ref().and_then(|token| token.expires_at))
        .bind(token.as_ref().and_then(|token| token.refresh_expires_at))
        .bind(token.as_ref().map(|token| token.issued_at))
        .bind(new.reason.as_deref())
        .bind(new.next_check_at)
        .bind(new.attempts)
        .bind(new.updated_at)
        .bind(events as i64);
    Ok(updated.execute().await? == 1)
}

/// Has the token name its authorization from now on, beside others that it names.
async fn name(on: &mut Conn<'_>, of: &Authorization, token: &Token) -> sqlx::Result<()> {
    let named = on.query(
        "insert into authorization_tokens (account, digest, authorization_id) \
         select account, $2, id from authorizations where id = $1 \
         on conflict do nothing",
    );
    named.bind(&of.id).bind(token.digest.as_str()).execute().await.map(drop)
}

async fn announce(on: &mut Conn<'_>, of: &AuthorizationId, event: &Event) -> sqlx::Result<()> {
    on.query(
        "insert into events (id, authorization_id, version, type, time, body) values ($1, $2, $3, $4, $5, $6::jsonb)",
    )
    .bind(event.id)
    .bind(of)
    .bind(event.version())
    .bind(event.event_type.as_str())
    .bind(event.time)
    .bind(json(event))
    .execute()
    .await?;
    Ok(())
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
        EventData::Authorization(data) => data.authorization_id == *id,
        EventData::Order(_) => false,
    }
}
