//! The load of a soak, and the count of what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use payhook_simulator::{AntomKind, AntomStatus, Reply, SignedRequest};
use serde_json::Value;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep};

use crate::harness::{TestPayhook, shop};

/// The environment variable with the duration of a soak, in seconds.
const VARIABLE: &str = "PAYHOOK_SOAK_SECONDS";
const USUAL: Duration = Duration::from_secs(10);

/// Each has one notification on its way at a time.
const SENDERS: usize = 4;
/// Orders registered ahead, so that there is something to send while the store is away.
const AHEAD: usize = 100;
/// Between two notifications of a sender.
const PAUSE: Duration = Duration::from_millis(20);
/// As a provider resends, only sooner.
const RESEND: Duration = Duration::from_millis(250);
/// Every so many notifications one is sent again although it was acknowledged.
const REPEATED: usize = 5;
/// Between two comings of the fault.
const CALM: Duration = Duration::from_secs(2);
/// Once the last fault is over, no notification is refused, and no order stays unpaid, for longer.
const MENDED_WITHIN: Duration = Duration::from_secs(90);
/// Timelines read at once.
const TOGETHER: usize = 8;

/// The results of all that was sent.
pub(super) struct Counts {
    sent: usize,
    acknowledged: usize,
    applied: usize,
    /// Acknowledged, and not applied or not in the order's timeline: the sweep must not hide that one was lost.
    lost: Vec<String>,
    /// Orders with more than one `order.paid`.
    twice: Vec<String>,
    refused: usize,
}

impl Counts {
    /// Fails if the fault was never felt.
    pub(super) fn refused_some(&self) {
        assert!(self.refused > 0, "nothing was refused: the fault was not there");
    }
}

/// Sends for as long as the environment wants while `fault` comes and goes, each call once; then counts. Fails if
/// anything is lost, done twice, dead, or never acknowledged.
pub(super) async fn soak(name: &str, payhook: &TestPayhook, mut fault: impl AsyncFnMut()) -> Counts {
    let lasts = lasts();
    let load = SoakLoad::default();
    let (to, orders) = channel(AHEAD);
    for number in 0..AHEAD {
        to.send(order(payhook, number).await).await.expect("there is room for so many");
    }
    let orders = Mutex::new(orders);
    let mut times = 0;
    let faults = async {
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            sleep(CALM).await;
            fault().await;
            times += 1;
        }
        sleep(CALM).await;
        load.ends.store(true, Ordering::SeqCst);
    };
    let senders = future::join_all((0..SENDERS).map(|_| load.sends(&orders)));
    tokio::join!(faults, load.registers(payhook, to), senders);

    let counts = load.count(payhook).await;
    let Counts { sent, acknowledged, applied, lost, twice, refused } = &counts;
    let line = format!(
        "soak {name}: {times} times in {} s: sent {sent}, acknowledged {acknowledged}, applied {applied}, lost {}, twice {} \
         ({refused} refused and sent again)",
        lasts.as_secs(),
        lost.len(),
        twice.len(),
    );
    // Past the test harness: the counts are of interest also when all is well.
    let _ = writeln!(std::io::stderr(), "{line}");
    let never = load.never_acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(never.is_empty(), "{line}\nnever acknowledged: {never:?}\n{}", payhook.log_tails());
    assert!(lost.is_empty() && twice.is_empty(), "{line}\nlost: {lost:?}\ntwice: {twice:?}\n{}", payhook.log_tails());
    assert_eq!(payhook.dead_letters().await, Ok(vec![]), "{line}");
    counts
}

#[expect(clippy::disallowed_methods, reason = "how long a soak takes comes through the environment")]
fn lasts() -> Duration {
    match std::env::var(VARIABLE) {
        Ok(seconds) => Duration::from_secs(seconds.parse().unwrap_or_else(|_| panic!("{VARIABLE} must be seconds"))),
        Err(_) => USUAL,
    }
}

/// All that is sent, from the first order to the last acknowledgement.
#[derive(Default)]
struct SoakLoad {
    sent: AtomicUsize,
    refused: AtomicUsize,
    acknowledged: Mutex<BTreeSet<String>>,
    never_acknowledged: Mutex<Vec<String>>,
    /// No more orders: what is registered is still sent.
    ends: AtomicBool,
}

impl SoakLoad {
    /// Registers more orders as the first ones are sent, until the end.
    async fn registers(&self, payhook: &TestPayhook, to: Sender<(String, SignedRequest)>) {
        for number in AHEAD.. {
            if self.ends.load(Ordering::SeqCst) || to.send(order(payhook, number).await).await.is_err() {
                return;
            }
        }
    }

    /// Sends one after the other, and the last again while there is no other, until all are sent.
    async fn sends(&self, orders: &Mutex<Receiver<(String, SignedRequest)>>) {
        let mut last: Option<SignedRequest> = None;
        for number in 1.. {
            let next = orders.lock().unwrap_or_else(PoisonError::into_inner).try_recv();
            match (next, &last) {
                (Ok((order, request)), _) => {
                    self.sends_until_acknowledged(order, &request).await;
                    last = Some(request);
                }
                (Err(TryRecvError::Disconnected), _) => return,
                (Err(TryRecvError::Empty), Some(last)) => drop(self.sends_once(last).await),
                (Err(TryRecvError::Empty), None) => {}
            }
            if let (0, Some(last)) = (number % REPEATED, &last) {
                self.sends_once(last).await;
            }
            sleep(PAUSE).await;
        }
    }

    async fn sends_until_acknowledged(&self, order: String, request: &SignedRequest) {
        let mut ended = None;
        while !self.sends_once(request).await {
            if self.ends.load(Ordering::SeqCst) {
                let ended = *ended.get_or_insert_with(Instant::now);
                if ended.elapsed() > MENDED_WITHIN {
                    self.never_acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(order);
                    return;
                }
            }
            sleep(RESEND).await;
        }
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(order);
    }

    async fn sends_once(&self, request: &SignedRequest) -> bool {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let acknowledged = request.send().await.as_ref().is_ok_and(Reply::acknowledged);
        if !acknowledged {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        acknowledged
    }

    /// Waits until all that was acknowledged is applied, or nothing more is; then looks at everything.
    async fn count(&self, payhook: &TestPayhook) -> Counts {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut paid = BTreeMap::new();
        let mut moved = Instant::now();
        while !acknowledged.iter().all(|order| paid.contains_key(order)) && moved.elapsed() < MENDED_WITHIN {
            sleep(Duration::from_millis(500)).await;
            let seen = paid_events(payhook).await;
            if seen.len() > paid.len() {
                moved = Instant::now();
            }
            paid = seen;
        }
        // The sweep may have been quicker than a notification that is on its way still.
        let mut missing: Vec<String> = acknowledged.iter().cloned().collect();
        let mut moved = Instant::now();
        while !missing.is_empty() && moved.elapsed() < MENDED_WITHIN {
            let found =
                stream::iter(&missing).map(async |order| (order, notification_is_archived(payhook, order).await));
            let still = found
                .buffer_unordered(TOGETHER)
                .filter_map(async |(order, archived)| (!archived).then(|| order.clone()));
            let still: Vec<String> = still.collect().await;
            if still.len() < missing.len() {
                moved = Instant::now();
            }
            missing = still;
            sleep(Duration::from_millis(500)).await;
        }
        let applied = acknowledged.iter().filter(|order| paid.contains_key(*order)).count();
        missing.extend(acknowledged.iter().filter(|order| !paid.contains_key(*order)).cloned());
        Counts {
            sent: self.sent.load(Ordering::Relaxed),
            acknowledged: acknowledged.len(),
            applied,
            lost: missing,
            twice: paid.iter().filter(|(_, times)| **times != 1).map(|(order, _)| order.clone()).collect(),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// A registered order of one provider or the other, paid, and the notification that says so.
async fn order(payhook: &TestPayhook, number: usize) -> (String, SignedRequest) {
    let order = format!("soak-{number}");
    let request = match number % 2 {
        0 => {
            let payment = payhook.antom_order(&order, "10.00 THB").await;
            payhook.antom_decides(&payment, AntomStatus::Success);
            payhook.simulator.antom().signed(&payhook.ingress(), &shop(), &payment, AntomKind::State)
        }
        _ => {
            let charge = payhook.omise_order(&order, "10.00 THB").await;
            payhook.simulator.omise().pay(&charge).expect("Omise knows it");
            payhook.simulator.omise().signed(&payhook.ingress(), &shop(), &charge, "charge.complete")
        }
    };
    (order, request.expect("the provider would send it"))
}

/// Counts how often each order is paid, by the feed.
async fn paid_events(payhook: &TestPayhook) -> BTreeMap<String, usize> {
    let mut paid = BTreeMap::new();
    for event in payhook.until("the feed can be read", async || payhook.feed().await).await {
        assert_eq!(event["type"], "payhook.order.paid.v1", "{event}");
        *paid.entry(event["subject"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    paid
}

async fn notification_is_archived(payhook: &TestPayhook, order: &str) -> bool {
    let timeline = payhook.until("a timeline can be read", async || payhook.timeline(order).await).await;
    timeline.iter().any(|entry: &Value| entry["kind"] == "notification")
}
