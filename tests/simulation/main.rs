//! Worlds by the hundred, each from a seed: what is true at the providers must be true of the orders in the end,
//! whatever dies, comes twice, comes late, or never comes.
//!
//! ```console
//! $ cargo test -p payhook-simulation                                              # a quick look
//! $ PAYHOOK_SIM_WORLDS=5000 cargo test -p payhook-simulation random_worlds        # more of them
//! $ PAYHOOK_SIM_SEED=1234 cargo test -p payhook-simulation random_worlds_on_one   # this one again, with its calls
//! ```
#![expect(clippy::disallowed_methods, reason = "seeds and how many of them come through the environment")]

mod acts;
mod consents;
mod known;
mod oracle;
mod seam;
mod story;
mod world;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::oracle::check;
use crate::seam::lock;
use crate::story::{finish, release_all, story};
use crate::world::{Shape, SimulatedWorld, migrated};

/// Enough for a quick look; `cargo xtask test` runs ten times as many.
const WORLDS: u64 = 20;
/// Questions by sweeps of a refund's payment: a notification of a refund that nobody announced may name any of them.
const LOOKS: usize = 24;
const THREADS: u64 = 2;
const TANGLED_WORLDS: u64 = 40;
const WORLDS_ON_POSTGRESQL: u64 = 4;

/// The end of a world.
struct WorldRun {
    wrong: Vec<String>,
    calls: Vec<String>,
}

/// Runs one world on a clock that moves only when all of it waits.
fn run(seed: u64, shape: Shape, story: impl AsyncFnOnce(&mut SimulatedWorld)) -> WorldRun {
    // Outside of the world's own runtime, whose clock stands.
    migrated();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let end = runtime.block_on(async {
        let mut world = SimulatedWorld::new(seed, shape).await;
        story(&mut world).await;
        let found = check(&world).await;
        let wrong = [lock(&world.problems).clone(), found].concat();
        WorldRun { wrong, calls: world.gate.calls() }
    });
    runtime.shutdown_background();
    end
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

fn seeds(count: u64) -> Range<u64> {
    match number("PAYHOOK_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

/// Holds the story against the oracle in each world, and tells which seeds break it.
fn holds(seeds: Range<u64>, shape: impl Fn(u64) -> Shape + Sync, story: impl AsyncFn(&mut SimulatedWorld) + Sync) {
    let (next, broken) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(seeds.end - seeds.start) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let WorldRun { wrong, calls, .. } = run(seed, shape(seed), &story);
                    if !wrong.is_empty() {
                        let calls = if seeds.end - seeds.start == 1 { calls } else { Vec::new() };
                        lock(&broken).push((seed, [wrong, calls].concat()));
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner().expect("no thread panicked");
    broken.sort();
    let failing: Vec<u64> = broken.iter().map(|(seed, _)| *seed).collect();
    let Some((seed, wrong)) = broken.first() else { return };
    let first = broken.iter().take(20).map(|(seed, wrong)| format!("{seed}: {}\n", wrong[0])).collect::<String>();
    panic!(
        "worlds {failing:?} of {seeds:?} are not as they must be:\n{first}PAYHOOK_SIM_SEED={seed}:\n{}",
        wrong.join("\n")
    );
}

/// The whole of a random world.
async fn random(world: &mut SimulatedWorld) {
    story(world).await;
    let held = check(world).await;
    lock(&world.problems).extend(held);
    release_all(world).await;
    finish(world).await;
    release_all(world).await;
    let refunds: usize = world.payments.iter().map(|payment| payment.refunds.len()).sum();
    let (asked, handed) = (world.asked(), world.handed());
    world.expect(asked * 10 <= handed * 11 + 10 * LOOKS * refunds, || {
        format!("{asked} questions for {handed} deliveries and {refunds} refunds")
    });
}

fn plain(_: u64) -> Shape {
    Shape::default()
}

/// Two workers in every fifth world, an older gateway of Antom's in every fourth, replies lost in every third.
fn mixed(seed: u64) -> Shape {
    let workers = if seed.is_multiple_of(5) { 2 } else { 1 };
    let (refunds_unlisted, replies_lost) = (seed.is_multiple_of(4), seed.is_multiple_of(3));
    Shape { workers, refunds_unlisted, replies_lost, ..Shape::default() }
}

/// The same, with shared tokens and misplaced refunds.
fn tangled(seed: u64) -> Shape {
    Shape { tangled: true, ..mixed(seed) }
}

#[test]
fn random_worlds_on_one_file_end_as_is_true() {
    holds(seeds(number("PAYHOOK_SIM_WORLDS").unwrap_or(WORLDS)), mixed, random);
}

#[test]
fn random_worlds_with_shared_tokens_and_misplaced_refunds_end_as_is_true() {
    holds(seeds(number("PAYHOOK_SIM_WORLDS").unwrap_or(TANGLED_WORLDS)), tangled, random);
}

#[test]
fn random_worlds_on_postgresql_end_as_is_true() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in seeds(WORLDS_ON_POSTGRESQL) {
        let database = runtime.block_on(async { Some(payhook_test_servers::postgres().await?.fresh_database().await) });
        let Some(database) = database else { return };
        let shape = |seed| Shape { postgres: Some(database.url.clone()), ..mixed(seed) };
        holds(seed..seed + 1, shape, random);
    }
}

#[test]
fn a_seed_makes_the_same_world_again() {
    for seed in 0..3 {
        let [first, second] = [(); 2].map(|()| run(seed, mixed(seed), random));
        let differs = first.calls.iter().zip(&second.calls).find(|(first, second)| first != second);
        assert_eq!((differs, first.calls.len()), (None, second.calls.len()), "seed {seed}");
    }
}
