//! Carries envelopes at least once, and knows nothing about payments. The contract is [`Queue`]; two backends keep it:
//! [`rabbitmq`] for any number of processes, [`embedded`] for one machine.

mod contract;
mod delays;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
pub mod rabbitmq;

pub use contract::{
    Consumer, DEATH_DETAIL_BYTES_MAX, Death, Deliveries, Delivery, Depth, Lane, MoveBack, MovedBack, Queue, QueueError,
    Route, RouteState, Routed, Settler, Unrouted, UnroutedKind, Verdict,
};
pub use embedded::EmbeddedQueue;
pub use rabbitmq::{RabbitOptions, RabbitQueue};
