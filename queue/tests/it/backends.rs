//! Makes each backend, and takes it away again.

mod embedded;
mod rabbit;

pub(crate) use embedded::{EmbeddedHarness, open_file};
pub(crate) use rabbit::{RabbitHarness, admin_channel, options};
