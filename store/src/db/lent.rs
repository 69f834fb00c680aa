//! Lends a connection of the pool.

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

/// A connection of the pool that goes back only when it is known to be in order.
///
/// Dropped in the middle of something, at a deadline or because the caller went away, it is closed: the pool would
/// wait, without limit, for the rest of an answer that may never come, and one by one all connections would be gone.
pub(crate) struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    pub(crate) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self(Some(connection))
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("it is taken only when given back or dropped")
    }

    /// Gives the connection back, unless `outcome` is that it broke. A refusal by the server is an answer like any
    /// other.
    pub(crate) fn give_back<T>(mut self, outcome: &sqlx::Result<T>) {
        if matches!(outcome, Ok(_) | Err(sqlx::Error::Database(_))) {
            drop(self.0.take());
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
