//! The crate as others use it: every fixture read, and the client against a server that answers what it is told to.

mod asking;
mod fixtures;
