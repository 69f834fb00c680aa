use payhook_schema::OrderId;
use sqlx::SqliteConnection;

use crate::batch::json;
use crate::columns::micros;
use crate::history::{self, Batch, DELETE_ITEMS, DELETE_REPLAY, EVENTS_DELETED, Ends, FINISHED_REPLAY};
use crate::{Deleted, History, Place};

/// Within the caller's transaction: there is one writer, so no order moves meanwhile.
pub(super) async fn delete(on: &mut SqliteConnection, history: History, ends: Ends) -> sqlx::Result<Deleted> {
    let Some(page) = history::page(history) else { return replay(on, ends).await };
    let Place { number, id } = ends.from;
    let query = sqlx::query(page);
    let query = match history {
        History::Timeline | History::AuthorizationTimeline | History::Events => query.bind(number),
        History::Notifications | History::Audit | History::Replays => query.bind(id.to_string()),
        History::DeadLetters => query.bind(micros(ends.time())),
    };
    let query = query.bind(micros(ends.before)).bind(i64::from(ends.limit));
    let query = match history {
        History::Notifications => query.bind(micros(ends.unregistered_before)),
        History::DeadLetters => query.bind(id.to_string()),
        _ => query,
    };
    let read = history::reads(history, &query.fetch_all(&mut *on).await?)?;
    let batch = Batch::of(read, ends.limit);
    if batch.gone.is_empty() {
        return Ok(batch.deleted());
    }
    let deletion = sqlx::query(history::deletion!(history, "in (select value from json_each($1))"));
    let deletion = match history {
        History::Timeline | History::AuthorizationTimeline | History::Events => deletion.bind(json(&batch.numbers())),
        _ => deletion.bind(json(&batch.ids())),
    };
    deletion.execute(&mut *on).await?;
    let orders: Vec<&str> = batch.orders().into_iter().map(OrderId::as_str).collect();
    match history {
        History::Timeline => {
            sqlx::query("delete from releases where order_id in (select value from json_each($1))")
                .bind(json(&orders))
                .execute(on)
                .await?;
        }
        History::Events => {
            sqlx::query(
                "update orders set sent_state = state, sent_captured_minor = captured_minor, \
                    sent_refunded_minor = refunded_minor where id in (select value from json_each($1))",
            )
            .bind(json(&orders))
            .execute(&mut *on)
            .await?;
            sqlx::query(
                "insert into watermarks (name, at) values ($1, $2) \
                 on conflict (name) do update set at = max(watermarks.at, excluded.at)",
            )
            .bind(EVENTS_DELETED)
            .bind(micros(batch.last_place()))
            .execute(on)
            .await?;
        }
        _ => {}
    }
    Ok(batch.deleted())
}

/// Deletes one replay at a time, its items first.
async fn replay(on: &mut SqliteConnection, ends: Ends) -> sqlx::Result<Deleted> {
    let oldest: Option<String> =
        sqlx::query_scalar(FINISHED_REPLAY).bind(micros(ends.before)).fetch_optional(&mut *on).await?;
    let Some(id) = oldest else { return Ok(Deleted { deleted: 0, needed: 0, next: None }) };
    let items =
        sqlx::query(DELETE_ITEMS).bind(&id).bind(i64::from(ends.limit)).execute(&mut *on).await?.rows_affected();
    let deleted = history::replay_deleted(items, ends.limit);
    if deleted.deleted > items {
        sqlx::query(DELETE_REPLAY).bind(&id).execute(on).await?;
    }
    Ok(deleted)
}
