//! Decides about money. Pure: no I/O, no async. An answer or a release goes in; new values, holds, timeline entries and
//! events come out.

pub(crate) mod announce;
pub(crate) mod decide;
mod guard;
mod holds;
pub(crate) mod release;
