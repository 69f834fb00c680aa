//! Marks data whose signature was checked.

use std::ops::Deref;

/// Something whose signature held.
///
/// Only `provider` vouches for a notification, and only a vouched one goes into a new envelope; `tests/tidy.rs` asserts
/// that nobody else writes [`Verified::vouch`]. A notification that comes off the queue is unchecked, and has another
/// type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Says that the caller checked the signature over the very bytes this was read from.
    pub fn vouch(checked: T) -> Self {
        Self(checked)
    }

    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
