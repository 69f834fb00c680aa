use clap::{ArgGroup, Args, Subcommand};
use payhook_schema::{AccountName, PaymentId, Provider};
use uuid::Uuid;

use super::{ConsoleAddress, Pace, time_or_ago};

#[derive(Debug, Args)]
pub(crate) struct NotificationArguments {
    #[command(subcommand)]
    pub(crate) command: NotificationCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NotificationCommand {
    /// List what providers sent, newest first
    List {
        #[command(flatten)]
        filter: NotificationFilter,
        /// Only those received before this one
        #[arg(long, value_name = "ID")]
        before: Option<Uuid>,
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Show one notification, without what is in it
    Show {
        id: Uuid,
        /// Print the exact bytes that were received, and nothing else; for admins, and written to the audit log
        #[arg(long, conflicts_with = "json")]
        body: bool,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Have notifications processed again, paced, and watch; ctrl-C leaves the replay running
    Replay {
        #[command(flatten)]
        chosen: NotificationSelection,
        #[command(flatten)]
        pace: Pace,
        #[command(flatten)]
        console: ConsoleAddress,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NotificationFilter {
    /// A notification's id; may be repeated
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<Uuid>,
    /// The provider's word for it: PAYMENT_RESULT, charge.complete
    #[arg(long)]
    pub(crate) kind: Option<String>,
    #[arg(long)]
    pub(crate) provider: Option<Provider>,
    #[arg(long)]
    pub(crate) account: Option<AccountName>,
    /// The payment it is about: a paymentRequestId, a charge id
    #[arg(long, value_name = "ID")]
    pub(crate) payment: Option<PaymentId>,
    /// Received at or after: a time, or how long ago: 2026-11-21T10:00:00Z, 2h
    #[arg(long, value_parser = time_or_ago)]
    pub(crate) since: Option<String>,
}

/// The filters of a change; at least one is required.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").required(true).multiple(true)
    .args(["ids", "kind", "provider", "account", "payment", "since", "all"]))]
pub(crate) struct NotificationSelection {
    #[command(flatten)]
    pub(crate) filter: NotificationFilter,
    /// All of them, as far as nothing else is said
    #[arg(long)]
    pub(crate) all: bool,
}
