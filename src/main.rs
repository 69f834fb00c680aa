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
mod roles;
mod send;
mod simulate;
#[cfg(test)]
mod tests;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use self::api::Api;
use self::cli::{Cli, Command, ConsoleAddress};
use self::config::OwnKeys;
use self::failure::Exit;
use self::roles::Roles;

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
    let api = |console: &ConsoleAddress| Api::open(config.as_deref(), console);
    let load = |keys| process::load(config.as_deref(), keys);
    match command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Serve => roles::run(config.as_deref(), OwnKeys::Required, Roles::ALL, "serve").await,
        Command::Ingress => roles::run(config.as_deref(), OwnKeys::Unused, Roles::INGRESS, "ingress").await,
        Command::Worker => roles::run(config.as_deref(), OwnKeys::Required, Roles::WORKER, "worker").await,
        Command::Console => roles::run(config.as_deref(), OwnKeys::Unused, Roles::CONSOLE, "console").await,
        Command::Migrate => migrate::run(&load(OwnKeys::Unused)?).await,
        Command::Check(arguments) => check::run(load(OwnKeys::Optional), &arguments).await,
        Command::Healthcheck(arguments) => healthcheck::run(config.as_deref(), arguments).await,
        Command::Order(it) => order::run(&api(&it.console)?, it.command).await,
        Command::Authorization(it) => authorization::run(&api(&it.console)?, it.command).await,
        Command::Dead(it) => dead::run(&api(&it.console)?, it.command).await,
        Command::Notification(it) => notification::run(&api(&it.console)?, it.command).await,
        Command::Replay(it) => replay::run(&api(&it.console)?, it.command).await,
        Command::Drift(arguments) => drift::run(config.as_deref(), arguments).await,
        Command::Queue(command) => queue::run(config.as_deref(), command).await,
        Command::Keys(it) => keys::run(&api(&it.console)?, it.command).await,
        Command::Audit(it) => audit::run(&api(&it.console)?, it.command).await,
        Command::Send(arguments) => send::run(config.as_deref(), arguments).await,
        Command::Verify(arguments) => verify::run(config.as_deref(), &arguments),
        Command::Simulate(arguments) => simulate::run(arguments).await,
    }
}
