//! Deletes the history that nothing needs.
//!
//! A pass reads a kind from its oldest row on, in batches. Each batch reads a bounded number of rows by an index, and
//! deletes those that are old enough and that nothing needs. It goes on behind the last row read, so rows that stay are
//! read once a pass and hold nothing up.
//!
//! Conditions are scalar subqueries and no `exists`: PostgreSQL may plan that as a hash over a whole table.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_schema::OrderId;
use uuid::Uuid;

use super::{Deleted, History, Place};
use crate::db::Conn;
use crate::db::row::Row;
use crate::db::value::micros;

/// A notification that names what is not registered stays for at least this long, whatever the age is: it may be tried
/// again, and its registration looks for it.
const UNREGISTERED_STAYS: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The feed's watermark: up to here, events were deleted.
pub(crate) const EVENTS_DELETED: &str = "events_deleted";

/// The bounds of one deletion.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    before: Timestamp,
    /// The same for a notification that names what is not registered.
    unregistered_before: Timestamp,
    from: Place,
    limit: u32,
}

impl Ends {
    pub(super) fn at(now: Timestamp, age: Duration, from: Place, limit: u32) -> Self {
        let before = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let floor = now.checked_sub(UNREGISTERED_STAYS).unwrap_or(Timestamp::MIN);
        Self { before, unregistered_before: before.min(floor), from, limit }
    }

    /// The time a pass through dead letters goes on at.
    fn time(self) -> Timestamp {
        Timestamp::from_microsecond(self.from.number).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// A row as a pass reads it.
struct HistoryRow {
    place: Place,
    order: Option<OrderId>,
    /// Older than its age.
    is_old: bool,
    /// Old, and nothing needs it.
    ends: bool,
}

impl HistoryRow {
    fn of(history: History, row: &Row) -> sqlx::Result<Self> {
        let (place, order) = match history {
            History::Timeline | History::Events => {
                (Place { number: row.get("n")?, ..Place::START }, row.opt("order_id")?)
            }
            History::AuthorizationTimeline => (Place { number: row.get("n")?, ..Place::START }, None),
            History::Notifications | History::Audit | History::Replays => {
                (Place { id: row.get("id")?, ..Place::START }, None)
            }
            History::DeadLetters => (Place { number: micros(row.get("last_failed_at")?), id: row.get("id")? }, None),
        };
        Ok(Self { place, order, is_old: row.get("old")?, ends: row.get("ends")? })
    }
}

/// A batch, divided into what goes and what stays.
struct HistoryBatch {
    gone: Vec<HistoryRow>,
    old: usize,
    next: Option<Place>,
}

impl HistoryBatch {
    fn of(reads: Vec<HistoryRow>, limit: u32) -> Self {
        let old = reads.iter().filter(|read| read.is_old).count();
        // Rows are read oldest first: behind a batch without an old one there is none.
        let more = reads.len() >= limit as usize && old > 0;
        let next = reads.last().map(|last| last.place).filter(|_| more);
        Self { gone: reads.into_iter().filter(|read| read.ends).collect(), old, next }
    }

    fn numbers(&self) -> Vec<i64> {
        self.gone.iter().map(|read| read.place.number).collect()
    }

    fn ids(&self) -> Vec<Uuid> {
        self.gone.iter().map(|read| read.place.id).collect()
    }

    /// The orders of what goes, each once.
    fn orders(&self) -> Vec<&str> {
        let mut orders: Vec<&str> =
            self.gone.iter().filter_map(|read| read.order.as_ref()).map(OrderId::as_str).collect();
        orders.sort_unstable();
        orders.dedup();
        orders
    }

    /// The time at which the feed's highest place that goes lies: places follow the clock in microseconds.
    fn last_place(&self) -> Timestamp {
        let last = self.gone.iter().map(|read| read.place.number).max().unwrap_or_default();
        Timestamp::from_microsecond(last).unwrap_or(Timestamp::MAX)
    }

    /// Returns the result of the batch, once `gone` is deleted.
    fn deleted(&self) -> Deleted {
        let deleted = self.gone.len() as u64;
        Deleted { deleted, needed: self.old as u64 - deleted, next: self.next }
    }
}

/// An order at rest: not held, nothing expected of its payments, and unchanged since `$2`. True where there is no
/// order.
macro_rules! at_rest {
    ($order:literal) => {
        concat!(
            "(select true from orders o where o.id = ",
            $order,
            " and (o.state = 'held' or o.updated_at >= $2)) is null \
              and (select true from payments u where u.order_id = ",
            $order,
            " and not u.finished and (u.next_check_at is not null or u.state in ('awaiting', 'authorized')) limit 1) is null"
        )
    };
}

/// The statement that reads a batch: $1 is the place it goes on from, $2 the time before which rows end, $3 the limit.
/// Notifications have the time for unregistered ones as $4, dead letters the second part of their place. Replays go one
/// by one: [`FINISHED_REPLAY`].
fn page(history: History) -> Option<&'static str> {
    let page = match history {
        History::Notifications => concat!(
            "with page as (select n.id, coalesce(n.last_received_at, n.received_at) as received_at, n.payment_id, \
                n.names, (select p.order_id from payments p \
                    where p.provider = n.provider and p.id = n.payment_id and p.account = n.account) as order_id \
                from notifications n where n.id > $1 order by n.id limit $3) \
             select page.id, page.received_at < $2 as old, page.received_at < $2 \
                and (page.order_id is not null or page.received_at < $4 \
                    or (page.payment_id is null and page.names is null)) \
                and (select true from dead_letters d where d.notification_id = page.id limit 1) is null \
                and (select true from replay_items i where i.notification_id = page.id limit 1) is null and ",
            at_rest!("page.order_id"),
            " as ends from page order by page.id"
        ),
        History::Timeline => concat!(
            "select t.n, t.order_id, t.at < $2 as old, t.at < $2 and ",
            at_rest!("t.order_id"),
            " as ends from timeline t where t.n > $1 order by t.n limit $3"
        ),
        History::AuthorizationTimeline => {
            "select t.n, t.at < $2 as old, \
                t.at < $2 and (select true from authorizations a where a.id = t.authorization_id \
                    and (a.state <> 'cancelled' or a.updated_at >= $2)) is null as ends \
             from authorization_timeline t where t.n > $1 order by t.n limit $3"
        }
        History::Events => concat!(
            "select e.seq as n, e.order_id, e.time < $2 as old, \
                e.time < $2 and coalesce(e.published_at < $2, false) \
                and (select true from events w where w.order_id = e.order_id and w.published_at is null limit 1) is null and ",
            at_rest!("e.order_id"),
            " as ends from events e where e.seq > $1 order by e.seq limit $3"
        ),
        History::DeadLetters => {
            "select d.last_failed_at, d.id, d.last_failed_at < $2 as old, \
                d.state <> 'open' and coalesce(d.closed_at, d.last_failed_at) < $2 \
                and (select true from replay_items i where i.dead_letter_id = d.id limit 1) is null as ends \
             from dead_letters d where (d.last_failed_at, d.id) > ($1, $4) order by d.last_failed_at, d.id limit $3"
        }
        History::Audit => {
            "select a.id, a.at < $2 as old, a.at < $2 as ends from audit a where a.id > $1 order by a.id limit $3"
        }
        History::Replays => return None,
    };
    Some(page)
}

/// The statement that deletes what $1 lists.
fn deletion(history: History) -> &'static str {
    match history {
        History::Replays => "delete from replay_items where id = any($1)",
        History::DeadLetters => "delete from dead_letters where id = any($1)",
        History::Notifications => "delete from notifications where id = any($1)",
        History::Timeline => "delete from timeline where n = any($1)",
        History::AuthorizationTimeline => "delete from authorization_timeline where n = any($1)",
        History::Events => "delete from events where seq = any($1)",
        History::Audit => "delete from audit where id = any($1)",
    }
}

/// The replay that was finished first, if before $1.
const FINISHED_REPLAY: &str = "select r.id from replays r where r.state in ('done', 'cancelled') \
    and r.updated_at < $1 order by r.updated_at, r.id limit 1";

/// Up to $2 items of the replay $1.
const DELETE_ITEMS: &str = "delete from replay_items where replay_id = $1 \
    and n in (select i.n from replay_items i where i.replay_id = $1 order by i.n limit $2)";

pub(super) async fn delete(on: &mut Conn<'_>, history: History, ends: Ends) -> sqlx::Result<Deleted> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    let deleted = match page(history) {
        Some(page) => delete_batch(on, history, page, ends).await?,
        None => delete_replay(on, ends).await?,
    };
    unit.commit().await?;
    Ok(deleted)
}

async fn delete_batch(on: &mut Conn<'_>, history: History, page: &'static str, ends: Ends) -> sqlx::Result<Deleted> {
    let Place { number, id } = ends.from;
    let query = on.query(page);
    let query = match history {
        History::Timeline | History::AuthorizationTimeline | History::Events => query.bind(number),
        History::Notifications | History::Audit | History::Replays => query.bind(id),
        History::DeadLetters => query.bind(ends.time()),
    };
    let query = query.bind(ends.before).bind(ends.limit);
    let query = match history {
        History::Notifications => query.bind(ends.unregistered_before),
        History::DeadLetters => query.bind(id),
        _ => query,
    };
    let read = query.all().await?.iter().map(|row| HistoryRow::of(history, row)).collect::<sqlx::Result<_>>()?;
    let mut batch = HistoryBatch::of(read, ends.limit);
    if history == History::Events {
        leave_orders_at_rest(on, &mut batch, ends).await?;
    }
    if batch.gone.is_empty() {
        return Ok(batch.deleted());
    }
    let deletion = on.query(deletion(history));
    let deletion = match history {
        History::Timeline | History::AuthorizationTimeline | History::Events => {
            deletion.bind(batch.numbers().as_slice())
        }
        _ => deletion.bind(batch.ids().as_slice()),
    };
    deletion.execute().await?;
    match history {
        History::Timeline => {
            on.query("delete from releases where order_id = any($1)").bind(batch.orders()).execute().await?;
        }
        History::Events => {
            let sent = on.query(
                "update orders set sent_state = state, sent_captured_minor = captured_minor, \
                    sent_refunded_minor = refunded_minor where id = any($1)",
            );
            sent.bind(batch.orders()).execute().await?;
            let deleted_to = on.query(
                "insert into watermarks (name, at) values ($1, $2) \
                 on conflict (name) do update set at = greatest(watermarks.at, excluded.at)",
            );
            deleted_to.bind(EVENTS_DELETED).bind(batch.last_place()).execute().await?;
        }
        _ => {}
    }
    Ok(batch.deleted())
}

/// Leaves only events of orders that are still at rest, and holds those orders: what is noted as sent is what they are
/// while their events go.
async fn leave_orders_at_rest(on: &mut Conn<'_>, batch: &mut HistoryBatch, ends: Ends) -> sqlx::Result<()> {
    let locked = on.query(
        "select o.id from orders o where o.id = any($1) and o.state <> 'held' and o.updated_at < $2 \
         for no key update skip locked",
    );
    let locked = locked.bind(batch.orders()).bind(ends.before).all().await?;
    let locked: Vec<OrderId> = locked.iter().map(|row| row.get("id")).collect::<sqlx::Result<_>>()?;
    batch.gone.retain(|read| read.order.as_ref().is_none_or(|order| locked.contains(order)));
    Ok(())
}

/// Deletes one replay at a time, its items first.
async fn delete_replay(on: &mut Conn<'_>, ends: Ends) -> sqlx::Result<Deleted> {
    let Some(oldest) = on.query(FINISHED_REPLAY).bind(ends.before).optional().await? else {
        return Ok(Deleted { deleted: 0, needed: 0, next: None });
    };
    let id: Uuid = oldest.get("id")?;
    let items = on.query(DELETE_ITEMS).bind(id).bind(ends.limit).execute().await?;
    // With fewer than the limit, it is gone itself.
    let whole = items < u64::from(ends.limit);
    if whole {
        on.query("delete from replays where id = $1").bind(id).execute().await?;
    }
    Ok(Deleted { deleted: items + u64::from(whole), needed: 0, next: Some(Place::START) })
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Row};

    use super::*;
    use crate::db::migrations;

    const PAGED: [History; 6] = [
        History::DeadLetters,
        History::Notifications,
        History::Timeline,
        History::AuthorizationTimeline,
        History::Events,
        History::Audit,
    ];

    #[tokio::test]
    async fn every_batch_is_read_by_indexes_in_sqlite() {
        let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
        migrations::sqlite().run_direct(None, &mut connection, false).await.unwrap();
        for history in PAGED {
            let explain = format!("explain query plan {}", page(history).unwrap());
            let plan = sqlx::query(sqlx::AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
            let steps: Vec<String> = plan.iter().map(|step| step.get("detail")).collect();
            let scans = |step: &&String| step.starts_with("SCAN ") && step.as_str() != "SCAN page";
            assert_eq!(steps.iter().find(scans), None, "{history:?}: {steps:#?}");
            let sorts = steps.iter().filter(|step| step.contains("TEMP B-TREE")).count();
            assert!(sorts == 0 || history == History::Notifications, "{history:?}: {steps:#?}");
        }
    }

    #[tokio::test]
    async fn every_batch_is_read_by_indexes_in_postgres() {
        let Some(server) = payhook_test_servers::postgres().await else { return };
        let database = server.fresh_database().await;
        let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
        migrations::postgres().run_direct(None, &mut connection, false).await.unwrap();
        // On empty tables the planner reads them whole and sorts; now it does only where it must.
        let never = "set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off";
        sqlx::raw_sql(never).execute(&mut connection).await.unwrap();
        for history in PAGED {
            let (first, fourth) = match history {
                History::Timeline | History::AuthorizationTimeline | History::Events => ("0", "0"),
                History::Notifications => ("'00000000-0000-0000-0000-000000000000'", "now()"),
                History::DeadLetters => ("now()", "'00000000-0000-0000-0000-000000000000'"),
                History::Audit | History::Replays => ("'00000000-0000-0000-0000-000000000000'", "0"),
            };
            let page = page(history).unwrap().replace("$1", first).replace("$2", "now()").replace("$3", "200");
            let explain = format!("explain {}", page.replace("$4", fourth));
            let plan = sqlx::query(sqlx::AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|step| step.get(0)).collect();
            let whole = |step: &&String| step.contains("Seq Scan");
            assert_eq!(plan.iter().find(whole), None, "{history:?}: {plan:#?}");
        }
    }
}
