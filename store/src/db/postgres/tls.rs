//! TLS to the server.

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Insists on a server whose certificate names its host and is of a known authority: of one in `ca_pem`, or one of the
/// system's.
pub(super) fn trusting(connect: PgConnectOptions, ca_pem: Option<&str>) -> PgConnectOptions {
    match ca_pem {
        Some(pem) => connect.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(pem.as_bytes().to_vec()),
        None => connect,
    }
}
