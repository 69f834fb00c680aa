//! Options of the store on PostgreSQL.

use std::time::Duration;

use super::LeaseClock;

/// The way [`super::PgStore`] uses its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgOptions {
    /// Connections at most. Default 16: with batches a few are busy at a time, and a server has 100 for everyone.
    pub max_connections: u32,
    /// The longest wait for a connection, whether for a free one or for the server. Default 5 s.
    pub acquire_timeout: Duration,
    /// The longest a statement may run, and all work on a connection. Default 10 s: calls take well under 1 s.
    pub statement_timeout: Duration,
    /// Certificate authorities to trust besides the system's, in PEM; with some, `sslmode=verify-full`. Default: none.
    pub tls_ca_pem: Option<String>,
    /// The clock that says what is due and how long leases and claims last. Default: the database's.
    pub clock: LeaseClock,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            tls_ca_pem: None,
            clock: LeaseClock::Database,
        }
    }
}
