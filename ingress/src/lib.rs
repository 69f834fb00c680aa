//! HTTP for providers: check the bytes, make the notification durable, answer as the provider expects.
//!
//! **Invariant:** knows the queue and not the store; a slow database never makes us refuse a notification.
//! **Invariant:** nothing is published, asked or stored for a request whose signature does not hold.

mod answer;
mod flood;
mod receive;
mod repeats;

pub use receive::{Ingress, IngressOptions, routes};
