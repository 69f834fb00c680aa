//! Runs roles in one process: `serve` runs all of them; `ingress`, `worker` and `console` run one each.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use metrics_exporter_prometheus::PrometheusHandle;
use payhook_console::{Console, Health, RecentRefreshes, health_routes};
use payhook_ingress::{Ingress, IngressOptions};
use payhook_provider::{Client, Protocol};
use payhook_queue::Queue;
use payhook_schema::{Clock, Provider};
use payhook_store::Store;
use payhook_worker::{Schedule, Worker, WorkerOptions, WorkerParts};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::{Config, OwnKeys, StoreConfig};
use crate::failure::{Exit, failed, failed_by};
use crate::listen::ListenLimits;
use crate::process::Stop;
use crate::reload::Reload;
use crate::{backends, listen, process, readiness};

/// The roles of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) ingress: bool,
    pub(crate) worker: bool,
    pub(crate) console: bool,
}

impl Roles {
    pub(crate) const ALL: Self = Self { ingress: true, worker: true, console: true };
    pub(crate) const INGRESS: Self = Self { ingress: true, worker: false, console: false };
    pub(crate) const WORKER: Self = Self { ingress: false, worker: true, console: false };
    pub(crate) const CONSOLE: Self = Self { ingress: false, worker: false, console: true };
}

/// Transactions a worker writes at once: a file has one writer, a server gains from a second batch while the first
/// commits.
const WRITERS_SQLITE: usize = 1;
const WRITERS_POSTGRES: usize = 2;
/// Machines' clocks differ by less than this; operators watch that.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);
/// The time between two updates of the gauges.
const GAUGES_EVERY: Duration = Duration::from_secs(10);

/// A running process: its roles' addresses, and the way to end it.
pub(crate) struct RunningRoles {
    /// The address providers post to, if this process takes notifications.
    pub(crate) ingress: Option<SocketAddr>,
    pub(crate) console: SocketAddr,
    stop: Stop,
    died: Arc<AtomicBool>,
    tasks: TaskTracker,
    queue: Arc<dyn Queue>,
    store: Option<Arc<dyn Store>>,
}

/// Returns the error for a configuration without an account.
pub(crate) fn no_account() -> String {
    format!("no account is configured: add {}", account_sections())
}

/// The sections an account may be in: `[antom.<name>] or [omise.<name>]`.
pub(crate) fn account_sections() -> String {
    Provider::ALL.iter().map(|provider| format!("[{provider}.<name>]")).collect::<Vec<_>>().join(" or ")
}

/// Runs roles until a signal ends them; SIGHUP has the configuration read again.
pub(crate) async fn run(file: Option<&Path>, keys: OwnKeys, roles: Roles, name: &'static str) -> anyhow::Result<Exit> {
    let mut config = process::load(file, keys)?;
    if let (Some(why), true) = (config.one_process_only(roles == Roles::INGRESS), roles != Roles::ALL) {
        return Err(failed(
            format!("`payhook {name}` cannot run here: {why}, and one process owns the file"),
            "`payhook serve` runs all roles in one process; RabbitMQ and PostgreSQL let each run in its own",
        ));
    }
    if config.accounts.all().is_empty() {
        return Err(failed(
            format!("{} ({})", no_account(), config.source),
            "payhook.example.toml has examples; `payhook demo` needs no account",
        ));
    }
    for notice in &config.notices {
        warn!("{notice}");
    }
    check_open_files(&config, roles);
    let stop = Stop::default();
    process::stop_on_signal(stop.clone(), config.lame_duck);
    let hangups = process::hangups();
    let reload = Reload::new(file.map(Path::to_owned), keys, &mut config);
    let running = RunningRoles::open(&config, roles, name, Clock::system(), stop).await?;
    if let Some(address) = running.ingress {
        info!("notifications are received at http://{address}");
    }
    let serves = if roles.console { "orders API, health and metrics" } else { "health and metrics" };
    info!("{serves} at http://{}", running.console);
    running.part("reloading the configuration", running.stoppable(reload.at_each(hangups, process::environment())));
    running.until_stopped().await?;
    Ok(Exit::Done)
}

/// Files open beside connections: the store's, the broker's, questions to providers, the log.
const FILES_BESIDE: u64 = 256;

/// Warns where the system gives fewer open files than the listeners may take.
fn check_open_files(config: &Config, roles: Roles) {
    let Some(limit) = process::open_files() else { return };
    let ingress = if roles.ingress { ListenLimits::new(config.ingress.connections.clone()).files() } else { 0 };
    let wanted = ingress + ListenLimits::with_health(config.console.connections.clone()).files() + FILES_BESIDE;
    if limit < wanted {
        warn!(
            limit,
            wanted,
            "the system lets this process open {limit} files, and connections_max of [ingress] and [console] may need {wanted}: \
             raise the hard limit (`ulimit -Hn`, LimitNOFILE= of systemd), or lower connections_max"
        );
    }
}

impl RunningRoles {
    /// Opens listeners and backends and starts the roles. Servers that are down are waited for, not given up on.
    pub(crate) async fn open(
        config: &Config,
        roles: Roles,
        name: &str,
        clock: Clock,
        stop: Stop,
    ) -> anyhow::Result<Self> {
        let metrics = process::metrics();
        let console_listener = listen::bind(config.console.listen, "console.listen").await?;
        let ingress_listener = match roles.ingress {
            true => Some(listen::bind(config.ingress.listen, "ingress.listen").await?),
            false => None,
        };
        let with_store = roles.worker || roles.console;
        let backends = backends::open(config, name, with_store, &clock).await.map_err(|error| {
            failed_by(error, "cannot open the queue and the store", "`payhook check` shows every address in use")
        })?;
        let backends::Backends { queue, store, clock } = backends;
        if let (StoreConfig::Sqlite(_), Some(store)) = (&config.store, &store) {
            // Only this process can open the file, so no `payhook migrate` can do it.
            store.migrate().await?;
            if !queue.carries_events() {
                queue.migrate().await?;
            }
        }
        let mut running = Self {
            ingress: None,
            console: console_listener.local_addr()?,
            stop,
            died: Arc::default(),
            tasks: TaskTracker::new(),
            queue,
            store,
        };
        running.part("metrics", running.stoppable(process::keep_metrics(metrics.clone())));

        let mut routes = health_routes(running.health(roles, &clock, metrics));
        if roles.console {
            routes = payhook_console::routes(running.console(config, &clock)).merge(routes);
        }
        let limits = ListenLimits::with_health(config.console.connections.clone());
        running.part("console", listen::serve(console_listener, "console", routes, limits, running.stop.now.clone()));
        if let Some(listener) = ingress_listener {
            running.ingress = Some(listener.local_addr()?);
            running.start_ingress(config, listener, &clock);
        }
        if roles.worker {
            running.start_worker(config, &clock)?;
        }
        Ok(running)
    }

    /// # Errors
    /// The process ended because a part of it died, and not by a signal.
    pub(crate) async fn until_stopped(self) -> anyhow::Result<()> {
        self.stop.now.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
        let died = self.died.load(Ordering::Relaxed);
        if !died {
            // A part may have died of a hint it holds: the queue must count that as a crash, so nothing is returned
            // gracefully.
            self.queue.close().await;
        }
        if let Some(store) = self.store {
            store.close().await;
        }
        info!("stopped");
        if died {
            return Err(failed(
                "a part of this process ended by a bug",
                "the log names the part; start the process again",
            ));
        }
        Ok(())
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().expect("a role that needs the store has one")
    }

    /// Runs a part of the process until the stop. If it ends earlier, which only a bug causes, the process ends too: it
    /// must not look alive and do half of its work.
    fn part(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (stop, died) = (self.stop.clone(), self.died.clone());
        self.tasks.spawn(async move {
            let ended = tokio::spawn(work).await;
            if ended.is_err() || !stop.now.is_cancelled() {
                died.store(true, Ordering::Relaxed);
                stop.at_once();
                error!(part = name, "{name} ended by itself; the process ends");
            }
        });
    }

    fn stoppable<W: Future<Output = ()>>(&self, work: W) -> impl Future<Output = ()> + use<W> {
        let stop = self.stop.now.clone();
        async move {
            tokio::select! { () = stop.cancelled() => {}, () = work => {} }
        }
    }

    fn start_ingress(&self, config: &Config, listener: TcpListener, clock: &Clock) {
        let options = IngressOptions {
            public_path: config.ingress.public_path.clone(),
            body_timeout: config.ingress.body_timeout,
            repeats_per_s: config.ingress.repeats_per_s,
            unverified_per_s: config.ingress.unverified_per_s,
            ..IngressOptions::default()
        };
        let ingress = Ingress::new(
            config.accounts.clone(),
            self.queue.clone(),
            clock.clone(),
            config.tokens.vault.clone(),
            options,
        );
        let limits = ListenLimits::new(config.ingress.connections.clone());
        let routes = payhook_ingress::routes(ingress);
        self.part("ingress", listen::serve(listener, "ingress", routes, limits, self.stop.now.clone()));
    }

    fn start_worker(&self, config: &Config, clock: &Clock) -> anyhow::Result<()> {
        let (alone, writers, clocks_differ) = match config.store {
            StoreConfig::Sqlite(_) => (true, WRITERS_SQLITE, SignedDuration::ZERO),
            StoreConfig::Postgres(_) => (false, WRITERS_POSTGRES, CLOCKS_DIFFER),
        };
        let parts = WorkerParts {
            accounts: config.accounts.clone(),
            client: Client::new(clock.clone())?,
            queue: self.queue.clone(),
            store: self.store(),
            clock: clock.clone(),
            vault: config.tokens.vault.clone(),
            schedule: Schedule::new(config.worker.retry_delays.clone()),
        };
        let options = WorkerOptions {
            alone,
            concurrency: config.worker.concurrency,
            writers,
            clocks_differ,
            follow_every: config.worker.follow_events,
            must_route: config.events.must_route.clone(),
            retention: config.retention.clone(),
        };
        let worker = Worker::new(parts, options);
        let stop = self.stop.now.clone();
        self.part("worker", async move {
            if let Err(error) = worker.run(stop).await {
                error!(error = ?error, "a part of the worker failed");
            }
        });
        self.part("gauges", self.stoppable(gauges(self.queue.clone(), self.store(), clock.clone())));
        Ok(())
    }

    fn console(&self, config: &Config, clock: &Clock) -> Console {
        let accounts = config.accounts.clone();
        Console {
            queue: self.queue.clone(),
            store: self.store(),
            clock: clock.clone(),
            vault: config.tokens.vault.clone(),
            methods: Protocol::methods,
            has_account: Box::new(move |provider, name| accounts.get(provider, name).is_some()),
            callers: config.console.callers(),
            recent_refreshes: RecentRefreshes::default(),
        }
    }

    /// Ready means: this process's roles can do their work now. Ingress needs the queue and nothing else.
    fn health(&self, roles: Roles, clock: &Clock, metrics: PrometheusHandle) -> Health {
        let mut checks = Vec::new();
        if roles.ingress || roles.worker {
            checks.push(readiness::queue(self.queue.clone(), roles.worker));
        }
        if roles.worker || roles.console {
            checks.push(readiness::store(self.store(), clock.clone()));
        }
        let stop = self.stop.leaving.clone();
        Health { checks, metrics, stopping: Arc::new(move || stop.is_cancelled()) }
    }
}

/// Updates the gauges again and again: how much waits, where, and since when. Alerts are set on them.
async fn gauges(queue: Arc<dyn Queue>, store: Arc<dyn Store>, clock: Clock) {
    loop {
        match queue.depths().await {
            Ok(depths) => {
                for depth in depths {
                    metrics::gauge!("payhook_queue_ready", "queue" => depth.queue).set(depth.ready as f64);
                }
                // Every way is there: `depths` fails where a queue is missing, and this where a binding is.
                let routed = queue.probe().await;
                metrics::gauge!("payhook_queue_routes_ok").set(if routed.is_ok() { 1.0 } else { 0.0 });
            }
            Err(error) => {
                metrics::gauge!("payhook_queue_routes_ok").set(0.0);
                warn!(error = %error, "cannot read the queues' depths");
            }
        }
        let now = clock.now();
        match store.backlog().await {
            Ok(backlog) => {
                metrics::gauge!("payhook_payments_unfinished").set(backlog.payments_unfinished as f64);
                metrics::gauge!("payhook_events_unpublished").set(backlog.events_unpublished as f64);
                metrics::gauge!("payhook_dead_letters").set(backlog.dead_letters as f64);
                let silent = backlog.silent_since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0));
                metrics::gauge!("payhook_longest_silence_seconds").set(silent);
            }
            Err(error) => warn!(error = %error, "cannot read the store's backlog"),
        }
        tokio::time::sleep(GAUGES_EVERY).await;
    }
}
