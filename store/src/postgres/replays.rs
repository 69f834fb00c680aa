use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentId, Provider, ReplayState, TimelineKind};
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::bind::bind;
use super::{dead_letters, notifications};
use crate::columns::pg_time;
use crate::dead_letters::without_nul;
use crate::replays::{self, Canary, ItemRow, Kept, item_columns, replay_columns};
use crate::{NewReplay, Replay, ReplayItem, ReplayResult, Selection, Steer, clocks};

/// The advisory lock of who takes things into a replay, or discards what could be taken. The feed's is the one below.
const TAKING_LOCK: i64 = 0x7061_7968_6f6f_6b02;

/// True if no replay that is still going on has the thing left to do. `$same` is the condition that the item `i` is
/// about it. A plan has nothing left to do. A scalar subquery and no `not exists`: that would be planned as a join, of
/// tables whose statistics know nothing yet of a replay just made.
macro_rules! taken_by_nobody {
    ($same:literal) => {
        concat!(
            "not coalesce((select true from replay_items i join replays r on r.id = i.replay_id where ",
            $same,
            " and i.state in ('waiting', 'out') and r.state in ('running', 'paused', 'stopped') and not r.plan limit 1), false)"
        )
    };
}
pub(super) use taken_by_nobody;

/// Held to the commit: two who take at once do not take the same.
pub(super) async fn lock(on: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(TAKING_LOCK).execute(on).await?;
    Ok(())
}

pub(super) async fn create(on: &mut PgConnection, new: &NewReplay) -> sqlx::Result<(Replay, bool)> {
    let mut transaction = on.begin().await?;
    lock(&mut transaction).await?;
    // One that is there already was asked for again because its answer was lost.
    if let Some(replay) = get(&mut transaction, new.id).await? {
        return Ok((replay, false));
    }
    let (items, more) = replays::item_rows(new, &selected(&mut transaction, new).await?)?;
    let state = if items.is_empty() { ReplayState::Done } else { ReplayState::Running };
    sqlx::query(
        "insert into replays (id, state, plan, rate_per_s, canary, who, reason, total, changed, unchanged, failed, \
            forgiven_done, forgiven_failed, forgiven_canary, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, 0, 0, 0, $9, $9)",
    )
    .bind(new.id)
    .bind(state.as_str())
    .bind(new.plan)
    .bind(i64::from(new.rate_per_s))
    .bind(i64::from(new.canary))
    .bind(without_nul(&new.act.who))
    .bind(without_nul(&new.act.reason))
    .bind(items.len() as i64)
    .bind(pg_time(new.act.at))
    .execute(&mut *transaction)
    .await?;
    insert(&mut transaction, new.id, &items).await?;
    let replay = get(&mut transaction, new.id).await?.ok_or(sqlx::Error::RowNotFound)?;
    transaction.commit().await?;
    Ok((replay, more))
}

/// Selects what a new replay takes, oldest first, and one more if there is one.
async fn selected(on: &mut PgConnection, new: &NewReplay) -> sqlx::Result<Vec<PgRow>> {
    let query = match &new.selection {
        Selection::DeadLetters(filter) => {
            let sql = dead_letters::filtered!(
                "d.id as dead_letter_id, d.last_failed_at as letter_failed_at, d.notification_id, d.provider, d.account, \
                 d.payment_id",
                concat!(
                    "and d.state = 'open' and ($8 or ",
                    taken_by_nobody!("i.dead_letter_id = d.id"),
                    ") order by d.last_failed_at, d.id limit $9"
                )
            );
            dead_letters::by(sqlx::query(sql), filter)
        }
        Selection::Notifications(filter) => {
            let sql = notifications::filtered!(
                filter,
                "null::uuid as dead_letter_id, null::timestamptz as letter_failed_at, n.id as notification_id, n.provider, \
                 n.account, n.payment_id",
                concat!(
                    "and ($9 or ",
                    taken_by_nobody!("i.notification_id = n.id"),
                    ") order by n.id limit $10"
                )
            );
            notifications::by(sqlx::query(sql), filter)
        }
        Selection::Payments { provider, account, since, until } => sqlx::query(concat!(
            "select null::uuid as dead_letter_id, null::timestamptz as letter_failed_at, null::uuid as notification_id, \
                p.provider, p.account, p.id as payment_id \
             from payments p where ($1::text is null or p.provider = $1) and ($2::text is null or p.account = $2) \
                and p.created_at >= $3 and p.created_at < $4 and ($5 or ",
            taken_by_nobody!("i.provider = p.provider and i.payment_id = p.id and i.account = p.account"),
            ") order by p.created_at, p.provider, p.id, p.account limit $6"
        ))
        .bind(provider.map(Provider::as_str))
        .bind(account.as_ref().map(AccountName::as_str))
        .bind(pg_time(*since))
        .bind(pg_time(*until)),
    };
    query.bind(new.plan).bind(i64::from(new.limit) + 1).fetch_all(on).await
}

async fn insert(on: &mut PgConnection, replay: Uuid, items: &[ItemRow]) -> sqlx::Result<()> {
    let query = sqlx::query(
        "insert into replay_items (replay_id, n, id, dead_letter_id, letter_failed_at, notification_id, provider, account, \
            payment_id, state) \
         select $1, n, id, dead_letter_id, letter_failed_at, notification_id, provider, account, payment_id, 'waiting' \
         from unnest($2::bigint[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::uuid[], $7::text[], $8::text[], $9::text[]) \
            as t (n, id, dead_letter_id, letter_failed_at, notification_id, provider, account, payment_id)",
    )
    .bind(replay);
    let query = bind!(
        query,
        items,
        |row: ItemRow| row.n,
        row.id,
        row.dead_letter_id,
        row.letter_failed_at.map(|at| pg_time(at.0)),
        row.notification_id,
        row.provider.map(Provider::as_str),
        row.account.as_ref().map(AccountName::as_str),
        row.payment_id.as_ref().map(PaymentId::as_str),
    );
    query.execute(on).await?;
    Ok(())
}

pub(super) async fn get(on: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Replay>> {
    let sql = concat!("select ", replay_columns!(), " from replays r where r.id = $1");
    sqlx::query(sql).bind(id).fetch_optional(on).await?.as_ref().map(replays::replay).transpose()
}

pub(super) async fn list(on: &mut PgConnection, limit: u32) -> sqlx::Result<Vec<Replay>> {
    let sql = concat!("select ", replay_columns!(), " from replays r order by r.created_at desc, r.id desc limit $1");
    let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter().map(replays::replay).collect()
}

pub(super) async fn items(on: &mut PgConnection, id: Uuid, after: i64, limit: u32) -> sqlx::Result<Vec<ReplayItem>> {
    let rows = sqlx::query(concat!(
        "select ",
        item_columns!(),
        " from replay_items i join replays r on r.id = i.replay_id where i.replay_id = $1 and i.n > $2 \
          order by i.n limit $3"
    ))
    .bind(id)
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(on)
    .await?;
    rows.iter().map(replays::item).collect()
}

pub(super) async fn steer(
    on: &mut PgConnection,
    id: Uuid,
    steer: Steer,
    now: Timestamp,
) -> sqlx::Result<Option<Replay>> {
    let mut transaction = on.begin().await?;
    let sql = concat!("select ", replay_columns!(), " from replays r where r.id = $1 for no key update");
    let row = sqlx::query(sql).bind(id).fetch_optional(&mut *transaction).await?;
    let Some(mut kept) = row.as_ref().map(Kept::of).transpose()? else { return Ok(None) };
    let canary = canary(&mut transaction, &kept.replay).await?;
    if kept.steer(steer, canary) {
        kept.replay.updated_at = now;
        write(&mut transaction, &kept).await?;
        transaction.commit().await?;
    }
    Ok(Some(kept.replay))
}

/// Writes where a locked replay stands now.
async fn write(on: &mut PgConnection, Kept { replay, forgiven }: &Kept) -> sqlx::Result<()> {
    sqlx::query(
        "update replays set state = $2, detail = $3, changed = $4, unchanged = $5, failed = $6, forgiven_done = $7, \
            forgiven_failed = $8, forgiven_canary = $9, updated_at = $10 \
         where id = $1",
    )
    .bind(replay.id)
    .bind(replay.state.as_str())
    .bind(replay.detail.as_deref())
    .bind(replay.changed as i64)
    .bind(replay.unchanged as i64)
    .bind(replay.failed as i64)
    .bind(forgiven.done as i64)
    .bind(forgiven.failed as i64)
    .bind(forgiven.canary as i64)
    .bind(pg_time(replay.updated_at))
    .execute(on)
    .await?;
    Ok(())
}

async fn canary(on: &mut PgConnection, replay: &Replay) -> sqlx::Result<Canary> {
    let row = sqlx::query(
        "select count(*) filter (where state in ('waiting', 'out')) as unfinished, \
            count(*) filter (where state = 'failed') as failed \
         from replay_items where replay_id = $1 and n <= $2",
    )
    .bind(replay.id)
    .bind(i64::from(replay.canary))
    .fetch_one(on)
    .await?;
    replays::canary(&row)
}

pub(super) async fn running(on: &mut PgConnection) -> sqlx::Result<Vec<Replay>> {
    let sql =
        concat!("select ", replay_columns!(), " from replays r where r.state = 'running' order by r.created_at, r.id");
    let rows = sqlx::query(sql).fetch_all(on).await?;
    rows.iter().map(replays::replay).collect()
}

pub(super) async fn claim(
    on: &mut PgConnection,
    id: Uuid,
    now: Timestamp,
    clock: Timestamp,
    hold_for: Duration,
    limit: u32,
) -> sqlx::Result<Vec<ReplayItem>> {
    let mut transaction = on.begin().await?;
    // Locked, like where results are noted: what is handed out fits where the replay stands, and nobody pauses it in between.
    let row = sqlx::query(concat!(
        "select ",
        replay_columns!(),
        " from replays r where r.id = $1 and r.state = 'running' for no key update"
    ))
    .bind(id)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(kept) = row.as_ref().map(Kept::of).transpose()? else { return Ok(Vec::new()) };
    let open_to = kept.open_to(canary(&mut transaction, &kept.replay).await?);
    let claimed = claim_of(&mut transaction, &kept.replay, open_to, now, (clock, hold_for), i64::from(limit)).await?;
    transaction.commit().await?;
    Ok(claimed)
}

/// Claims up to `limit` of one locked replay's items up to the place `open_to`: first those that were never handed out, so that what
/// cannot be tried now does not keep the rest waiting.
async fn claim_of(
    on: &mut PgConnection,
    replay: &Replay,
    open_to: i64,
    now: Timestamp,
    (clock, hold_for): (Timestamp, Duration),
    limit: i64,
) -> sqlx::Result<Vec<ReplayItem>> {
    let rows = sqlx::query(concat!(
        "select ",
        item_columns!(),
        " from replay_items i join replays r on r.id = i.replay_id \
          where i.replay_id = $1 and i.n <= $2 and i.state in ('waiting', 'out') \
            and (i.claimed_until is null or i.claimed_until <= $3 or i.claimed_until > $5) \
          order by (i.claimed_until is not null), i.n limit $4 for update of i skip locked"
    ))
    .bind(replay.id)
    .bind(open_to)
    .bind(pg_time(clock))
    .bind(limit)
    .bind(pg_time(clocks::longest(clock, hold_for)))
    .fetch_all(&mut *on)
    .await?;
    let items: Vec<ReplayItem> = rows.iter().map(replays::item).collect::<sqlx::Result<_>>()?;
    let places: Vec<i64> = items.iter().map(|item| item.n).collect();
    if !replay.plan {
        tell(on, replay, &places, now).await?;
    }
    sqlx::query("update replay_items set state = 'out', claimed_until = $3 where replay_id = $1 and n = any($2)")
        .bind(replay.id)
        .bind(&places)
        .bind(pg_time(clock + hold_for))
        .execute(on)
        .await?;
    Ok(items)
}

/// Tells the orders of items that are handed out for the first time.
async fn tell(on: &mut PgConnection, replay: &Replay, places: &[i64], now: Timestamp) -> sqlx::Result<()> {
    let (text, detail) = replays::told(replay);
    sqlx::query(
        "insert into timeline (order_id, at, kind, provider, account, payment_id, text, detail) \
         select p.order_id, $3, $4, p.provider, p.account, p.id, $5, $6 \
         from replay_items i \
         join payments p on p.provider = i.provider and p.id = i.payment_id and p.account = i.account \
         where i.replay_id = $1 and i.n = any($2) and i.claimed_until is null order by i.n",
    )
    .bind(replay.id)
    .bind(places)
    .bind(pg_time(now))
    .bind(TimelineKind::Operator.as_str())
    .bind(text)
    .bind(detail)
    .execute(on)
    .await?;
    Ok(())
}

pub(super) async fn note(
    on: &mut PgConnection,
    results: &[ReplayResult],
    now: Timestamp,
    clock: Timestamp,
) -> sqlx::Result<()> {
    let rows = replays::noted_rows(results);
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut transaction = on.begin().await?;
    let of = sqlx::query(concat!(
        "select ",
        replay_columns!(),
        " from replays r where r.id in (select i.replay_id from replay_items i where i.id = any($1)) \
          order by r.created_at, r.id for no key update"
    ))
    .bind(&ids)
    .fetch_all(&mut *transaction)
    .await?;
    let noted = sqlx::query(
        "update replay_items i set state = t.state, detail = t.detail, \
            claimed_until = case t.state when 'waiting' then $4 else i.claimed_until end \
         from unnest($1::uuid[], $2::text[], $3::text[]) as t (id, state, detail) \
         where i.id = t.id and i.state = 'out' returning i.replay_id, i.id, i.state",
    )
    .bind(&ids)
    .bind(rows.iter().map(|row| row.state).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.detail.as_str()).collect::<Vec<_>>())
    .bind(pg_time(clock + replays::UNTRIED_AGAIN))
    .fetch_all(&mut *transaction)
    .await?;
    let noted: Vec<_> = noted.iter().map(replays::noted).collect::<sqlx::Result<_>>()?;
    close(&mut transaction, &noted.iter().map(|(_, item, _)| *item).collect::<Vec<_>>(), now).await?;
    for row in &of {
        let mut kept = Kept::of(row)?;
        let outcomes = replays::outcomes(&noted, kept.replay.id);
        if outcomes.is_empty() {
            continue;
        }
        let canary = canary(&mut transaction, &kept.replay).await?;
        kept.count(&outcomes, canary);
        kept.replay.updated_at = now;
        write(&mut transaction, &kept).await?;
    }
    transaction.commit().await
}

/// The dead letters of items with a good result are replayed, unless they died again since.
async fn close(on: &mut PgConnection, items: &[Uuid], now: Timestamp) -> sqlx::Result<()> {
    sqlx::query(
        "update dead_letters d set state = 'replayed', closed_at = $2 from replay_items i join replays r on r.id = i.replay_id \
         where i.id = any($1) and i.state in ('changed', 'unchanged') and not r.plan \
            and d.id = i.dead_letter_id and d.state = 'open' and d.last_failed_at = i.letter_failed_at",
    )
    .bind(items)
    .bind(pg_time(now))
    .execute(on)
    .await?;
    Ok(())
}
