//! The project's chores: `cargo xtask <command>`.
#![expect(clippy::print_stdout, reason = "what a command prints is what it is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "a chore is started by a person or by CI, through arguments and environment"
)]

mod bench;
mod ci;
mod run;
mod servers;
mod simulate;
mod soak;
mod test;

use std::process::ExitCode;

use anyhow::Result;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [-- ARGS]   every test, with RabbitMQ and PostgreSQL; ARGS go to cargo test
  test --fast      the tests that need no servers and no minutes; nothing is installed
  ci               what CI checks besides tests: format, lints, docs, dependencies
  bench [-- ARGS]  the benchmark, against servers of its own; ARGS go to it
  simulate [-- ARGS]  random worlds of the simulation: --worlds N for so many, --seed N for one of them again
  soak [-- ARGS]   load while a fault comes and goes, for two minutes each: --minutes N, --fault NAME for one of them
  servers          RabbitMQ and PostgreSQL for your own cargo test, until ctrl-C

RabbitMQ and PostgreSQL are installed from Debian's packages if they are missing, and run privately, on free
loopback ports. Where PAYHOOK_TEST_AMQP_URL (and PAYHOOK_TEST_AMQP_ADMIN_URL) or PAYHOOK_TEST_DATABASE_URL
is set, that server is used instead.";

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.skip_while(|argument| argument == "--").collect();
    let done: Result<ExitCode> = match command.as_str() {
        "test" => test::run(&rest).await,
        "ci" if rest.is_empty() => ci::ci().await,
        "bench" => bench::bench(&rest).await,
        "simulate" => simulate::simulate(&rest).await,
        "soak" => soak::soak(&rest).await,
        "servers" if rest.is_empty() => servers::run().await,
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
