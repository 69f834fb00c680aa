//! Remembers which authorizations this worker sees to now, so that each is seen to once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use payhook_schema::AuthorizationId;

/// AuthorizationTasks one worker sees to at once; beyond that, refreshes wait in the store, where they do not stand
/// before payments.
const AT_ONCE: usize = 16;

#[derive(Default)]
pub(crate) struct Tended(Mutex<HashSet<AuthorizationId>>);

/// An authorization is seen to until this is dropped.
pub(super) struct Tending<'a> {
    tended: &'a Tended,
    id: AuthorizationId,
}

impl Tended {
    /// Returns `None` if it is seen to already, or if it can wait and so many tokens are being refreshed that another
    /// would only stand in the way of those who ask about payments.
    pub(super) fn begin(&self, id: &AuthorizationId, can_wait: bool) -> Option<Tending<'_>> {
        let mut tended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = can_wait && tended.len() >= AT_ONCE;
        (!is_full && tended.insert(id.clone())).then(|| Tending { tended: self, id: id.clone() })
    }
}

impl Drop for Tending<'_> {
    fn drop(&mut self) {
        self.tended.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
