//! Remembers: orders, payments, notifications, the timeline, the order events and the dead letters. One contract,
//! [`Store`], cut at whole units of work; two backends keep it: [`postgres`] and [`sqlite`].

mod contract;

pub mod postgres;
pub mod sqlite;

mod batch;
mod columns;
mod dead_letters;
mod fault;
mod lent;
mod migrations;
mod register;
mod rows;
mod settling;
mod timeline;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use contract::{
    Backlog, Change, DeadLetter, DeadLetterFilter, FeedEvent, Found, OrderFilter, PaymentCheck, Registered, Settled,
    Settlement, Store, StoreError, TimelineEntry,
};
pub use postgres::{PgOptions, PgStore};
pub use sqlite::SqliteStore;
