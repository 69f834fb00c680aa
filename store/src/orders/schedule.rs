//! Hands out the payments that are due, shared between accounts, whatever wrong clocks wrote.

use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentKey, Provider};

use super::AccountLimit;
use crate::clocks;
use crate::db::row::Row;
use crate::db::value::json;
use crate::db::{Conn, Query};
use crate::housekeeping::leases;
use crate::notifications::sql::all_providers;

/// Reads each account that has an unfinished payment with a next check, and when its first one is due. It jumps from
/// account to account in the index `payments_due`, so that the number of payments does not matter. $1 lists providers.
const ACCOUNTS: &str = "with recursive providers (provider) as (select provider from unnest($1::text[]) as k (provider)), \
    accounts (provider, account) as ( \
        select provider, (select min(account) from payments p \
            where p.provider = providers.provider and next_check_at is not null and not finished) from providers \
        union all \
        select provider, (select min(account) from payments p where p.provider = accounts.provider \
            and p.account > accounts.account and next_check_at is not null and not finished) \
        from accounts where account is not null) \
    select provider, account, (select min(next_check_at) from payments p where p.provider = accounts.provider \
        and p.account = accounts.account and next_check_at is not null and not finished) as due_at \
    from accounts where account is not null";

pub(super) async fn due(
    on: &mut Conn<'_>,
    now: Timestamp,
    hold_for: Duration,
    limit: u32,
    at_most: &[AccountLimit],
) -> sqlx::Result<Vec<PaymentKey>> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    bring_forward(on, now).await?;
    set_right(on, now, hold_for).await?;
    let accounts = on.query(ACCOUNTS).bind(all_providers()).all().await?;
    let (mut parts, mut all) = (Part::all(&accounts, now, at_most)?, Vec::new());
    while !parts.is_empty() && all.len() < limit as usize {
        let left = limit - all.len() as u32;
        for part in Part::divide(std::mem::take(&mut parts), left) {
            if all.len() >= limit as usize {
                break;
            }
            let rows = on.query(
                "select provider, account, id as payment_id, next_check_at as due_at from payments \
                 where provider = $3 and account = $4 and not finished and next_check_at <= $1 \
                 order by next_check_at limit $2 for update skip locked",
            );
            let rows = rows.bind(now).bind(part.quota).bind(part.provider).bind(&part.account);
            let taken = read(rows).await?;
            hold(on, &taken, now + hold_for).await?;
            parts.extend(part.after(taken.len()));
            all.extend(taken);
        }
    }
    unit.commit().await?;
    all.sort();
    Ok(all.into_iter().map(|(_, key)| key).collect())
}

pub(super) async fn due_late(
    on: &mut Conn<'_>,
    now: Timestamp,
    hold_for: Duration,
    limit: u32,
) -> sqlx::Result<Vec<PaymentKey>> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    let rows = on.query(
        "select provider, account, id as payment_id, next_check_at as due_at from payments \
         where next_check_at <= $1 and finished order by next_check_at limit $2 for update skip locked",
    );
    let due = read(rows.bind(now).bind(limit)).await?;
    hold(on, &due, now + hold_for).await?;
    unit.commit().await?;
    Ok(due.into_iter().map(|(_, key)| key).collect())
}

async fn read(rows: Query<'_>) -> sqlx::Result<Vec<(Timestamp, PaymentKey)>> {
    rows.all().await?.iter().map(|row| Ok((row.get("due_at")?, row.some_payment_key()?))).collect()
}

/// Leaves due payments to the hints that are made for them.
async fn hold(on: &mut Conn<'_>, due: &[(Timestamp, PaymentKey)], until: Timestamp) -> sqlx::Result<()> {
    if due.is_empty() {
        return Ok(());
    }
    let held = on.query(
        "update payments as p set next_check_at = $2 \
         from jsonb_to_recordset($1::jsonb) as k (provider text, account text, id text) \
         where p.provider = k.provider and p.id = k.id and p.account = k.account",
    );
    let keys: Vec<&PaymentKey> = due.iter().map(|(_, key)| key).collect();
    held.bind(json(&keys)).bind(until).execute().await.map(drop)
}

/// Brings checks forward where the clock went back since it was last read, in this process or an earlier one: they
/// would be late by as much.
async fn bring_forward(on: &mut Conn<'_>, now: Timestamp) -> sqlx::Result<()> {
    let latest = leases::watermark(on, clocks::LATEST).await?;
    if clocks::is_recent(latest, now) {
        return Ok(());
    }
    // Of several workers one brings them forward: it would be too far the second time.
    let noted = on.query(
        "insert into watermarks (name, at) values ($1, $2) \
         on conflict (name) do update set at = excluded.at where watermarks.at = $3",
    );
    let noted = noted.bind(clocks::LATEST).bind(now).bind(latest).execute().await?;
    let (1, Some(latest)) = (noted, latest.filter(|latest| *latest > now)) else { return Ok(()) };
    for table in [
        "update payments set next_check_at = case when next_check_at <= $2 then $1 else next_check_at - ($2 - $1) end \
         where not finished and next_check_at > $1 and next_check_at < $3",
        "update authorizations set next_check_at = case when next_check_at <= $2 then $1 \
            else next_check_at - ($2 - $1) end \
         where next_check_at > $1 and next_check_at < $3",
    ] {
        let until = clocks::later(latest, clocks::UNFINISHED_WAIT_MAX);
        on.query(table).bind(now).bind(latest).bind(until).execute().await?;
    }
    Ok(())
}

/// Has unfinished payments checked now whose schedule no right clock wrote: registered or asked about at a time that is
/// yet to come, or due later than any schedule says. Both are found by an index, and there are hardly ever any.
async fn set_right(on: &mut Conn<'_>, now: Timestamp, hold_for: Duration) -> sqlx::Result<()> {
    let claimed = clocks::longest(now, hold_for);
    for (table, until) in [
        (
            "update payments set next_check_at = $1, asked_at = $1 \
             where state in ('awaiting', 'authorized') and next_check_at > $1 and asked_at > $2",
            claimed,
        ),
        (
            "update payments set next_check_at = $1, created_at = $1 \
             where state in ('awaiting', 'authorized') and asked_at is null and next_check_at > $1 and created_at > $2",
            claimed,
        ),
        (
            "update payments set next_check_at = $1 where state in ('awaiting', 'authorized') and next_check_at > $2",
            now + clocks::UNFINISHED_WAIT_MAX,
        ),
    ] {
        on.query(table).bind(now).bind(until).execute().await?;
    }
    Ok(())
}

/// The part of one account in a sweep: take up to `quota` of its due payments, and note how many there were.
struct Part {
    provider: Provider,
    account: AccountName,
    quota: u32,
    left: u32,
}

impl Part {
    /// The parts of the accounts that have something due by `now`; `rows` are those of `accounts!`.
    fn all(rows: &[Row], now: Timestamp, at_most: &[AccountLimit]) -> sqlx::Result<Vec<Self>> {
        let mut parts = Vec::new();
        for row in rows {
            if row.get::<Timestamp>("due_at")? > now {
                continue;
            }
            let (provider, account): (Provider, AccountName) = (row.get("provider")?, row.get("account")?);
            let limit = at_most.iter().find(|limit| limit.provider == provider && limit.account == account);
            let left = limit.map_or(u32::MAX, |limit| limit.limit);
            parts.push(Self { provider, account, quota: 0, left });
        }
        parts.retain(|part| part.left > 0);
        Ok(parts)
    }

    /// Divides up to `limit` evenly. If there are more parts than that, each asks for one until the limit is reached:
    /// some may have none.
    fn divide(mut parts: Vec<Self>, limit: u32) -> Vec<Self> {
        let even = (limit / u32::try_from(parts.len()).unwrap_or(u32::MAX).max(1)).max(1);
        for part in &mut parts {
            part.quota = even.min(part.left);
        }
        parts
    }

    /// The part that is left where there may be more to take.
    fn after(mut self, taken: usize) -> Option<Self> {
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(taken);
        (taken == self.quota && self.left > 0).then_some(self)
    }
}
