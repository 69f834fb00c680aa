//! A world: the program's parts over one file, both providers, a wall clock that the story moves, and what truly
//! happened.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use jiff::{SignedDuration, Timestamp};
use payhook_console::{Callers, Console, RecentRefreshes};
use payhook_ingress::{Ingress, IngressOptions};
use payhook_provider::{Accounts, Carried, Carrier, Client, Protocol};
use payhook_queue::{Queue, embedded::EmbeddedQueue};
use payhook_schema::{AccountName, Clock, Order, OrderId};
use payhook_simulator::{AntomHabits, Keys, Options, SignedRequest, Simulator};
use payhook_store::{SqliteStore, Store, traits::*};
use payhook_vault::{Vault, VaultKey};
use payhook_worker::{Schedule, Worker, WorkerOptions, WorkerParts};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::consents::SimulatedConsent;
use crate::oracle::{OrderTruth, PaymentTruth, objections};
use crate::seam::{Life, Outstanding, SeamGate, SeamQueue, SeamStore, lock};

pub(crate) const BASE: &str = "http://payhook.test";
const BEGAN: i64 = 1_767_225_600_000_000;
const RETRY_DELAYS: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
];
pub(crate) const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The wall clock: it goes with the runtime's, and the story moves it on.
#[derive(Clone)]
pub(crate) struct Time(Arc<AtomicI64>, Instant);

impl Time {
    pub(crate) fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.1.elapsed().as_micros()).expect("a world is short");
        Timestamp::from_microsecond(self.0.load(Ordering::Relaxed) + passed).expect("a year of our time")
    }

    pub(crate) fn pass(&self, passed: SignedDuration) {
        self.0.fetch_add(i64::try_from(passed.as_micros()).expect("a world is short"), Ordering::Relaxed);
    }

    fn clock(&self, ahead: SignedDuration) -> Clock {
        let time = self.clone();
        Clock::new(move || time.now() + ahead)
    }
}

/// Carries what the worker asks to the simulator, and takes its time on the way back.
struct SeamCarrier {
    life: Arc<Life>,
    simulator: Arc<Simulator>,
    asked: Arc<AtomicUsize>,
    way_back: Mutex<StdRng>,
}

impl Carrier for SeamCarrier {
    fn carry(&self, request: http::Request<Vec<u8>>) -> Carried<'_> {
        Box::pin(async move {
            let path = request.uri().path();
            if path.ends_with("/inquiryPayment") || path.starts_with("/charges/") {
                self.asked.fetch_add(1, Ordering::Relaxed);
            }
            let answer = self.life.call("ask", self.simulator.answer(request)).await;
            let way_back = lock(&self.way_back).random_range(1..200);
            tokio::time::sleep(Duration::from_millis(way_back)).await;
            answer
        })
    }
}

/// A run of the program: all roles over one file.
struct SimulatedProcess {
    life: Arc<Life>,
    store: Arc<dyn Store>,
    file: SqliteStore,
    queue: Arc<dyn Queue>,
    hands: Arc<Outstanding>,
    workers: Vec<JoinHandle<()>>,
    ingress: Router,
    console: Router,
}

#[derive(Clone, Default)]
pub(crate) struct Shape {
    /// The URL of an empty database; without one the store is the queue's file.
    pub(crate) postgres: Option<String>,
    pub(crate) workers: usize,
    /// Antom's older gateways list no refunds in their answers.
    pub(crate) refunds_unlisted: bool,
    /// Customers share tokens and take them back; refunds are announced for other payments than Antom's answer about
    /// them names.
    pub(crate) tangled: bool,
    /// The store and the queue lose a reply now and then.
    pub(crate) replies_lost: bool,
}

/// An empty file, brought to this version: migrating takes longer than a world.
pub(crate) fn migrated() -> &'static [u8] {
    static MIGRATED: OnceLock<Vec<u8>> = OnceLock::new();
    MIGRATED.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = folder();
        let path = folder.path().join("payhook.db");
        runtime.block_on(async {
            let file = SqliteStore::open(&path.to_string_lossy()).await.expect("a new file opens");
            file.migrate().await.expect("a new file migrates");
            let queue = EmbeddedQueue::open(file.writer(), Clock::stopped(Timestamp::UNIX_EPOCH), &RETRY_DELAYS);
            let queue = queue.expect("good delays");
            queue.migrate().await.expect("a new file migrates");
            queue.close().await;
            file.close().await;
        });
        std::fs::read(&path).expect("the file can be read")
    })
}

pub(crate) struct SimulatedWorld {
    pub(crate) seed: u64,
    pub(crate) rng: StdRng,
    pub(crate) time: Time,
    pub(crate) gate: Arc<SeamGate>,
    pub(crate) simulator: Arc<Simulator>,
    asked: Arc<AtomicUsize>,
    pub(crate) shape: Shape,
    pub(crate) orders: Vec<OrderTruth>,
    pub(crate) payments: Vec<PaymentTruth>,
    pub(crate) consents: Vec<SimulatedConsent>,
    /// Deliveries of hints handed out by the queues of earlier processes.
    handed_before: usize,
    pub(crate) problems: Arc<Mutex<Vec<String>>>,
    accounts: Accounts,
    client: Client,
    postgres: Option<Arc<dyn Store>>,
    /// The time by which the next process's clock is ahead.
    pub(crate) next_ahead: SignedDuration,
    process: Option<SimulatedProcess>,
    observer: Arc<Life>,
    folder: tempfile::TempDir,
}

fn keys() -> Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(Keys::generate).clone()
}

fn vault() -> Vault {
    static VAULT: OnceLock<Vault> = OnceLock::new();
    let make = || Vault::new([(1, VaultKey::parse(&payhook_vault::new_key()).expect("a new key"))].into());
    VAULT.get_or_init(make).clone()
}

/// Values that take long to make and may be the same in all worlds: a carrier ignores the address of the accounts' API.
#[derive(Clone)]
struct AccountsAndClient {
    accounts: Accounts,
    client: Client,
}

fn shared(simulator: &Simulator) -> AccountsAndClient {
    static SHARED: OnceLock<AccountsAndClient> = OnceLock::new();
    let make = || AccountsAndClient {
        accounts: Accounts::new(["shop", "other"].iter().flat_map(|name| simulator.accounts_named(&shop(name)))),
        client: Client::new(Clock::stopped(Timestamp::UNIX_EPOCH)).expect("a client"),
    };
    SHARED.get_or_init(make).clone()
}

/// Memory, where the machine has a file system of it: a world is not about the disk.
fn folder() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

pub(crate) fn shop(name: &str) -> AccountName {
    AccountName::new(name).expect("a good name")
}

impl SimulatedWorld {
    pub(crate) async fn new(seed: u64, shape: Shape) -> Self {
        payhook_worker::seed_waits(seed);
        let time = Time(Arc::new(AtomicI64::new(BEGAN)), Instant::now());
        let listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let options = Options { listen, clock: time.clock(SignedDuration::ZERO), keys: keys() };
        let simulator = Arc::new(Simulator::start(options).await.expect("a simulator"));
        let refunds_listed = !shape.refunds_unlisted;
        let refund_names_payment = shape.tangled;
        let habits = AntomHabits { refunds_listed, refund_names_payment, ..AntomHabits::default() };
        simulator.antom().set_habits(habits);
        let AccountsAndClient { accounts, client } = shared(&simulator);
        let gate = Arc::<SeamGate>::default();
        let observer = Life::new(gate.clone(), time.clock(SignedDuration::ZERO), None);
        let mut world = Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            time,
            gate,
            simulator,
            asked: Arc::default(),
            orders: Vec::new(),
            payments: Vec::new(),
            consents: Vec::new(),
            handed_before: 0,
            problems: Arc::default(),
            accounts,
            client,
            postgres: None,
            next_ahead: SignedDuration::ZERO,
            process: None,
            observer,
            folder: folder(),
            shape,
        };
        if let Some(url) = &world.shape.postgres {
            // The world's clock counts, and not the database's.
            let options = payhook_store::PgOptions {
                clock: payhook_store::LeaseClock::Caller,
                ..payhook_store::PgOptions::default()
            };
            let store = payhook_store::PgStore::connect(url, options).expect("a good URL");
            world.observer.call("migrate", store.migrate()).await.expect("a fresh database migrates");
            world.postgres = Some(Arc::new(store));
        }
        world.start().await;
        world
    }

    /// Starts the program, with its clock as far ahead as the story has it.
    async fn start(&mut self) {
        let path = self.folder.path().join("payhook.db");
        let clock = self.time.clock(self.next_ahead);
        let losses = self.shape.replies_lost.then(|| StdRng::seed_from_u64(self.rng.random()));
        let life = Life::new(self.gate.clone(), clock.clone(), losses);
        if !path.exists() {
            std::fs::write(&path, migrated()).expect("a file can be written");
        }
        let opened = self.observer.call("open", async {
            let file = SqliteStore::open(&path.to_string_lossy()).await?;
            file.migrate().await?;
            let queue = EmbeddedQueue::open(file.writer(), clock.clone(), &RETRY_DELAYS).expect("good delays");
            queue.migrate().await.expect("the queue's table");
            Ok::<_, payhook_store::StoreError>((file, queue))
        });
        let (file, queue) = opened.await.expect("the file opens");
        let queue: Arc<dyn Queue> = Arc::new(queue);
        let store: Arc<dyn Store> = self.postgres.clone().unwrap_or_else(|| Arc::new(file.clone()));
        let hands = Arc::<Outstanding>::default();
        let seam_store = Arc::new(SeamStore { life: life.clone(), store: store.clone() });
        let seam_queue = Arc::new(SeamQueue { life: life.clone(), queue: queue.clone(), hands: hands.clone() });
        let workers = (0..self.shape.workers.max(1)).map(|_| {
            let way_back = Mutex::new(StdRng::seed_from_u64(self.rng.random()));
            let (simulator, asked) = (self.simulator.clone(), self.asked.clone());
            let carrier = SeamCarrier { life: life.clone(), simulator, asked, way_back };
            let parts = WorkerParts {
                accounts: self.accounts.clone(),
                client: self.client.clone().carried_by(Arc::new(carrier), clock.clone()),
                queue: seam_queue.clone(),
                store: seam_store.clone(),
                clock: clock.clone(),
                vault: vault(),
                schedule: Schedule::new(RETRY_DELAYS.to_vec()),
            };
            let options = WorkerOptions {
                alone: self.shape.workers < 2,
                concurrency: 32,
                writers: 1,
                clocks_differ: SignedDuration::ZERO,
                follow_every: Some(Duration::from_secs(5)),
                must_route: Vec::new(),
                retention: Vec::new(),
            };
            let (worker, problems) = (Worker::new(parts, options), self.problems.clone());
            tokio::spawn(async move {
                if let Err(died) = worker.run(CancellationToken::new()).await {
                    lock(&problems).push(format!("a worker ended by itself: {died}"));
                }
            })
        });
        let workers = workers.collect();
        let accounts = self.accounts.clone();
        let ingress =
            Ingress::new(accounts.clone(), seam_queue.clone(), clock.clone(), vault(), IngressOptions::default());
        let console = Console {
            queue: seam_queue,
            store: seam_store,
            clock,
            vault: vault(),
            methods: Protocol::methods,
            has_account: Box::new(move |provider, name| accounts.get(provider, name).is_some()),
            callers: Callers::local(),
            recent_refreshes: RecentRefreshes::default(),
        };
        self.process = Some(SimulatedProcess {
            life,
            store,
            file,
            queue,
            hands,
            workers,
            ingress: payhook_ingress::routes(ingress),
            console: payhook_console::routes(console),
        });
    }

    fn process(&self) -> &SimulatedProcess {
        self.process.as_ref().expect("started in the beginning, and after each end")
    }

    /// The process dies at so many calls from now.
    pub(crate) fn dies_in(&self, calls: u32, after_the_last: bool) {
        self.process().life.dies_in(calls, after_the_last);
    }

    /// Notes what is wrong unless this is so.
    pub(crate) fn expect(&self, so: bool, otherwise: impl FnOnce() -> String) {
        if !so {
            lock(&self.problems).push(otherwise());
        }
    }

    /// Ends the process, however it stands, and starts the next.
    pub(crate) async fn restart(&mut self) {
        let process = self.process.take().expect("one runs");
        process.life.kill().await;
        for worker in &process.workers {
            worker.abort();
        }
        self.handed_before += process.hands.handed.load(Ordering::Relaxed);
        // The file alone: a queue that is closed gives back what it holds, and this one just died.
        self.observer.call("close", process.file.close()).await;
        let away = self.rng.random_range(0..3000);
        self.time.pass(SignedDuration::from_millis(away));
        self.start().await;
    }

    /// Lets everything run for so long; a process that dies is followed by another.
    pub(crate) async fn run(&mut self, for_ms: u64) {
        let until = Instant::now() + Duration::from_millis(for_ms);
        loop {
            let life = self.process().life.clone();
            tokio::select! {
                biased;
                () = life.killed.notified() => self.restart().await,
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    /// Sends an HTTP request to the program; `None` if the program died before it answered.
    async fn answered(&mut self, router: Router, request: http::Request<Body>) -> Option<(u16, Value)> {
        let life = self.process().life.clone();
        let response = tokio::select! {
            biased;
            () = life.killed.notified() => None,
            response = router.oneshot(request) => Some(response.unwrap_or_else(|never| match never {})),
        };
        let Some(response) = response else {
            self.restart().await;
            return None;
        };
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a whole answer");
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Posts what a provider signed, again until it is acknowledged.
    pub(crate) async fn receives(&mut self, signed: &SignedRequest) {
        while self.posted(signed).await.is_none_or(|status| status != 200) {}
    }

    pub(crate) async fn posted(&mut self, signed: &SignedRequest) -> Option<u16> {
        let mut request = http::Request::post(&signed.path);
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(signed.body.clone())).expect("a good request");
        let router = self.process().ingress.clone();
        Some(self.answered(router, request).await?.0)
    }

    /// Calls the console, again where the program died of it or says that something is away.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        loop {
            let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
            let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
            let router = self.process().console.clone();
            let answer = self.answered(router, request.body(body).expect("a good request")).await;
            if let Some(answer) = answer.filter(|(status, _)| *status != 503) {
                return answer;
            }
        }
    }

    /// Looks at the store past the program, which may be dead or ahead.
    pub(crate) async fn look<T, F: Future<Output = Result<T, payhook_store::StoreError>>>(
        &self,
        at: impl FnOnce(Arc<dyn Store>) -> F,
    ) -> T {
        self.observer.call("front", at(self.process().store.clone())).await.expect("the store answers")
    }

    /// Counts the inquiries to the providers about payments.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) async fn order(&self, id: &OrderId) -> Option<Order> {
        self.look(async |store| store.order_get(id).await).await
    }

    /// Counts the deliveries of hints that were handed out.
    pub(crate) fn handed(&self) -> usize {
        self.handed_before + self.process().hands.handed.load(Ordering::Relaxed)
    }

    /// Runs until nothing can be done now: what is left waits for a time to come.
    pub(crate) async fn quiet(&mut self) {
        // The sweep looks once a second.
        self.run(1100).await;
        for _ in 0..200 {
            let waiting =
                self.observer.call("front", self.process().queue.waiting(1)).await.expect("the queue answers");
            if waiting == 0 && self.process().hands.held.load(Ordering::Relaxed) == 0 {
                return;
            }
            self.run(200).await;
        }
        lock(&self.problems).push("the queue never becomes quiet".to_owned());
    }

    /// Returns whether hints wait on the queue for a later try, and whether anything has not reached the feed.
    async fn is_pending(&self) -> (bool, bool) {
        let depths = self.observer.call("front", self.process().queue.depths()).await.expect("the queue answers");
        let unsent = self.look(async |store| store.backlog().await).await.events_unpublished > 0;
        (depths.iter().any(|depth| depth.ready > 0), unsent)
    }

    /// Lets time pass, as little as needed, until what is stored is what is true, or nothing more is going to happen.
    pub(crate) async fn drain(&mut self) {
        self.drain_within(SignedDuration::from_hours(200 * 24)).await;
    }

    pub(crate) async fn drain_within(&mut self, limit: SignedDuration) {
        let until = self.time.now() + limit;
        let mut idle = 0;
        while idle < 3 {
            self.quiet().await;
            let now = self.time.now();
            let wrong = self.wrong_payments().await;
            let (retrying, unsent) = self.is_pending().await;
            let next = if retrying || unsent {
                Some(now + SignedDuration::from_mins(1))
            } else if wrong.is_empty() {
                return;
            } else {
                wrong.into_iter().flatten().min().map(|next| next.max(now) + SignedDuration::from_secs(1))
            };
            // Omise's list of events is looked through now and then, and names what no schedule does.
            let Some(next) = next.filter(|next| *next <= until) else {
                idle += 1;
                let lease = SignedDuration::from_mins(3);
                if now + lease <= until {
                    self.time.pass(lease);
                }
                self.run(6000).await;
                continue;
            };
            self.time.pass(next.duration_since(self.time.now()));
        }
    }

    /// Returns the time of the next check of each payment that is not stored as it truly is.
    async fn wrong_payments(&self) -> Vec<Option<Timestamp>> {
        let mut wrong = Vec::new();
        for payment in 0..self.payments.len() {
            wrong.extend(self.is_wrong(payment).await);
        }
        wrong
    }

    /// Unless a registered payment is stored as it is: when it will be looked at next.
    pub(crate) async fn is_wrong(&self, payment: usize) -> Option<Option<Timestamp>> {
        let truth = &self.payments[payment];
        let order = self.order(&self.orders[truth.order].id).await.filter(|_| truth.registered)?;
        match order.payment(&truth.key) {
            Some(stored) if truth.is_as_stored(stored, &objections(&order)) => None,
            Some(stored) => Some(stored.next_check_at),
            None => Some(None),
        }
    }
}
