//! What belongs to the process: its environment, log, metrics and signals.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, LogFormat};
use crate::config::{Config, Keys, Mistakes};
use crate::failure::failed_by;

/// Every environment variable, read once.
#[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
pub(crate) fn environment() -> BTreeMap<String, String> {
    // What is not UTF-8 is none of ours.
    let texts = std::env::vars_os().map(|(name, value)| (name.into_string(), value.into_string()));
    texts.filter_map(|(name, value)| Some((name.ok()?, value.ok()?))).collect()
}

pub(crate) fn load(file: Option<&Path>, keys: Keys) -> anyhow::Result<Config> {
    let hint = "payhook.example.toml explains every key; `payhook check` shows what a configuration means";
    Config::load(file, &environment(), keys).map_err(|mistakes: Mistakes| {
        let text = mistakes.to_string();
        failed_by(mistakes, text, hint)
    })
}

/// The log goes to standard error; `RUST_LOG` chooses, `info` for roles and `warn` for commands unless it does.
pub(crate) fn start_log(cli: &Cli) {
    let level = match cli.command {
        Command::Serve | Command::Ingress | Command::Worker | Command::Console | Command::Simulate(_) => "info",
        Command::Demo(_) => "error",
        _ => "warn",
    };
    // What these would log, our own errors tell; and what they would show besides is not for a log, whatever RUST_LOG says.
    let quiet = ["lapin=off", "sqlx=off", "hyper=off", "hyper_util=off", "reqwest=off", "h2=off"];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let filter =
        quiet.iter().fold(filter, |filter, off| filter.add_directive(off.parse().expect("a constant directive")));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Answers and inquiries, in seconds: dense where the goals are.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The process's metrics, recorded from the first call on.
pub(crate) fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
            .expect("the buckets are not empty")
            .install_recorder()
            .expect("nothing else records metrics in this process")
    });
    handle.clone()
}

/// Cancels the token on SIGTERM or ctrl-C; a second one ends the process at once.
pub(crate) fn stop_on_signal(stop: CancellationToken) {
    tokio::spawn(async move {
        let mut terminate = signal(SignalKind::terminate()).expect("signals can be handled");
        let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be handled");
        let mut asked = async || {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        asked().await;
        info!("stopping: what is in hand is finished first");
        stop.cancel();
        asked().await;
        std::process::exit(130);
    });
}

/// SIGHUP, from now on: until it is asked for, it ends the process.
pub(crate) fn hangups() -> Signal {
    signal(SignalKind::hangup()).expect("signals can be handled")
}

/// Keeps histograms small, for as long as the process runs.
pub(crate) async fn keep_metrics(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        handle.run_upkeep();
    }
}
