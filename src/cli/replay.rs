use clap::{Args, Subcommand};
use payhook_schema::{AccountName, Provider};
use uuid::Uuid;

use super::{ConsoleAddress, time_or_ago};

/// The options of a replay.
#[derive(Debug, Args)]
pub(crate) struct Pace {
    /// Only ask the providers, and show what would change
    #[arg(long)]
    pub(crate) plan: bool,
    /// At most this many a second
    #[arg(long, value_name = "N/s", value_parser = rate, default_value = "50/s")]
    pub(crate) rate: u32,
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: u32,
    /// This many go first, and the rest only after all of them went well; 5 unless it is a plan
    #[arg(long, value_name = "N")]
    pub(crate) canary: Option<u32>,
    /// The reason; kept with the replay and in the audit log
    #[arg(long, required_unless_present = "plan")]
    pub(crate) reason: Option<String>,
    /// Begin it and do not watch
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    #[command(subcommand)]
    pub(crate) command: ReplayCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// List replays and plans, newest first
    List {
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Show how far a replay is, and what it changed or could not
    Show {
        id: Uuid,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Have a running replay wait
    Pause {
        id: Uuid,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Have a paused replay go on, or one that stopped by itself
    Resume {
        id: Uuid,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// End a replay for good; what it did stays done
    Cancel {
        id: Uuid,
        #[command(flatten)]
        console: ConsoleAddress,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DriftArguments {
    /// Payments registered at or after: a time, or how long ago: 2026-11-21T10:00:00Z, 24h
    #[arg(long, value_parser = time_or_ago)]
    pub(crate) since: String,
    /// And before this: a time, or how long ago
    #[arg(long, value_parser = time_or_ago)]
    pub(crate) until: Option<String>,
    #[arg(long)]
    pub(crate) provider: Option<Provider>,
    #[arg(long)]
    pub(crate) account: Option<AccountName>,
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) console: ConsoleAddress,
}

/// `50/s`, or `50`.
fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim();
    number.parse().map_err(|_| "write how many a second, such as 50/s".to_owned())
}
