//! How to make each backend, and how to take it away.

mod embedded;
mod rabbit;

pub(crate) use embedded::{EmbeddedHarness, open_file};
pub(crate) use rabbit::{RabbitHarness, admin_channel, options};
