use payhook_schema::SealedPlace;
use sqlx::{Connection, PgConnection};

use crate::sealed::{self, sealed_columns};
use crate::{Resealed, SealedThing};

/// Lists what is sealed under an older or a newer key: each arm walks a partial index, and stops at the limit.
macro_rules! others {
    ($place:literal, $table:literal, $key:literal, $bytes:literal) => {
        concat!(
            "(select ",
            sealed_columns!($place, "id::text", $key, $bytes),
            " from ",
            $table,
            " where ",
            $key,
            " < $1 limit $2) union all (select ",
            sealed_columns!($place, "id::text", $key, $bytes),
            " from ",
            $table,
            " where ",
            $key,
            " > $1 limit $2)"
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

pub(super) async fn list(on: &mut PgConnection, newest: u32, limit: u32) -> sqlx::Result<Vec<SealedThing>> {
    let rows = sqlx::query(LIST).bind(i64::from(newest)).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter().map(sealed::thing).collect()
}

pub(super) async fn replace(on: &mut PgConnection, replacements: &[Resealed]) -> sqlx::Result<usize> {
    let mut transaction = on.begin().await?;
    let mut replaced = 0;
    for Resealed { place, was, now } in replacements {
        let query = match place {
            SealedPlace::NotificationBody(id) => sqlx::query(
                "update notifications set sealed_with = $4, body = $5 \
                 where id = $1 and sealed_with = $2 and body = $3",
            )
            .bind(id),
            SealedPlace::Code(id) => sqlx::query(
                "update authorizations set code_key = $4, code = $5, revision = revision + 1 \
                 where id = $1 and code_key = $2 and code = $3",
            )
            .bind(id.as_str()),
            SealedPlace::AccessToken(id) => sqlx::query(
                "update authorizations set access_token_key = $4, access_token = $5, revision = revision + 1 \
                 where id = $1 and access_token_key = $2 and access_token = $3",
            )
            .bind(id.as_str()),
            SealedPlace::RefreshToken(id) => sqlx::query(
                "update authorizations set refresh_token_key = $4, refresh_token = $5, revision = revision + 1 \
                 where id = $1 and refresh_token_key = $2 and refresh_token = $3",
            )
            .bind(id.as_str()),
        };
        let query = query.bind(i64::from(was.key)).bind(&was.bytes).bind(i64::from(now.key)).bind(&now.bytes);
        replaced += query.execute(&mut *transaction).await?.rows_affected() as usize;
    }
    transaction.commit().await?;
    Ok(replaced)
}

pub(super) async fn count(on: &mut PgConnection) -> sqlx::Result<Vec<(u32, u64)>> {
    sealed::counts(&sqlx::query(sealed::COUNT).fetch_all(on).await?)
}
