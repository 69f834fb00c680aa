//! The environment, metrics and signals of the process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::{Config, Mistakes, OwnKeys};
use crate::failure::failed_by;

/// Every environment variable, read once.
#[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
pub(crate) fn environment() -> BTreeMap<String, String> {
    // None of our variables is other than UTF-8.
    let texts = std::env::vars_os().map(|(name, value)| (name.into_string(), value.into_string()));
    texts.filter_map(|(name, value)| Some((name.ok()?, value.ok()?))).collect()
}

pub(crate) fn load(file: Option<&Path>, keys: OwnKeys) -> anyhow::Result<Config> {
    let hint = "payhook.example.toml explains every key";
    Config::load(file, &environment(), keys).map_err(|mistakes: Mistakes| {
        let text = mistakes.to_string();
        failed_by(mistakes, text, hint)
    })
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

/// The two steps of a stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// A stop was asked for: `/readyz` says so, and everything goes on.
    pub(crate) leaving: CancellationToken,
    /// The process takes nothing new, and finishes what is in hand.
    pub(crate) now: CancellationToken,
}

impl Stop {
    pub(crate) fn at_once(&self) {
        self.leaving.cancel();
        self.now.cancel();
    }
}

/// Begins a stop on SIGTERM, which ends `lame_duck` later, or on ctrl-C, where no load balancer has to look elsewhere
/// first. A second signal ends the process at once.
pub(crate) fn stop_on_signal(stop: Stop, lame_duck: Duration) {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be handled");
    tokio::spawn(async move {
        let lame_duck = tokio::select! {
            _ = terminate.recv() => lame_duck,
            _ = interrupt.recv() => Duration::ZERO,
        };
        // First the token, then the log: nothing may keep a stop from happening.
        stop.leaving.cancel();
        info!("stopping: not ready from now on; no new work after {lame_duck:?}, then running work is finished");
        let ended = async {
            tokio::time::sleep(lame_duck).await;
            stop.now.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {}, () = ended => {} }
        std::process::exit(130);
    });
}

/// Raises the limit of open files as far as the system lets us; what it is then.
pub(crate) fn open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // If it is refused, the limit stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    getrlimit(Resource::Nofile).current
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
