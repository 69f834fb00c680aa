//! Values for parameters, as each database is given them.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use payhook_schema::{AccountName, AuthorizationId, OrderId, PaymentId, PaymentKey, Provider, RefundId};
use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, Sqlite};
use uuid::Uuid;

/// A parameter. SQLite has times as microseconds, ids as text, and lists as JSON.
pub(crate) enum Parameter<'v> {
    Text(Option<Cow<'v, str>>),
    Int(Option<i64>),
    Flag(bool),
    Time(Option<Timestamp>),
    Id(Option<Uuid>),
    Bytes(Option<&'v [u8]>),
    Texts(Vec<&'v str>),
    Ints(&'v [i64]),
    Ids(&'v [Uuid]),
}

impl Parameter<'_> {
    pub(super) fn for_postgres(
        self,
        to: Query<'static, Postgres, PgArguments>,
    ) -> Query<'static, Postgres, PgArguments> {
        match self {
            Self::Text(text) => to.bind(text),
            Self::Int(int) => to.bind(int),
            Self::Flag(flag) => to.bind(flag),
            Self::Time(at) => to.bind(at.map(pg_time)),
            Self::Id(id) => to.bind(id),
            Self::Bytes(bytes) => to.bind(bytes),
            Self::Texts(texts) => to.bind(texts),
            Self::Ints(ints) => to.bind(ints),
            Self::Ids(ids) => to.bind(ids),
        }
    }

    pub(super) fn for_sqlite(
        self,
        to: Query<'static, Sqlite, SqliteArguments>,
    ) -> Query<'static, Sqlite, SqliteArguments> {
        match self {
            Self::Text(text) => to.bind(text),
            Self::Int(int) => to.bind(int),
            Self::Flag(flag) => to.bind(flag),
            Self::Time(at) => to.bind(at.map(micros)),
            Self::Id(id) => to.bind(id.map(|id| id.to_string())),
            Self::Bytes(bytes) => to.bind(bytes),
            Self::Texts(texts) => to.bind(json(&texts)),
            Self::Ints(ints) => to.bind(json(&ints)),
            Self::Ids(ids) => to.bind(json(&ids)),
        }
    }
}

/// A time as both databases store it: in whole microseconds.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A time as PostgreSQL is given it: the same microsecond SQLite is given, whatever finer part it has.
pub(crate) fn pg_time(at: Timestamp) -> jiff_sqlx::Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at).to_sqlx()
}

pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data always serialises")
}

/// Makes parameters of the types, and of an absent value of each.
macro_rules! values {
    ($($type:ty => |$value:ident| $variant:ident($of:expr);)+) => {$(
        impl<'v> From<$type> for Parameter<'v> {
            fn from($value: $type) -> Self {
                Self::$variant(Some($of))
            }
        }

        impl<'v> From<Option<$type>> for Parameter<'v> {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(|$value| $of))
            }
        }
    )+};
}

values! {
    &'v str => |text| Text(text.into());
    &'v String => |text| Text(text.into());
    String => |text| Text(text.into());
    Cow<'v, str> => |text| Text(text);
    Provider => |provider| Text(provider.as_str().into());
    &'v AccountName => |name| Text(name.as_str().into());
    &'v OrderId => |id| Text(id.as_str().into());
    &'v PaymentId => |id| Text(id.as_str().into());
    &'v RefundId => |id| Text(id.as_str().into());
    &'v AuthorizationId => |id| Text(id.as_str().into());
    i64 => |int| Int(int);
    i32 => |int| Int(int.into());
    u32 => |int| Int(int.into());
    Timestamp => |at| Time(at);
    Uuid => |id| Id(id);
    &'v [u8] => |bytes| Bytes(bytes);
    &'v Vec<u8> => |bytes| Bytes(bytes.as_slice());
}

impl From<bool> for Parameter<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<'v> From<Vec<&'v str>> for Parameter<'v> {
    fn from(texts: Vec<&'v str>) -> Self {
        Self::Texts(texts)
    }
}

impl<'v> From<&'v [String]> for Parameter<'v> {
    fn from(texts: &'v [String]) -> Self {
        Self::Texts(texts.iter().map(String::as_str).collect())
    }
}

impl<'v> From<&'v [i64]> for Parameter<'v> {
    fn from(ints: &'v [i64]) -> Self {
        Self::Ints(ints)
    }
}

impl<'v> From<&'v [Uuid]> for Parameter<'v> {
    fn from(ids: &'v [Uuid]) -> Self {
        Self::Ids(ids)
    }
}

impl super::Query<'_> {
    /// Binds a payment's key: provider, account, id.
    pub(crate) fn bind_key(self, PaymentKey { provider, account, id }: &PaymentKey) -> Self {
        self.bind(*provider).bind(account).bind(id)
    }
}

/// Binds each column of `rows` as an array, in the order of the statement's parameters. For PostgreSQL alone.
macro_rules! bind_columns {
    ($query:expr, $rows:expr, |$row:ident: $type:ty| $($column:expr),+ $(,)?) => {
        $query$(.bind($rows.iter().map(|$row: &$type| $column).collect::<Vec<_>>()))+
    };
}
pub(crate) use bind_columns;
