//! How to make each backend, and how to take it away.

mod embedded;
mod rabbit;

pub use embedded::EmbeddedHarness;
#[allow(unused_imports, reason = "not every test file needs all of it")]
pub use rabbit::{RabbitHarness, admin_channel, options};
