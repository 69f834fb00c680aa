//! A whole payhook with simulated providers, on one file or as a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use payhook_schema::{AccountName, Clock, Money, PaymentId};
use payhook_simulator::{Keys, Options, Simulator};
use payhook_test_servers::{Database, Postgres, Proxy, Rabbit, Vhost, postgres, rabbit};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::config::{self, Addresses, Plan, account};
use super::eventually;
use super::port::free_port;
use super::process::{Process, Ran};

/// The keys of every simulator here: making some takes a while.
pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(Keys::generate);
/// Another world's keys: right in form, known to nobody but the account `other`.
pub(crate) static STRANGER: LazyLock<Keys> = LazyLock::new(Keys::generate);

/// Journeys of five processes at once: two fill two cores.
static CLUSTERS: Semaphore = Semaphore::const_new(2);

/// No call of a test takes longer.
const CALL_WITHIN: Duration = Duration::from_secs(15);

/// The account the simulator has.
pub(crate) fn shop() -> AccountName {
    account("shop")
}

/// The account it does not have.
pub(crate) fn other() -> AccountName {
    account("other")
}

pub(crate) fn id(text: &str) -> PaymentId {
    PaymentId::new(text).expect("a good id")
}

pub(crate) fn money(text: &str) -> Money {
    text.parse().expect("an amount")
}

/// The servers and proxies of a cluster, which the shape with one file does not have.
pub(crate) struct ClusterServers {
    pub(crate) vhost: Vhost,
    pub(crate) broker: Option<Proxy>,
    pub(crate) database_proxy: Option<Proxy>,
    pub(crate) database: Database,
    _one_of_few: SemaphorePermit<'static>,
}

/// A whole payhook, its providers simulated, its state its own. Dropping it ends every process and fails the test if a
/// log holds what no log may hold.
pub(crate) struct TestPayhook {
    pub(crate) simulator: Simulator,
    pub(super) processes: Mutex<BTreeMap<String, Process>>,
    pub(super) http: reqwest::Client,
    pub(super) next_ingress: AtomicUsize,
    /// The texts that no log may hold, with a name for each.
    pub(super) secrets: Mutex<Vec<(String, String)>>,
    pub(crate) plan: Plan,
    pub(super) token: String,
    /// A text that is in every body we send.
    pub(super) marker: String,
    pub(crate) servers: Option<ClusterServers>,
    folder: TempDir,
}

impl Plan {
    /// `serve` on a fresh SQLite file with the queue in it.
    pub(crate) async fn one_file(self) -> TestPayhook {
        let addresses = Addresses {
            queue: "embedded".to_owned(),
            store: "sqlite://payhook.db".to_owned(),
            ingress: free_port(),
            console: free_port(),
        };
        let payhook = TestPayhook::new(self, &addresses, None).await;
        payhook.add("serve", "serve", addresses.console, addresses.ingress);
        payhook.start_all().await;
        payhook
    }

    /// Two ingresses, two workers (or as many as planned) and a console, on a virtual host and a database of their own.
    /// `None` if there are no servers for them.
    pub(crate) async fn cluster(self) -> Option<TestPayhook> {
        let (rabbit, postgres) = (rabbit().await?, postgres().await?);
        Some(self.cluster_on(&rabbit, &postgres).await)
    }

    /// The same on any servers.
    pub(crate) async fn cluster_on(self, rabbit: &Rabbit, postgres: &Postgres) -> TestPayhook {
        let permit = CLUSTERS.acquire().await.expect("never closed");
        let (vhost, database) = (rabbit.fresh_vhost().await, postgres.fresh_database().await);
        let proxy = async |wanted: bool, url: &str| match wanted {
            true => Some(Proxy::start(url).await.expect("a proxy starts")),
            false => None,
        };
        let broker = proxy(self.broker_proxy, &vhost.url).await;
        let database_proxy = proxy(self.database_proxy, &database.url).await;
        let through = |proxy: &Option<Proxy>, url: &str| proxy.as_ref().map_or(url.to_owned(), |proxy| proxy.url(url));
        let addresses = Addresses {
            queue: through(&broker, &vhost.url),
            store: through(&database_proxy, &database.url),
            ingress: free_port(),
            console: free_port(),
        };
        let servers = ClusterServers { vhost, broker, database_proxy, database, _one_of_few: permit };
        let payhook = TestPayhook::new(self, &addresses, Some(servers)).await;
        payhook.cli(&["migrate"]).await.ends_with(0);
        payhook.binds_fulfilment().await;
        payhook.add("ingress-1", "ingress", free_port(), addresses.ingress);
        payhook.add("ingress-2", "ingress", free_port(), free_port());
        for number in 1..=payhook.plan.workers {
            payhook.add(&format!("worker-{number}"), "worker", free_port(), addresses.ingress);
        }
        payhook.add("console", "console", addresses.console, addresses.ingress);
        payhook.start_all().await;
        payhook
    }
}

impl TestPayhook {
    pub(crate) async fn one_file() -> Self {
        Plan::usual().one_file().await
    }

    pub(crate) async fn cluster() -> Option<Self> {
        Plan::usual().cluster().await
    }

    async fn new(plan: Plan, addresses: &Addresses, servers: Option<ClusterServers>) -> Self {
        let options = Options { listen: ([127, 0, 0, 1], 0).into(), clock: Clock::system(), keys: KEYS.clone() };
        let simulator = Simulator::start(options).await.expect("a simulator starts");
        let folder = tempfile::Builder::new().prefix("payhook-it-").tempdir().expect("a folder can be made");
        let nonce = folder.path().file_name().expect("it has a name").to_string_lossy().into_owned();
        let token = format!("token-of-{nonce}");
        config::write(folder.path(), &plan, addresses, &token, &simulator);
        let mut secrets = config::secrets(&token);
        for (what, url) in [("the broker's password", &addresses.queue), ("the database's password", &addresses.store)]
        {
            secrets.extend(config::password_of(url).map(|password| (what.to_owned(), password)));
        }
        let marker = format!("marker-of-{nonce}");
        secrets.push(("a body".to_owned(), marker.clone()));
        secrets.push(("a body".to_owned(), "notifyType".to_owned()));
        let http = reqwest::Client::builder().timeout(CALL_WITHIN).no_proxy().build().expect("an HTTP client");
        Self {
            simulator,
            processes: Mutex::default(),
            http,
            next_ingress: AtomicUsize::new(0),
            secrets: Mutex::new(secrets),
            plan,
            token,
            marker,
            servers,
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the text that is in every body we send.
    pub(crate) fn marker(&self) -> &str {
        &self.marker
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("payhook.toml")
    }

    /// Returns the console's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Returns true for the shape with servers.
    pub(crate) fn is_cluster(&self) -> bool {
        self.processes().len() > 1
    }

    pub(super) fn processes(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, name: &str, role: &'static str, console: u16, ingress: u16) {
        let mut process = Process::new(name, role, &self.config(), console, ingress);
        let more = self.plan.environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        process.environment.extend(more);
        process.log_to = self.plan.log;
        process.survives_file_limit = self.plan.survives_file_limit;
        self.processes().insert(name.to_owned(), process);
    }

    async fn start_all(&self) {
        self.processes().values_mut().for_each(Process::start);
        for name in self.names() {
            self.ready(&name).await;
        }
    }

    /// Every process by its name: `serve`, or `ingress-1`, `ingress-2`, `worker-1`, `worker-2`, `console`.
    pub(crate) fn names(&self) -> Vec<String> {
        self.processes().keys().cloned().collect()
    }

    fn with<T>(&self, name: &str, does: impl FnOnce(&mut Process) -> T) -> T {
        does(self.processes().get_mut(name).unwrap_or_else(|| panic!("there is no process {name}")))
    }

    /// Ends a process where it stands.
    pub(crate) fn kill9(&self, name: &str) {
        self.with(name, Process::kill9);
    }

    /// Ends a process in good order.
    pub(crate) fn stop(&self, name: &str) {
        let stopped = self.with(name, |process| {
            process.ask_to_stop();
            process.wait_stopped()
        });
        assert_eq!(stopped, Ok(()), "{}", self.log_tails());
    }

    /// SIGTERM, without waiting for what comes of it.
    pub(crate) fn asks_to_stop(&self, name: &str) {
        self.with(name, |process| process.ask_to_stop());
    }

    /// Waits for the end of a process that was asked to stop.
    pub(crate) fn stopped(&self, name: &str) {
        assert_eq!(self.with(name, Process::wait_stopped), Ok(()), "{}", self.log_tails());
    }

    /// With which exit code a process ended by itself; nothing while it runs.
    pub(crate) fn exit_code(&self, name: &str) -> Option<i32> {
        self.with(name, Process::ended)?.code()
    }

    pub(crate) fn pid_of(&self, name: &str) -> u32 {
        self.with(name, |process| process.pid())
    }

    pub(crate) fn console_of(&self, name: &str) -> String {
        self.with(name, |process| process.console.clone())
    }

    /// Asks `serve` for its readiness, over a connection of its own.
    pub(crate) async fn readiness(&self) -> Result<(StatusCode, String), String> {
        let answer = reqwest::Client::builder().timeout(CALL_WITHIN).no_proxy().build().expect("an HTTP client");
        let answer = answer.get(format!("{}/readyz", self.console_of("serve"))).send().await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        Ok((answer.status(), answer.text().await.unwrap_or_default()))
    }

    /// Has a process that was ended start with this variable.
    pub(crate) fn sets(&self, name: &str, variable: &str, value: &str) {
        self.with(name, |process| process.environment.insert(variable.to_owned(), value.to_owned()));
    }

    /// Has a process that was ended start by a clock that is off by `by`, such as `+1h`; by the machine's where nothing
    /// is given.
    pub(crate) fn sets_clock(&self, name: &str, by: Option<(&Path, &str)>) {
        self.with(name, |process| {
            for variable in ["LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"] {
                process.environment.remove(variable);
            }
            let Some((library, by)) = by else { return };
            let library = library.to_string_lossy().into_owned();
            // Nobody can set the monotonic clock.
            let monotonic = ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned());
            let variables = [("LD_PRELOAD", library), ("FAKETIME", by.to_owned()), monotonic];
            process.environment.extend(variables.map(|(variable, value)| (variable.to_owned(), value)));
        });
    }

    /// Starts what was ended, on the same ports, and waits until it is ready.
    pub(crate) async fn restart(&self, name: &str) {
        self.start(name);
        self.ready(name).await;
    }

    /// Starts what was ended, without waiting.
    pub(crate) fn start(&self, name: &str) {
        self.with(name, Process::start);
    }

    /// Waits until a process says it can do its roles.
    pub(crate) async fn ready(&self, name: &str) {
        let url = self.with(name, |process| format!("{}/readyz", process.console));
        let ready = eventually(async || {
            if let Some(status) = self.with(name, Process::ended) {
                return Ok(Err(format!("{name} ended by itself: {status}")));
            }
            let answer = self.http.get(&url).send().await.map_err(|error| error.to_string())?;
            let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
            if status.is_success() { Ok(Ok(())) } else { Err(format!("{status} {text}")) }
        });
        match ready.await {
            Ok(Ok(())) => {}
            Ok(Err(why)) | Err(why) => panic!("{name} is not ready: {why}\n{}", self.log_tails()),
        }
    }

    /// Waits until a process says that it cannot do its roles.
    pub(crate) async fn not_ready(&self, name: &str) {
        let url = self.with(name, |process| format!("{}/readyz", process.console));
        self.until(&format!("{name} is not ready"), async || {
            let answer = self.http.get(&url).send().await.map_err(|error| error.to_string())?;
            if answer.status().as_u16() == 503 { Ok(()) } else { Err("it is ready".to_owned()) }
        })
        .await;
    }

    /// The proxy before the broker, where the plan has one and there is a broker.
    pub(crate) fn broker(&self) -> &Proxy {
        self.servers.as_ref().and_then(|servers| servers.broker.as_ref()).expect("the plan has a proxy for the broker")
    }

    /// The proxy before the database, where the plan has one and there is a database.
    pub(crate) fn database(&self) -> &Proxy {
        let servers = self.servers.as_ref().expect("a cluster");
        servers.database_proxy.as_ref().expect("the plan has a proxy for the database")
    }

    /// The database of its own.
    pub(crate) fn postgres(&self) -> &Database {
        &self.servers.as_ref().expect("a cluster").database
    }

    pub(crate) fn vhost(&self) -> &Vhost {
        &self.servers.as_ref().expect("a cluster").vhost
    }

    /// `payhook ARGUMENTS`, with this payhook's configuration.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> Ran {
        Ran::payhook(&self.config(), arguments).await
    }

    pub(crate) fn log_of(&self, name: &str) -> String {
        self.with(name, |process| process.log_text())
    }

    pub(crate) fn log_tails(&self) -> String {
        self.processes().values().map(Process::log_tail).collect()
    }

    /// Gives every process these keys for tokens, without a restart.
    pub(crate) fn takes_up_token_keys(&self, numbers: &[usize]) {
        self.changes_config(|text| {
            let from = text.find("[tokens]\n").expect("there are keys for tokens");
            let to = from + text[from..].find("[antom").expect("accounts follow");
            format!("{}{}{}", &text[..from], config::tokens(numbers), &text[to..])
        });
    }

    /// Rewrites the configuration and has every process read it again.
    pub(crate) fn changes_config(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.config()).expect("the configuration can be read");
        std::fs::write(self.config(), change(text)).expect("the configuration can be written");
        self.processes().values().for_each(Process::hang_up);
    }

    /// The same, and waits until each of them says so: taken up, or refused for its mistakes.
    pub(crate) async fn rereads_config(&self, change: impl FnOnce(String) -> String) {
        const READ: &str = "the configuration was read again";
        let read = |name: &String| self.log_of(name).matches(READ).count();
        let before: Vec<(String, usize)> = self.names().into_iter().map(|name| (name.clone(), read(&name))).collect();
        self.changes_config(change);
        self.until("every process read its configuration again", async || {
            match before.iter().find(|(name, count)| read(name) <= *count) {
                Some((name, _)) => Err(format!("{name} has not")),
                None => Ok(()),
            }
        })
        .await;
    }

    /// Runs `payhook check --json`. In the shape with one file, `serve` owns the file and is stopped for the check.
    pub(crate) async fn checked(&self) -> Value {
        let serve = (!self.is_cluster()).then_some("serve");
        if let Some(serve) = serve {
            self.stop(serve);
        }
        let checked = self.cli(&["check", "--json"]).await.ends_with(0).json();
        if let Some(serve) = serve {
            self.restart(serve).await;
        }
        checked
    }

    /// Neither the file nor the database has this anywhere, bare or inside an envelope's base64.
    pub(crate) fn nothing_at_rest_holds(&self, secret: &str) {
        let everything = match &self.servers {
            Some(servers) => servers.database.everything().into_bytes(),
            None => {
                let files = std::fs::read_dir(self.folder()).expect("the folder can be read").flatten();
                let files = files.filter(|file| file.file_name().to_string_lossy().contains(".db"));
                files.flat_map(|file| std::fs::read(file.path()).unwrap_or_default()).collect()
            }
        };
        let holds = |text: &str| everything.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        assert!(holds("AUTHCODE_CREATED"), "what is at rest cannot be read: {} bytes", everything.len());
        for form in forms(secret) {
            assert!(!holds(&form), "a secret is at rest in the clear");
        }
    }

    /// Notes what no log may hold.
    pub(crate) fn keep_secret(&self, what: &str, secret: &str) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.push((what.to_owned(), secret.to_owned()));
    }
}

/// A text as it is, and as base64 shows it at each of the three places a text can begin at.
fn forms(text: &str) -> Vec<String> {
    let in_base64 = |before: usize| {
        let encoded = BASE64_STANDARD.encode([&b"xx"[..before], text.as_bytes()].concat());
        // The characters at both ends are made of neighbours, too.
        encoded[4..encoded.len() - 4].to_owned()
    };
    [text.to_owned()].into_iter().chain((0..3).map(in_base64)).collect()
}
