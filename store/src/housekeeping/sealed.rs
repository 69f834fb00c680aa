//! Finds what is sealed under an old key, and replaces it.

use payhook_schema::{Sealed, SealedPlace};

use super::{Resealed, SealedThing};
use crate::db::Conn;
use crate::db::row::Row;

/// Lists what is sealed under an older or a newer key: each arm walks a partial index, and stops at the limit.
macro_rules! others {
    ($place:literal, $table:literal, $key:literal, $bytes:literal) => {
        concat!(
            others!($place, $table, $key, $bytes, " < "),
            " union all ",
            others!($place, $table, $key, $bytes, " > ")
        )
    };
    ($place:literal, $table:literal, $key:literal, $bytes:literal, $older:literal) => {
        concat!(
            "select * from (select '",
            $place,
            "' as place, id::text as id, ",
            $key,
            " as sealed_under, ",
            $bytes,
            " as bytes from ",
            $table,
            " where ",
            $key,
            $older,
            "$1 limit $2) each_arm"
        )
    };
}

const LIST: &str = concat!(
    others!("notification", "notifications", "sealed_with", "body"),
    " union all ",
    others!("code", "authorizations", "code_key", "code"),
    " union all ",
    others!("access_token", "authorizations", "access_token_key", "access_token"),
    " union all ",
    others!("refresh_token", "authorizations", "refresh_token_key", "refresh_token"),
    " limit $2"
);

/// Counts the things that are sealed under each key, by key. Only the partial indexes are walked.
const COUNT: &str = "
  select sealed_under, cast(sum(things) as bigint) as things from (
    select sealed_with as sealed_under, count(*) as things from notifications where sealed_with is not null group by 1
    union all select code_key, count(*) from authorizations where code_key is not null group by 1
    union all select access_token_key, count(*) from authorizations where access_token_key is not null group by 1
    union all select refresh_token_key, count(*) from authorizations where refresh_token_key is not null group by 1
  ) as each_place
  group by 1 order by 1";

pub(super) async fn list(on: &mut Conn<'_>, newest: u32, limit: u32) -> sqlx::Result<Vec<SealedThing>> {
    on.query(LIST).bind(newest).bind(limit).all().await?.iter().map(thing).collect()
}

/// A place by its column's name and its row's id.
fn thing(row: &Row) -> sqlx::Result<SealedThing> {
    let place = match row.get::<String>("place")?.as_str() {
        "code" => SealedPlace::Code(row.get("id")?),
        "access_token" => SealedPlace::AccessToken(row.get("id")?),
        "refresh_token" => SealedPlace::RefreshToken(row.get("id")?),
        _ => {
            let id = row.get::<String>("id")?.parse().map_err(|error| crate::db::row::wrong("id", error))?;
            SealedPlace::NotificationBody(id)
        }
    };
    Ok(SealedThing { place, sealed: Sealed { key: row.get("sealed_under")?, bytes: row.get("bytes")? } })
}

pub(super) async fn replace(on: &mut Conn<'_>, replacements: &[Resealed]) -> sqlx::Result<usize> {
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    let mut replaced = 0;
    for Resealed { place, was, now } in replacements {
        let query = match place {
            SealedPlace::NotificationBody(id) => on
                .query(
                    "update notifications set sealed_with = $4, body = $5 \
                     where id = $1 and sealed_with = $2 and body = $3",
                )
                .bind(*id),
            SealedPlace::Code(id) => on
                .query(
                    "update authorizations set code_key = $4, code = $5, revision = revision + 1 \
                     where id = $1 and code_key = $2 and code = $3",
                )
                .bind(id),
            SealedPlace::AccessToken(id) => on
                .query(
                    "update authorizations set access_token_key = $4, access_token = $5, revision = revision + 1 \
                     where id = $1 and access_token_key = $2 and access_token = $3",
                )
                .bind(id),
            SealedPlace::RefreshToken(id) => on
                .query(
                    "update authorizations set refresh_token_key = $4, refresh_token = $5, revision = revision + 1 \
                     where id = $1 and refresh_token_key = $2 and refresh_token = $3",
                )
                .bind(id),
        };
        let query = query.bind(was.key).bind(&was.bytes).bind(now.key).bind(&now.bytes);
        replaced += query.execute().await? as usize;
    }
    unit.commit().await?;
    Ok(replaced)
}

pub(super) async fn count(on: &mut Conn<'_>) -> sqlx::Result<Vec<(u32, u64)>> {
    let counts = on.query(COUNT).all().await?;
    counts.iter().map(|row| Ok((row.get("sealed_under")?, row.get("things")?))).collect()
}
