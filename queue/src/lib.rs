//! Carries envelopes at least once, and knows nothing about payments. One contract, [`Queue`]; two backends keep it:
//! [`rabbitmq`] for any number of processes, [`embedded`] for one machine.

mod contract;

pub use contract::{Consumer, Death, Deliveries, Delivery, Depth, Lane, Queue, QueueError, Settler, Verdict};
