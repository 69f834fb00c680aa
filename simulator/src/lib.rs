//! Antom and Omise as neighbours, well-behaved or not, over real HTTP and in both directions.
//!
//! A [`Simulator`] answers what payhook asks, checking payhook's signature and keys as strictly as the providers do,
//! and sends the notifications the providers would send, signed over the very path they are posted to. Every answer is
//! made from the state of its things and never kept ready; a [`Fault`] bends answers on their way out and leaves the
//! state alone.
//!
//! ```no_run
//! # use payhook_schema::{AccountName, PaymentId};
//! # use payhook_simulator::{AntomKind, AntomStatus, Options, Simulator};
//! # async fn story() -> Result<(), Box<dyn std::error::Error>> {
//! let simulator = Simulator::start(Options::default()).await?;
//! let (shop, id) = (AccountName::new("shop-sg")?, PaymentId::new("PR-1")?);
//! println!("{}", simulator.config_toml(&shop));
//! simulator.antom().create(&id, "1500.00 THB".parse()?);
//! simulator.antom().decide(&id, AntomStatus::Success)?;
//! let reply = simulator.antom().notify("http://127.0.0.1:8080", &shop, &id, AntomKind::State).await?;
//! assert!(reply.acknowledged());
//! # Ok(())
//! # }
//! ```
//!
//! Its keys protect nothing, and it listens on the loopback only.

// A charge has more fields in one `json!` than the default allows.
#![recursion_limit = "256"]

mod antom;
mod control;
mod error;
mod faults;
mod ids;
mod journal;
mod json;
mod keys;
mod omise;
mod request;
pub mod sample;
mod server;
mod shared;
#[cfg(debug_assertions)]
mod tamarind;

pub use antom::{Antom, AntomHabits, AntomKind, AntomOutcome, AntomStatus, Judgement, SubscriptionStep};
pub use error::SimulatorError;
pub use faults::{Fault, Faults};
pub use journal::{Call, Journal, SentNotification};
pub use keys::Keys;
pub use omise::{Omise, OmiseDispute, OmiseStatus, OmiseVersion};
pub use request::{Reply, SignedRequest};
pub use server::{Options, Simulator};
#[cfg(debug_assertions)]
pub use tamarind::Tamarind;
