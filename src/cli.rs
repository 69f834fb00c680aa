//! The command line: options that every command has, and the list of commands. The arguments of a command are in its
//! own file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::audit::AuditCommand;
use crate::authorization::AuthorizationCommand;
use crate::dead::DeadCommand;
use crate::demo::DemoArguments;
use crate::drift::DriftArguments;
use crate::healthcheck::HealthcheckArguments;
use crate::keys::KeysCommand;
use crate::notification::NotificationCommand;
use crate::order::OrderCommand;
use crate::queue::QueueCommand;
use crate::replay::ReplayCommand;
use crate::send::SendArguments;
use crate::simulate::SimulateArguments;
use crate::verify::VerifyArguments;

/// Receives payment notifications from Antom and Omise, asks the provider what is true, and moves each order exactly
/// once.
#[derive(Debug, Parser)]
#[command(name = "payhook", version, max_term_width = 110)]
pub(crate) struct Cli {
    /// The configuration file; payhook.toml if it is there
    #[arg(long, global = true, env = "PAYHOOK_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The format of the log on standard error
    #[arg(long, global = true, env = "PAYHOOK_LOG_FORMAT", value_enum, default_value = "text", hide_env = true)]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it work: simulated providers, everything in one process, nothing installed, a story in steps
    Demo(DemoArguments),
    /// Run all roles in one process: the way to run on one machine
    Serve,
    /// Receive notifications: verify them, store them durably, answer the provider
    Ingress,
    /// Settle payments: ask the provider, move the order once, publish its events
    Worker,
    /// Serve the merchant's API
    Console,
    /// Bring the store and the broker's topology to this version; twice does no harm
    Migrate,
    /// Explain the configuration and what is reachable, secrets hidden
    Check(JsonOutput),
    /// Ask the process of this configuration whether it lives, or whether it can do its roles
    Healthcheck(HealthcheckArguments),
    /// Register orders, show their timelines, ask the provider again, release held ones
    Order(ApiCommand<OrderCommand>),
    /// Register authorizations of Auto Debit, show their state and timeline
    Authorization(ApiCommand<AuthorizationCommand>),
    /// List, show, replay and discard dead letters
    Dead(ApiCommand<DeadCommand>),
    /// List, show and replay what providers sent
    Notification(ApiCommand<NotificationCommand>),
    /// Show, pause, resume and cancel replays
    Replay(ApiCommand<ReplayCommand>),
    /// Show where the providers differ from the store
    Drift(DriftArguments),
    /// Count what waits in the queues, list and move unrouted messages
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Rotate the keys that seal tokens
    Keys(ApiCommand<KeysCommand>),
    /// Show who did what
    Audit(ApiCommand<AuditCommand>),
    /// Sign a sample notification as the provider would, and post it
    Send(SendArguments),
    /// Check a captured request offline, and name the likely cause if its signature does not hold
    Verify(VerifyArguments),
    /// Run the simulated Antom and Omise as a server of their own
    Simulate(SimulateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct JsonOutput {
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// A command that calls the console's API.
#[derive(Debug, Args)]
pub(crate) struct ApiCommand<C: Subcommand + std::fmt::Debug> {
    #[command(flatten)]
    pub(crate) console: ConsoleAddress,
    #[command(subcommand)]
    pub(crate) command: C,
}

/// The address of the console's API; taken from the configuration unless given here.
#[derive(Debug, Args)]
pub(crate) struct ConsoleAddress {
    /// The console's address, such as http://127.0.0.1:8081
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The console's token
    #[arg(long, global = true, env = "PAYHOOK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) output: JsonOutput,
}

#[cfg(test)]
mod tests;
