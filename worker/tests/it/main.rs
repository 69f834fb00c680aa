//! The worker as it runs.

mod late;
mod refunds;
mod retention;
mod test_worker;
mod tokens;
