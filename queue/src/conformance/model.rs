//! Compares random operations on a queue with a plain map that says what the queue must hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future;
use jiff::Timestamp;
use payhook_schema::{DeadCause, Envelope};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::timeout;
use uuid::Uuid;

use super::{QueueHarness, WITHIN, depth_becomes, envelope};
use crate::{Consumer, Death, Delivery, Lane, Queue, QueueError, Verdict};

const OPERATIONS: usize = 150;
const PREFETCH: u16 = 5;
const CONSUMERS_MAX: usize = 3;

/// The most deaths of a consumer or a process, and the most releases of a hint. A hint that comes back more often than
/// both together, by RabbitMQ's count, is handed out alone: it waits for the deliveries that the walk holds.
const DEATHS_MAX: usize = 3;
const RELEASES_MAX: usize = 1;

/// The expected content of the queue, in a map.
struct QueueModel {
    entries: HashMap<Uuid, ModelEntry>,
}

#[derive(Debug)]
struct ModelEntry {
    bytes: Vec<u8>,
    lane: Lane,
    attempt: u32,
    first_failed_at: Option<Timestamp>,
    death: Option<Death>,
    held: bool,
    hidden_until: Instant,
    released: usize,
}

struct RandomWalk<'a> {
    harness: &'a dyn QueueHarness,
    queue: Arc<dyn Queue>,
    random: StdRng,
    model: QueueModel,
    consumers: Vec<ModelConsumer>,
    deaths: usize,
}

struct ModelConsumer {
    lane: Lane,
    consumer: Consumer,
    held: Vec<Delivery>,
}

/// Publishes, takes, settles, drops consumers and crashes at random. After each step the queue must hand out exactly
/// the entries of a plain map. The seed is printed, to run the same walk again.
pub async fn random_operations_agree_with_a_model(harness: &dyn QueueHarness, seed: u64) {
    let mut walk = RandomWalk {
        harness,
        queue: harness.process().await,
        random: StdRng::seed_from_u64(seed),
        model: QueueModel { entries: HashMap::new() },
        consumers: Vec::new(),
        deaths: 0,
    };
    walk.consume().await;
    for _ in 0..OPERATIONS {
        walk.step().await;
    }
    walk.finish().await;
}

impl RandomWalk<'_> {
    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..30 => self.publish().await,
            30..60 => {
                let lane = self.lane();
                self.take(lane).await;
            }
            60..90 => self.settle().await,
            90..95 => self.consume().await,
            95..98 => self.drop_a_consumer(),
            _ => self.crash().await,
        }
    }

    fn lane(&mut self) -> Lane {
        if self.random.random_bool(0.8) { Lane::Notifications } else { Lane::Dead }
    }

    async fn publish(&mut self) {
        let envelopes: Vec<Envelope> = (0..self.random.random_range(1..4)).map(|_| envelope()).collect();
        let published = envelopes.iter().map(|envelope| self.queue.publish(envelope));
        future::try_join_all(published).await.expect("a publish is confirmed");
        let entries = envelopes.iter().map(|envelope| (envelope.id, ModelEntry::new(envelope)));
        self.model.entries.extend(entries);
    }

    async fn consume(&mut self) {
        if self.consumers.len() < CONSUMERS_MAX {
            let lane = self.lane();
            let consumer = self.queue.consume(lane, PREFETCH).await.expect("the lane can be consumed");
            self.consumers.push(ModelConsumer { lane, consumer, held: Vec::new() });
        }
    }

    /// Asks every consumer of the lane at once, because only the queue knows which of them it gave a delivery. A
    /// consumer whose question is dropped must lose nothing.
    async fn take(&mut self, lane: Lane) {
        let waits = self.model.entries.values().any(|entry| entry.lane == lane && !entry.held);
        let at_most = self.random.random_range(1..=usize::from(PREFETCH));
        let with_room =
            |consumer: &&mut ModelConsumer| consumer.lane == lane && consumer.held.len() < usize::from(PREFETCH);
        let mut asked: Vec<&mut ModelConsumer> = self.consumers.iter_mut().filter(with_room).collect();
        if !waits || asked.is_empty() {
            return;
        }
        let nexts = asked.iter_mut().map(|consumer| consumer.consumer.deliveries.next(at_most));
        let (taken, index, _) = timeout(WITHIN, future::select_all(nexts)).await.expect("something waits and comes");
        let taken = taken.expect("the consumption goes on");
        assert!(!taken.is_empty() && taken.len() <= at_most, "{} of {at_most}", taken.len());
        for delivery in &taken {
            self.model.hand_over(lane, delivery);
        }
        let consumer = &mut *asked[index];
        consumer.held.extend(taken);
        assert!(consumer.held.len() <= usize::from(PREFETCH), "more unsettled than the prefetch");
    }

    async fn settle(&mut self) {
        let Some(index) = (0..self.consumers.len()).collect::<Vec<_>>().choose(&mut self.random).copied() else {
            return;
        };
        let mut settled = Vec::new();
        let held = std::mem::take(&mut self.consumers[index].held);
        for delivery in held {
            if self.random.random_bool(0.4) {
                self.consumers[index].held.push(delivery);
            } else {
                let verdict = self.verdict(id(&delivery));
                settled.push((delivery, verdict));
            }
        }
        for (delivery, verdict) in &settled {
            self.model.settle(delivery, verdict, &self.harness.delays());
        }
        let lost = self.consumers[index].consumer.settler.settle(&settled).await.expect("they can be settled");
        assert_eq!(lost, 0, "unsettled deliveries were no longer ours");
    }

    fn verdict(&mut self, id: Uuid) -> Verdict {
        let entry = &self.model.entries[&id];
        let second = self.random.random_range(0..1_000_000_000);
        let at = Timestamp::new(second, self.random.random_range(0..1_000_000) * 1000).expect("within range");
        match self.random.random_range(0..10) {
            0..4 => Verdict::Ack,
            4..6 => {
                let longest = *self.harness.delays().last().expect("two delays");
                let after = longest.mul_f64(self.random.random_range(0.0..=1.2));
                Verdict::Retry { after, attempt: entry.attempt + 1, first_failed_at: at }
            }
            6..8 => {
                let cause = *DeadCause::ALL.choose(&mut self.random).expect("some causes");
                Verdict::DeadLetter(Death { cause, detail: format!("at {second}"), died_at: at })
            }
            _ if entry.released < RELEASES_MAX => Verdict::Release,
            _ => Verdict::Ack,
        }
    }

    fn drop_a_consumer(&mut self) {
        if !self.consumers.is_empty() && self.deaths < DEATHS_MAX {
            self.deaths += 1;
            let index = self.random.random_range(0..self.consumers.len());
            for delivery in self.consumers.swap_remove(index).held {
                self.model.give_back(&delivery);
            }
        }
    }

    async fn crash(&mut self) {
        if self.deaths < DEATHS_MAX {
            self.deaths += 1;
            self.harness.crash().await;
            for delivery in self.consumers.drain(..).flat_map(|consumer| consumer.held) {
                self.model.give_back(&delivery);
            }
            self.queue = self.harness.process().await;
        }
    }

    /// Takes everything that the map holds, and checks that nothing else comes.
    async fn finish(mut self) {
        while let Some(consumer) = self.consumers.pop() {
            for delivery in consumer.held {
                self.model.give_back(&delivery);
            }
        }
        for lane in [Lane::Notifications, Lane::Dead] {
            let mut consumer = self.queue.consume(lane, PREFETCH).await.expect("the lane can be consumed");
            while self.model.entries.values().any(|entry| entry.lane == lane) {
                let next = timeout(WITHIN, consumer.deliveries.next(PREFETCH.into())).await;
                let next = next.unwrap_or_else(|_| panic!("never came: {:?}", self.model.entries));
                let next: Result<Vec<Delivery>, QueueError> = next;
                let mut settled = Vec::new();
                for delivery in next.expect("the consumption goes on") {
                    self.model.hand_over(lane, &delivery);
                    self.model.entries.remove(&id(&delivery));
                    settled.push((delivery, Verdict::Ack));
                }
                assert_eq!(consumer.settler.settle(&settled).await.expect("they can be settled"), 0);
            }
        }
        for name in ["payhook.notifications", "payhook.dead"] {
            depth_becomes(&*self.queue, name, 0).await;
        }
    }
}

impl ModelEntry {
    fn new(envelope: &Envelope) -> Self {
        Self {
            bytes: envelope.encode(),
            lane: Lane::Notifications,
            attempt: 1,
            first_failed_at: None,
            death: None,
            held: false,
            hidden_until: Instant::now(),
            released: 0,
        }
    }
}

impl QueueModel {
    fn hand_over(&mut self, lane: Lane, delivery: &Delivery) {
        let entry =
            self.entries.get_mut(&id(delivery)).unwrap_or_else(|| panic!("settled, or never sent: {delivery:?}"));
        assert!(!entry.held, "with two consumers: {delivery:?}");
        assert_eq!(entry.lane, lane, "{delivery:?}");
        let was = (&entry.bytes, entry.attempt, entry.first_failed_at, &entry.death);
        assert_eq!((&delivery.bytes, delivery.attempt, delivery.first_failed_at, &delivery.death), was);
        let early = entry.hidden_until.saturating_duration_since(Instant::now());
        assert!(early < Duration::from_millis(5), "{early:?} too early: {delivery:?}");
        entry.held = true;
    }

    fn give_back(&mut self, delivery: &Delivery) {
        self.entries.get_mut(&id(delivery)).expect("it was handed out").held = false;
    }

    fn settle(&mut self, delivery: &Delivery, verdict: &Verdict, delays: &[Duration]) {
        let entry = self.entries.get_mut(&id(delivery)).expect("it was handed out");
        entry.held = false;
        match verdict {
            Verdict::Ack => drop(self.entries.remove(&id(delivery))),
            Verdict::Retry { after, attempt, first_failed_at } => {
                let longest = *delays.last().expect("two delays");
                entry.lane = Lane::Notifications;
                (entry.attempt, entry.first_failed_at, entry.death) = (*attempt, Some(*first_failed_at), None);
                entry.hidden_until = Instant::now() + longest.min(*after);
                entry.released = 0;
            }
            Verdict::DeadLetter(death) => {
                entry.lane = Lane::Dead;
                entry.death = Some(death.clone());
                entry.released = 0;
            }
            Verdict::Release => entry.released += 1,
        }
    }
}

fn id(delivery: &Delivery) -> Uuid {
    delivery.envelope.as_ref().expect("only envelopes were sent").id
}
