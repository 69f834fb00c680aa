//! The only place where a payment changes: take a hint, ask the provider, decide, write it once, tell fulfilment.
//!
//! **Invariant:** a payment moves on the provider's answer, asked for after the hint was taken, and on nothing else. An
//! authorization, for which there is nothing to ask, moves on a notification whose signature held. **Invariant:** a
//! delivery is acked after what it caused is committed, never before.
//!
//! Arrows between the files go one way only, from the first line to the last:
//!
//! | folder | what it does |
//! |---|---|
//! | `worker.rs` | starts and stops the tasks |
//! | `chores/` | sweep, follow, relay, replay and the others: each on its own schedule |
//! | `hints/` | from the queue to an outcome that is written once and then acked |
//! | `authorization/` | a customer's consent and its tokens |
//! | `money/` | the decisions: pure |
//! | `ask/` | the one gate to the providers: breakers, budgets, classes of failures |
//! | `context.rs`, `store_retry.rs`, `schedule.rs`, `wait.rs` | shared parts, every schedule, every wait |

mod ask;
mod authorization;
mod chores;
mod context;
mod error_chain;
mod hints;
mod money;
mod schedule;
mod store_retry;
mod wait;
mod worker;

pub use context::{WorkerOptions, WorkerParts};
pub use payhook_schema::seed_waits;
pub use schedule::Schedule;
pub use worker::{Died, Worker};
