use payhook_schema::OrderId;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::columns::pg_time;
use crate::history::{self, Batch, DELETE_ITEMS, DELETE_REPLAY, EVENTS_DELETED, Ends, FINISHED_REPLAY};
use crate::{Deleted, History, Place};

pub(super) async fn delete(on: &mut PgConnection, history: History, ends: Ends) -> sqlx::Result<Deleted> {
    let mut transaction = on.begin().await?;
    let deleted = match history::page(history) {
        Some(page) => rows(&mut transaction, history, page, ends).await?,
        None => replay(&mut transaction, ends).await?,
    };
    transaction.commit().await?;
    Ok(deleted)
}

async fn rows(on: &mut PgConnection, history: History, page: &'static str, ends: Ends) -> sqlx::Result<Deleted> {
    let Place { number, id } = ends.from;
    let query = sqlx::query(page);
    let query = match history {
        History::Timeline | History::AuthorizationTimeline | History::Events => query.bind(number),
        History::Notifications | History::Audit | History::Replays => query.bind(id),
        History::DeadLetters => query.bind(pg_time(ends.time())),
    };
    let query = query.bind(pg_time(ends.before)).bind(i64::from(ends.limit));
    let query = match history {
        History::Notifications => query.bind(pg_time(ends.unregistered_before)),
        History::DeadLetters => query.bind(id),
        _ => query,
    };
    let read = history::reads(history, &query.fetch_all(&mut *on).await?)?;
    let mut batch = Batch::of(read, ends.limit);
    if history == History::Events {
        rest(on, &mut batch, ends).await?;
    }
    if batch.gone.is_empty() {
        return Ok(batch.deleted());
    }
    let deletion = sqlx::query(history::deletion!(history, "= any($1)"));
    let deletion = match history {
        History::Timeline | History::AuthorizationTimeline | History::Events => deletion.bind(batch.numbers()),
        _ => deletion.bind(batch.ids()),
    };
    deletion.execute(&mut *on).await?;
    let orders: Vec<&str> = batch.orders().into_iter().map(OrderId::as_str).collect();
    match history {
        History::Timeline => {
            sqlx::query("delete from releases where order_id = any($1)").bind(orders).execute(on).await?;
        }
        History::Events => {
            sqlx::query(
                "update orders set sent_state = state, sent_captured_minor = captured_minor, \
                    sent_refunded_minor = refunded_minor where id = any($1)",
            )
            .bind(orders)
            .execute(&mut *on)
            .await?;
            sqlx::query(
                "insert into watermarks (name, at) values ($1, $2) \
                 on conflict (name) do update set at = greatest(watermarks.at, excluded.at)",
            )
            .bind(EVENTS_DELETED)
            .bind(pg_time(batch.last_place()))
            .execute(on)
            .await?;
        }
        _ => {}
    }
    Ok(batch.deleted())
}

/// Leaves only events of orders that are still at rest, and holds those orders: what is noted as sent is what they are while their events go.
async fn rest(on: &mut PgConnection, batch: &mut Batch, ends: Ends) -> sqlx::Result<()> {
    let orders: Vec<&str> = batch.orders().into_iter().map(OrderId::as_str).collect();
    let locked: Vec<String> = sqlx::query_scalar(
        "select o.id from orders o where o.id = any($1) and o.state <> 'held' and o.updated_at < $2 \
         for no key update skip locked",
    )
    .bind(orders)
    .bind(pg_time(ends.before))
    .fetch_all(on)
    .await?;
    batch.gone.retain(|read| read.order.as_ref().is_none_or(|order| locked.iter().any(|id| id == order.as_str())));
    Ok(())
}

/// Deletes one replay at a time, its items first.
async fn replay(on: &mut PgConnection, ends: Ends) -> sqlx::Result<Deleted> {
    let oldest: Option<Uuid> =
        sqlx::query_scalar(FINISHED_REPLAY).bind(pg_time(ends.before)).fetch_optional(&mut *on).await?;
    let Some(id) = oldest else { return Ok(Deleted { deleted: 0, needed: 0, next: None }) };
    let items = sqlx::query(DELETE_ITEMS).bind(id).bind(i64::from(ends.limit)).execute(&mut *on).await?.rows_affected();
    let deleted = history::replay_deleted(items, ends.limit);
    if deleted.deleted > items {
        sqlx::query(DELETE_REPLAY).bind(id).execute(on).await?;
    }
    Ok(deleted)
}
