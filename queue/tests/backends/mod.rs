//! How to make each backend, and how to take it away. Not every test file needs all of it.
#![allow(dead_code, unused_imports, unreachable_pub)]

mod embedded;
mod rabbit;

pub use embedded::{EmbeddedHarness, open_file};
pub use rabbit::{RabbitHarness, admin_channel, options};
