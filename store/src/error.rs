//! Errors of the store.

use thiserror::Error;

/// An error of the store, by what the caller can do next.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Not reachable, overloaded, or lost on the way: try again later. The outcome of a write is unknown, and writing
    /// it again is safe.
    #[error("the store at `{address}` is unavailable: {what}")]
    Unavailable {
        address: String,
        what: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Another process has the file open, and only one at a time may.
    #[error("the store at `{address}` is unavailable: another process has it open, and only one at a time may")]
    Held { address: String },
    /// Another version of payhook made it, or none: `payhook migrate` brings it to this one.
    #[error("the store at `{address}` is not at this program's version: {what}")]
    Outdated { address: String, what: String },
    /// The store cannot keep a value. Trying again with that value will not help; everything else works as before.
    #[error("the store at `{address}` does not keep a value it was given")]
    Unkeepable {
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers, and says no: wrong password or rights. Until a person mends that, trying again will not help.
    #[error("the store at `{address}` refused: {what}")]
    Refused {
        address: String,
        what: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl StoreError {
    /// Returns true if waiting may help.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Held { .. } | Self::Outdated { .. } => true,
            Self::Unkeepable { .. } | Self::Refused { .. } => false,
        }
    }
}
