//! Writes a wave to PostgreSQL: one statement, one array a column.

use sqlx::{PgConnection, Row};

use super::batch::{Batch, ChangeRow, CheckRow, DisputeRow, EventRow, Micros, NotificationRow, RefundRow, TimelineRow};
use crate::db::value::{bind_columns, pg_time};
use crate::notifications::archive::{archive_came, bind_came};

/// Writes a whole wave in one statement, committed by itself: one round trip, and no lock is held while we think.
///
/// Rows come as one array per column. An order moves only from the revision its change was decided on, and everything
/// with a guard is written only where that happened; two writers of one order queue on its row, and the second then
/// sees the first one's revision.
macro_rules! statement {
    ($marked:literal, $more:literal) => {
        concat!(
            "
with change as (
    select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::text[], $10::text[], $11::timestamptz[], $12::text[], $13::text[], $14::text[], $15::text[],
        $16::bigint[], $17::bigint[], $18::text[], $19::text[], $20::text[], $21::timestamptz[], $22::timestamptz[],
        $23::integer[], $24::timestamptz[], $25::boolean[])
    as change (ord, order_id, revision, state, captured, refunded, version, events, holds, released,
        updated_at, provider, account, payment_id, payment_state, payment_captured, payment_refunded, payment_currency,
        provider_reference, reason, asked_at, next_check_at, checks, final_at, finished)
),
moved as (
    update orders o
    set state = c.state, captured_minor = c.captured, refunded_minor = c.refunded, version = c.version,
        holds = c.holds::jsonb, released = c.released::jsonb, revision = o.revision + 1, updated_at = c.updated_at
    from change c
    where o.id = c.order_id and o.revision = c.revision and o.version + c.events = c.version
    returning c.ord
),
paid as (
    update payments p
    set state = c.payment_state, captured_minor = c.payment_captured, refunded_minor = c.payment_refunded,
        currency = c.payment_currency, provider_reference = c.provider_reference, reason = c.reason,
        asked_at = greatest(p.asked_at, c.asked_at), next_check_at = c.next_check_at, checks = c.checks,
        final_at = c.final_at, finished = c.finished",
            $marked,
            "
    from change c join moved using (ord)
    where p.provider = c.provider and p.id = c.payment_id and p.account = c.account
),
checked as (
    update payments p
    set asked_at = greatest(p.asked_at, c.asked_at),
        next_check_at = case when c.asked_at is null or p.asked_at is not distinct from c.asked_before
            then c.next_check_at else p.next_check_at end,
        checks = case when c.asked_at is null or p.asked_at is not distinct from c.asked_before
            then c.checks else p.checks end
    from unnest($26::bigint[], $27::text[], $28::text[], $29::text[], $30::timestamptz[], $31::integer[],
        $32::timestamptz[], $33::timestamptz[])
        as c (guard, provider, account, payment_id, next_check_at, checks, asked_at, asked_before)
    where p.provider = c.provider and p.id = c.payment_id and p.account = c.account
        and (c.guard is null or c.guard in (select ord from moved))
),
came as (
    select *, true as counts from unnest($34::bigint[], $35::uuid[], $36::text[], $37::text[], $38::text[], $39::text[], $40::text[],
        $41::timestamptz[], $42::timestamptz[], $43::text[], $44::text[], $45::text[], $46::bytea[], $47::text[],
        $48::bigint[], $49::uuid[], $50::text[])
        as n (guard, id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at, verified_by,
            signed_path, headers, body, names, sealed_with, signed_id, link)
    where guard is null or guard in (select ord from moved)
),",
            archive_came!(),
            ",
entered as (
    insert into timeline (order_id, at, kind, provider, account, payment_id, text, detail)
    select order_id, at, kind, provider, account, payment_id, text, detail::jsonb
    from unnest($51::bigint[], $52::text[], $53::timestamptz[], $54::text[], $55::text[], $56::text[], $57::text[],
        $58::text[], $59::text[])
        with ordinality
        as t (guard, order_id, at, kind, provider, account, payment_id, text, detail, place)
    where guard is null or guard in (select ord from moved)
    order by place
),
announced as (
    insert into events (id, order_id, version, type, time, body)
    select id, order_id, version, type, time, body::jsonb
    from unnest($60::bigint[], $61::uuid[], $62::text[], $63::bigint[], $64::text[], $65::timestamptz[], $66::text[])
        with ordinality
        as e (guard, id, order_id, version, type, time, body, place)
    where guard in (select ord from moved)
    order by place
)",
            $more,
            "
select ord from moved"
        )
    };
}

const WRITE: &str = statement!("", "");

/// The same for a wave with refunds or disputes: few waves are, and the
/// others are not to pay for it. Several refunds of one payment become known in their order.
const WRITE_MORE: &str = statement!(
    ", has_refunds_or_disputes = p.has_refunds_or_disputes or c.ord = any($67) or c.ord = any($79)",
    ",
refunded as (
    insert into refunds (provider, account, payment_id, id, provider_reference, state, amount_minor, currency, voided, reason,
        occurred_at)
    select provider, account, payment_id, id, provider_reference, state, amount_minor, currency, voided, reason, occurred_at
    from unnest($67::bigint[], $68::text[], $69::text[], $70::text[], $71::text[], $72::text[], $73::text[],
        $74::bigint[], $75::text[], $76::boolean[], $77::text[], $78::timestamptz[])
        with ordinality
        as r (guard, provider, account, payment_id, id, provider_reference, state, amount_minor, currency, voided, reason,
            occurred_at, place)
    where guard in (select ord from moved)
    order by place
    -- Of another payment, it is no conflict of this kind, and refused.
    on conflict (provider, payment_id, account, id) do update
    set provider_reference = excluded.provider_reference, state = excluded.state, amount_minor = excluded.amount_minor,
        currency = excluded.currency, voided = excluded.voided, reason = excluded.reason,
        occurred_at = excluded.occurred_at
),
disputed as (
    insert into disputes (provider, account, payment_id, id, state, amount_minor, currency, reason, answer_by, occurred_at)
    select provider, account, payment_id, id, state, amount_minor, currency, reason, answer_by, occurred_at
    from unnest($79::bigint[], $80::text[], $81::text[], $82::text[], $83::text[], $84::text[], $85::bigint[],
        $86::text[], $87::text[], $88::timestamptz[], $89::timestamptz[])
        with ordinality
        as d (guard, provider, account, payment_id, id, state, amount_minor, currency, reason, answer_by, occurred_at, place)
    where guard in (select ord from moved)
    order by place
    on conflict (provider, payment_id, account, id) do update
    set state = excluded.state, amount_minor = excluded.amount_minor, currency = excluded.currency,
        reason = excluded.reason, answer_by = excluded.answer_by, occurred_at = excluded.occurred_at
)"
);

/// Writes `batch` and returns the `ord` of each change that was.
pub(super) async fn write(to: &mut PgConnection, batch: &Batch<'_>) -> sqlx::Result<Vec<i64>> {
    let Batch { changes, checks, notifications, refunds, disputes, timeline, events } = batch;
    let more = !(refunds.is_empty() && disputes.is_empty());
    let query = bind_columns!(
        sqlx::query(if more { WRITE_MORE } else { WRITE }),
        changes,
        |row: ChangeRow<'_>| row.ord,
        row.order_id,
        row.revision,
        row.state,
        row.captured,
        row.refunded,
        row.version,
        row.events,
        row.holds.as_deref(),
        row.released.as_deref(),
        time(row.updated_at),
        row.provider,
        row.account,
        row.payment_id,
        row.payment_state,
        row.payment_captured,
        row.payment_refunded,
        row.payment_currency,
        row.provider_reference,
        row.reason,
        row.asked_at.map(time),
        row.next_check_at.map(time),
        row.checks,
        row.final_at.map(time),
        row.finished,
    );
    let query = bind_columns!(
        query,
        checks,
        |row: CheckRow<'_>| row.guard,
        row.provider,
        row.account,
        row.payment_id,
        row.next_check_at.map(time),
        row.checks,
        row.asked_at.map(time),
        row.asked_before.map(time),
    );
    let query = bind_came(bind_columns!(query, notifications, |row: NotificationRow<'_>| row.guard), notifications);
    let query = bind_columns!(
        query,
        timeline,
        |row: TimelineRow<'_>| row.guard,
        row.order_id,
        time(row.at),
        row.kind,
        row.provider,
        row.account,
        row.payment_id,
        row.text,
        row.detail.as_deref(),
    );
    let mut query = bind_columns!(
        query,
        events,
        |row: EventRow<'_>| row.guard,
        row.id,
        row.order_id,
        row.version,
        row.event_type,
        time(row.time),
        row.body.as_str(),
    );
    if more {
        query = bind_columns!(
            query,
            refunds,
            |row: RefundRow<'_>| row.guard,
            row.provider,
            row.account,
            row.payment_id,
            row.id,
            row.provider_reference,
            row.state,
            row.amount_minor,
            row.currency,
            row.voided,
            row.reason,
            row.occurred_at.map(time),
        );
        query = bind_columns!(
            query,
            disputes,
            |row: DisputeRow<'_>| row.guard,
            row.provider,
            row.account,
            row.payment_id,
            row.id,
            row.state,
            row.amount_minor,
            row.currency,
            row.reason,
            row.answer_by.map(time),
            row.occurred_at.map(time),
        );
    }
    query.fetch_all(to).await?.iter().map(|row| row.try_get(0)).collect()
}

fn time(Micros(at): Micros) -> jiff_sqlx::Timestamp {
    pg_time(at)
}
