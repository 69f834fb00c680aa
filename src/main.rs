//! The one program: reads the configuration and the environment, picks the backends, runs roles and commands.
#![warn(clippy::print_stderr)] // it panics where standard error is gone: `output::note` does not

mod api;
mod audit;
mod authorization;
mod backends;
mod check;
mod cli;
mod config;
mod dead;
mod demo;
mod drift;
mod failure;
mod healthcheck;
mod house;
mod keys;
mod listen;
mod log;
mod migrate;
mod notification;
mod order;
mod output;
mod process;
mod queue;
mod readiness;
mod reload;
mod replay;
mod send;
mod simulate;
#[cfg(test)]
mod tests;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use self::cli::{Cli, Command};
use self::config::Keys;
use self::failure::Exit;
use self::house::Roles;

fn main() -> ExitCode {
    // The first thing of all: one TLS provider for every library in the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    log::start(&cli);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a machine that cannot start threads runs nothing");
    let ended = runtime.block_on(run(cli));
    // A command that is done does not wait for connections nobody needs any more.
    runtime.shutdown_background();
    log::flush();
    match ended.and_then(output::finished) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::NothingFound) => {
            output::note("nothing found");
            ExitCode::from(3)
        }
        Err(error) => {
            failure::print(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { config, command, .. } = cli;
    let load = |keys| process::load(config.as_deref(), keys);
    match command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Serve => house::run(config.as_deref(), Keys::Wanted, Roles::ALL, "serve").await,
        Command::Ingress => house::run(config.as_deref(), Keys::NotNeeded, Roles::INGRESS, "ingress").await,
        Command::Worker => house::run(config.as_deref(), Keys::Wanted, Roles::WORKER, "worker").await,
        Command::Console => house::run(config.as_deref(), Keys::NotNeeded, Roles::CONSOLE, "console").await,
        Command::Migrate => migrate::run(&load(Keys::NotNeeded)?).await,
        Command::Check(arguments) => check::run(load(Keys::Welcome), &arguments).await,
        Command::Healthcheck(arguments) => healthcheck::run(config.as_deref(), arguments).await,
        Command::Order(command) => order::run(config.as_deref(), command).await,
        Command::Authorization(command) => authorization::run(config.as_deref(), command).await,
        Command::Dead(command) => dead::run(config.as_deref(), command).await,
        Command::Notification(command) => notification::run(config.as_deref(), command).await,
        Command::Replay(command) => replay::run(config.as_deref(), command).await,
        Command::Drift(arguments) => drift::run(config.as_deref(), arguments).await,
        Command::Queue(command) => queue::run(config.as_deref(), command).await,
        Command::Keys(command) => keys::run(config.as_deref(), command).await,
        Command::Audit(command) => audit::run(config.as_deref(), command).await,
        Command::Send(arguments) => send::run(config.as_deref(), arguments).await,
        Command::Verify(arguments) => verify::run(config.as_deref(), &arguments),
        Command::Simulate(arguments) => simulate::run(arguments).await,
    }
}
