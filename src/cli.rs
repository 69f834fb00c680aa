mod dead;
mod notification;
mod replay;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use payhook_schema::{
    AccountName, AuthState, AuthorizationId, Money, NewRefund, OrderId, OrderState, PaymentKey, Provider, RefundId,
    Wallet,
};

pub(crate) use self::dead::{DeadArguments, DeadCommand, DeadFilter, DeadSelection};
pub(crate) use self::notification::{
    NotificationArguments, NotificationCommand, NotificationFilter, NotificationSelection,
};
pub(crate) use self::replay::{DriftArguments, Pace, ReplayArguments, ReplayCommand};
pub(crate) use self::verify::VerifyArguments;

/// Receives payment notifications from Antom and Omise, asks the provider what is true, and moves each order exactly once.
#[derive(Debug, Parser)]
#[command(name = "payhook", version, max_term_width = 110)]
pub(crate) struct Cli {
    /// The configuration file; payhook.toml if it is there.
    #[arg(long, global = true, env = "PAYHOOK_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The format of the log on standard error.
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
    /// See it work: simulated providers, everything in this process, nothing installed, a story told step by step
    Demo(DemoArguments),
    /// Run all roles in one process: the way to run on one machine
    Serve,
    /// Take notifications: verify, make durable, acknowledge
    Ingress,
    /// Settle payments: ask the provider, move the order once, tell fulfilment
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
    Order(OrderArguments),
    /// Register authorizations of Auto Debit, show what became of them
    Authorization(AuthorizationArguments),
    /// Show what was given up on, replay or discard it
    Dead(DeadArguments),
    /// Show what providers sent, replay it
    Notification(NotificationArguments),
    /// Show, pause, resume and cancel replays
    Replay(ReplayArguments),
    /// Show where the providers say otherwise than we do
    Drift(DriftArguments),
    /// Show what waits in the queues, and what lost its way
    Queue(QueueArguments),
    /// Rotate the keys that seal tokens
    Keys(KeysArguments),
    /// Show who did what
    Audit(AuditArguments),
    /// Sign a sample notification as the provider would, and post it
    Send(SendArguments),
    /// Check a captured request offline, and name the likely cause where it does not hold
    Verify(VerifyArguments),
    /// Run the simulated Antom and Omise as a server of their own
    Simulate(SimulateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Tell the story and exit: non-zero if any step went otherwise than told
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HealthcheckArguments {
    /// Ask for readiness: 0 only if the process can do its roles now
    #[arg(long)]
    pub(crate) ready: bool,
    /// The process's address, such as http://127.0.0.1:8081; [console] listen unless given
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct JsonOutput {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// The address of the console's API; taken from the configuration unless given here.
#[derive(Debug, Args)]
pub(crate) struct ConsoleAddress {
    /// The console's address, such as http://127.0.0.1:8081
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The console's token
    #[arg(long, env = "PAYHOOK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) output: JsonOutput,
}

#[derive(Debug, Args)]
pub(crate) struct OrderArguments {
    #[command(subcommand)]
    pub(crate) command: OrderCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrderCommand {
    /// Register an order and its payments; repeating it is fine
    Register {
        order: OrderId,
        /// The amount to be paid, such as "120.00 THB"
        #[arg(long)]
        amount: Money,
        /// PROVIDER/ACCOUNT/ID of a payment; may be repeated
        #[arg(long = "payment", value_name = "PAYMENT", value_parser = payment_key)]
        payments: Vec<PaymentKey>,
        /// PROVIDER/ACCOUNT/ID=REFUND of a refund of Antom's, before it is asked for; may be repeated
        #[arg(long = "refund", value_name = "PAYMENT=REFUND", value_parser = new_refund)]
        refunds: Vec<NewRefund>,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Show an order and what happened to it, oldest first
    Show {
        order: OrderId,
        /// Only what happened after this place of the timeline
        #[arg(long)]
        after: Option<String>,
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// List orders, newest first
    List {
        #[arg(long)]
        state: Option<OrderState>,
        #[arg(long)]
        provider: Option<Provider>,
        #[arg(long)]
        account: Option<AccountName>,
        /// Only orders registered before this one
        #[arg(long)]
        before: Option<OrderId>,
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Ask the provider now
    Refresh {
        order: OrderId,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Let a held order go on, after somebody looked at it: lifts every objection open at the version shown
    Release {
        order: OrderId,
        /// The reason it may go on; written to its timeline and the audit log
        #[arg(long)]
        reason: String,
        /// The version that was looked at; without it, the one the command finds and shows
        #[arg(long, value_name = "N")]
        version: Option<i64>,
        /// PROVIDER/ACCOUNT/ID of a payment whose money went back although the provider does not say so; may be repeated
        #[arg(long = "returned", value_name = "PAYMENT", value_parser = payment_key)]
        returned: Vec<PaymentKey>,
        #[command(flatten)]
        console: ConsoleAddress,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuthorizationArguments {
    #[command(subcommand)]
    pub(crate) command: AuthorizationCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuthorizationCommand {
    /// Register an authorization before its customer is sent to the wallet; repeating it is fine
    Register {
        authorization: AuthorizationId,
        /// The account with Antom, as configured
        #[arg(long)]
        account: AccountName,
        /// The authState that goes to Antom's consult
        #[arg(long, value_name = "STATE")]
        auth_state: AuthState,
        /// Antom's code of the wallet (customerBelongsTo), such as KPLUS
        #[arg(long)]
        wallet: Wallet,
        #[command(flatten)]
        console: ConsoleAddress,
    },
    /// Show an authorization and everything that happened to it; never a token
    Show {
        authorization: AuthorizationId,
        #[command(flatten)]
        console: ConsoleAddress,
    },
}

#[derive(Debug, Args)]
pub(crate) struct QueueArguments {
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Count what waits in every queue, and who takes from it
    Stats {
        #[command(flatten)]
        output: JsonOutput,
    },
    /// List what no queue took, in payhook.unrouted; on RabbitMQ only
    Unrouted {
        /// Move all of it to where it belongs: published, confirmed, then taken out. Events are dropped, the feed has them
        #[arg(long)]
        republish: bool,
        /// The number of messages to list, at most
        #[arg(long, default_value_t = 50, conflicts_with = "republish")]
        limit: usize,
        #[command(flatten)]
        output: JsonOutput,
    },
}

#[derive(Debug, Args)]
pub(crate) struct KeysArguments {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Seal everything anew under the newest of `[tokens] keys`, so that older ones can go
    Rotate {
        #[command(flatten)]
        console: ConsoleAddress,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List what was done, newest first
    List {
        /// Only entries older than this one
        #[arg(long, value_name = "ID")]
        before: Option<uuid::Uuid>,
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        console: ConsoleAddress,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SendArguments {
    /// antom or omise
    pub(crate) provider: Provider,
    /// The kind of notification: paid, failed, pending, … for Antom; an event's key such as charge.complete for Omise
    pub(crate) kind: String,
    /// The account it is for, as configured
    #[arg(long)]
    pub(crate) account: AccountName,
    /// The payment it is about: a paymentRequestId, a charge id
    #[arg(long)]
    pub(crate) payment: payhook_schema::PaymentId,
    #[arg(long, default_value = "120.00 THB")]
    pub(crate) amount: Money,
    /// The body to send instead of a sample, byte for byte
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,
    /// The key to sign with: Antom's side's private key (`payhook simulate` keeps one as antom_private_key), or a webhook secret.
    /// Omise's is taken from the configuration unless given
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The address of payhook's ingress; taken from the configuration unless given
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    #[arg(long, default_value_t = 1)]
    pub(crate) times: usize,
    /// Sign with a stranger's key
    #[arg(long)]
    pub(crate) forge: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// A loopback address
    #[arg(long, default_value = "127.0.0.1:8090")]
    pub(crate) listen: SocketAddr,
    /// The directory that keeps its keys, so that a configuration outlives a restart
    #[arg(long, value_name = "DIR", default_value = "simulator-keys")]
    pub(crate) keys: PathBuf,
    /// The account name its configuration is printed for
    #[arg(long, default_value = "demo")]
    pub(crate) account: AccountName,
}

fn payment_key(text: &str) -> Result<PaymentKey, String> {
    let mut parts = text.splitn(3, '/');
    let (Some(provider), Some(account), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("write it PROVIDER/ACCOUNT/ID, such as antom/shop-sg/PR-1".to_owned());
    };
    Ok(PaymentKey {
        provider: provider.parse().map_err(|error: payhook_schema::UnknownWord| error.to_string())?,
        account: AccountName::new(account).map_err(|error| error.to_string())?,
        id: payhook_schema::PaymentId::new(id).map_err(|error| error.to_string())?,
    })
}

/// A payment's id may have `=` in it, too: the last one counts.
fn new_refund(text: &str) -> Result<NewRefund, String> {
    let (payment, id) = text
        .rsplit_once('=')
        .ok_or_else(|| "write it PROVIDER/ACCOUNT/ID=REFUND, such as antom/shop-sg/PR-1=RF-1".to_owned())?;
    Ok(NewRefund { payment: payment_key(payment)?, id: RefundId::new(id).map_err(|error| error.to_string())? })
}

/// A time or how long ago, left as it is: the console's clock says when that was.
fn time_or_ago(text: &str) -> Result<String, String> {
    match text.parse::<jiff::Timestamp>().is_ok() || payhook_schema::parse_duration(text).is_ok() {
        true => Ok(text.to_owned()),
        false => {
            Err("write a time (2026-11-21T10:00:00Z) or how long ago (2h; units are ms, s, m, h and d)".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
