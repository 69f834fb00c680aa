//! Work that one worker of all does at a time, by a lease in the store that it takes, renews while it can, and gives
//! back.

use std::time::Duration;

use payhook_schema::jittered;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use crate::context::Context;
use crate::error_chain::chain;

/// A holder that died is replaced after this long.
const LEASE_FOR: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Lease {
    name: &'static str,
    holder: Uuid,
    renew_at: Instant,
    mine: bool,
}

impl Lease {
    pub(crate) fn new(name: &'static str, holder: Uuid) -> Self {
        Self { name, holder, renew_at: Instant::now(), mine: false }
    }

    /// Returns true if the work is ours now. If the store cannot say, it is not.
    pub(crate) async fn is_mine(&mut self, context: &Context) -> bool {
        if Instant::now() >= self.renew_at {
            let taken = context.store.lease_take(self.name, self.holder, context.clock.now(), LEASE_FOR).await;
            self.mine = taken.unwrap_or_else(|error| {
                warn!(error = %chain(&error), lease = self.name, "cannot take the lease `{}`, trying again", self.name);
                false
            });
            self.renew_at = Instant::now() + jittered(RENEW_EVERY);
        }
        self.mine
    }

    /// Another worker need not wait until it runs out.
    pub(crate) async fn release(self, context: &Context) {
        if self.mine {
            let _ = context.store.lease_release(self.name, self.holder).await;
        }
    }
}
