//! Writes and reads dead letters.

use std::collections::BTreeMap;

use payhook_schema::{Currency, DeadCause, DeadLetterState, Money, OrderState, TimelineKind};
use uuid::Uuid;

use super::{Act, DeadLetter, DeadLetterFilter, DeadLetterGroup};
use crate::db::row::Row;
use crate::db::{Conn, Query};
use crate::notifications::archive::archive;
use crate::replays::sql::{TAKING_LOCK, taken_by_nobody};
use crate::settling::batch::{NotificationRow, each_once, keepable, without_nul};

/// Opens a letter that died again: what was done about the death before hides nothing. A redelivery is no newer.
const KEEP: &str = "
insert into dead_letters (id, cause, detail, provider, account, payment_id, attempts, first_failed_at, last_failed_at,
    bytes, notification_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
    -- As a repeat, it is archived under another id.
    coalesce((select n.id from notifications n where n.signed_id = $12), $11))
on conflict (id) do update
set cause = excluded.cause, detail = excluded.detail, last_failed_at = excluded.last_failed_at, state = 'open',
    attempts = least(dead_letters.attempts + excluded.attempts, 4294967295)
where dead_letters.last_failed_at < excluded.last_failed_at";

pub(super) async fn keep(on: &mut Conn<'_>, letters: &[DeadLetter]) -> sqlx::Result<()> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    archive(on, &inside(letters), false).await?;
    for letter in letters {
        let payment = letter.payment.as_ref();
        let inside = letter.notification.as_ref().filter(|inside| keepable(inside));
        on.query(KEEP)
            .bind(letter.id)
            .bind(letter.cause.as_str())
            .bind(without_nul(&letter.detail))
            .bind(payment.map(|key| key.provider).or(letter.provider))
            .bind(payment.map(|key| &key.account).or(letter.account.as_ref()))
            .bind(payment.map(|key| &key.id))
            .bind(letter.attempts)
            .bind(letter.first_failed_at)
            .bind(letter.last_failed_at)
            .bind(&letter.bytes)
            .bind(inside.map(|inside| inside.id))
            .bind(inside.and_then(|inside| inside.signed_id))
            .execute()
            .await?;
    }
    unit.commit().await
}

/// Letters `d` with the order their payment is of, where it is registered. A filter is the first seven parameters.
macro_rules! filtered {
    ($select:expr, $tail:expr) => {
        concat!(
            "select ",
            $select,
            " from dead_letters d \
              left join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
              left join orders o on o.id = p.order_id \
              where (cardinality($1::uuid[]) = 0 or d.id = any($1)) and ($2::text is null or d.cause = $2) \
                and ($3::text is null or d.provider = $3) and ($4::text is null or d.account = $4) \
                and ($5::text is null or d.state = $5) \
                and d.last_failed_at >= coalesce($6::timestamptz, timestamptz '-infinity') \
                and (d.last_failed_at, d.id) < (case when $7::uuid is null then timestamptz 'infinity' \
                    else (select b.last_failed_at from dead_letters b where b.id = $7) end, \
                    coalesce($7, '00000000-0000-0000-0000-000000000000')) ",
            $tail
        )
    };
}
pub(crate) use filtered;

/// Binds what [`filtered`] takes.
pub(crate) fn by<'c>(query: Query<'c>, filter: &DeadLetterFilter) -> Query<'c> {
    let DeadLetterFilter { ids, cause, provider, account, state, since, before, limit: _ } = filter;
    query
        .bind(ids.as_slice())
        .bind(cause.map(DeadCause::as_str))
        .bind(*provider)
        .bind(account.as_ref())
        .bind(state.map(DeadLetterState::as_str))
        .bind(*since)
        .bind(*before)
}

/// A letter but for its bytes.
macro_rules! letter_columns {
    () => {
        "d.id, d.cause, d.detail, d.provider, d.account, d.payment_id, p.order_id, d.attempts, d.first_failed_at, \
         d.last_failed_at, d.notification_id, d.state, d.note, o.state as now_state, o.amount_minor as now_amount_minor, \
         o.currency as now_currency, "
    };
}

pub(super) async fn list(on: &mut Conn<'_>, filter: &DeadLetterFilter) -> sqlx::Result<Vec<DeadLetter>> {
    let sql = filtered!(
        concat!(letter_columns!(), "''::bytea as bytes"),
        "order by d.last_failed_at desc, d.id desc limit $8"
    );
    by(on.query(sql), filter).bind(filter.limit).all().await?.iter().map(letter).collect()
}

pub(super) async fn get(on: &mut Conn<'_>, id: Uuid) -> sqlx::Result<Option<DeadLetter>> {
    let sql = concat!(
        "select ",
        letter_columns!(),
        "d.bytes from dead_letters d \
          left join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
          left join orders o on o.id = p.order_id where d.id = $1"
    );
    on.query(sql).bind(id).optional().await?.as_ref().map(letter).transpose()
}

pub(super) async fn groups(on: &mut Conn<'_>, filter: &DeadLetterFilter) -> sqlx::Result<Vec<DeadLetterGroup>> {
    let sql = filtered!(
        "d.cause, d.provider, d.account, o.state as now_state, o.amount_minor as now_amount_minor, \
         o.currency as now_currency, count(*) as letters, min(d.first_failed_at) as first_failed_at, \
         max(d.last_failed_at) as last_failed_at",
        "and d.state = 'open' group by d.cause, d.provider, d.account, o.id"
    );
    grouped(&by(on.query(sql), filter).all().await?)
}

pub(super) async fn discard(on: &mut Conn<'_>, filter: &DeadLetterFilter, act: &Act) -> sqlx::Result<u64> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    // No replay begins with a letter that is being discarded.
    on.lock(TAKING_LOCK).await?;
    let sql = filtered!(
        "d.id",
        concat!(
            "and d.state = 'open' and ",
            taken_by_nobody!("i.dead_letter_id = d.id"),
            " order by d.last_failed_at desc, d.id desc limit $8 for update of d"
        )
    );
    let chosen = by(on.query(sql), filter).bind(filter.limit).all().await?;
    let chosen: Vec<Uuid> = chosen.iter().map(|row| row.get("id")).collect::<sqlx::Result<_>>()?;
    let text = format!("discarded by {}: {}", act.who, act.reason);
    on.query(
        "insert into timeline (order_id, at, kind, provider, account, payment_id, text, detail) \
         select p.order_id, $2, $3, d.provider, d.account, d.payment_id, $4, \
            jsonb_build_object('who', $5::text, 'reason', $6::text, 'dead_letter_id', d.id) \
         from dead_letters d \
         join payments p on p.provider = d.provider and p.id = d.payment_id and p.account = d.account \
         where d.id = any($1) order by d.last_failed_at, d.id",
    )
    .bind(chosen.as_slice())
    .bind(act.at)
    .bind(TimelineKind::Operator.as_str())
    .bind(without_nul(&text))
    .bind(without_nul(&act.who))
    .bind(without_nul(&act.reason))
    .execute()
    .await?;
    on.query("update dead_letters set state = 'discarded', closed_at = $2 where id = any($1)")
        .bind(chosen.as_slice())
        .bind(act.at)
        .execute()
        .await?;
    unit.commit().await?;
    Ok(chosen.len() as u64)
}

pub(super) async fn note(on: &mut Conn<'_>, filter: &DeadLetterFilter, note: &str) -> sqlx::Result<u64> {
    let sql = concat!(
        "update dead_letters set note = nullif($9, '') where id in (",
        filtered!("d.id", "order by d.last_failed_at desc, d.id desc limit $8"),
        ")"
    );
    by(on.query(sql), filter).bind(filter.limit).bind(without_nul(note)).execute().await
}

fn letter(row: &Row) -> sqlx::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.get("id")?,
        cause: row.get("cause")?,
        detail: row.get("detail")?,
        provider: row.opt("provider")?,
        account: row.opt("account")?,
        payment: row.payment_key()?,
        order: row.opt("order_id")?,
        attempts: row.get("attempts")?,
        first_failed_at: row.get("first_failed_at")?,
        last_failed_at: row.get("last_failed_at")?,
        bytes: row.get("bytes")?,
        notification: None,
        notification_id: row.opt("notification_id")?,
        state: row.get("state")?,
        note: row.opt("note")?,
        order_now: order_now(row)?,
    })
}

/// The state and amount in `now_…`, of the order something is about, if it is registered.
fn order_now(row: &Row) -> sqlx::Result<Option<(OrderState, Money)>> {
    let Some(state) = row.opt("now_state")? else { return Ok(None) };
    Ok(Some((state, Money::new(row.get("now_amount_minor")?, row.get("now_currency")?))))
}

/// The notifications inside; one that cannot be archived is in the letter's bytes all the same.
fn inside(letters: &[DeadLetter]) -> Vec<NotificationRow<'_>> {
    let inside = letters.iter().filter_map(|letter| letter.notification.as_ref());
    each_once(inside.filter(|inside| keepable(inside)).map(|inside| NotificationRow::of(None, inside, None)).collect())
}

/// Folds rows of letters counted by group and order.
fn grouped(rows: &[Row]) -> sqlx::Result<Vec<DeadLetterGroup>> {
    let mut groups: BTreeMap<_, (DeadLetterGroup, BTreeMap<Currency, i64>)> = BTreeMap::new();
    for row in rows {
        let cause: DeadCause = row.get("cause")?;
        let (provider, account) = (row.opt("provider")?, row.opt("account")?);
        let count: u64 = row.get("letters")?;
        let first_failed_at = row.get("first_failed_at")?;
        let last_failed_at = row.get("last_failed_at")?;
        let (group, at_stake) = groups.entry((cause.as_str(), provider, account)).or_insert_with_key(|key| {
            let (_, provider, account) = key.clone();
            let (at_stake, paid_meanwhile) = (Vec::new(), 0);
            let group = DeadLetterGroup {
                cause,
                provider,
                account,
                count: 0,
                first_failed_at,
                last_failed_at,
                at_stake,
                paid_meanwhile,
            };
            (group, BTreeMap::new())
        });
        group.count += count;
        group.first_failed_at = group.first_failed_at.min(first_failed_at);
        group.last_failed_at = group.last_failed_at.max(last_failed_at);
        match order_now(row)? {
            Some((OrderState::Paid | OrderState::PartlyRefunded | OrderState::Refunded, _)) => {
                group.paid_meanwhile += count;
            }
            Some((OrderState::Pending | OrderState::Authorized | OrderState::Held, amount)) => {
                // Each order is in one row of its group. A sum nobody has is no reason to show nothing.
                let sum = at_stake.entry(amount.currency).or_default();
                *sum = sum.saturating_add(amount.amount_minor);
            }
            None => {}
        }
    }
    let with_stakes = groups.into_values().map(|(group, at_stake)| {
        let at_stake = at_stake.into_iter().map(|(currency, sum)| Money::new(sum, currency)).collect();
        DeadLetterGroup { at_stake, ..group }
    });
    let mut groups: Vec<_> = with_stakes.collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(groups)
}
