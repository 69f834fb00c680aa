//! Writes a wave to SQLite: a statement a table.

use std::collections::HashMap;

use serde::Serialize;

use super::batch::{Batch, ChangeRow};
use crate::db::Conn;
use crate::db::value::json;
use crate::notifications::archive::archive;

// Rows come as one JSON array per table: through sqlx a statement costs more than the row it writes, so a batch of 32
// is written in as many statements as one. `jsonb_each` and not `json_each`, which would print each row anew for every
// column that is taken out of it.

/// An order moves only from the revision its change was decided on.
const MOVE: &str = "
update orders as o
set state = c.value ->> 'state', captured_minor = c.value ->> 'captured', refunded_minor = c.value ->> 'refunded',
    version = c.value ->> 'version', holds = c.value ->> 'holds', released = c.value ->> 'released',
    revision = o.revision + 1, updated_at = c.value ->> 'updated_at'
from jsonb_each($1) c
where o.id = c.value ->> 'order_id' and o.revision = c.value ->> 'revision'
    and o.version + (c.value ->> 'events') = c.value ->> 'version'
returning id";

const PAY: &str = "
update payments as p
set state = c.value ->> 'payment_state', captured_minor = c.value ->> 'payment_captured',
    refunded_minor = c.value ->> 'payment_refunded', currency = c.value ->> 'payment_currency',
    provider_reference = c.value ->> 'provider_reference', reason = c.value ->> 'reason',
    asked_at = coalesce(max(p.asked_at, c.value ->> 'asked_at'), p.asked_at, c.value ->> 'asked_at'),
    next_check_at = c.value ->> 'next_check_at', checks = c.value ->> 'checks', final_at = c.value ->> 'final_at',
    finished = c.value ->> 'finished'
from jsonb_each($1) c
where p.provider = c.value ->> 'provider' and p.id = c.value ->> 'payment_id' and p.account = c.value ->> 'account'";

/// If another answer was written since this one was compared, that one's schedule stays.
const CHECK: &str = "
update payments as p
set asked_at = coalesce(max(p.asked_at, c.value ->> 'asked_at'), p.asked_at, c.value ->> 'asked_at'),
    next_check_at = iif(c.value ->> 'asked_at' is null or p.asked_at is c.value ->> 'asked_before',
        c.value ->> 'next_check_at', p.next_check_at),
    checks = iif(c.value ->> 'asked_at' is null or p.asked_at is c.value ->> 'asked_before',
        c.value ->> 'checks', p.checks)
from jsonb_each($1) c
where p.provider = c.value ->> 'provider' and p.id = c.value ->> 'payment_id' and p.account = c.value ->> 'account'";

/// Links notifications that are of no payment yet to the payment they turned out to be about.
const LINK: &str = "
update notifications as n set payment_id = l.value ->> 'link'
from jsonb_each($1) l
where n.id in (l.value ->> 'id', (select k.id from notifications k where k.signed_id = l.value ->> 'signed_id'))
    and n.payment_id is null";

/// From now on, somebody looks for the payment's refunds and disputes.
const MARK: &str = "
update payments as p set has_refunds_or_disputes = 1
from jsonb_each($1) r
where p.provider = r.value ->> 'provider' and p.id = r.value ->> 'payment_id' and p.account = r.value ->> 'account'";

/// A refund that is there of another payment hits another unique key than the one below, and is refused.
const REFUND: &str = "
insert into refunds (provider, account, payment_id, id, provider_reference, state, amount_minor, currency, voided, reason,
    occurred_at)
select value ->> 'provider', value ->> 'account', value ->> 'payment_id', value ->> 'id', value ->> 'provider_reference',
    value ->> 'state', value ->> 'amount_minor', value ->> 'currency', value ->> 'voided', value ->> 'reason',
    value ->> 'occurred_at'
from jsonb_each($1) where true order by key
on conflict (provider, payment_id, account, id) do update
set provider_reference = excluded.provider_reference, state = excluded.state, amount_minor = excluded.amount_minor,
    currency = excluded.currency, voided = excluded.voided, reason = excluded.reason, occurred_at = excluded.occurred_at";

const DISPUTE: &str = "
insert into disputes (provider, account, payment_id, id, state, amount_minor, currency, reason, answer_by, occurred_at)
select value ->> 'provider', value ->> 'account', value ->> 'payment_id', value ->> 'id', value ->> 'state',
    value ->> 'amount_minor', value ->> 'currency', value ->> 'reason', value ->> 'answer_by', value ->> 'occurred_at'
from jsonb_each($1) where true order by key
on conflict (provider, payment_id, account, id) do update
set state = excluded.state, amount_minor = excluded.amount_minor, currency = excluded.currency, reason = excluded.reason,
    answer_by = excluded.answer_by, occurred_at = excluded.occurred_at";

const ENTER: &str = "
insert into timeline (order_id, at, kind, provider, account, payment_id, text, detail)
select value ->> 'order_id', value ->> 'at', value ->> 'kind', value ->> 'provider', value ->> 'account',
    value ->> 'payment_id', value ->> 'text', value ->> 'detail'
from jsonb_each($1) order by key";

const ANNOUNCE: &str = "
insert into events (id, order_id, version, type, time, body)
select value ->> 'id', value ->> 'order_id', value ->> 'version', value ->> 'type', value ->> 'time', value ->> 'body'
from jsonb_each($1) order by key";

/// Writes `batch` within the caller's transaction and returns the `ord` of each change that was written.
pub(super) async fn write(to: &mut Conn<'_>, mut batch: Batch<'_>) -> sqlx::Result<Vec<i64>> {
    let written = if batch.changes.is_empty() { Vec::new() } else { move_orders(to, &batch.changes).await? };
    let was_written = |guard: Option<i64>| guard.is_none_or(|ord| written.contains(&ord));
    batch.changes.retain(|row| written.contains(&row.ord));
    batch.checks.retain(|row| was_written(row.guard));
    batch.notifications.retain(|row| was_written(row.guard));
    batch.refunds.retain(|row| written.contains(&row.guard));
    batch.disputes.retain(|row| written.contains(&row.guard));
    batch.timeline.retain(|row| was_written(row.guard));
    batch.events.retain(|row| written.contains(&row.guard));

    run(to, PAY, &batch.changes).await?;
    run(to, CHECK, &batch.checks).await?;
    archive(to, &batch.notifications, true).await?;
    batch.notifications.retain(|row| row.link.is_some());
    run(to, LINK, &batch.notifications).await?;
    run(to, REFUND, &batch.refunds).await?;
    run(to, DISPUTE, &batch.disputes).await?;
    run(to, MARK, &batch.refunds).await?;
    run(to, MARK, &batch.disputes).await?;
    run(to, ENTER, &batch.timeline).await?;
    run(to, ANNOUNCE, &batch.events).await?;
    Ok(written)
}

async fn move_orders(to: &mut Conn<'_>, changes: &[ChangeRow<'_>]) -> sqlx::Result<Vec<i64>> {
    let ords: HashMap<&str, i64> = changes.iter().map(|change| (change.order_id, change.ord)).collect();
    let moved = to.query(MOVE).bind(json(&changes)).all().await?;
    let ord = |id: String| *ords.get(id.as_str()).expect("only orders of the batch are moved");
    moved.iter().map(|row| row.get("id").map(ord)).collect()
}

async fn run(to: &mut Conn<'_>, sql: &'static str, rows: &[impl Serialize]) -> sqlx::Result<()> {
    if !rows.is_empty() {
        to.query(sql).bind(json(&rows)).execute().await?;
    }
    Ok(())
}
