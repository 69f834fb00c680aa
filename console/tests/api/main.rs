//! The console's API over a real store in one file, and a queue that remembers what it was given.

mod authorizations;
mod dead_letters;
mod harness;
mod keys;
mod looking;
mod notifications;
mod orders;
mod problems;
mod release;
mod replays;
mod roles;
