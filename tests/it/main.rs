//! Journeys through the real program: each role a process of its own, the simulated providers as neighbours.
//!
//! Every journey is written once and runs on both shapes: `one_file` is `serve` on one SQLite file; `cluster` is two
//! ingresses, two workers and a console on RabbitMQ and PostgreSQL, and says `not run` where those are absent.

mod antom_kinds;
mod asking;
mod authorizations;
mod believed;
mod budget;
mod charges;
mod cli;
mod clients;
mod compared;
mod composed;
mod crowded;
mod disputes;
mod encrypted;
mod examples;
mod feed;
mod forged;
mod harness;
mod killed;
mod machine;
mod missed;
mod money;
mod outages;
mod paid;
mod paused;
mod poison;
mod proxies;
mod readme;
mod refunds;
mod refused;
mod released;
mod repeated;
mod replayed;
mod retained;
mod rights;
mod roles;
mod rotated;
mod sent;
mod skewed;
mod soak;
#[cfg(debug_assertions)]
mod third_provider;
mod troubled;
mod unrouted;
