//! Reads the sealed things and their places, alike for both databases.

use payhook_schema::SealedPlace;

use crate::SealedThing;
use crate::authorizations::sealed;
use crate::columns::{Columns, some, wrong};
use crate::rows::read;

/// The columns of something sealed, as [`thing`] reads them.
macro_rules! sealed_columns {
    ($place:literal, $id:literal, $key:literal, $bytes:literal) => {
        concat!("'", $place, "' as place, ", $id, " as id, ", $key, " as sealed_under, ", $bytes, " as bytes")
    };
}
pub(crate) use sealed_columns;

/// Counts the things that are sealed under each key, by key. Only the partial indexes are walked.
pub(crate) const COUNT: &str = "
select sealed_under, cast(sum(things) as bigint) as things from (
    select sealed_with as sealed_under, count(*) as things from notifications where sealed_with is not null group by 1
    union all select code_key, count(*) from authorizations where code_key is not null group by 1
    union all select access_token_key, count(*) from authorizations where access_token_key is not null group by 1
    union all select refresh_token_key, count(*) from authorizations where refresh_token_key is not null group by 1
) as each_place
group by 1 order by 1";

/// A place by its column's name and its row's id.
pub(crate) fn thing(row: &impl Columns) -> sqlx::Result<SealedThing> {
    let place = match some("place", row.text("place"))?.as_str() {
        "code" => SealedPlace::Code(some("id", read(row, "id"))?),
        "access_token" => SealedPlace::AccessToken(some("id", read(row, "id"))?),
        "refresh_token" => SealedPlace::RefreshToken(some("id", read(row, "id"))?),
        _ => SealedPlace::NotificationBody(some("id", read(row, "id"))?),
    };
    Ok(SealedThing { place, sealed: some("bytes", sealed(row, "sealed_under", "bytes"))? })
}

pub(crate) fn counts(rows: &[impl Columns]) -> sqlx::Result<Vec<(u32, u64)>> {
    let mut counts = Vec::with_capacity(rows.len());
    for row in rows {
        let under = some("sealed_under", row.int("sealed_under"))?;
        let things = some("things", row.int("things"))? as u64;
        counts.push((u32::try_from(under).map_err(|error| wrong("sealed_under", error))?, things));
    }
    Ok(counts)
}
