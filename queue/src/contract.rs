//! The contract of a queue: what each backend promises, and the data that crosses its edge.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_schema::{DeadCause, Envelope, EnvelopeError, Event};
use thiserror::Error;

/// A durable, at-least-once queue of [`Envelope`]s.
///
/// Every backend keeps these promises; each is the name of a function in `conformance`, run on both:
///
/// - `a_confirmed_envelope_outlives_its_publisher`
/// - `a_delivery_is_held_by_one_consumer_at_a_time`
/// - `an_unsettled_delivery_comes_back_once_its_consumer_is_gone`
/// - `an_acked_delivery_never_comes_back`
/// - `a_delivery_is_settled_once`
/// - `a_released_delivery_comes_back_unchanged`
/// - `a_retry_stays_hidden_for_as_long_as_was_asked`
/// - `a_retry_that_asked_for_less_than_its_delay_comes_sooner`
/// - `a_retry_carries_its_attempt_and_when_it_first_failed`
/// - `a_dead_letter_keeps_its_bytes_and_its_reason`
/// - `what_crashes_its_process_again_and_again_is_dead_lettered_as_poison`
/// - `what_goes_round_between_crashes_is_dead_lettered_as_poison_all_the_same`
/// - `the_neighbours_of_what_crashes_its_process_are_settled`
/// - `bytes_that_are_no_envelope_are_handed_over_and_can_be_dead_lettered`
/// - `a_consumer_holds_no_more_than_its_prefetch`
/// - `deliveries_in_hand_can_be_settled_after_the_flow_was_stopped`
/// - `depths_tell_what_waits_and_where`
/// - `what_can_be_taken_is_counted_as_far_as_one_cares`
/// - `migrating_twice_does_no_harm`
/// - `what_proves_readiness_is_never_handed_out`
/// - `a_closed_queue_refuses_instead_of_hanging`
///
/// Not promised: order, and exactly once. The effect is what is deduplicated, in the store.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Returns once the envelope is durable: it outlives this process and, on RabbitMQ, the loss of a minority of
    /// nodes.
    ///
    /// An error means *unknown*, not *failed*: it may be stored all the same, even later. Publishing it again is safe.
    async fn publish(&self, envelope: &Envelope) -> Result<(), QueueError>;

    /// Starts taking from `lane`, with at most `prefetch` unsettled deliveries at once.
    async fn consume(&self, lane: Lane, prefetch: u16) -> Result<Consumer, QueueError>;

    /// Returns true if order events can be published here. If not, consumers read them from the feed.
    fn carries_events(&self) -> bool;

    /// Publishes one event for fulfilment and returns once it is durable, or once the broker says that no queue wants
    /// it. [`QueueError::Misconfigured`] where [`Queue::carries_events`] says no.
    async fn publish_event(&self, event: &Event) -> Result<Routed, QueueError>;

    /// Brings queues and exchanges to this version; twice does no harm.
    async fn migrate(&self) -> Result<(), QueueError>;

    /// Proves that a publish works: a write was confirmed within the last seconds, or a probe is written and confirmed
    /// now. Consumers never see the probe.
    async fn probe(&self) -> Result<(), QueueError>;

    /// Tries every way a message can take, one by one, for `payhook check`. Empty where there is only one.
    async fn routes(&self) -> Result<Vec<Route>, QueueError> {
        Ok(Vec::new())
    }

    /// Lists the messages in `payhook.unrouted`, oldest first, at most `at_most`. Empty where there is no such queue.
    async fn unrouted(&self, _at_most: usize) -> Result<Vec<Unrouted>, QueueError> {
        Ok(Vec::new())
    }

    /// Moves at most `at_most` messages from `payhook.unrouted` to where they belong: published, confirmed, then acked
    /// there. Events are dropped, because the feed has them.
    async fn unrouted_move_back(&self, _which: MoveBack, _at_most: usize) -> Result<MovedBack, QueueError> {
        Ok(MovedBack::default())
    }

    /// Counts the waiting messages, per queue.
    async fn depths(&self) -> Result<Vec<Depth>, QueueError>;

    /// Counts the notifications and hints that could be taken now, up to `up_to`: cheap, however many wait for later.
    async fn waiting(&self, up_to: u32) -> Result<u32, QueueError>;

    /// Returns the queue's address without credentials, for `payhook check` and errors.
    fn address(&self) -> String;

    /// Finishes what is in flight and closes connections.
    async fn close(&self);
}

/// The kind of messages that a consumer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Hints to be settled.
    Notifications,
    /// Hints given up on, on their way into the store's dead letters.
    Dead,
}

/// A running consumption. Dropping `deliveries` stops the flow; what was handed out can still be settled. Dropping both
/// gives back whatever was not settled.
pub struct Consumer {
    /// For the one task that takes.
    pub deliveries: Box<dyn Deliveries>,
    /// For every task that settles, at once and in any order.
    pub settler: Arc<dyn Settler>,
}

#[async_trait]
pub trait Deliveries: Send {
    /// Waits for a delivery, then returns it with all others that are ready, at most `at_most`; never an empty list.
    ///
    /// An error ends the consumption: drop the consumer and start another. Cancel safe: no delivery is lost by dropping
    /// the future.
    async fn next(&mut self, at_most: usize) -> Result<Vec<Delivery>, QueueError>;
}

#[async_trait]
pub trait Settler: Send + Sync {
    /// Settles deliveries of this consumer. A retry or dead letter is published and confirmed before the old delivery
    /// is acked, so a crash between the two repeats it and never loses it.
    ///
    /// Returns how many were no longer ours to settle: those come again, or already did. On an error some may be
    /// settled and the rest is not: settling the same list again finishes it, counting the settled ones as not ours. A
    /// delivery that stays unsettled comes back once the consumer is dropped.
    async fn settle(&self, settled: &[(Delivery, Verdict)]) -> Result<usize, QueueError>;
}

/// A hand-over of an envelope to a consumer.
#[derive(Debug)]
pub struct Delivery {
    /// The backend's own handle; meaningless outside the consumer it came from.
    pub tag: u64,
    /// The exact bytes, for moving them on unread.
    pub bytes: Vec<u8>,
    /// The decoded bytes, or the reason they cannot be decoded: poison.
    pub envelope: Result<Envelope, EnvelopeError>,
    /// The number of this try, from 1. Counted by [`Verdict::Retry`] alone: a crash or a redelivery does not raise it.
    pub attempt: u32,
    /// The time the first try failed; absent on the first.
    pub first_failed_at: Option<Timestamp>,
    /// The reason it is here, on [`Lane::Dead`].
    pub death: Option<Death>,
}

/// The reason both backends state when they give up on a delivery that nobody settles.
pub(crate) const HANDED_OUT_TOO_OFTEN: &str =
    "handed to workers again and again and never settled: it may be what crashes them";

/// The most of [`Death::detail`] that is kept, in bytes: it travels as a message header on RabbitMQ.
pub const DEATH_DETAIL_BYTES_MAX: usize = 1024;

/// The reason a hint was given up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub cause: DeadCause,
    /// The last answer, without bodies or secrets. Cut to [`DEATH_DETAIL_BYTES_MAX`].
    pub detail: String,
    pub died_at: Timestamp,
}

impl Death {
    /// The detail as far as it is kept, whole characters only.
    pub(crate) fn detail_cut(&self) -> &str {
        &self.detail[..self.detail.floor_char_boundary(DEATH_DETAIL_BYTES_MAX)]
    }
}

/// A consumer's decision about a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Ack,
    /// Hidden for at least `after`, and at most for the smallest configured delay not below it, then delivered as
    /// `attempt` on [`Lane::Notifications`], from whichever lane it came. Beyond the longest delay, it is the longest.
    ///
    /// The embedded queue waits exactly `after`. On RabbitMQ the retries of one delay are a queue, which lets nothing
    /// past its head: behind one that waits longer, a retry waits as long, which is never more than the delay. Jitter
    /// therefore spreads retries, but only a little where many wait at once.
    Retry {
        after: Duration,
        attempt: u32,
        first_failed_at: Timestamp,
    },
    /// To [`Lane::Dead`].
    DeadLetter(Death),
    /// Back to where it was, at once and unchanged. For a shutdown: RabbitMQ 3.10 counts it like a crash.
    Release,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// The queue's name as RabbitMQ has it, on both backends: `payhook.notifications`, `payhook.retry.5s`,
    /// `payhook.dead`.
    pub queue: String,
    /// Waiting: not with a consumer.
    pub ready: u64,
    /// Consumers of all processes, where the backend counts them.
    pub consumers: Option<u32>,
    /// Since when the oldest waits that can be taken now. Unknown on RabbitMQ, where looking would count as a delivery.
    pub oldest_at: Option<Timestamp>,
    /// The time the next retry is due, where the backend tells.
    pub next_due_at: Option<Timestamp>,
}

/// The result of publishing an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed {
    /// At least one queue has it.
    Taken,
    /// No queue is bound for it, so the broker kept nothing.
    Unwanted,
}

/// A way a message can take, as `payhook check` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The exchange's name.
    pub name: String,
    pub state: RouteState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteState {
    /// A probe was confirmed by the queue at its end.
    Works,
    /// Our user may not write to it, which some roles need not.
    NotPermitted,
    /// Exchange, queue or binding is missing; why, as the broker says it.
    Broken(String),
}

/// A message in `payhook.unrouted`, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrouted {
    pub kind: UnroutedKind,
    pub message_id: Option<String>,
    /// The key it was published with: its payment, or an event's type.
    pub key: String,
    pub sent_at: Option<Timestamp>,
    pub bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnroutedKind {
    /// Belongs to the work queue; what nobody knows goes there, too, and ends in the dead letters with its bytes.
    Hint,
    /// Belongs to `payhook.dead`.
    DeadLetter,
    /// Was handed out as a dead letter again and again and never settled: it may end whoever takes it.
    Crashing,
    /// No queue wanted it. The feed has it.
    Event,
}

impl UnroutedKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::DeadLetter => "dead_letter",
            Self::Crashing => "crashing",
            Self::Event => "event",
        }
    }
}

/// The choice of messages to move out of `payhook.unrouted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveBack {
    /// All but [`UnroutedKind::Crashing`], which is for a person to move.
    Harmless,
    All,
}

/// The counts of messages moved out of `payhook.unrouted`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MovedBack {
    pub hints: u64,
    pub dead_letters: u64,
    pub events_dropped: u64,
    /// Still there afterwards.
    pub left: u64,
}

impl MovedBack {
    pub fn is_nothing(&self) -> bool {
        self.hints + self.dead_letters + self.events_dropped == 0
    }
}

/// A failure of the queue, by what the caller can do next.
#[derive(Debug, Error)]
pub enum QueueError {
    /// Not reachable, blocked, or silent past the deadline: try again later. The outcome of a publish is unknown.
    #[error("the queue at `{address}` is unavailable: {what}")]
    Unavailable {
        address: String,
        what: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Refused for now because it is full.
    #[error("the queue at `{address}` is full")]
    Full { address: String },
    /// Wrong address, password, rights or topology: a person must look. `payhook migrate` declares what is missing.
    #[error("the queue at `{address}` is not set up: {what}")]
    Misconfigured {
        address: String,
        what: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl QueueError {
    pub(crate) fn unavailable(address: &str, what: impl Into<String>) -> Self {
        Self::Unavailable { address: address.to_owned(), what: what.into(), source: None }
    }

    pub(crate) fn misconfigured(address: &str, what: impl Into<String>) -> Self {
        Self::Misconfigured { address: address.to_owned(), what: what.into(), source: None }
    }

    /// Returns true if waiting may help.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Full { .. } => true,
            Self::Misconfigured { .. } => false,
        }
    }
}
