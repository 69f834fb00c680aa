//! Computes how long to wait between tries: doubling waits with a jitter. It does not sleep.
//!
//! The one place that knows the `backoff` crate. The jitter is ours: the crate's own cannot be seeded, and a simulation
//! must see the same waits for the same seed.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The waits between tries: each is twice as long as the one before, up to the longest.
#[derive(Debug, Clone)]
pub struct Backoff {
    waits: ExponentialBackoff,
    jitter: fn(Duration) -> Duration,
}

impl Backoff {
    /// Makes waits between half and the whole of what doubling gives.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { jitter: jittered, ..Self::exact(first, longest) }
    }

    /// Makes waits without a jitter: for a single user, whom nobody follows.
    pub fn exact(first: Duration, longest: Duration) -> Self {
        let waits = ExponentialBackoffBuilder::new()
            .with_initial_interval(first)
            .with_max_interval(longest)
            .with_multiplier(2.0)
            .with_randomization_factor(0.0)
            // When to give up is the caller's decision.
            .with_max_elapsed_time(None)
            .build();
        Self { waits, jitter: |wait| wait }
    }

    /// Returns the next wait.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.waits.next_backoff().unwrap_or(self.waits.max_interval);
        (self.jitter)(wait)
    }

    /// Starts again with the first wait: after a success.
    pub fn reset(&mut self) {
        self.waits.reset();
    }
}

thread_local! {
    static SEEDED: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// Makes all waits on this thread the same for the same seed: for simulations.
pub fn seed_waits(seed: u64) {
    SEEDED.set(Some(SmallRng::seed_from_u64(seed)));
}

fn random(range: RangeInclusive<f64>) -> f64 {
    SEEDED.with_borrow_mut(|seeded| match seeded {
        Some(seeded) => seeded.random_range(range),
        None => rand::random_range(range),
    })
}

/// Returns between half and the whole of `wait`, so that many processes do not come back at once.
pub fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(random(0.5..=1.0))
}

/// Returns anything up to `wait`, and not quite nothing: those that failed together come back one by one.
pub fn jittered_fully(wait: Duration) -> Duration {
    wait.mul_f64(random(0.02..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(waits: &mut Backoff) -> [u128; 4] {
        [(); 4].map(|()| waits.next_wait().as_millis())
    }

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut waits = Backoff::exact(Duration::from_millis(100), Duration::from_millis(700));
        assert_eq!(four(&mut waits), [100, 200, 400, 700]);
        assert_eq!(four(&mut waits), [700; 4]);
        waits.reset();
        assert_eq!(four(&mut waits), [100, 200, 400, 700]);
    }

    #[test]
    fn a_jitter_takes_away_half_at_most_and_does_not_slow_the_doubling() {
        let mut waits = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for whole in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let wait = waits.next_wait().as_millis();
            assert!((whole / 2..=whole).contains(&wait), "{wait} of {whole} ms");
        }
    }

    #[test]
    fn one_seed_gives_the_same_waits_again() {
        let seeded = |seed| {
            seed_waits(seed);
            let mut waits = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
            (four(&mut waits), jittered_fully(Duration::from_mins(1)))
        };
        assert_eq!(seeded(7), seeded(7));
        assert_ne!(seeded(7), seeded(8));
    }
}
