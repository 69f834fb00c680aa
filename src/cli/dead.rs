use clap::{ArgGroup, Args, Subcommand};
use payhook_schema::{AccountName, DeadCause, DeadLetterState, Provider};
use uuid::Uuid;

use super::{ConsoleAddress, Pace, time_or_ago};

#[derive(Debug, Args)]
pub(crate) struct DeadArguments {
    #[command(subcommand)]
    pub(crate) command: DeadCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List dead letters, the latest failure first: the open ones, unless told otherwise
    List {
        #[command(flatten)]
        filter: DeadFilter,
        /// Those in this state
        #[arg(long, conflicts_with = "all")]
        state: Option<DeadLetterState>,
        /// Those that were replayed or discarded, too
        #[arg(long)]
        all: bool,
        /// Only those listed after this one
        #[arg(long, value_name = "ID")]
        before: Option<Uuid>,
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Show one dead letter with everything known about it; never what the provider sent
    Show {
        id: Uuid,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Group the open ones by cause, provider and account, with the money that waits for them
    Groups {
        #[command(flatten)]
        filter: DeadFilter,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Have the open ones tried again, paced, and watch; ctrl-C leaves the replay running
    Replay {
        #[command(flatten)]
        chosen: DeadSelection,
        #[command(flatten)]
        pace: Pace,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Mark open ones as not needed any more; they are kept
    Discard {
        #[command(flatten)]
        chosen: DeadSelection,
        /// The reason; kept with them and in the audit log
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Put a note on dead letters, for whoever looks next
    Note {
        #[command(flatten)]
        chosen: DeadSelection,
        /// The note, on one line; an empty one removes a note
        #[arg(long)]
        note: String,
        #[command(flatten)]
        console: ConsoleAddress,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DeadFilter {
    /// A dead letter's id; may be repeated
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<Uuid>,
    #[arg(long)]
    pub(crate) cause: Option<DeadCause>,
    #[arg(long)]
    pub(crate) provider: Option<Provider>,
    #[arg(long)]
    pub(crate) account: Option<AccountName>,
    /// Last failed at or after: a time, or how long ago: 2026-11-21T10:00:00Z, 2h
    #[arg(long, value_parser = time_or_ago)]
    pub(crate) since: Option<String>,
}

/// The filters of a change; at least one is required.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").required(true).multiple(true)
    .args(["ids", "cause", "provider", "account", "since", "all"]))]
pub(crate) struct DeadSelection {
    #[command(flatten)]
    pub(crate) filter: DeadFilter,
    /// All of them, as far as nothing else is said
    #[arg(long)]
    pub(crate) all: bool,
}
