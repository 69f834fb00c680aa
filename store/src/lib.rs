//! Remembers: orders, payments, refunds, authorizations, notifications, the timeline, the events and the dead letters. One
//! contract, [`Store`], cut at whole units of work; two backends keep it: [`postgres`] and [`sqlite`].

mod contract;

pub mod postgres;
pub mod sqlite;

mod audit;
mod authorizations;
mod batch;
mod columns;
mod dead_letters;
mod fault;
mod lent;
mod migrations;
mod names;
mod refunds;
mod register;
mod rows;
mod sealed;
mod settling;
mod timeline;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use contract::{
    AuditEntry, AuthorizationChange, AuthorizationRegistered, AuthorizationSettlement, Backlog, Change, DeadLetter,
    DeadLetterFilter, FeedEvent, Found, KeyUse, OrderFilter, PaymentCheck, PaymentName, Registered, Resealed,
    SealedThing, Settled, Settlement, Store, StoreError, TimelineEntry,
};
pub use postgres::{PgOptions, PgStore};
pub use sqlite::SqliteStore;
