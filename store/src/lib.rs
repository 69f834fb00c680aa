//! Remembers: orders, payments, refunds, authorizations, notifications, the timeline, the events, the dead letters and
//! their replays. Each noun is one file with its contract, and one folder with its statements and promises; `db` runs
//! a statement on either database.

mod audit;
mod authorizations;
mod clocks;
mod db;
mod dead_letters;
mod error;
mod events;
mod housekeeping;
mod notifications;
mod orders;
mod replays;
mod settling;
mod timeline;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use audit::{Audit, AuditEntry, KeyUse, Release};
pub use authorizations::{AuthorizationChange, AuthorizationRegistered, AuthorizationSettlement, AuthorizationStore};
pub use db::postgres::{self, LeaseClock, PgOptions, PgStore};
pub use db::sqlite::{self, SqliteStore};
pub use dead_letters::{Act, DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetters};
pub use error::StoreError;
pub use events::{Feed, FeedEvent, OrderEvents, SentBefore};
pub use housekeeping::{Backlog, Deleted, History, Housekeeping, Place, Resealed, SealedThing};
pub use notifications::{Archived, NotificationFilter, Notifications};
pub use orders::{AccountLimit, CheckSchedule, Found, OrderFilter, Orders, PaymentName, Registered};
pub use payhook_schema::Steer;
pub use replays::{NewReplay, Replay, ReplayItem, ReplayResult, Replays, Selection};
pub use settling::{Asked, Change, PaymentCheck, Settled, Settlement, Settling};
pub use timeline::{TIMELINE_PAGE, TimelineEntry, TimelinePage, TimelinePlace};

/// The data that payhook stores. Each method is one whole unit of work: all of it happens or none.
///
/// If workers share a server, its clock says what is due and how long leases and claims last, not the caller's `now`. A
/// deadline later than its length allows was written by a clock that was ahead, and holds nobody up.
///
/// Times have microsecond precision; what is finer is cut off. All reads are of the primary: what was written is read.
/// Every call returns within a bounded time, whatever the database does.
pub trait Store: ConsoleStore + CheckSchedule + Settling {}

impl<T: ConsoleStore + CheckSchedule + Settling> Store for T {}

/// The part of the store that the console has: it shows and requests, and settles nothing.
pub trait ConsoleStore:
    Orders + Feed + AuthorizationStore + DeadLetters + Replays + Notifications + Audit + Housekeeping
{
}

impl<T: Orders + Feed + AuthorizationStore + DeadLetters + Replays + Notifications + Audit + Housekeeping> ConsoleStore
    for T
{
}

/// The traits of a store, for who calls a store by its own type.
pub mod traits {
    pub use crate::{
        Audit as _, AuthorizationStore as _, CheckSchedule as _, DeadLetters as _, Feed as _, Housekeeping as _,
        Notifications as _, Orders as _, Replays as _, Settling as _,
    };
}
