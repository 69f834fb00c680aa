use payhook_schema::{Event, OrderState};
use uuid::Uuid;

/// A kind of rows that end at an age. The present values of orders, payments, refunds, disputes and authorizations
/// never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum History {
    /// Finished ones, with their items.
    Replays,
    /// Closed ones.
    DeadLetters,
    /// The archive, with its bodies.
    Notifications,
    /// Of orders, with their releases.
    Timeline,
    AuthorizationTimeline,
    /// Published ones.
    Events,
    Audit,
}

impl History {
    /// Names a kind for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replays => "replays",
            Self::DeadLetters => "dead_letters",
            Self::Notifications => "notifications",
            Self::Timeline => "timeline",
            Self::AuthorizationTimeline => "authorization_timeline",
            Self::Events => "events",
            Self::Audit => "audit",
        }
    }
}

/// The position of a pass through one kind of history: the row that was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(crate) number: i64,
    pub(crate) id: Uuid,
}

impl Place {
    /// Before the oldest row.
    pub const START: Self = Self { number: 0, id: Uuid::nil() };
}

/// The result of one batch of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    pub deleted: u64,
    /// Rows older than their age that something still needs.
    pub needed: u64,
    /// The place where the pass goes on; `None` if it has ended.
    pub next: Option<Place>,
}

/// The events of an order, with the values of those that were deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Absent while no event of the order was deleted.
    pub deleted: Option<SentBefore>,
    /// In version order.
    pub events: Vec<Event>,
}

/// The values of an order that fulfilment had seen when events of it were deleted: all that the order was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentBefore {
    pub state: OrderState,
    pub captured_minor: i64,
    pub refunded_minor: i64,
}
