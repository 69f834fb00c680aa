//! Decides which rows of history may go, alike for both databases.
//!
//! A pass reads a kind from its oldest row on, in batches. Each batch reads a bounded number of rows by an index, and deletes those that are
//! old enough and that nothing needs. It goes on behind the last row read, so rows that stay are read once a pass and hold nothing up.
//!
//! Conditions are scalar subqueries and no `exists`: PostgreSQL may plan that as a hash over a whole table.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_schema::OrderId;
use uuid::Uuid;

use crate::columns::{Columns, micros, some};
use crate::rows::read;
use crate::{Deleted, History, Place, SentBefore};

/// A notification that names what is not registered stays for at least this long, whatever the age is: it may be tried again, and its
/// registration looks for it.
const UNREGISTERED_STAYS: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The feed's watermark: up to here, events were deleted.
pub(crate) const EVENTS_DELETED: &str = "events_deleted";

/// The bounds of one deletion.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) before: Timestamp,
    /// The same for a notification that names what is not registered.
    pub(crate) unregistered_before: Timestamp,
    pub(crate) from: Place,
    pub(crate) limit: u32,
}

impl Ends {
    pub(crate) fn at(now: Timestamp, age: Duration, from: Place, limit: u32) -> Self {
        let before = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let floor = now.checked_sub(UNREGISTERED_STAYS).unwrap_or(Timestamp::MIN);
        Self { before, unregistered_before: before.min(floor), from, limit }
    }

    /// The time a pass through dead letters goes on at.
    pub(crate) fn time(self) -> Timestamp {
        Timestamp::from_microsecond(self.from.number).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// A row as a pass reads it.
pub(crate) struct Read {
    pub(crate) place: Place,
    pub(crate) order: Option<OrderId>,
    /// Older than its age.
    is_old: bool,
    /// Old, and nothing needs it.
    ends: bool,
}

/// Reads a batch of `history`.
pub(crate) fn reads(history: History, rows: &[impl Columns]) -> sqlx::Result<Vec<Read>> {
    rows.iter().map(|row| one(history, row)).collect()
}

fn one(history: History, row: &impl Columns) -> sqlx::Result<Read> {
    let number = || some("n", row.int("n"));
    let id = || some("id", row.id("id"));
    let is = |name| Ok::<_, sqlx::Error>(some(name, row.int(name))? == 1);
    let (place, order) = match history {
        History::Timeline | History::Events => (Place { number: number()?, ..Place::START }, read(row, "order_id")?),
        History::AuthorizationTimeline => (Place { number: number()?, ..Place::START }, None),
        History::Notifications | History::Audit | History::Replays => (Place { id: id()?, ..Place::START }, None),
        History::DeadLetters => {
            (Place { number: micros(some("last_failed_at", row.time("last_failed_at"))?), id: id()? }, None)
        }
    };
    Ok(Read { place, order, is_old: is("old")?, ends: is("ends")? })
}

/// A batch, divided into what goes and what stays.
pub(crate) struct Batch {
    pub(crate) gone: Vec<Read>,
    old: usize,
    next: Option<Place>,
}

impl Batch {
    pub(crate) fn of(reads: Vec<Read>, limit: u32) -> Self {
        let old = reads.iter().filter(|read| read.is_old).count();
        // Rows are read oldest first: behind a batch without an old one there is none.
        let more = reads.len() >= limit as usize && old > 0;
        let next = reads.last().map(|last| last.place).filter(|_| more);
        Self { gone: reads.into_iter().filter(|read| read.ends).collect(), old, next }
    }

    pub(crate) fn numbers(&self) -> Vec<i64> {
        self.gone.iter().map(|read| read.place.number).collect()
    }

    pub(crate) fn ids(&self) -> Vec<Uuid> {
        self.gone.iter().map(|read| read.place.id).collect()
    }

    /// The orders of what goes, each once.
    pub(crate) fn orders(&self) -> Vec<&OrderId> {
        let mut orders: Vec<&OrderId> = self.gone.iter().filter_map(|read| read.order.as_ref()).collect();
        orders.sort_unstable();
        orders.dedup();
        orders
    }

    /// The time at which the feed's highest place that goes lies: places follow the clock in microseconds.
    pub(crate) fn last_place(&self) -> Timestamp {
        let last = self.gone.iter().map(|read| read.place.number).max().unwrap_or_default();
        Timestamp::from_microsecond(last).unwrap_or(Timestamp::MAX)
    }

    /// Returns the result of the batch, once `gone` is deleted.
    pub(crate) fn deleted(&self) -> Deleted {
        let deleted = self.gone.len() as u64;
        Deleted { deleted, needed: self.old as u64 - deleted, next: self.next }
    }
}

/// Reads from an order's columns what fulfilment had been sent before events were deleted.
pub(crate) fn sent_before(row: &impl Columns) -> sqlx::Result<Option<SentBefore>> {
    let Some(state) = read(row, "sent_state")? else { return Ok(None) };
    Ok(Some(SentBefore {
        state,
        captured_minor: some("sent_captured_minor", row.int("sent_captured_minor"))?,
        refunded_minor: some("sent_refunded_minor", row.int("sent_refunded_minor"))?,
    }))
}

/// A condition as a number, which both databases read alike.
macro_rules! flag {
    ($condition:expr) => {
        concat!("cast(case when ", $condition, " then 1 else 0 end as bigint)")
    };
}

/// An order at rest: not held, nothing expected of its payments, and unchanged since `$2`. True where there is no order.
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

/// The statement that reads a batch: $1 is the place it goes on from, $2 the time what is older ends, $3 the limit. Notifications have the
/// time for unregistered ones as $4, dead letters the second part of their place. Replays go one by one: [`FINISHED_REPLAY`].
pub(crate) fn page(history: History) -> Option<&'static str> {
    let page = match history {
        History::Notifications => concat!(
            "with page as (select n.id, coalesce(n.last_received_at, n.received_at) as received_at, n.payment_id, n.names, (select p.order_id from payments p \
                where p.provider = n.provider and p.id = n.payment_id and p.account = n.account) as order_id \
                from notifications n where n.id > $1 order by n.id limit $3) \
             select page.id, ",
            flag!("page.received_at < $2"),
            " as old, ",
            flag!(concat!(
                "page.received_at < $2 \
                 and (page.order_id is not null or page.received_at < $4 or (page.payment_id is null and page.names is null)) \
                 and (select true from dead_letters d where d.notification_id = page.id limit 1) is null \
                 and (select true from replay_items i where i.notification_id = page.id limit 1) is null and ",
                at_rest!("page.order_id")
            )),
            " as ends from page order by page.id"
        ),
        History::Timeline => concat!(
            "select t.n, t.order_id, ",
            flag!("t.at < $2"),
            " as old, ",
            flag!(concat!("t.at < $2 and ", at_rest!("t.order_id"))),
            " as ends from timeline t where t.n > $1 order by t.n limit $3"
        ),
        History::AuthorizationTimeline => concat!(
            "select t.n, ",
            flag!("t.at < $2"),
            " as old, ",
            flag!(
                "t.at < $2 and (select true from authorizations a where a.id = t.authorization_id \
                 and (a.state <> 'cancelled' or a.updated_at >= $2)) is null"
            ),
            " as ends from authorization_timeline t where t.n > $1 order by t.n limit $3"
        ),
        History::Events => concat!(
            "select e.seq as n, e.order_id, ",
            flag!("e.time < $2"),
            " as old, ",
            flag!(concat!(
                "e.time < $2 and e.published_at < $2 \
                 and (select true from events w where w.order_id = e.order_id and w.published_at is null limit 1) is null and ",
                at_rest!("e.order_id")
            )),
            " as ends from events e where e.seq > $1 order by e.seq limit $3"
        ),
        History::DeadLetters => concat!(
            "select d.last_failed_at, d.id, ",
            flag!("d.last_failed_at < $2"),
            " as old, ",
            flag!(
                "d.state <> 'open' and coalesce(d.closed_at, d.last_failed_at) < $2 \
                 and (select true from replay_items i where i.dead_letter_id = d.id limit 1) is null"
            ),
            " as ends from dead_letters d where (d.last_failed_at, d.id) > ($1, $4) order by d.last_failed_at, d.id limit $3"
        ),
        History::Audit => concat!(
            "select a.id, ",
            flag!("a.at < $2"),
            " as old, ",
            flag!("a.at < $2"),
            " as ends from audit a where a.id > $1 order by a.id limit $3"
        ),
        History::Replays => return None,
    };
    Some(page)
}

/// The statement that deletes a batch; `$chosen` says how its database takes a list as $1.
macro_rules! deletion {
    ($history:expr, $chosen:literal) => {
        match $history {
            $crate::History::Replays => concat!("delete from replay_items where id ", $chosen),
            $crate::History::DeadLetters => concat!("delete from dead_letters where id ", $chosen),
            $crate::History::Notifications => concat!("delete from notifications where id ", $chosen),
            $crate::History::Timeline => concat!("delete from timeline where n ", $chosen),
            $crate::History::AuthorizationTimeline => concat!("delete from authorization_timeline where n ", $chosen),
            $crate::History::Events => concat!("delete from events where seq ", $chosen),
            $crate::History::Audit => concat!("delete from audit where id ", $chosen),
        }
    };
}
pub(crate) use deletion;

/// The replay that was finished first, if before $1.
pub(crate) const FINISHED_REPLAY: &str = "select r.id from replays r where r.state in ('done', 'cancelled') \
    and r.updated_at < $1 order by r.updated_at, r.id limit 1";

/// Up to $2 items of the replay $1.
pub(crate) const DELETE_ITEMS: &str = "delete from replay_items where replay_id = $1 \
    and n in (select i.n from replay_items i where i.replay_id = $1 order by i.n limit $2)";

pub(crate) const DELETE_REPLAY: &str = "delete from replays where id = $1";

/// Returns the result for one replay, of which so many items were deleted. With fewer than the limit, it is gone
/// itself.
pub(crate) fn replay_deleted(items: u64, limit: u32) -> Deleted {
    let whole = items < u64::from(limit);
    Deleted { deleted: items + u64::from(whole), needed: 0, next: Some(Place::START) }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Row};

    use super::*;
    use crate::migrations;

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
