//! Asks the providers, through one gate that owns breakers and budgets.

pub(crate) mod asking;
pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod failure;
pub(crate) mod gate;
