//! The suite of `payhook_queue::conformance`, on each backend.

use crate::backends::{EmbeddedHarness, RabbitHarness};
use payhook_queue::conformance;

/// The walk to walk again, from the environment; another one each time without it.
#[expect(clippy::disallowed_methods, reason = "how a person repeats a failed walk")]
fn seed() -> u64 {
    let given = std::env::var("PAYHOOK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("the walk's seed: PAYHOOK_TEST_SEED={seed}");
    seed
}

conformance!(embedded, Some(EmbeddedHarness::start().await), seed());
conformance!(rabbitmq, RabbitHarness::start().await, seed());
