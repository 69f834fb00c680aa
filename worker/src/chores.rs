//! Work that no hint starts: each chore runs on its own schedule until the worker stops.

pub(crate) mod dead_letters;
pub(crate) mod follow;
pub(crate) mod lease;
pub(crate) mod relay;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod share;
pub(crate) mod sweep;
pub(crate) mod unrouted;
