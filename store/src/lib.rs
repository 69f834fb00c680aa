//! Remembers: orders, payments, refunds, authorizations, notifications, the timeline, the events, the dead letters and
//! their replays. The contract is [`Store`], cut at whole units of work; two backends keep it: [`postgres`] and
//! [`sqlite`].

mod contract;

pub mod postgres;
pub mod sqlite;

mod audit;
mod authorizations;
mod batch;
mod clocks;
mod columns;
mod dead_letters;
mod due;
mod fault;
mod history;
mod lent;
mod migrations;
mod names;
mod notifications;
mod refunds;
mod register;
mod replays;
mod rows;
mod sealed;
mod settling;
mod timeline;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use contract::{
    AccountLimit, Act, Archived, Asked, AuditEntry, AuthorizationChange, AuthorizationRegistered,
    AuthorizationSettlement, Backlog, Change, DeadLetter, DeadLetterFilter, DeadLetterGroup, Deleted, FeedEvent, Found,
    History, KeyUse, NewReplay, NotificationFilter, OrderFilter, PaymentCheck, PaymentName, Place, Registered, Release,
    Replay, ReplayItem, ReplayResult, Resealed, SealedThing, Selection, Sent, SentBefore, Settled, Settlement, Steer,
    Store, StoreError, TIMELINE_PAGE, TimelineEntry, TimelinePage, TimelinePlace,
};
pub use postgres::{LeaseClock, PgOptions, PgStore};
pub use sqlite::SqliteStore;
