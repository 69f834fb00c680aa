//! The console's API over a real store in one file, and a queue that remembers what it was given.

mod authorizations;
mod house;
mod keys;
mod orders;
mod roles;
