//! Registers, finds, claims, and reads authorizations.

use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{
    About, AccountName, Authorization, AuthorizationId, AuthorizationName, AuthorizationState, Code, NewAuthorization,
    Notification, Sealed, SecretDigest, TimelineKind, Token,
};
use serde_json::json;
use uuid::Uuid;

use super::AuthorizationRegistered;
use crate::db::Conn;
use crate::db::row::Row;
use crate::db::value::json as to_json;
use crate::notifications::names;
use crate::notifications::sql::notification;
use crate::timeline::merge;
use crate::{TimelineEntry, clocks};

/// The most notifications that are read back for an authorization they name: one is usual, and each is acted upon.
const NOTIFICATIONS_MAX: i64 = 100;

/// The columns of an authorization, as [`authorization`] reads them.
macro_rules! authorization_columns {
    () => {
        "id, account, auth_state, wallet, state, version, revision, code_digest, code_key, code, token_digest, \
         access_token_key, access_token, refresh_token_key, refresh_token, expires_at, refresh_expires_at, issued_at, \
         reason, next_check_at, cast(attempts as bigint) as attempts, created_at, updated_at"
    };
}

pub(super) async fn register(
    on: &mut Conn<'_>,
    new: &NewAuthorization,
    now: Timestamp,
) -> sqlx::Result<AuthorizationRegistered> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    let name = AuthorizationName::State(new.auth_state.clone());
    let created = on
        .query(
            "insert into authorizations (id, account, auth_state, wallet, state, version, revision, next_check_at, \
                attempts, created_at, updated_at) \
             values ($1, $2, $3, $4, $5, 0, 1, case when exists (select 1 from notifications n \
                where n.provider = $8 and n.account = $2 and n.names = $6) then $7::timestamptz end, 0, $7, $7) \
             on conflict do nothing",
        )
        .bind(&new.id)
        .bind(&new.account)
        .bind(new.auth_state.as_str())
        .bind(new.wallet.as_str())
        .bind(AuthorizationState::Awaiting.as_str())
        .bind(names::authorization(&name))
        .bind(now)
        .bind(Authorization::PROVIDER)
        .execute()
        .await?
        == 1;
    let registered = get(on, &new.id).await?;
    if !created {
        return match registered {
            Some(registered) => Ok(again(registered, new)),
            None => {
                let by = find(on, &new.account, &name).await?.pop().ok_or(sqlx::Error::RowNotFound)?.id;
                Ok(AuthorizationRegistered::AuthStateTaken { by })
            }
        };
    }
    // The auth state is for the merchant and the wallet alone.
    let entry = TimelineEntry {
        at: now,
        kind: TimelineKind::Registered,
        payment: None,
        text: format!("registered: {} under {}", new.wallet, new.account),
        detail: json!({ "account": new.account, "customer_belongs_to": new.wallet }),
    };
    enter(on, &new.id, &entry).await?;
    unit.commit().await?;
    let authorization = registered.ok_or(sqlx::Error::RowNotFound)?;
    let parked = authorization.next_check_at.is_some();
    Ok(AuthorizationRegistered::Authorization { authorization, created, parked })
}

/// Returns the answer to registering `new` where `registered` has its id already.
fn again(registered: Authorization, new: &NewAuthorization) -> AuthorizationRegistered {
    let same = (&registered.account, &registered.auth_state, &registered.wallet)
        == (&new.account, &new.auth_state, &new.wallet);
    if same {
        AuthorizationRegistered::Authorization { authorization: registered, created: false, parked: false }
    } else {
        AuthorizationRegistered::Differs
    }
}

pub(super) async fn get(on: &mut Conn<'_>, id: &AuthorizationId) -> sqlx::Result<Option<Authorization>> {
    let sql = concat!("select ", authorization_columns!(), " from authorizations where id = $1");
    on.query(sql).bind(id).optional().await?.as_ref().map(authorization).transpose()
}

pub(super) async fn find(
    on: &mut Conn<'_>,
    account: &AccountName,
    name: &AuthorizationName,
) -> sqlx::Result<Vec<Authorization>> {
    let sql = match name {
        AuthorizationName::State(_) => {
            concat!("select ", authorization_columns!(), " from authorizations where account = $1 and auth_state = $2")
        }
        AuthorizationName::Token(_) => concat!(
            "select ",
            authorization_columns!(),
            " from authorizations where id in \
                (select authorization_id from authorization_tokens where account = $1 and digest = $2) order by id"
        ),
    };
    on.query(sql).bind(account).bind(name.as_str()).all().await?.iter().map(authorization).collect()
}

pub(super) async fn timeline(on: &mut Conn<'_>, id: &AuthorizationId) -> sqlx::Result<Vec<TimelineEntry>> {
    // One snapshot for all three, so that no settlement is seen by half.
    let mut unit = on.begin_snapshot().await?;
    let on = &mut unit.connection();
    let written = on.query(
        "select at, kind, null::text as payment_id, text, detail from authorization_timeline \
         where authorization_id = $1 order by n",
    );
    let written = written.bind(id).all().await?;
    let notifications = on.query(
        "select n.id, null::text as payment_id, n.kind, n.idempotency_key, n.received_at, n.verified_by, n.received, \
            n.last_received_at, cast(octet_length(n.body) as bigint) as body_bytes, \
            row_number() over (partition by n.idempotency_key order by n.received_at, n.id) as nth \
         from (select account, 'state ' || auth_state as name from authorizations where id = $1 \
            union all select account, 'token ' || digest from authorization_tokens where authorization_id = $1) a \
         inner join notifications n on n.provider = $2 and n.account = a.account and n.names = a.name \
         order by n.received_at, n.id",
    );
    let notifications = notifications.bind(id).bind(Authorization::PROVIDER).all().await?;
    let published = on.query(
        "select body, seq, published_at from events where authorization_id = $1 and published_at is not null \
         order by version",
    );
    let published = published.bind(id).all().await?;
    unit.commit().await?;
    merge::merge(&notifications, &written, &published)
}

pub(super) async fn notifications(
    on: &mut Conn<'_>,
    account: &AccountName,
    name: &AuthorizationName,
) -> sqlx::Result<Vec<Notification>> {
    let rows = on.query(
        "select id, provider, account, kind, idempotency_key, received_at, signed_at, verified_by, signed_path, signed_id, \
            headers, body, sealed_with \
         from notifications where provider = $1 and account = $2 and names = $3 order by received_at, id limit $4",
    );
    let rows =
        rows.bind(Authorization::PROVIDER).bind(account).bind(names::authorization(name)).bind(NOTIFICATIONS_MAX);
    rows.all().await?.iter().map(|row| notification(row, About::Authorization(name.clone()))).collect()
}

/// Writes an entry to the history of an authorization.
pub(super) async fn enter(on: &mut Conn<'_>, id: &AuthorizationId, entry: &TimelineEntry) -> sqlx::Result<()> {
    on.query(
        "insert into authorization_timeline (authorization_id, at, kind, text, detail) \
         values ($1, $2, $3, $4, $5::jsonb)",
    )
    .bind(id)
    .bind(entry.at)
    .bind(entry.kind.as_str())
    .bind(&entry.text)
    .bind((!entry.detail.is_null()).then(|| to_json(&entry.detail)))
    .execute()
    .await?;
    Ok(())
}

pub(super) async fn claim(
    on: &mut Conn<'_>,
    id: &AuthorizationId,
    holder: Uuid,
    now: Timestamp,
    hold_for: Duration,
) -> sqlx::Result<Option<Authorization>> {
    let claimed = on.query(concat!(
        "update authorizations set claimed_by = $2, claimed_until = $4 \
         where id = $1 and next_check_at is not null \
            and (claimed_by is null or claimed_by = $2 or claimed_until <= $3 or claimed_until > $5) returning ",
        authorization_columns!()
    ));
    let claimed = claimed.bind(id).bind(holder).bind(now).bind(now + hold_for).bind(clocks::longest(now, hold_for));
    claimed.optional().await?.as_ref().map(authorization).transpose()
}

pub(super) async fn due(
    on: &mut Conn<'_>,
    now: Timestamp,
    hold_for: Duration,
    limit: u32,
) -> sqlx::Result<Vec<AuthorizationId>> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    // Written by a clock that was ahead: due now.
    on.query(
        "update authorizations set next_check_at = $1, updated_at = $1 \
         where next_check_at is not null and next_check_at > $1 and updated_at > $2",
    )
    .bind(now)
    .bind(clocks::longest(now, hold_for))
    .execute()
    .await?;
    let rows = on.query(
        "select id from authorizations where next_check_at <= $1 \
         order by next_check_at, id limit $2 for update skip locked",
    );
    let rows = rows.bind(now).bind(limit).all().await?;
    let due: Vec<AuthorizationId> = rows.iter().map(|row| row.get("id")).collect::<sqlx::Result<_>>()?;
    on.query("update authorizations set next_check_at = $2 where id = any($1)")
        .bind(due.iter().map(AuthorizationId::as_str).collect::<Vec<_>>())
        .bind(now + hold_for)
        .execute()
        .await?;
    unit.commit().await?;
    Ok(due)
}

fn authorization(row: &Row) -> sqlx::Result<Authorization> {
    let code = match row.opt::<SecretDigest>("code_digest")? {
        Some(digest) => Some(Code { digest, sealed: sealed(row, "code_key", "code")? }),
        None => None,
    };
    let token = match row.opt::<SecretDigest>("token_digest")? {
        Some(digest) => Some(Token {
            digest,
            access: sealed(row, "access_token_key", "access_token")?,
            refresh: sealed(row, "refresh_token_key", "refresh_token")?,
            expires_at: row.opt("expires_at")?,
            refresh_expires_at: row.opt("refresh_expires_at")?,
            issued_at: row.get("issued_at")?,
        }),
        None => None,
    };
    Ok(Authorization {
        id: row.get("id")?,
        account: row.get("account")?,
        auth_state: row.get("auth_state")?,
        wallet: row.get("wallet")?,
        state: row.get("state")?,
        version: row.get("version")?,
        revision: row.get("revision")?,
        code,
        token,
        reason: row.opt("reason")?,
        next_check_at: row.opt("next_check_at")?,
        attempts: row.get("attempts")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

/// Reads what is sealed in the column `bytes` under the key in the column `key`.
fn sealed(row: &Row, key: &str, bytes: &str) -> sqlx::Result<Option<Sealed>> {
    Ok(row.opt(key)?.zip(row.opt(bytes)?).map(|(key, bytes)| Sealed { key, bytes }))
}
