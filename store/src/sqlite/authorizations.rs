use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{
    AccountName, Authorization, AuthorizationId, AuthorizationName, AuthorizationState, Event, NewAuthorization,
    Notification, Token,
};
use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

use super::settle::archive;
use crate::authorizations::{self, NOTIFICATIONS_MAX, authorization, authorization_columns};
use crate::batch::{NotificationRow, each_once, json};
use crate::columns::micros;
use crate::{
    AuthorizationChange, AuthorizationRegistered, AuthorizationSettlement, Settled, TimelineEntry, clocks, names,
    timeline,
};

pub(super) async fn register(
    on: &mut SqliteConnection,
    new: &NewAuthorization,
    now: Timestamp,
) -> sqlx::Result<AuthorizationRegistered> {
    let name = AuthorizationName::State(new.auth_state.clone());
    let created = sqlx::query(
        "insert into authorizations (id, account, auth_state, wallet, state, version, revision, next_check_at, attempts, \
            created_at, updated_at) \
         values (?1, ?2, ?3, ?4, ?5, 0, 1, case when exists (select 1 from notifications n \
            where n.provider = ?8 and n.account = ?2 and n.names = ?6) then ?7 end, 0, ?7, ?7) \
         on conflict do nothing",
    )
    .bind(new.id.as_str())
    .bind(new.account.as_str())
    .bind(new.auth_state.as_str())
    .bind(new.wallet.as_str())
    .bind(AuthorizationState::Awaiting.as_str())
    .bind(names::authorization(&name))
    .bind(micros(now))
    .bind(Authorization::PROVIDER.as_str())
    .execute(&mut *on)
    .await?
    .rows_affected()
        == 1;
    let registered = get(on, &new.id).await?;
    if !created {
        return match registered {
            Some(registered) => Ok(authorizations::again(registered, new)),
            None => {
                let by = find(on, &new.account, &name).await?.pop().ok_or(sqlx::Error::RowNotFound)?.id;
                Ok(AuthorizationRegistered::AuthStateTaken { by })
            }
        };
    }
    tell(on, &new.id, &authorizations::entry(new, now)).await?;
    let authorization = registered.ok_or(sqlx::Error::RowNotFound)?;
    let parked = authorization.next_check_at.is_some();
    Ok(AuthorizationRegistered::Authorization { authorization, created, parked })
}

pub(super) async fn get(on: &mut SqliteConnection, id: &AuthorizationId) -> sqlx::Result<Option<Authorization>> {
    let row = sqlx::query(concat!("select ", authorization_columns!(), " from authorizations where id = ?1"))
        .bind(id.as_str())
        .fetch_optional(on)
        .await?;
    row.as_ref().map(authorization).transpose()
}

pub(super) async fn find(
    on: &mut SqliteConnection,
    account: &AccountName,
    name: &AuthorizationName,
) -> sqlx::Result<Vec<Authorization>> {
    let sql = match name {
        AuthorizationName::State(_) => {
            concat!("select ", authorization_columns!(), " from authorizations where account = ?1 and auth_state = ?2")
        }
        AuthorizationName::Token(_) => concat!(
            "select ",
            authorization_columns!(),
            " from authorizations where id in \
                (select authorization_id from authorization_tokens where account = ?1 and digest = ?2) order by id"
        ),
    };
    let rows = sqlx::query(sql).bind(account.as_str()).bind(name.as_str()).fetch_all(on).await?;
    rows.iter().map(authorization).collect()
}

pub(super) async fn timeline(on: &mut SqliteConnection, id: &AuthorizationId) -> sqlx::Result<Vec<TimelineEntry>> {
    // One snapshot for all three, so that no settlement is seen by half.
    let mut transaction = on.begin().await?;
    let written = sqlx::query(
        "select at, kind, null as payment_id, text, detail from authorization_timeline \
         where authorization_id = ?1 order by n",
    )
    .bind(id.as_str())
    .fetch_all(&mut *transaction)
    .await?;
    let notifications = sqlx::query(
        "select n.id, null as payment_id, n.kind, n.idempotency_key, n.received_at, n.verified_by, n.received, n.last_received_at, \
            length(n.body) as body_bytes, \
            row_number() over (partition by n.idempotency_key order by n.received_at, n.id) as nth \
         from (select account, 'state ' || auth_state as name from authorizations where id = ?1 \
            union all select account, 'token ' || digest from authorization_tokens where authorization_id = ?1) a \
         cross join notifications n on n.provider = ?2 and n.account = a.account and n.names = a.name \
         order by n.received_at, n.id",
    )
    .bind(id.as_str())
    .bind(Authorization::PROVIDER.as_str())
    .fetch_all(&mut *transaction)
    .await?;
    let published = sqlx::query(
        "select body, seq, published_at from events where authorization_id = ?1 and published_at is not null \
         order by version",
    )
    .bind(id.as_str())
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    timeline::merge(&notifications, &written, &published)
}

pub(super) async fn notifications(
    on: &mut SqliteConnection,
    account: &AccountName,
    name: &AuthorizationName,
) -> sqlx::Result<Vec<Notification>> {
    let rows = sqlx::query(
        "select id, provider, account, kind, idempotency_key, received_at, signed_at, verified_by, signed_path, signed_id, headers, \
            body, sealed_with \
         from notifications where provider = ?1 and account = ?2 and names = ?3 order by received_at, id limit ?4",
    )
    .bind(Authorization::PROVIDER.as_str())
    .bind(account.as_str())
    .bind(names::authorization(name))
    .bind(NOTIFICATIONS_MAX)
    .fetch_all(on)
    .await?;
    rows.iter().map(|row| authorizations::notification(row, name)).collect()
}

pub(super) async fn settle(on: &mut SqliteConnection, settlement: &AuthorizationSettlement) -> sqlx::Result<Settled> {
    if let Some(AuthorizationChange { authorization, events }) = &settlement.change {
        if !moved(on, authorization, events.len()).await? {
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
    if let Some((id, entries)) = authorizations::history(settlement) {
        for entry in entries {
            tell(on, id, entry).await?;
        }
    }
    Ok(Settled::Written)
}

/// Writes what changed, only onto the revision it was decided on; whoever claimed it has done what was to be done.
async fn moved(on: &mut SqliteConnection, new: &Authorization, events: usize) -> sqlx::Result<bool> {
    let Authorization { code, token, .. } = new;
    let code_sealed = code.as_ref().and_then(|code| code.sealed.as_ref());
    let access = token.as_ref().and_then(|token| token.access.as_ref());
    let refresh = token.as_ref().and_then(|token| token.refresh.as_ref());
    let moved = sqlx::query(
        "update authorizations set state = ?4, version = ?3, revision = revision + 1, code_digest = ?5, code_key = ?6, \
            code = ?7, token_digest = ?8, access_token_key = ?9, access_token = ?10, refresh_token_key = ?11, \
            refresh_token = ?12, expires_at = ?13, refresh_expires_at = ?14, issued_at = ?15, reason = ?16, \
            next_check_at = ?17, attempts = ?18, updated_at = ?19, claimed_by = null, claimed_until = null \
         where id = ?1 and revision = ?2 and version + ?20 = ?3",
    )
    .bind(new.id.as_str())
    .bind(new.revision)
    .bind(new.version)
    .bind(new.state.as_str())
    .bind(code.as_ref().map(|code| code.digest.as_str()))
    .bind(code_sealed.map(|sealed| i64::from(sealed.key)))
    .bind(code_sealed.map(|sealed| &sealed.bytes))
    .bind(token.as_ref().map(|token| token.digest.as_str()))
    .bind(access.map(|sealed| i64::from(sealed.key)))
    .bind(access.map(|sealed| &sealed.bytes))
    .bind(refresh.map(|sealed| i64::from(sealed.key)))
    .bind(refresh.map(|sealed| &sealed.bytes))
    .bind(token.as_ref().and_then(|token| token.expires_at).map(micros))
    .bind(token.as_ref().and_then(|token| token.refresh_expires_at).map(micros))
    .bind(token.as_ref().map(|token| micros(token.issued_at)))
    .bind(&new.reason)
    .bind(new.next_check_at.map(micros))
    .bind(new.attempts)
    .bind(micros(new.updated_at))
    .bind(events as i64)
    .execute(on)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Has the token name its authorization from now on, beside others that it names.
async fn name(on: &mut SqliteConnection, of: &Authorization, token: &Token) -> sqlx::Result<()> {
    sqlx::query(
        "insert into authorization_tokens (account, digest, authorization_id) \
         select account, ?2, id from authorizations where id = ?1 \
         on conflict do nothing",
    )
    .bind(of.id.as_str())
    .bind(token.digest.as_str())
    .execute(on)
    .await?;
    Ok(())
}

async fn announce(on: &mut SqliteConnection, of: &AuthorizationId, event: &Event) -> sqlx::Result<()> {
    sqlx::query("insert into events (id, authorization_id, version, type, time, body) values (?1, ?2, ?3, ?4, ?5, ?6)")
        .bind(event.id.to_string())
        .bind(of.as_str())
        .bind(event.version())
        .bind(event.event_type.as_str())
        .bind(micros(event.time))
        .bind(json(event))
        .execute(on)
        .await?;
    Ok(())
}

async fn tell(on: &mut SqliteConnection, id: &AuthorizationId, entry: &TimelineEntry) -> sqlx::Result<()> {
    let detail = (!entry.detail.is_null()).then(|| json(&entry.detail));
    sqlx::query(
        "insert into authorization_timeline (authorization_id, at, kind, text, detail) values (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(id.as_str())
    .bind(micros(entry.at))
    .bind(entry.kind.as_str())
    .bind(&entry.text)
    .bind(detail)
    .execute(on)
    .await?;
    Ok(())
}

pub(super) async fn claim(
    on: &mut SqliteConnection,
    id: &AuthorizationId,
    holder: Uuid,
    now: Timestamp,
    hold_for: Duration,
) -> sqlx::Result<Option<Authorization>> {
    let row = sqlx::query(concat!(
        "update authorizations set claimed_by = ?2, claimed_until = ?4 \
         where id = ?1 and next_check_at is not null \
            and (claimed_by is null or claimed_by = ?2 or claimed_until <= ?3 or claimed_until > ?5) returning ",
        authorization_columns!()
    ))
    .bind(id.as_str())
    .bind(holder.to_string())
    .bind(micros(now))
    .bind(micros(now + hold_for))
    .bind(micros(clocks::longest(now, hold_for)))
    .fetch_optional(on)
    .await?;
    row.as_ref().map(authorization).transpose()
}

pub(super) async fn due(
    on: &mut SqliteConnection,
    now: Timestamp,
    hold_for: Duration,
    limit: u32,
) -> sqlx::Result<Vec<AuthorizationId>> {
    // Written by a clock that was ahead: due now.
    sqlx::query(
        "update authorizations set next_check_at = ?1, updated_at = ?1 \
         where next_check_at is not null and next_check_at > ?1 and updated_at > ?2",
    )
    .bind(micros(now))
    .bind(micros(clocks::longest(now, hold_for)))
    .execute(&mut *on)
    .await?;
    let rows = sqlx::query(
        "select id, next_check_at as due_at from authorizations where next_check_at <= ?1 \
         order by next_check_at limit ?2",
    )
    .bind(micros(now))
    .bind(i64::from(limit))
    .fetch_all(&mut *on)
    .await?;
    let due = authorizations::due(&rows)?;
    sqlx::query("update authorizations set next_check_at = ?2 where id in (select value from json_each(?1))")
        .bind(json(&due))
        .bind(micros(now + hold_for))
        .execute(on)
        .await?;
    Ok(due)
}
