use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, future};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use metrics::counter;
use payhook_schema::Clock;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::Failure;
use super::message::{self, Trail};
use super::publisher::Publisher;
use super::supervisor::{Live, Supervisor};
use super::topology::{DEAD, NOTIFICATIONS, retry_name};
use crate::delays::{Delays, Wait};
use crate::{Consumer, Deliveries, Delivery, Lane, QueueError, Settler, Verdict};

/// What a consumption needs to know of its queue.
pub(super) struct Source {
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) delays: Delays,
    pub(super) clock: Clock,
    pub(super) address: String,
    pub(super) deadline: Duration,
}

/// Starts consuming on a channel of its own.
pub(super) async fn start(source: Arc<Source>, lane: Lane, prefetch: u16) -> Result<Consumer, QueueError> {
    let until = Instant::now() + source.deadline;
    let begun = async {
        let live = source.supervisor.live(until).await?;
        let channel = live.channel().await?;
        // Zero would mean: no limit.
        let qos = channel.basic_qos(prefetch.max(1), BasicQosOptions::default());
        let name = queue_of(lane);
        let consuming = async {
            qos.await?;
            let any_tag = "".into();
            channel.basic_consume(name.into(), any_tag, BasicConsumeOptions::default(), FieldTable::default()).await
        };
        let doing = format!("start handing out `{name}`");
        match timeout_at(until, consuming).await {
            Ok(Ok(stream)) => Ok((live, channel, stream)),
            Ok(Err(error)) => {
                live.check();
                Err(Failure::of(&doing, error))
            }
            Err(_) => {
                live.give_up_unless_blocked();
                Err(Failure::late(&doing, source.deadline))
            }
        }
    };
    let (live, channel, stream) = begun.await.map_err(|failure: Failure| failure.at(&source.address))?;
    let hand =
        Arc::new(Hand { source, lane, live, channel, ledger: Mutex::default(), acking: tokio::sync::Mutex::default() });
    Ok(Consumer {
        deliveries: Box::new(RabbitDeliveries { hand: Arc::clone(&hand), stream: Some(stream), ended: None }),
        settler: Arc::new(RabbitSettler { hand }),
    })
}

fn queue_of(lane: Lane) -> &'static str {
    match lane {
        Lane::Notifications => NOTIFICATIONS,
        Lane::Dead => DEAD,
    }
}

/// One channel and what came over it. Both halves share it: the channel closes, and the broker takes back what was not
/// settled, when the last is dropped.
struct Hand {
    source: Arc<Source>,
    lane: Lane,
    live: Arc<Live>,
    channel: Channel,
    ledger: Mutex<Ledger>,
    /// Held while a batch is marked as settled and its frames go out: an `ack multiple` of another batch must not
    /// overtake them, because the broker closes the channel over a tag that is acked twice.
    acking: tokio::sync::Mutex<()>,
}

/// Which tags are out, which are settled, and up to where all of them are: what one `ack multiple` may cover.
#[derive(Default)]
struct Ledger {
    out: BTreeMap<u64, Acker>,
    /// Settled beyond `all_settled_to`, past a gap.
    settled: BTreeSet<u64>,
    all_settled_to: u64,
}

impl Ledger {
    /// Notes that `tag` is settled, or is about to be by a frame that covers the whole prefix.
    fn settle(&mut self, tag: u64) {
        self.settled.insert(tag);
        while self.settled.remove(&(self.all_settled_to + 1)) {
            self.all_settled_to += 1;
        }
    }
}

impl Hand {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, failure: Failure) -> QueueError {
        self.live.check();
        failure.at(&self.source.address)
    }
}

struct RabbitDeliveries {
    hand: Arc<Hand>,
    /// Taken when dropped.
    stream: Option<lapin::Consumer>,
    /// Why it ended, met while others were ready: told by the next call.
    ended: Option<Failure>,
}

#[async_trait]
impl Deliveries for RabbitDeliveries {
    async fn next(&mut self, at_most: usize) -> Result<Vec<Delivery>, QueueError> {
        loop {
            if let Some(failure) = self.ended.clone() {
                return Err(self.hand.failed(failure));
            }
            let taken = self.take(at_most).await?;
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }
}

impl RabbitDeliveries {
    /// Waits for messages and returns those that are deliveries: probes are acked here, and nobody sees them.
    async fn take(&mut self, at_most: usize) -> Result<Vec<Delivery>, QueueError> {
        let stream = self.stream.as_mut().expect("taken only when dropped");
        let first = tokio::select! {
            biased;
            first = stream.next() => first,
            () = self.hand.live.gone().cancelled() => {
                return Err(self.hand.failed(Failure::unavailable("the connection was lost")));
            }
        };
        let mut ready = vec![received(first, self.hand.lane).map_err(|failure| self.hand.failed(failure))?];
        // From here on nothing is awaited: whatever was taken from the stream is returned.
        while ready.len() < at_most {
            let Some(next) = stream.next().now_or_never() else { break };
            match received(next, self.hand.lane) {
                Ok(message) => ready.push(message),
                Err(failure) => {
                    self.ended = Some(failure);
                    break;
                }
            }
        }
        let (mut probes, mut deliveries) = (Vec::new(), Vec::new());
        let mut ledger = self.hand.ledger();
        let lane = self.hand.lane;
        for message in ready {
            ledger.out.insert(message.delivery_tag, message.acker.clone());
            match message::is_probe(&message.properties) {
                true => probes.push((message::delivery(lane, message), Verdict::Ack)),
                false => deliveries.push(message::delivery(lane, message)),
            }
        }
        drop(ledger);
        if !probes.is_empty() {
            let settler = RabbitSettler { hand: Arc::clone(&self.hand) };
            // One that cannot be acked comes again.
            tokio::spawn(async move { settler.settle(&probes).await });
        }
        Ok(deliveries)
    }
}

fn received(
    message: Option<lapin::Result<lapin::message::Delivery>>,
    lane: Lane,
) -> Result<lapin::message::Delivery, Failure> {
    match message {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(Failure::of(&format!("go on handing out `{}`", queue_of(lane)), error)),
        // The broker cancels without a word when the queue is deleted or its leader is lost.
        None => {
            Err(Failure::unavailable(format!("it stopped handing out `{}`; was the queue deleted?", queue_of(lane))))
        }
    }
}

impl Drop for RabbitDeliveries {
    /// Stops the flow, and gives back at once what lapin had fetched ahead but nobody has seen.
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let hand = Arc::clone(&self.hand);
        runtime.spawn(async move {
            let deadline = hand.source.deadline;
            let cancelling = hand.channel.basic_cancel(stream.tag(), BasicCancelOptions::default());
            if !matches!(timeout(deadline, cancelling).await, Ok(Ok(()))) {
                return hand.live.check();
            }
            // After the cancel is confirmed nothing more comes, and the stream ends.
            while let Ok(Some(Ok(message))) = timeout(deadline, stream.next()).await {
                if let Ok(true) = message.acker.nack(REQUEUE).await {
                    hand.ledger().settle(message.delivery_tag);
                }
            }
        });
    }
}

const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

struct RabbitSettler {
    hand: Arc<Hand>,
}

#[async_trait]
impl Settler for RabbitSettler {
    async fn settle(&self, settled: &[(Delivery, Verdict)]) -> Result<usize, QueueError> {
        let (mut lost, mut done, mut released, mut moves) = (0, Vec::new(), Vec::new(), Vec::new());
        for (delivery, verdict) in settled {
            let Some(acker) = self.hand.ledger().out.remove(&delivery.tag) else {
                lost += 1;
                continue;
            };
            match verdict {
                Verdict::Ack => done.push((delivery.tag, acker)),
                Verdict::Release => released.push((delivery.tag, acker)),
                Verdict::Retry { .. } | Verdict::DeadLetter(_) => moves.push((delivery, verdict, acker)),
            }
        }
        let moved = moves.into_iter().map(|(delivery, verdict, acker)| async move {
            (delivery.tag, acker, self.move_on(delivery, verdict).await)
        });
        let mut failure = None;
        for (tag, acker, moved) in future::join_all(moved).await {
            match moved {
                Ok(()) => done.push((tag, acker)),
                // Still in hand: the caller may try again.
                Err(error) => {
                    self.hand.ledger().out.insert(tag, acker);
                    failure = Some(error);
                }
            }
        }
        let _alone = self.hand.acking.lock().await;
        // Before any `ack multiple`, which would cover them.
        lost += self.release(released).await?;
        lost += self.ack(done).await?;
        counter!("payhook_queue_acks_refused_total").increment(lost as u64);
        match failure {
            Some(failure) => Err(failure.at(&self.hand.source.address)),
            None => Ok(lost),
        }
    }
}

impl RabbitSettler {
    /// Publishes the delivery to where it goes next; only once that is confirmed may it be acked here.
    async fn move_on(&self, delivery: &Delivery, verdict: &Verdict) -> Result<(), Failure> {
        let Source { publisher, delays, clock, .. } = &*self.hand.source;
        let (exchange, trail, sooner) = match verdict {
            Verdict::Retry { after, attempt, first_failed_at } => {
                let Wait { delay, hidden } = delays.wait(*after);
                let trail = Trail { attempt: *attempt, first_failed_at: Some(*first_failed_at), death: None };
                (retry_name(delay), trail, Some(hidden).filter(|hidden| *hidden < delay))
            }
            Verdict::DeadLetter(death) => {
                let Delivery { attempt, first_failed_at, .. } = *delivery;
                (DEAD.to_owned(), Trail { attempt, first_failed_at, death: Some(death) }, None)
            }
            Verdict::Ack | Verdict::Release => return Ok(()),
        };
        let (mut properties, key) = message::hint(delivery.envelope.as_ref().ok(), &trail, clock.now());
        if let Some(sooner) = sooner {
            properties = message::expiring(properties, sooner);
        }
        publisher.publish(&exchange, &key, properties, &delivery.bytes).await
    }

    async fn release(&self, released: Vec<(u64, Acker)>) -> Result<usize, QueueError> {
        let mut lost = 0;
        for (tag, acker) in released {
            if self.sent(acker.nack(REQUEUE)).await? {
                self.hand.ledger().settle(tag);
            } else {
                lost += 1;
            }
        }
        Ok(lost)
    }

    /// Acks with one frame all that is settled without a gap, and with one frame each what lies past a gap.
    async fn ack(&self, mut done: Vec<(u64, Acker)>) -> Result<usize, QueueError> {
        done.sort_unstable_by_key(|(tag, _)| *tag);
        let covered_to = {
            let mut ledger = self.hand.ledger();
            for (tag, _) in &done {
                ledger.settle(*tag);
            }
            ledger.all_settled_to
        };
        let singles = done.split_off(done.partition_point(|(tag, _)| *tag <= covered_to));
        let mut lost = 0;
        if let Some((_, acker)) = done.last()
            && !self.sent(acker.ack(BasicAckOptions { multiple: true })).await?
        {
            lost += done.len();
        }
        for (_, acker) in singles {
            if !self.sent(acker.ack(BasicAckOptions { multiple: false })).await? {
                lost += 1;
            }
        }
        Ok(lost)
    }

    /// Whether the frame went out: `false` when the channel is gone and the delivery comes again.
    async fn sent(&self, frame: impl Future<Output = lapin::Result<bool>>) -> Result<bool, QueueError> {
        match timeout(self.hand.source.deadline, frame).await {
            Ok(Ok(sent)) => Ok(sent),
            Ok(Err(error)) => Err(self.hand.failed(Failure::of("take an ack", error))),
            Err(_) => {
                self.hand.live.give_up_unless_blocked();
                Err(self.hand.failed(Failure::late("take an ack", self.hand.source.deadline)))
            }
        }
    }
}
