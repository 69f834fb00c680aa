//! The contract on both backends, and what each shows beyond it.

mod backends;
mod conformance;
mod definitions;
mod embedded;
mod jitter;
mod rabbitmq;
mod routes;
mod topology;
