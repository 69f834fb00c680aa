//! The worker as it runs.

mod house;
mod late;
mod refunds;
mod retention;
mod tokens;
