//! Writes and reads replays and their items.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{
    AccountName, CanaryCounts, Forgiven, PaymentId, Provider, ReplayOutcome, ReplayProgress, ReplayState, Steer,
    TimelineKind, content_id,
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{NewReplay, Replay, ReplayItem, ReplayResult, Selection};
use crate::db::Conn;
use crate::db::row::Row;
use crate::db::value::json as to_json;
use crate::settling::batch::without_nul;
use crate::{clocks, dead_letters, notifications};

/// The advisory lock of who takes things into a replay, or discards what could be taken. The feed's is the one below.
pub(crate) const TAKING_LOCK: i64 = 0x7061_7968_6f6f_6b02;

/// An item that could not be tried is not handed out again sooner: its account is left alone for longer than that.
const UNTRIED_AGAIN: Duration = Duration::from_secs(2);

/// The columns of a replay `r`, as [`replay`] and [`progress`] read them.
macro_rules! replay_columns {
    () => {
        "r.id, r.state, r.plan, r.rate_per_s, r.canary, r.who, r.reason, r.detail, r.total, r.changed, r.unchanged, \
         r.failed, r.forgiven_done, r.forgiven_failed, r.forgiven_canary, r.created_at, r.updated_at"
    };
}

/// The columns of an item `i` of a replay `r`, as [`item`] reads them.
macro_rules! item_columns {
    () => {
        "i.n, i.id, i.replay_id, r.plan, r.rate_per_s, i.dead_letter_id, i.notification_id, i.provider, i.account, \
         i.payment_id, i.state, i.detail"
    };
}

/// True if no replay that is still going on has the thing left to do. `$same` is the condition that the item `i` is
/// about it. A plan has nothing left to do. A scalar subquery and no `not exists`: PostgreSQL would plan that as a
/// join, of tables whose statistics know nothing yet of a replay just made.
macro_rules! taken_by_nobody {
    ($same:literal) => {
        concat!(
            "not coalesce((select true from replay_items i join replays r on r.id = i.replay_id where ",
            $same,
            " and i.state in ('waiting', 'out') and r.state in ('running', 'paused', 'stopped') and not r.plan limit 1), false)"
        )
    };
}
pub(crate) use taken_by_nobody;

pub(super) async fn create(on: &mut Conn<'_>, new: &NewReplay) -> sqlx::Result<(Replay, bool)> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    // Held to the commit: two who take at once do not take the same.
    on.lock(TAKING_LOCK).await?;
    // It is there already: the caller asks again because the answer was lost.
    if let Some(replay) = get(on, new.id).await? {
        return Ok((replay, false));
    }
    let selected = selected(on, new).await?;
    let items = &selected[..selected.len().min(new.limit as usize)];
    let state = if items.is_empty() { ReplayState::Done } else { ReplayState::Running };
    on.query(
        "insert into replays (id, state, plan, rate_per_s, canary, who, reason, total, changed, unchanged, failed, \
            forgiven_done, forgiven_failed, forgiven_canary, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, 0, 0, 0, $9, $9)",
    )
    .bind(new.id)
    .bind(state.as_str())
    .bind(new.plan)
    .bind(new.rate_per_s)
    .bind(new.canary)
    .bind(without_nul(&new.act.who))
    .bind(without_nul(&new.act.reason))
    .bind(items.len() as i64)
    .bind(new.act.at)
    .execute()
    .await?;
    let rows: Vec<ItemRow> =
        (1..).zip(items).map(|(n, row)| ItemRow::of(new.id, n, row)).collect::<sqlx::Result<_>>()?;
    on.query(
        "insert into replay_items (replay_id, n, id, dead_letter_id, letter_failed_at, notification_id, provider, account, \
            payment_id, state) \
         select $1, n, id, dead_letter_id, (select d.last_failed_at from dead_letters d where d.id = t.dead_letter_id), \
            notification_id, provider, account, payment_id, 'waiting' \
         from jsonb_to_recordset($2::jsonb) as t (n bigint, id uuid, dead_letter_id uuid, notification_id uuid, \
            provider text, account text, payment_id text)",
    )
    .bind(new.id)
    .bind(to_json(&rows))
    .execute()
    .await?;
    let replay = get(on, new.id).await?.ok_or(sqlx::Error::RowNotFound)?;
    unit.commit().await?;
    Ok((replay, selected.len() > rows.len()))
}

/// Selects what a new replay takes, oldest first, and one more if there is one.
async fn selected(on: &mut Conn<'_>, new: &NewReplay) -> sqlx::Result<Vec<Row>> {
    let query = match &new.selection {
        Selection::DeadLetters(filter) => {
            let sql = dead_letters::sql::filtered!(
                "d.id as dead_letter_id, d.notification_id, d.provider, d.account, d.payment_id",
                concat!(
                    "and d.state = 'open' and ($8 or ",
                    taken_by_nobody!("i.dead_letter_id = d.id"),
                    ") order by d.last_failed_at, d.id limit $9"
                )
            );
            dead_letters::sql::by(on.query(sql), filter)
        }
        Selection::Notifications(filter) => {
            let sql = notifications::sql::filtered!(
                filter,
                "null::uuid as dead_letter_id, n.id as notification_id, n.provider, n.account, n.payment_id",
                concat!("and ($9 or ", taken_by_nobody!("i.notification_id = n.id"), ") order by n.id limit $10")
            );
            notifications::sql::by(on.query(sql), filter)
        }
        Selection::Payments { provider, account, since, until } => on
            .query(concat!(
                "select null::uuid as dead_letter_id, null::uuid as notification_id, p.provider, p.account, \
                    p.id as payment_id \
                 from payments p where ($1::text is null or p.provider = $1) and ($2::text is null or p.account = $2) \
                    and p.created_at >= $3 and p.created_at < $4 and ($5 or ",
                taken_by_nobody!("i.provider = p.provider and i.payment_id = p.id and i.account = p.account"),
                ") order by p.created_at, p.provider, p.id, p.account limit $6"
            ))
            .bind(*provider)
            .bind(account.as_ref())
            .bind(*since)
            .bind(*until),
    };
    query.bind(new.plan).bind(i64::from(new.limit) + 1).all().await
}

pub(super) async fn get(on: &mut Conn<'_>, id: Uuid) -> sqlx::Result<Option<Replay>> {
    let sql = concat!("select ", replay_columns!(), " from replays r where r.id = $1");
    on.query(sql).bind(id).optional().await?.as_ref().map(replay).transpose()
}

pub(super) async fn list(on: &mut Conn<'_>, limit: u32) -> sqlx::Result<Vec<Replay>> {
    let sql = concat!("select ", replay_columns!(), " from replays r order by r.created_at desc, r.id desc limit $1");
    on.query(sql).bind(limit).all().await?.iter().map(replay).collect()
}

pub(super) async fn running(on: &mut Conn<'_>) -> sqlx::Result<Vec<Replay>> {
    let sql =
        concat!("select ", replay_columns!(), " from replays r where r.state = 'running' order by r.created_at, r.id");
    on.query(sql).all().await?.iter().map(replay).collect()
}

pub(super) async fn items(on: &mut Conn<'_>, id: Uuid, after: i64, limit: u32) -> sqlx::Result<Vec<ReplayItem>> {
    let rows = on.query(concat!(
        "select ",
        item_columns!(),
        " from replay_items i join replays r on r.id = i.replay_id where i.replay_id = $1 and i.n > $2 \
          order by i.n limit $3"
    ));
    rows.bind(id).bind(after).bind(limit).all().await?.iter().map(item).collect()
}

pub(super) async fn steer(on: &mut Conn<'_>, id: Uuid, steer: Steer, now: Timestamp) -> sqlx::Result<Option<Replay>> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    let sql = concat!("select ", replay_columns!(), " from replays r where r.id = $1 for no key update");
    let Some(row) = on.query(sql).bind(id).optional().await? else { return Ok(None) };
    let mut progress = progress(&row)?;
    if !progress.steer(steer, canary(on, id, progress.canary).await?) {
        return replay(&row).map(Some);
    }
    write(on, id, &progress, now).await?;
    let steered = get(on, id).await?;
    unit.commit().await?;
    Ok(steered)
}

/// Writes where a locked replay stands now.
async fn write(on: &mut Conn<'_>, id: Uuid, progress: &ReplayProgress, now: Timestamp) -> sqlx::Result<()> {
    on.query(
        "update replays set state = $2, detail = $3, changed = $4, unchanged = $5, failed = $6, forgiven_done = $7, \
            forgiven_failed = $8, forgiven_canary = $9, updated_at = $10 \
         where id = $1",
    )
    .bind(id)
    .bind(progress.state.as_str())
    .bind(progress.detail.as_deref())
    .bind(progress.changed as i64)
    .bind(progress.unchanged as i64)
    .bind(progress.failed as i64)
    .bind(progress.forgiven.done as i64)
    .bind(progress.forgiven.failed as i64)
    .bind(progress.forgiven.canary as i64)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

async fn canary(on: &mut Conn<'_>, id: Uuid, first: u32) -> sqlx::Result<CanaryCounts> {
    let row = on.query(
        "select count(*) filter (where state in ('waiting', 'out')) as unfinished, \
            count(*) filter (where state = 'failed') as failed \
         from replay_items where replay_id = $1 and n <= $2",
    );
    let row = row.bind(id).bind(first).one().await?;
    Ok(CanaryCounts { unfinished: row.get("unfinished")?, failed: row.get("failed")? })
}

/// `now` is the caller's time, for the timeline; `clock` is the one that claims go by.
pub(super) async fn claim(
    on: &mut Conn<'_>,
    id: Uuid,
    now: Timestamp,
    (clock, hold_for): (Timestamp, Duration),
    limit: u32,
) -> sqlx::Result<Vec<ReplayItem>> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    // Locked, like where results are noted: what is handed out fits where the replay stands, and nobody pauses it in
    // between.
    let running = on.query(concat!(
        "select ",
        replay_columns!(),
        " from replays r where r.id = $1 and r.state = 'running' for no key update"
    ));
    let Some(row) = running.bind(id).optional().await? else { return Ok(Vec::new()) };
    let (replay, progress) = (replay(&row)?, progress(&row)?);
    let open_to = progress.open_to(canary(on, id, progress.canary).await?);
    // First those that were never handed out, so that what cannot be tried now does not keep the rest waiting. Without
    // `+` SQLite walks every item of the replay instead of the unfinished ones.
    let rows = on.query(concat!(
        "select ",
        item_columns!(),
        " from replay_items i join replays r on r.id = i.replay_id \
          where i.replay_id = $1 and +i.n <= $2 and i.state in ('waiting', 'out') \
            and (i.claimed_until is null or i.claimed_until <= $3 or i.claimed_until > $5) \
          order by (i.claimed_until is not null), i.n limit $4 for update of i skip locked"
    ));
    let rows = rows.bind(id).bind(open_to).bind(clock).bind(limit).bind(clocks::longest(clock, hold_for)).all().await?;
    let items: Vec<ReplayItem> = rows.iter().map(item).collect::<sqlx::Result<_>>()?;
    let places: Vec<i64> = items.iter().map(|item| item.n).collect();
    if !replay.plan {
        enter(on, &replay, &places, now).await?;
    }
    on.query("update replay_items set state = 'out', claimed_until = $3 where replay_id = $1 and n = any($2)")
        .bind(id)
        .bind(places.as_slice())
        .bind(clock + hold_for)
        .execute()
        .await?;
    unit.commit().await?;
    Ok(items)
}

/// Writes an entry to the orders of items that are handed out for the first time.
async fn enter(on: &mut Conn<'_>, replay: &Replay, places: &[i64], now: Timestamp) -> sqlx::Result<()> {
    let Replay { id, who, reason, .. } = replay;
    on.query(
        "insert into timeline (order_id, at, kind, provider, account, payment_id, text, detail) \
         select p.order_id, $3, $4, p.provider, p.account, p.id, $5, $6::jsonb \
         from replay_items i \
         join payments p on p.provider = i.provider and p.id = i.payment_id and p.account = i.account \
         where i.replay_id = $1 and i.n = any($2) and i.claimed_until is null order by i.n",
    )
    .bind(*id)
    .bind(places)
    .bind(now)
    .bind(TimelineKind::Operator.as_str())
    .bind(format!("replayed by {who}: {reason}"))
    .bind(to_json(&json!({ "who": who, "reason": reason, "replay_id": id })))
    .execute()
    .await?;
    Ok(())
}

pub(super) async fn note(
    on: &mut Conn<'_>,
    results: &[ReplayResult],
    now: Timestamp,
    clock: Timestamp,
) -> sqlx::Result<()> {
    let rows = noted_rows(results);
    let ids: Vec<Uuid> = rows.iter().map(|row| row.item).collect();
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    let of = on.query(concat!(
        "select ",
        replay_columns!(),
        " from replays r where r.id in (select i.replay_id from replay_items i where i.id = any($1)) \
          order by r.created_at, r.id for no key update"
    ));
    let of = of.bind(ids.as_slice()).all().await?;
    let noted = on.query(
        "update replay_items as i set state = t.became, detail = t.why, \
            claimed_until = case t.became when 'waiting' then $2 else i.claimed_until end \
         from jsonb_to_recordset($1::jsonb) as t (item uuid, became text, why text) \
         where i.id = t.item and i.state = 'out' returning replay_id, id, state",
    );
    let noted = noted.bind(to_json(&rows)).bind(clock + UNTRIED_AGAIN).all().await?;
    let mut outcomes: Vec<(Uuid, ReplayOutcome)> = Vec::with_capacity(noted.len());
    let mut closed: Vec<Uuid> = Vec::with_capacity(noted.len());
    for row in &noted {
        closed.push(row.get("id")?);
        // Waiting is no outcome.
        outcomes.extend(row.get::<String>("state")?.parse().ok().zip(row.opt("replay_id")?).map(|(was, of)| (of, was)));
    }
    close(on, &closed, now).await?;
    for row in &of {
        let (id, mut progress) = (row.get("id")?, progress(row)?);
        let of_this: Vec<_> = outcomes.iter().filter(|(of, _)| *of == id).map(|(_, was)| *was).collect();
        if !of_this.is_empty() {
            progress.count(&of_this, canary(on, id, progress.canary).await?);
            write(on, id, &progress, now).await?;
        }
    }
    unit.commit().await
}

/// The dead letters of items with a good result are replayed, unless they died again since.
async fn close(on: &mut Conn<'_>, items: &[Uuid], now: Timestamp) -> sqlx::Result<()> {
    on.query(
        "update dead_letters as d set state = 'replayed', closed_at = $2 \
         from replay_items i join replays r on r.id = i.replay_id \
         where i.id = any($1) and i.state in ('changed', 'unchanged') and not r.plan \
            and d.id = i.dead_letter_id and d.state = 'open' and d.last_failed_at = i.letter_failed_at",
    )
    .bind(items)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

fn progress(row: &Row) -> sqlx::Result<ReplayProgress> {
    Ok(ReplayProgress {
        state: row.get("state")?,
        plan: row.get("plan")?,
        canary: row.get("canary")?,
        total: row.get("total")?,
        changed: row.get("changed")?,
        unchanged: row.get("unchanged")?,
        failed: row.get("failed")?,
        detail: row.opt("detail")?,
        forgiven: Forgiven {
            done: row.get("forgiven_done")?,
            failed: row.get("forgiven_failed")?,
            canary: row.get("forgiven_canary")?,
        },
    })
}

fn replay(row: &Row) -> sqlx::Result<Replay> {
    let progress = progress(row)?;
    Ok(Replay {
        id: row.get("id")?,
        state: progress.state,
        plan: progress.plan,
        rate_per_s: row.get("rate_per_s")?,
        canary: progress.canary,
        who: row.get("who")?,
        reason: row.get("reason")?,
        total: progress.total,
        done: progress.done(),
        changed: progress.changed,
        unchanged: progress.unchanged,
        failed: progress.failed,
        detail: progress.detail,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn item(row: &Row) -> sqlx::Result<ReplayItem> {
    Ok(ReplayItem {
        n: row.get("n")?,
        id: row.get("id")?,
        replay: row.get("replay_id")?,
        plan: row.get("plan")?,
        rate_per_s: row.get("rate_per_s")?,
        dead_letter: row.opt("dead_letter_id")?,
        notification: row.opt("notification_id")?,
        payment: row.payment_key()?,
        // Waiting and out are no outcomes.
        outcome: row.get::<String>("state")?.parse().ok(),
        detail: row.opt("detail")?,
    })
}

/// An item as it is first written.
#[derive(Serialize)]
struct ItemRow {
    n: i64,
    id: Uuid,
    dead_letter_id: Option<Uuid>,
    notification_id: Option<Uuid>,
    provider: Option<Provider>,
    account: Option<AccountName>,
    payment_id: Option<PaymentId>,
}

impl ItemRow {
    /// Item `n` of a replay, of the thing in `row`.
    fn of(replay: Uuid, n: i64, row: &Row) -> sqlx::Result<Self> {
        // A letter may name an account and no payment.
        let payment = row.payment_key()?;
        Ok(Self {
            n,
            id: item_id(replay, n),
            dead_letter_id: row.opt("dead_letter_id")?,
            notification_id: row.opt("notification_id")?,
            provider: payment.as_ref().map(|key| key.provider),
            account: payment.as_ref().map(|key| key.account.clone()),
            payment_id: payment.map(|key| key.id),
        })
    }
}

/// Made of its place, so that the same item has the same id for ever and nothing random is needed.
fn item_id(replay: Uuid, n: i64) -> Uuid {
    content_id(&[replay.as_bytes().as_slice(), &n.to_be_bytes()].concat())
}

/// A result as it is noted.
#[derive(Serialize)]
struct NotedRow {
    item: Uuid,
    became: &'static str,
    why: String,
}

/// The results to be noted: of several of one item, the first.
fn noted_rows(results: &[ReplayResult]) -> Vec<NotedRow> {
    let mut seen = HashSet::new();
    let first = results.iter().filter(|result| seen.insert(result.item));
    first
        .map(|result| NotedRow {
            item: result.item,
            became: result.outcome.map_or("waiting", ReplayOutcome::as_str),
            why: without_nul(&result.detail).into_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_items_have_one_id() {
        let replays = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let ids: HashSet<_> = replays.iter().flat_map(|&replay| (1..=500).map(move |n| item_id(replay, n))).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
