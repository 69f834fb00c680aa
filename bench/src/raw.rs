//! The anchors: the same work without payhook, with the same libraries, each as a process of its own on payhook's core.

pub(crate) mod broker;
mod postgres;
mod signature;
mod sqlite;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

use crate::figures::Latencies;
use crate::machine::Pinning;

/// The argument that makes this program one of its own anchors.
pub(crate) const ARGUMENT: &str = "raw";

/// No anchor takes longer.
const WITHIN: Duration = Duration::from_mins(1);

/// The task of an anchor. It is read from standard input, because the URLs hold passwords.
#[derive(Serialize, Deserialize)]
pub(crate) enum Task {
    /// Confirmed publishes of `bytes` bytes, as many as go, `in_flight` on each channel.
    Publish { url: String, channels: usize, in_flight: usize, bytes: usize, warm_up: Duration, count_for: Duration },
    /// Confirmed publishes at a rate, one in flight on each channel.
    PublishSteadily { url: String, channels: usize, bytes: usize, rate: f64, during: Duration },
    /// Every registered order is settled, by statements of `rows` payments each, one at a time on each connection.
    Settle { url: String, connections: u32, rows: usize, body_bytes: usize },
    /// Signatures made and checked by turns, with this private key.
    Sign { key: String },
    /// Every order registered in an SQLite file is settled, after its notifications were queued, both in transactions
    /// of `rows`.
    Sqlite { file: PathBuf, rows: usize, envelope_bytes: usize, body_bytes: usize },
}

/// The result of a task.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RawOutcome {
    pub(crate) done: usize,
    pub(crate) took_s: f64,
    /// Of [`Task::Sqlite`]: how long the queueing alone took.
    pub(crate) queued_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_s: f64,
}

impl RawOutcome {
    pub(crate) fn per_s(&self) -> f64 {
        self.done as f64 / self.took_s
    }

    fn with(self, latencies: &Latencies) -> Self {
        Self { p50_ms: latencies.ms(0.5), p99_ms: latencies.ms(0.99), ..self }
    }
}

/// Runs a task in a process of its own, in the place payhook has.
pub(crate) async fn run(pinning: Pinning, task: &Task) -> Result<RawOutcome> {
    let this = std::env::current_exe().context("this program has no path")?;
    let mut command = tokio::process::Command::from(pinning.measured(this));
    command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("cannot start a raw program")?;
    let mut stdin = child.stdin.take().context("its input is piped")?;
    stdin.write_all(&serde_json::to_vec(task)?).await?;
    drop(stdin);
    let output =
        tokio::time::timeout(WITHIN, child.wait_with_output()).await.context("a raw program takes too long")??;
    ensure!(output.status.success(), "a raw program failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("a raw program's answer cannot be read")
}

/// Does the work of the process that [`run`] starts.
#[expect(clippy::print_stdout, reason = "its answer")]
pub(crate) async fn main() -> Result<()> {
    let mut task = Vec::new();
    std::io::stdin().read_to_end(&mut task)?;
    let outcome = match serde_json::from_slice(&task)? {
        Task::Publish { url, channels, in_flight, bytes, warm_up, count_for } => {
            broker::publish(&url, channels, in_flight, bytes, warm_up, count_for).await?
        }
        Task::PublishSteadily { url, channels, bytes, rate, during } => {
            broker::publish_steadily(&url, channels, bytes, rate, during).await?
        }
        Task::Settle { url, connections, rows, body_bytes } => {
            postgres::settle(&url, connections, rows, body_bytes).await?
        }
        Task::Sign { key } => signature::run(&key)?,
        Task::Sqlite { file, rows, envelope_bytes, body_bytes } => {
            sqlite::run(&file, rows, envelope_bytes, body_bytes).await?
        }
    };
    let outcome = RawOutcome { cpu_s: crate::machine::cpu_s(std::process::id()), ..outcome };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
