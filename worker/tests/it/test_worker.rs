//! A worker over one file, by a clock of ours, with both providers as neighbours.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_provider::Client;
use payhook_queue::{EmbeddedQueue, Queue};
use payhook_schema::{
    About, AccountName, Clock, Envelope, NewOrder, Notification, Order, OrderId, Payment, PaymentId, PaymentKey,
    Provider, new_id,
};
use payhook_simulator::{AntomStatus, Keys, Options, SignedRequest, Simulator};
use payhook_store::{History, Registered, SqliteStore, traits::*};
use payhook_vault::{Vault, VaultKey};
use payhook_worker::{Schedule, Worker, WorkerOptions, WorkerParts};
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

static KEYS: LazyLock<Keys> = LazyLock::new(Keys::generate);

/// A sweep comes round every second, somewhat sooner or later.
pub(crate) const THREE_ROUNDS: Duration = Duration::from_secs(4);
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct TestWorker {
    pub(crate) store: SqliteStore,
    pub(crate) queue: Arc<EmbeddedQueue>,
    pub(crate) simulator: Simulator,
    /// Microseconds since 1970.
    now: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
    _worker: DropGuard,
}

impl TestWorker {
    pub(crate) async fn start() -> Self {
        Self::start_with(Vec::new(), async |_, _| {}).await
    }

    /// Starts with these ages of history, once `prepare` has written to the store.
    pub(crate) async fn start_with(
        retention: Vec<(History, Duration)>,
        prepare: impl AsyncFnOnce(&SqliteStore, Timestamp),
    ) -> Self {
        let now = Arc::new(AtomicI64::new(1_767_225_600_000_000));
        let time = now.clone();
        let clock = Clock::new(move || Timestamp::from_microsecond(time.load(Ordering::Relaxed)).unwrap());
        let options = Options { listen: ([127, 0, 0, 1], 0).into(), clock: clock.clone(), keys: KEYS.clone() };
        let simulator = Simulator::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("payhook.db").to_str().unwrap()).await.unwrap();
        store.migrate().await.unwrap();
        let queue = EmbeddedQueue::open(store.writer(), clock.clone(), &[Duration::from_secs(1)]).unwrap();
        queue.migrate().await.unwrap();
        prepare(&store, clock.now()).await;
        let queue = Arc::new(queue);
        let parts = WorkerParts {
            accounts: simulator.accounts(&shop()),
            client: Client::new(clock.clone()).unwrap(),
            queue: queue.clone(),
            store: Arc::new(store.clone()),
            clock,
            vault: Vault::new([(1, VaultKey::parse(&payhook_vault::new_key()).unwrap())].into()),
            schedule: Schedule::new(vec![Duration::from_secs(1)]),
        };
        let options = WorkerOptions {
            alone: true,
            concurrency: 32,
            writers: 1,
            clocks_differ: SignedDuration::ZERO,
            follow_every: None,
            must_route: Vec::new(),
            retention,
        };
        let stop = CancellationToken::new();
        tokio::spawn(Worker::new(parts, options).run(stop.clone()));
        Self { store, queue, simulator, now, _folder: folder, _worker: stop.drop_guard() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.now.load(Ordering::Relaxed)).unwrap()
    }

    pub(crate) fn becomes(&self, now: Timestamp) {
        self.now.store(now.as_microsecond(), Ordering::Relaxed);
    }

    /// Registers an order to be paid by one payment of Antom's, which has this status there.
    pub(crate) async fn registers(&self, id: &str, status: AntomStatus) -> Order {
        let (order, payment) = (OrderId::new(id).unwrap(), key(id));
        let amount = "120.00 THB".parse().unwrap();
        self.simulator.antom().create(&payment.id, amount);
        self.simulator.antom().decide(&payment.id, status).unwrap();
        let new = NewOrder { id: order, amount, payments: vec![payment], refunds: Vec::new() };
        match self.store.order_register(&new, self.now()).await.unwrap() {
            Registered::Order { order, .. } => order,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn order(&self, id: &str) -> Order {
        self.store.order_get(&OrderId::new(id).unwrap()).await.unwrap().unwrap()
    }

    pub(crate) async fn until(&self, id: &str, what: &str, holds: impl Fn(&Order, &Payment) -> bool) -> Payment {
        let started = tokio::time::Instant::now();
        loop {
            let mut order = self.order(id).await;
            if holds(&order, &order.payments[0]) {
                return order.payments.remove(0);
            }
            assert!(started.elapsed() < SOON, "waited for {what}: {order:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has the worker receive what a provider signed, as it comes off the queue.
    pub(crate) async fn receives(&self, signed: &SignedRequest) {
        let received = Notification {
            id: new_id(self.now()),
            provider: Provider::Antom,
            account: shop(),
            kind: String::new(),
            about: About::Other,
            idempotency_key: String::new(),
            received_at: self.now(),
            signed_at: None,
            verified_by: String::new(),
            signed_path: signed.path.clone(),
            signed_id: None,
            headers: signed.headers.clone(),
            body: signed.body.clone(),
            sealed_with: None,
        };
        let account = self.simulator.accounts(&shop()).get(Provider::Antom, &shop()).unwrap();
        let genuine = payhook_provider::verify_again(&account, &received).unwrap();
        self.queue.publish(&Envelope::notification(genuine)).await.unwrap();
    }

    pub(crate) fn asked(&self, id: &str) -> usize {
        self.simulator.journal().calls_for(&key(id).id).len()
    }
}

pub(crate) fn shop() -> AccountName {
    AccountName::new("shop").unwrap()
}

pub(crate) fn key(id: &str) -> PaymentKey {
    PaymentKey { provider: Provider::Antom, account: shop(), id: PaymentId::new(format!("PR-{id}")).unwrap() }
}
