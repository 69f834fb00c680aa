//! The only place where a payment changes: take a hint, ask the provider, decide, write it once, tell fulfilment.
//!
//! **Invariant:** a payment moves on the provider's answer, asked for after the hint was taken, and on nothing else. An authorization,
//! for which there is nothing to ask, moves on a notification whose signature held.
//! **Invariant:** a delivery is acked after what it caused is committed, never before.

mod announce;
mod authorization;
mod breaker;
mod budget;
mod class;
mod dead;
mod decide;
mod flights;
mod follow;
mod gate;
mod genuine;
mod guard;
mod inquire;
mod intake;
mod lease;
mod named;
mod outcome;
mod patience;
mod refunds;
mod relay;
mod release;
mod repeats;
mod replay;
mod retention;
mod schedule;
mod sweep;
mod unrouted;
mod worker;
mod writer;

pub use patience::seed_waits;
pub use schedule::Schedule;
pub use worker::{Died, Worker, WorkerOptions, WorkerParts};
