//! Everything a process does to the outside passes here, one call at a time: where the seed can kill it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payhook_queue::{Consumer, Deliveries, Delivery, Depth, Lane, Queue, QueueError, Routed, Settler, Verdict};
use payhook_schema::*;
use payhook_store::*;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use uuid::Uuid;

/// The least time one call takes on the virtual clock. The runtime moves that clock only when every task waits, so a
/// call ends after everything it could wake has run: the order of all tasks depends on the seed and on nothing else.
const STEP: Duration = Duration::from_millis(1);
/// The time between two looks of an idle consumer at its queue.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOST_ONE_OF: u32 = 150;
/// More queries than a consumer of the embedded queue makes before it waits.
const LOOKS_OF_A_TAKE: usize = 12;
/// Looks that mostly find nothing: no place to be killed at, or nearly every death would be there.
const IDLE: [&str; 8] = [
    "look",
    "payments_due_late",
    "events_sequence",
    "events_unpublished",
    "replay_running",
    "authorizations_due",
    "front",
    "waiting",
];

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one door to the outside of a world, and what went through it.
#[derive(Default)]
pub(crate) struct SeamGate {
    turn: Arc<tokio::sync::Mutex<()>>,
    calls: Mutex<Vec<String>>,
}

impl SeamGate {
    /// Every call, in order: two runs of one seed have the same.
    pub(crate) fn calls(&self) -> Vec<String> {
        lock(&self.calls).clone()
    }
}

/// A process, from its start until it is killed. Calls that still wait for a reply then wait for ever.
pub(crate) struct Life {
    gate: Arc<SeamGate>,
    clock: Clock,
    fate: Mutex<Fate>,
    pub(crate) killed: Notify,
    /// Draws which replies are lost on their way, though the call took effect; none where it is absent.
    losses: Mutex<Option<StdRng>>,
}

#[derive(Default)]
struct Fate {
    dead: bool,
    /// It dies at so many calls from now; after that call took effect, or before.
    dies_in: Option<(u32, bool)>,
}

enum SeamCall {
    Passes,
    Never,
    IsTheLast,
}

impl Life {
    pub(crate) fn new(gate: Arc<SeamGate>, clock: Clock, losses: Option<StdRng>) -> Arc<Self> {
        Arc::new(Self { gate, clock, fate: Mutex::default(), killed: Notify::new(), losses: Mutex::new(losses) })
    }

    pub(crate) fn dies_in(&self, calls: u32, after_the_last: bool) {
        lock(&self.fate).dies_in = Some((calls, after_the_last));
    }

    /// Kills it now, between two calls.
    pub(crate) async fn kill(&self) {
        let _turn = self.gate.turn.lock().await;
        lock(&self.fate).dead = true;
    }

    /// Makes one call to the outside, unless this process dies of it.
    pub(crate) async fn call<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        let turn = self.gate.turn.clone().lock_owned().await;
        let call = self.next_call(what);
        if !matches!(call, SeamCall::Never) {
            let busy = Busy::begin();
            let done = work.await;
            drop(busy);
            tokio::time::sleep(STEP).await;
            lock(&self.gate.calls).push(format!("{} {what}", self.clock.now()));
            if matches!(call, SeamCall::Passes) {
                return done;
            }
            self.die();
        }
        drop(turn);
        std::future::pending().await
    }

    /// Makes one call whose reply may be lost: nobody knows then whether it took effect.
    async fn attempt<T, E: ReplyLost>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let done = self.call(what, work).await;
        let is_lost = lock(&self.losses).as_mut().is_some_and(|losses| losses.random_ratio(1, LOST_ONE_OF));
        if is_lost { Err(E::lost()) } else { done }
    }

    fn next_call(&self, what: &str) -> SeamCall {
        let mut fate = lock(&self.fate);
        if fate.dead {
            return SeamCall::Never;
        }
        if IDLE.contains(&what) {
            return SeamCall::Passes;
        }
        match &mut fate.dies_in {
            Some((0, true)) => SeamCall::IsTheLast,
            Some((0, false)) => {
                drop(fate);
                self.die();
                SeamCall::Never
            }
            Some((calls, _)) => {
                *calls -= 1;
                SeamCall::Passes
            }
            None => SeamCall::Passes,
        }
    }

    fn die(&self) {
        lock(&self.fate).dead = true;
        self.killed.notify_one();
    }
}

trait ReplyLost {
    fn lost() -> Self;
}

impl ReplyLost for StoreError {
    fn lost() -> Self {
        Self::Unavailable { address: "the store".to_owned(), what: "its reply was lost".to_owned(), source: None }
    }
}

impl ReplyLost for QueueError {
    fn lost() -> Self {
        Self::Unavailable { address: "the queue".to_owned(), what: "its reply was lost".to_owned(), source: None }
    }
}

/// While it lives, the virtual clock stands: a database answers in real time, and no timeout may pass meanwhile.
struct Busy(#[expect(dead_code, reason = "dropping it ends the blocking task")] std::sync::mpsc::Sender<()>);

impl Busy {
    fn begin() -> Self {
        let (alive, ended) = std::sync::mpsc::channel::<()>();
        // The runtime's paused clock does not advance by itself while a blocking task runs.
        tokio::task::spawn_blocking(move || ended.recv());
        Self(alive)
    }
}

pub(crate) struct SeamStore {
    pub(crate) life: Arc<Life>,
    pub(crate) store: Arc<dyn Store>,
}

macro_rules! forward {
    ($($store:ident { $($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)* $([$($beside:tt)*])? })*) => {$(
        #[async_trait]
        impl $store for SeamStore {
            $(async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
                self.life.attempt(stringify!($name), self.store.$name($($arg),*)).await
            })*
            $($($beside)*)?
        }
    )*};
}

forward! {
    Orders {
        order_register(order: &NewOrder, now: Timestamp) -> Registered;
        order_get(id: &OrderId) -> Option<Order>;
        order_list(filter: &OrderFilter) -> Vec<Order>;
        order_timeline_page(id: &OrderId, after: Option<TimelinePlace>, limit: u32) -> TimelinePage;
        order_refresh(id: &OrderId, now: Timestamp) -> bool;
        payments_find(keys: &[PaymentKey]) -> Vec<Found>;
        payment_named(name: &PaymentName) -> Option<PaymentKey>;
        payments_refundable(provider: Provider, account: &AccountName, amount: Money, since: Timestamp, skip: u32, limit: u32) -> Vec<PaymentKey>;
    }
    CheckSchedule {
        payments_due(now: Timestamp, hold_for: Duration, limit: u32, at_most: &[AccountLimit]) -> Vec<PaymentKey>;
        payments_due_late(now: Timestamp, hold_for: Duration, limit: u32) -> Vec<PaymentKey>;
    }
    Settling {
        settle(settlements: &[Settlement]) -> Vec<Settled>;
        refund_assign(refund: &NewRefund, now: Timestamp) -> bool;
        authorization_settle(settlement: &AuthorizationSettlement) -> Settled;
    }
    Feed {
        events_of(order: &OrderId) -> OrderEvents;
        events_sequence(limit: u32, now: Timestamp) -> usize;
        events_after(after: i64, limit: u32) -> Vec<FeedEvent>;
        events_deleted_to() -> i64;
        events_unpublished(after: i64, limit: u32) -> Vec<FeedEvent>;
        events_mark_published(ids: &[Uuid], now: Timestamp) -> ();
    }
    AuthorizationStore {
        authorization_register(new: &NewAuthorization, now: Timestamp) -> AuthorizationRegistered;
        authorization_get(id: &AuthorizationId) -> Option<Authorization>;
        authorization_find(account: &AccountName, name: &AuthorizationName) -> Vec<Authorization>;
        authorization_timeline(id: &AuthorizationId) -> Vec<TimelineEntry>;
        authorization_notifications(account: &AccountName, name: &AuthorizationName) -> Vec<Notification>;
        authorization_claim(id: &AuthorizationId, holder: Uuid, now: Timestamp, hold_for: Duration) -> Option<Authorization>;
        authorizations_due(now: Timestamp, hold_for: Duration, limit: u32) -> Vec<AuthorizationId>;
    }
    DeadLetters {
        dead_letter_keep(letters: &[DeadLetter]) -> ();
        dead_letter_list(filter: &DeadLetterFilter) -> Vec<DeadLetter>;
        dead_letter_get(id: Uuid) -> Option<DeadLetter>;
        dead_letter_groups(filter: &DeadLetterFilter) -> Vec<DeadLetterGroup>;
        dead_letter_discard(filter: &DeadLetterFilter, act: &Act) -> u64;
        dead_letter_note(filter: &DeadLetterFilter, note: &str) -> u64;
    }
    Replays {
        replay_create(new: &NewReplay) -> (Replay, bool);
        replay_get(id: Uuid) -> Option<Replay>;
        replay_list(limit: u32) -> Vec<Replay>;
        replay_running() -> Vec<Replay>;
        replay_items(id: Uuid, after: i64, limit: u32) -> Vec<ReplayItem>;
        replay_steer(id: Uuid, steer: Steer, now: Timestamp) -> Option<Replay>;
        replay_claim(replay: Uuid, now: Timestamp, hold_for: Duration, limit: u32) -> Vec<ReplayItem>;
        replay_note(results: &[ReplayResult], now: Timestamp) -> ();
    }
    Notifications {
        notification_list(filter: &NotificationFilter) -> Vec<Archived>;
        notification_get(id: Uuid) -> Option<Archived>;
        notifications_known(signed: &[Uuid]) -> Vec<Option<Uuid>>;
    }
    Audit {
        audit_write(entry: &AuditEntry) -> ();
        audit_list(before: Option<Uuid>, limit: u32) -> Vec<AuditEntry>;
        release_write(release: &Release, audit: &AuditEntry) -> ();
        release_get(id: Uuid) -> Option<Release>;
        keys_used() -> Vec<KeyUse>;
    }
    Housekeeping {
        migrate() -> ();
        check() -> ();
        backlog() -> Backlog;
        lease_take(name: &str, holder: Uuid, now: Timestamp, hold_for: Duration) -> bool;
        leases_take(names: &[String], holder: Uuid, now: Timestamp, hold_for: Duration) -> Vec<String>;
        lease_release(name: &str, holder: Uuid) -> ();
        leases_held(prefix: &str, now: Timestamp) -> Vec<String>;
        watermark_get(name: &str) -> Option<Timestamp>;
        watermark_set(name: &str, at: Timestamp, now: Timestamp) -> ();
        sealed_list(newest: u32, limit: u32) -> Vec<SealedThing>;
        sealed_replace(replacements: &[Resealed]) -> usize;
        sealed_count() -> Vec<(u32, u64)>;
        history_delete(history: History, age: Duration, now: Timestamp, from: Place, limit: u32) -> Deleted;
        [
            fn address(&self) -> String {
                self.store.address()
            }

            async fn close(&self) {
                self.store.close().await;
            }
        ]
    }
}

/// The queue of one process. A consumer looks for deliveries through the gate: it may not wait inside.
pub(crate) struct SeamQueue {
    pub(crate) life: Arc<Life>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) hands: Arc<Outstanding>,
}

#[derive(Default)]
pub(crate) struct Outstanding {
    bell: Notify,
    /// Deliveries of hints handed out since the world began.
    pub(crate) handed: AtomicUsize,
    /// Deliveries in a worker's hand.
    pub(crate) held: AtomicUsize,
}

/// The deliveries that one consumption has in hand.
struct OutstandingDelivery {
    count: AtomicUsize,
    hands: Arc<Outstanding>,
}

impl OutstandingDelivery {
    fn add(&self, more: usize) {
        self.count.fetch_add(more, Ordering::Relaxed);
        self.hands.held.fetch_add(more, Ordering::Relaxed);
    }

    fn remove(&self, fewer: usize) {
        self.count.fetch_sub(fewer, Ordering::Relaxed);
        self.hands.held.fetch_sub(fewer, Ordering::Relaxed);
    }
}

impl Drop for OutstandingDelivery {
    fn drop(&mut self) {
        self.remove(self.count.load(Ordering::Relaxed));
    }
}

#[async_trait]
impl Queue for SeamQueue {
    async fn publish(&self, envelope: &Envelope) -> Result<(), QueueError> {
        let published = self.life.attempt("publish", self.queue.publish(envelope)).await;
        self.hands.bell.notify_waiters();
        published
    }

    async fn consume(&self, lane: Lane, prefetch: u16) -> Result<Consumer, QueueError> {
        let Consumer { deliveries, settler } = self.life.attempt("consume", self.queue.consume(lane, prefetch)).await?;
        let (life, queue, hands) = (self.life.clone(), self.queue.clone(), self.hands.clone());
        let held = Arc::new(OutstandingDelivery { count: AtomicUsize::new(0), hands: hands.clone() });
        let settler = SeamSettler { life: life.clone(), settler, hands: hands.clone(), held: held.clone() };
        let prefetch = usize::from(prefetch);
        let deliveries = SeamDeliveries {
            life,
            queue,
            hands,
            deliveries,
            lane,
            prefetch,
            held,
            has_looked: false,
            taken: Vec::new(),
        };
        Ok(Consumer { deliveries: Box::new(deliveries), settler: Arc::new(settler) })
    }

    fn carries_events(&self) -> bool {
        self.queue.carries_events()
    }

    async fn publish_event(&self, event: &Event) -> Result<Routed, QueueError> {
        self.life.attempt("publish_event", self.queue.publish_event(event)).await
    }

    async fn migrate(&self) -> Result<(), QueueError> {
        self.life.call("migrate", self.queue.migrate()).await
    }

    async fn probe(&self) -> Result<(), QueueError> {
        self.life.call("probe", self.queue.probe()).await
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        self.life.call("depths", self.queue.depths()).await
    }

    async fn waiting(&self, up_to: u32) -> Result<u32, QueueError> {
        self.life.call("waiting", self.queue.waiting(up_to)).await
    }

    fn address(&self) -> String {
        self.queue.address()
    }

    async fn close(&self) {
        self.queue.close().await;
    }
}

struct SeamDeliveries {
    life: Arc<Life>,
    queue: Arc<dyn Queue>,
    hands: Arc<Outstanding>,
    deliveries: Box<dyn Deliveries>,
    lane: Lane,
    prefetch: usize,
    held: Arc<OutstandingDelivery>,
    has_looked: bool,
    /// Taken, and not handed over yet: whoever asked may have gone away meanwhile.
    taken: Vec<Delivery>,
}

#[async_trait]
impl Deliveries for SeamDeliveries {
    async fn next(&mut self, at_most: usize) -> Result<Vec<Delivery>, QueueError> {
        let hands = self.hands.clone();
        loop {
            if !self.taken.is_empty() {
                return Ok(std::mem::take(&mut self.taken));
            }
            let rung = hands.bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let room = self.prefetch.saturating_sub(self.held.count.load(Ordering::Relaxed)).min(at_most);
            let life = self.life.clone();
            let is_first = !std::mem::replace(&mut self.has_looked, true);
            if room > 0 && (is_first || life.call("look", ready(&*self.queue, self.lane)).await? > 0) {
                life.attempt("take", self.take(room)).await?;
            }
            if self.taken.is_empty() {
                tokio::select! { biased; () = rung => {} () = tokio::time::sleep(LOOK_EVERY) => {} }
            }
        }
    }
}

/// Counts the deliveries that could be taken; of notifications, at most one.
async fn ready(queue: &dyn Queue, lane: Lane) -> Result<u64, QueueError> {
    if lane == Lane::Notifications {
        return Ok(queue.waiting(1).await?.into());
    }
    let depths = queue.depths().await?;
    Ok(depths.iter().filter(|depth| depth.queue == "payhook.dead").map(|depth| depth.ready).sum())
}

impl SeamDeliveries {
    async fn take(&mut self, room: usize) -> Result<(), QueueError> {
        // The queue has one connection, in whose line each of its looks stands before the next of ours: after so many
        // it waits for a time to come, and is given up.
        let finds_nothing = async {
            for _ in 0..LOOKS_OF_A_TAKE {
                self.queue.waiting(1).await?;
            }
            Ok(Vec::new())
        };
        self.taken =
            tokio::select! { biased; taken = self.deliveries.next(room) => taken, none = finds_nothing => none }?;
        self.held.add(self.taken.len());
        if self.lane == Lane::Notifications {
            self.hands.handed.fetch_add(self.taken.len(), Ordering::Relaxed);
        }
        Ok(())
    }
}

struct SeamSettler {
    life: Arc<Life>,
    settler: Arc<dyn Settler>,
    hands: Arc<Outstanding>,
    held: Arc<OutstandingDelivery>,
}

#[async_trait]
impl Settler for SeamSettler {
    async fn settle(&self, settled: &[(Delivery, Verdict)]) -> Result<usize, QueueError> {
        let outcome = self.life.attempt("ack", self.settler.settle(settled)).await;
        if outcome.is_ok() {
            self.held.remove(settled.len());
            self.hands.bell.notify_waiters();
        }
        outcome
    }
}
