//! Real RabbitMQ and PostgreSQL for tests and benchmarks, private to one run, on free loopback ports.
//!
//! Two layers:
//!
//! - **Starting.** [`PrivateRabbit`] and [`PrivatePostgres`] each run one server in a directory of their own. They can
//!   be killed, frozen, stopped and started again on the same ports and data. Dropping one ends every process it
//!   started.
//! - **Using.** A test asks for [`rabbit()`] or [`postgres()`], which `cargo xtask test` has started and named in the
//!   environment, and takes a [`Vhost`] or a [`Database`] nobody else touches. Dropping it deletes it.
//!
//! A test that must take a server away from one program, and from nobody else, puts a [`Proxy`] between the two.
#![expect(
    clippy::disallowed_methods,
    reason = "the servers' addresses reach the tests through the environment, and only this crate reads them"
)]

mod address;
mod authority;
mod faketime;
mod management;
mod port;
mod postgres;
mod private_postgres;
mod private_rabbit;
mod private_rabbit_cluster;
mod process;
mod proxy;
mod rabbit;

pub use authority::Authority;
pub use faketime::faketime;
pub use postgres::{Database, Postgres, postgres};
pub use private_postgres::{PrivatePostgres, postgres_is_installed};
pub use private_rabbit::{PrivateRabbit, rabbit_is_installed};
pub use private_rabbit_cluster::PrivateRabbitCluster;
pub use process::{signal_group, we_are_root};
pub use proxy::Proxy;
pub use rabbit::{Rabbit, Vhost, VhostUser, rabbit};

/// The address of the AMQP listener: `amqp://user:password@host:port/vhost`. The user must be an administrator.
pub const AMQP_URL: &str = "PAYHOOK_TEST_AMQP_URL";
/// The address of the management API: `http://user:password@host:port`. By default the AMQP user and host, port 15672.
pub const AMQP_ADMIN_URL: &str = "PAYHOOK_TEST_AMQP_ADMIN_URL";
/// The address of a database, of a user who may create others: `postgres://user:password@host:port/database`.
pub const DATABASE_URL: &str = "PAYHOOK_TEST_DATABASE_URL";
/// Set to `1`, a test without its server fails: green must never mean "did not run".
pub const REQUIRED: &str = "PAYHOOK_TEST_REQUIRED";

/// Says that the running test lacks something and does not run, where no test harness can swallow it.
///
/// # Panics
/// When [`REQUIRED`] is `1`.
pub fn not_run(why: &str) {
    use std::io::Write as _;
    let required = std::env::var(REQUIRED).is_ok_and(|required| required == "1");
    match not_run_line(why, required) {
        // Not `eprintln!`: the harness keeps that to itself when the test passes.
        Ok(line) => drop(writeln!(std::io::stderr(), "{line}")),
        Err(line) => panic!("{line}"),
    }
}

/// Returns the line to print; an error if printing it is not enough.
fn not_run_line(why: &str, required: bool) -> Result<String, String> {
    let thread = std::thread::current();
    let line = format!("not run: {}: {why}; use cargo xtask test", thread.name().unwrap_or("a test"));
    if required { Err(line) } else { Ok(line) }
}

/// The server's address from the environment; without it, [`not_run`].
fn address_of(server: &str, variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        not_run(&format!("it needs {server}, and {variable} is not set"));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::not_run_line;

    #[test]
    fn a_test_that_cannot_run_says_so_and_fails_where_it_must_run() {
        let line = not_run_line("it needs a server", false).expect("no failure");
        assert!(line.starts_with("not run: ") && line.ends_with("it needs a server; use cargo xtask test"), "{line}");
        assert_eq!(not_run_line("it needs a server", true), Err(line));
    }
}
