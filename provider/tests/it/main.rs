//! The crate as others use it: every fixture read, and the client against a server that answers by a script.

mod asking;
mod fixtures;
