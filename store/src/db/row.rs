//! Reads a row by column names, whichever database it came from, so that what a row means is written once.

use jiff::Timestamp;
use payhook_schema::{
    AccountName, AuthState, AuthorizationId, AuthorizationState, Currency, DeadCause, DeadLetterState, OrderId,
    OrderState, PaymentId, PaymentKey, PaymentState, Provider, RefundId, ReplayState, SecretDigest, TimelineKind,
    Wallet,
};
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

/// A row of either database.
pub(crate) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    /// The value of a column that is `not null`.
    pub(crate) fn get<T: Column>(&self, name: &str) -> sqlx::Result<T> {
        self.opt(name)?.ok_or_else(|| wrong(name, sqlx::error::UnexpectedNullError))
    }

    /// The value of a column, if it has one.
    pub(crate) fn opt<T: Column>(&self, name: &str) -> sqlx::Result<Option<T>> {
        T::read(self, name)
    }

    /// The value of a column with JSON, if it has one.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> sqlx::Result<Option<T>> {
        let value = match self {
            Self::Postgres(row) => row.try_get::<Option<serde_json::Value>, _>(name)?.map(serde_json::from_value),
            Self::Sqlite(row) => row.try_get::<Option<&str>, _>(name)?.map(serde_json::from_str),
        };
        value.transpose().map_err(|error| wrong(name, error))
    }

    /// The same where it must have one.
    pub(crate) fn some_json<T: DeserializeOwned>(&self, name: &str) -> sqlx::Result<T> {
        self.json(name)?.ok_or_else(|| wrong(name, sqlx::error::UnexpectedNullError))
    }

    /// The key in `provider`, `account` and `payment_id`; none where there is no payment.
    pub(crate) fn payment_key(&self) -> sqlx::Result<Option<PaymentKey>> {
        let Some(id) = self.opt("payment_id")? else { return Ok(None) };
        Ok(Some(PaymentKey { provider: self.get("provider")?, account: self.get("account")?, id }))
    }

    /// The same where there is one.
    pub(crate) fn some_payment_key(&self) -> sqlx::Result<PaymentKey> {
        self.payment_key()?.ok_or_else(|| wrong("payment_id", sqlx::error::UnexpectedNullError))
    }
}

/// A value that the schema's constraints do not allow.
pub(crate) fn wrong(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: name.to_owned(), source: Box::new(error) }
}

/// A type that a column is read as.
pub(crate) trait Column: Sized {
    fn read(row: &Row, name: &str) -> sqlx::Result<Option<Self>>;
}

/// Types that both databases have.
macro_rules! alike {
    ($($type:ty)+) => {$(
        impl Column for $type {
            fn read(row: &Row, name: &str) -> sqlx::Result<Option<Self>> {
                match row {
                    Row::Postgres(row) => row.try_get(name),
                    Row::Sqlite(row) => row.try_get(name),
                }
            }
        }
    )+};
}

alike! { String i64 bool Vec<u8> }

/// Smaller numbers than the column's.
macro_rules! numbers {
    ($($type:ty)+) => {$(
        impl Column for $type {
            fn read(row: &Row, name: &str) -> sqlx::Result<Option<Self>> {
                let number = row.opt::<i64>(name)?.map(Self::try_from);
                number.transpose().map_err(|error| wrong(name, error))
            }
        }
    )+};
}

numbers! { i32 u32 u64 }

/// Words and ids, which are text.
macro_rules! words {
    ($($type:ty)+) => {$(
        impl Column for $type {
            fn read(row: &Row, name: &str) -> sqlx::Result<Option<Self>> {
                row.opt::<String>(name)?.map(|text| text.parse().map_err(|error| wrong(name, error))).transpose()
            }
        }
    )+};
}

words! {
    AccountName AuthState AuthorizationId AuthorizationState DeadCause DeadLetterState OrderId OrderState
    PaymentId PaymentState Provider RefundId ReplayState SecretDigest TimelineKind Wallet
}

impl Column for Currency {
    fn read(row: &Row, name: &str) -> sqlx::Result<Option<Self>> {
        let letters = row.opt::<String>(name)?;
        letters.map(|letters| Self::new(&letters).map_err(|error| wrong(name, error))).transpose()
    }
}

impl Column for Timestamp {
    fn read(row: &Row, name: &str) -> sqlx::Result<Option<Self>> {
        match row {
            Row::Postgres(row) => {
                Ok(row.try_get::<Option<jiff_sqlx::Timestamp>, _>(name)?.map(jiff_sqlx::Timestamp::to_jiff))
            }
            Row::Sqlite(_) => {
                let at = row.opt(name)?.map(Timestamp::from_microsecond);
                at.transpose().map_err(|error| wrong(name, error))
            }
        }
    }
}

impl Column for Uuid {
    fn read(row: &Row, name: &str) -> sqlx::Result<Option<Self>> {
        match row {
            Row::Postgres(row) => row.try_get(name),
            Row::Sqlite(row) => {
                let id = row.try_get::<Option<&str>, _>(name)?.map(Uuid::parse_str);
                id.transpose().map_err(|error| wrong(name, error))
            }
        }
    }
}
