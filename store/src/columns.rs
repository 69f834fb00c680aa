use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

/// Reads a row by column names, whichever database it came from, so that what a row means is written once.
pub(crate) trait Columns {
    fn text(&self, name: &str) -> sqlx::Result<Option<String>>;
    fn int(&self, name: &str) -> sqlx::Result<Option<i64>>;
    fn time(&self, name: &str) -> sqlx::Result<Option<Timestamp>>;
    fn id(&self, name: &str) -> sqlx::Result<Option<Uuid>>;
    fn bytes(&self, name: &str) -> sqlx::Result<Option<Vec<u8>>>;
    fn json(&self, name: &str) -> sqlx::Result<Option<Value>>;
}

impl Columns for PgRow {
    fn text(&self, name: &str) -> sqlx::Result<Option<String>> {
        self.try_get(name)
    }

    fn int(&self, name: &str) -> sqlx::Result<Option<i64>> {
        self.try_get(name)
    }

    fn time(&self, name: &str) -> sqlx::Result<Option<Timestamp>> {
        Ok(self.try_get::<Option<jiff_sqlx::Timestamp>, _>(name)?.map(jiff_sqlx::Timestamp::to_jiff))
    }

    fn id(&self, name: &str) -> sqlx::Result<Option<Uuid>> {
        self.try_get(name)
    }

    fn bytes(&self, name: &str) -> sqlx::Result<Option<Vec<u8>>> {
        self.try_get(name)
    }

    fn json(&self, name: &str) -> sqlx::Result<Option<Value>> {
        self.try_get(name)
    }
}

impl Columns for SqliteRow {
    fn text(&self, name: &str) -> sqlx::Result<Option<String>> {
        self.try_get(name)
    }

    fn int(&self, name: &str) -> sqlx::Result<Option<i64>> {
        self.try_get(name)
    }

    fn time(&self, name: &str) -> sqlx::Result<Option<Timestamp>> {
        self.int(name)?
            .map(|micros| Timestamp::from_microsecond(micros).map_err(|error| wrong(name, error)))
            .transpose()
    }

    fn id(&self, name: &str) -> sqlx::Result<Option<Uuid>> {
        self.text(name)?.map(|text| Uuid::parse_str(&text).map_err(|error| wrong(name, error))).transpose()
    }

    fn bytes(&self, name: &str) -> sqlx::Result<Option<Vec<u8>>> {
        self.try_get(name)
    }

    fn json(&self, name: &str) -> sqlx::Result<Option<Value>> {
        self.text(name)?.map(|text| serde_json::from_str(&text).map_err(|error| wrong(name, error))).transpose()
    }
}

/// A value the schema's constraints should have kept out.
pub(crate) fn wrong(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: name.to_owned(), source: Box::new(error) }
}

/// The value of a column that is `not null`.
pub(crate) fn some<T>(name: &str, value: sqlx::Result<Option<T>>) -> sqlx::Result<T> {
    value?.ok_or_else(|| wrong(name, sqlx::error::UnexpectedNullError))
}

/// A time as both databases keep it: in whole microseconds.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A time as PostgreSQL is given it: the same microsecond SQLite is given, whatever finer part it has.
pub(crate) fn pg_time(at: Timestamp) -> jiff_sqlx::Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at).to_sqlx()
}
