use sqlx::{PgConnection, Row};

use crate::batch::{Batch, ChangeRow, CheckRow, EventRow, Micros, NotificationRow, TimelineRow};
use crate::columns::pg_time;

/// Writes a whole wave in one statement, committed by itself: one round trip, and no lock is held while we think.
///
/// Rows come as one array per column. An order moves only from the revision its change was decided on, and everything
/// with a guard is written only where that happened; two writers of one order queue on its row, and the second then sees
/// the first one's revision.
const WRITE: &str = "
with change as (
    select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::text[], $10::text[], $11::timestamptz[], $12::text[], $13::text[], $14::text[], $15::text[],
        $16::bigint[], $17::bigint[], $18::text[], $19::text[], $20::text[], $21::timestamptz[], $22::timestamptz[],
        $23::integer[])
    as change (ord, order_id, revision, state, captured, refunded, version, events, hold_reason, hold_detail,
        updated_at, provider, account, payment_id, payment_state, payment_captured, payment_refunded, payment_currency,
        provider_reference, reason, asked_at, next_check_at, checks)
),
moved as (
    update orders o
    set state = c.state, captured_minor = c.captured, refunded_minor = c.refunded, version = c.version,
        hold_reason = c.hold_reason, hold_detail = c.hold_detail, revision = o.revision + 1, updated_at = c.updated_at
    from change c
    where o.id = c.order_id and o.revision = c.revision and o.version + c.events = c.version
    returning c.ord
),
paid as (
    update payments p
    set state = c.payment_state, captured_minor = c.payment_captured, refunded_minor = c.payment_refunded,
        currency = c.payment_currency, provider_reference = c.provider_reference, reason = c.reason,
        asked_at = c.asked_at, next_check_at = c.next_check_at, checks = c.checks
    from change c join moved using (ord)
    where p.provider = c.provider and p.id = c.payment_id and p.account = c.account
),
checked as (
    update payments p
    set next_check_at = c.next_check_at, checks = c.checks
    from unnest($24::bigint[], $25::text[], $26::text[], $27::text[], $28::timestamptz[], $29::integer[])
        as c (guard, provider, account, payment_id, next_check_at, checks)
    where p.provider = c.provider and p.id = c.payment_id and p.account = c.account
        and (c.guard is null or c.guard in (select ord from moved))
),
archived as (
    insert into notifications (id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at,
        verified_by, signed_path, headers, body)
    select id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at, verified_by, signed_path,
        headers::jsonb, body
    from unnest($30::bigint[], $31::uuid[], $32::text[], $33::text[], $34::text[], $35::text[], $36::text[],
        $37::timestamptz[], $38::timestamptz[], $39::text[], $40::text[], $41::text[], $42::bytea[])
        as n (guard, id, provider, account, kind, payment_id, idempotency_key, received_at, signed_at, verified_by,
            signed_path, headers, body)
    where guard is null or guard in (select ord from moved)
    on conflict (id) do nothing
),
told as (
    insert into timeline (order_id, at, kind, provider, account, payment_id, text, detail)
    select order_id, at, kind, provider, account, payment_id, text, detail::jsonb
    from unnest($43::bigint[], $44::text[], $45::timestamptz[], $46::text[], $47::text[], $48::text[], $49::text[],
        $50::text[], $51::text[])
        with ordinality
        as t (guard, order_id, at, kind, provider, account, payment_id, text, detail, place)
    where guard is null or guard in (select ord from moved)
    order by place
),
announced as (
    insert into events (id, order_id, version, type, time, body)
    select id, order_id, version, type, time, body::jsonb
    from unnest($52::bigint[], $53::uuid[], $54::text[], $55::bigint[], $56::text[], $57::timestamptz[], $58::text[])
        with ordinality
        as e (guard, id, order_id, version, type, time, body, place)
    where guard in (select ord from moved)
    order by place
)
select ord from moved";

/// Writes `batch` and returns the `ord` of each change that was.
pub(super) async fn write(to: &mut PgConnection, batch: &Batch<'_>) -> sqlx::Result<Vec<i64>> {
    let Batch { changes, checks, notifications, timeline, events } = batch;
    macro_rules! bind {
        ($query:expr, $rows:expr, |$row:ident: $type:ty| $($column:expr),+ $(,)?) => {
            $query$(.bind($rows.iter().map(|$row: &$type| $column).collect::<Vec<_>>()))+
        };
    }
    let query = bind!(
        sqlx::query(WRITE),
        changes,
        |row: ChangeRow<'_>| row.ord,
        row.order_id,
        row.revision,
        row.state,
        row.captured,
        row.refunded,
        row.version,
        row.events,
        row.hold_reason,
        row.hold_detail,
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
    );
    let query = bind!(
        query,
        checks,
        |row: CheckRow<'_>| row.guard,
        row.provider,
        row.account,
        row.payment_id,
        row.next_check_at.map(time),
        row.checks,
    );
    let query = bind!(
        query,
        notifications,
        |row: NotificationRow<'_>| row.guard,
        row.id,
        row.provider,
        row.account,
        row.kind,
        row.payment_id,
        row.idempotency_key,
        time(row.received_at),
        row.signed_at.map(time),
        row.verified_by,
        row.signed_path,
        row.headers.as_str(),
        row.body,
    );
    let query = bind!(
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
    let query = bind!(
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
    query.fetch_all(to).await?.iter().map(|row| row.try_get(0)).collect()
}

fn time(Micros(at): Micros) -> jiff_sqlx::Timestamp {
    pg_time(at)
}
