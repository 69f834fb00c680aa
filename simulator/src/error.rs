//! The errors of the simulator.

use std::net::SocketAddr;
use std::path::PathBuf;

use payhook_schema::{PaymentId, Provider};
use thiserror::Error;

/// The reason why the simulator did not start, or did not carry out a request.
#[derive(Debug, Error)]
pub enum SimulatorError {
    #[error("the simulator listens on the loopback only, and {0} is not")]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot use the key file `{}`", path.display())]
    KeyFile { path: PathBuf, source: std::io::Error },
    #[error("the key file `{}` does not hold what it should: {what}", path.display())]
    KeyText { path: PathBuf, what: String },
    #[error("the simulated {provider} has no payment `{id}`: create it first")]
    NoSuchPayment { provider: Provider, id: PaymentId },
    /// Something else the provider has not.
    #[error("{0}")]
    Unknown(String),
    /// The provider itself would refuse this, or would have nothing to send.
    #[error("{0}")]
    NotPossible(String),
    /// A sample lacks something, and where to get it.
    #[error("{what}; {hint}")]
    Lacking { what: String, hint: String },
    #[error("`{0}` is not a base URL: write it like `http://127.0.0.1:8080`, without query")]
    BaseUrl(String),
    #[error("the notification could not be delivered")]
    Undelivered(#[source] reqwest::Error),
}
