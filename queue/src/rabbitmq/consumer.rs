//! Consumes a queue of the broker over one channel, and settles what came over it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, future};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use metrics::counter;
use payhook_schema::{Clock, DeadCause};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::failure::RabbitFailure;
use super::message::{self, Trail};
use super::publisher::Publisher;
use super::supervisor::{Live, Supervisor};
use super::suspects::{self, Standing};
use super::topology::{DEAD, NOTIFICATIONS, retry_name};
use crate::contract::HANDED_OUT_TOO_OFTEN;
use crate::delays::{Delays, RetryWait};
use crate::{Consumer, Death, Deliveries, Delivery, Lane, QueueError, Settler, Verdict};

/// The wait before another try to bypass deliveries. It is tried while the channel lives: giving them back would count.
const BYPASS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The parts of the queue that consumers and publishers share.
pub(super) struct RabbitContext {
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) delays: Delays,
    pub(super) clock: Clock,
    pub(super) address: String,
    pub(super) deadline: Duration,
}

/// Starts consuming on a channel of its own.
pub(super) async fn start(context: Arc<RabbitContext>, lane: Lane, prefetch: u16) -> Result<Consumer, QueueError> {
    let until = Instant::now() + context.deadline;
    let begun = async {
        let live = context.supervisor.live(until).await?;
        let channel = live.channel().await?;
        // Zero would mean: no limit. It counts for every consumer that is started on the channel.
        let qos = channel.basic_qos(prefetch.max(1), BasicQosOptions::default());
        live.answer("limit unsettled deliveries", qos).await?;
        Ok((live, channel))
    };
    let (live, channel) = begun.await.map_err(|failure: RabbitFailure| failure.at(&context.address))?;
    let (ledger, acking, settled) = (Mutex::default(), tokio::sync::Mutex::default(), Notify::new());
    let consumption = Arc::new(RabbitConsumption { context, lane, live, channel, ledger, acking, settled });
    let stream = consumption.flow().await.map_err(|failure| failure.at(&consumption.context.address))?;
    let settler = Arc::new(RabbitSettler { consumption: Arc::clone(&consumption) });
    let deliveries =
        RabbitDeliveries { consumption, flow: Flow::Runs(stream), ended: None, ready: VecDeque::new(), suspect: None };
    Ok(Consumer { deliveries: Box::new(deliveries), settler })
}

fn queue_of(lane: Lane) -> &'static str {
    match lane {
        Lane::Notifications => NOTIFICATIONS,
        Lane::Dead => DEAD,
    }
}

/// A channel and the deliveries that came over it. Both halves share it: the channel closes, and the broker takes back
/// what was not settled, when the last is dropped.
struct RabbitConsumption {
    context: Arc<RabbitContext>,
    lane: Lane,
    live: Arc<Live>,
    channel: Channel,
    ledger: Mutex<Ledger>,
    /// Held while a batch is marked as settled and its frames go out: an `ack multiple` of another batch must not
    /// overtake them, because the broker closes the channel over a tag that is acked twice.
    acking: tokio::sync::Mutex<()>,
    /// Notified when something was settled.
    settled: Notify,
}

/// The unsettled tags, the settled ones, and the tag up to which all are settled: a single `ack multiple` covers that
/// prefix.
#[derive(Default)]
struct Ledger {
    out: BTreeMap<u64, Acker>,
    /// The number of deliveries that are being settled: no longer in `out`, and still unacked.
    settling: usize,
    /// The number of times each hint came back, where it ever did.
    returns: BTreeMap<u64, i64>,
    /// Settled beyond `all_settled_to`, past a gap.
    settled: BTreeSet<u64>,
    all_settled_to: u64,
}

impl Ledger {
    /// Notes that `tag` is settled, or is about to be by a frame that covers the whole prefix.
    fn settle(&mut self, tag: u64) {
        self.returns.remove(&tag);
        self.settled.insert(tag);
        while self.settled.remove(&(self.all_settled_to + 1)) {
            self.all_settled_to += 1;
        }
    }
}

impl RabbitConsumption {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, failure: RabbitFailure) -> QueueError {
        self.live.check();
        failure.at(&self.context.address)
    }

    /// Has the broker deliver.
    async fn flow(&self) -> Result<lapin::Consumer, RabbitFailure> {
        let (name, any_tag) = (queue_of(self.lane), "".into());
        let options = BasicConsumeOptions::default();
        let asked = self.channel.basic_consume(name.into(), any_tag, options, FieldTable::default());
        self.live.answer(&format!("start delivering `{name}`"), asked).await
    }

    /// Waits until everything but `tag` is settled.
    async fn wait_until_only(&self, tag: Option<u64>) -> Result<(), RabbitFailure> {
        loop {
            // Listening before looking: what is settled in between is heard.
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            {
                let ledger = self.ledger();
                if ledger.settling == 0 && ledger.out.keys().all(|out| Some(*out) == tag) {
                    return Ok(());
                }
            }
            tokio::select! {
                () = settled => {}
                () = self.live.gone().cancelled() => return Err(RabbitFailure::unavailable("the connection was lost")),
            }
        }
    }
}

/// Counts deliveries that are being settled, until it is dropped.
struct SettlingGuard<'a> {
    consumption: &'a RabbitConsumption,
    count: usize,
}

impl Drop for SettlingGuard<'_> {
    fn drop(&mut self) {
        self.consumption.ledger().settling -= self.count;
        self.consumption.settled.notify_waiters();
    }
}

struct RabbitDeliveries {
    consumption: Arc<RabbitConsumption>,
    flow: Flow,
    /// The failure that ended it, met while others were ready: the next call returns it.
    ended: Option<RabbitFailure>,
    /// Received, for the next calls.
    ready: VecDeque<Delivery>,
    /// Received, to be handed out alone.
    suspect: Option<Delivery>,
}

/// The state of the broker's flow of deliveries.
enum Flow {
    Runs(lapin::Consumer),
    Starts(JoinHandle<Result<lapin::Consumer, RabbitFailure>>),
    Stopped,
}

/// The way a delivery is settled without being handed out.
enum Bypass {
    /// It only proved a route.
    Probe,
    /// A suspect, published anew with the count of its returns: at once, or once it has rested.
    Republish {
        returns: i64,
        rests: bool,
    },
    Poison(Death),
}

#[async_trait]
impl Deliveries for RabbitDeliveries {
    async fn next(&mut self, at_most: usize) -> Result<Vec<Delivery>, QueueError> {
        loop {
            if !self.ready.is_empty() {
                let count = self.ready.len().min(at_most.max(1));
                return Ok(self.ready.drain(..count).collect());
            }
            if let Some(failure) = self.ended.clone() {
                return Err(self.consumption.failed(failure));
            }
            let went_on = match self.suspect.as_ref().map(|suspect| suspect.tag) {
                Some(tag) => self.clear_the_way(tag).await,
                None => self.take(at_most).await,
            };
            match went_on {
                Ok(true) => return Ok(self.suspect.take().into_iter().collect()),
                Ok(false) => {}
                Err(failure) => return Err(self.consumption.failed(failure)),
            }
        }
    }
}

impl RabbitDeliveries {
    /// Stops the flow and waits until all but the suspect is settled. Returns false if others came before, which go
    /// first.
    async fn clear_the_way(&mut self, tag: u64) -> Result<bool, RabbitFailure> {
        self.stop().await?;
        if !self.ready.is_empty() {
            return Ok(false);
        }
        self.consumption.wait_until_only(Some(tag)).await?;
        Ok(true)
    }

    /// Has the broker deliver no more, and takes what it had sent.
    async fn stop(&mut self) -> Result<(), RabbitFailure> {
        let (consumption, deadline) = (Arc::clone(&self.consumption), self.consumption.context.deadline);
        if let Flow::Runs(stream) = &mut self.flow {
            let cancelled = consumption.channel.basic_cancel(stream.tag(), BasicCancelOptions::default());
            consumption.live.answer("stop delivering", cancelled).await?;
        }
        // After the cancel is confirmed nothing more comes, and the stream ends.
        while let Flow::Runs(stream) = &mut self.flow {
            match timeout(deadline, stream.next()).await {
                Ok(Some(message)) => {
                    let message = received(Some(message), consumption.lane)?;
                    self.sort(vec![message]);
                }
                Ok(None) => self.flow = Flow::Stopped,
                Err(_) => return Err(RabbitFailure::late("stop delivering", deadline)),
            }
        }
        Ok(())
    }

    /// Waits for messages and sorts all that are ready.
    async fn take(&mut self, at_most: usize) -> Result<bool, RabbitFailure> {
        let stream = loop {
            match &mut self.flow {
                Flow::Runs(stream) => break stream,
                Flow::Starts(starting) => {
                    let started = starting.await;
                    self.flow = Flow::Stopped;
                    self.flow = Flow::Runs(started.map_err(|_| RabbitFailure::unavailable("it was closed"))??);
                }
                Flow::Stopped => {
                    // The suspect that was handed out alone is dealt with before anything else is taken.
                    self.consumption.wait_until_only(None).await?;
                    // A task of its own: were it dropped half-way, the broker would deliver to nobody.
                    let consumption = Arc::clone(&self.consumption);
                    self.flow = Flow::Starts(tokio::spawn(async move { consumption.flow().await }));
                }
            }
        };
        let first = tokio::select! {
            biased;
            first = stream.next() => first,
            () = self.consumption.live.gone().cancelled() => {
                return Err(RabbitFailure::unavailable("the connection was lost"));
            }
        };
        let mut taken = vec![received(first, self.consumption.lane)?];
        // From here on nothing is awaited: a dropped future would lose the messages taken from the stream.
        while taken.len() < at_most {
            let Some(next) = stream.next().now_or_never() else { break };
            match received(next, self.consumption.lane) {
                Ok(message) => taken.push(message),
                Err(failure) => {
                    self.ended = Some(failure);
                    break;
                }
            }
        }
        self.sort(taken);
        Ok(false)
    }

    /// Sorts messages: those to be handed out, one to be handed out alone, and those to bypass.
    fn sort(&mut self, taken: Vec<lapin::message::Delivery>) {
        let lane = self.consumption.lane;
        let mut bypassed = Vec::new();
        for message in taken {
            let returns = suspects::returns(&message.properties);
            {
                let mut ledger = self.consumption.ledger();
                ledger.out.insert(message.delivery_tag, message.acker.clone());
                if returns > 0 {
                    ledger.returns.insert(message.delivery_tag, returns);
                }
            }
            let is_probe = message::is_probe(&message.properties);
            let standing = match lane {
                Lane::Notifications => Standing::of(&message.properties),
                Lane::Dead => Standing::Ordinary,
            };
            let delivery = message::delivery(lane, message);
            let bypass = match standing {
                _ if is_probe => Bypass::Probe,
                Standing::Ordinary => {
                    self.ready.push_back(delivery);
                    continue;
                }
                Standing::Alone(_) if self.suspect.is_none() => {
                    self.suspect = Some(delivery);
                    continue;
                }
                Standing::Alone(returns) => Bypass::Republish { returns, rests: false },
                Standing::Rests(returns) => {
                    warn!(returns, "a hint came back unsettled again and again; it will be handed out alone");
                    Bypass::Republish { returns, rests: true }
                }
                Standing::Poison => {
                    let (detail, died_at) = (HANDED_OUT_TOO_OFTEN.to_owned(), self.consumption.context.clock.now());
                    Bypass::Poison(Death { cause: DeadCause::Poison, detail, died_at })
                }
            };
            bypassed.push((delivery, bypass));
        }
        if !bypassed.is_empty() {
            tokio::spawn(settle_unseen(RabbitSettler { consumption: Arc::clone(&self.consumption) }, bypassed));
        }
    }
}

/// Settles deliveries that nobody is to see, and repeats it for as long as the channel lives.
async fn settle_unseen(settler: RabbitSettler, bypassed: Vec<(Delivery, Bypass)>) {
    while let Err(error) =
        settler.proceed(bypassed.iter().map(|(delivery, how)| (delivery, settler.bypass_step(delivery, how)))).await
    {
        if !settler.consumption.channel.status().connected() || settler.consumption.live.gone().is_cancelled() {
            // They come back.
            return;
        }
        warn!("cannot publish again a delivery that may crash its consumer; trying again: {error}");
        tokio::time::sleep(BYPASS_AGAIN_AFTER).await;
    }
}

fn received(
    message: Option<lapin::Result<lapin::message::Delivery>>,
    lane: Lane,
) -> Result<lapin::message::Delivery, RabbitFailure> {
    match message {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(RabbitFailure::of(&format!("go on delivering `{}`", queue_of(lane)), error)),
        // The broker cancels without a word when the queue is deleted or its leader is lost.
        None => Err(RabbitFailure::unavailable(format!(
            "it stopped delivering `{}`; was the queue deleted?",
            queue_of(lane)
        ))),
    }
}

impl Drop for RabbitDeliveries {
    /// Stops the flow, and gives back at once what was fetched ahead but nobody has seen.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let flow = std::mem::replace(&mut self.flow, Flow::Stopped);
        let unseen: Vec<u64> = self.ready.drain(..).chain(self.suspect.take()).map(|delivery| delivery.tag).collect();
        let consumption = Arc::clone(&self.consumption);
        runtime.spawn(async move {
            let deadline = consumption.context.deadline;
            let unseen: Vec<_> = {
                let mut ledger = consumption.ledger();
                unseen.into_iter().filter_map(|tag| Some((tag, ledger.out.remove(&tag)?))).collect()
            };
            let give_back = async |tag, acker: Acker| {
                if let Ok(true) = acker.nack(REQUEUE).await {
                    consumption.ledger().settle(tag);
                }
            };
            let mut stream = match flow {
                Flow::Runs(stream) => Some(stream),
                Flow::Starts(starting) => starting.await.ok().and_then(Result::ok),
                Flow::Stopped => None,
            };
            if let Some(stream) = &stream {
                let cancelling = consumption.channel.basic_cancel(stream.tag(), BasicCancelOptions::default());
                if !matches!(timeout(deadline, cancelling).await, Ok(Ok(()))) {
                    return consumption.live.check();
                }
            }
            for (tag, acker) in unseen {
                give_back(tag, acker).await;
            }
            // After the cancel is confirmed nothing more comes, and the stream ends.
            while let Some(stream) = &mut stream
                && let Ok(Some(Ok(message))) = timeout(deadline, stream.next()).await
            {
                give_back(message.delivery_tag, message.acker).await;
            }
        });
    }
}

const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

struct RabbitSettler {
    consumption: Arc<RabbitConsumption>,
}

/// The step that settles a delivery.
enum SettleStep<'a> {
    Ack,
    Release,
    /// Published to where it goes next; only once that is confirmed is it acked here.
    Publish {
        exchange: String,
        trail: Trail<'a>,
        /// Less than what the queue makes everything wait.
        sooner: Option<Duration>,
    },
}

#[async_trait]
impl Settler for RabbitSettler {
    async fn settle(&self, settled: &[(Delivery, Verdict)]) -> Result<usize, QueueError> {
        self.proceed(settled.iter().map(|(delivery, verdict)| (delivery, self.step(delivery, verdict)))).await
    }
}

impl RabbitSettler {
    async fn proceed<'a>(
        &self,
        steps: impl Iterator<Item = (&'a Delivery, SettleStep<'a>)> + Send,
    ) -> Result<usize, QueueError> {
        let (mut lost, mut done, mut released, mut moves) = (0, Vec::new(), Vec::new(), Vec::new());
        let mut settling = SettlingGuard { consumption: &self.consumption, count: 0 };
        for (delivery, step) in steps {
            let mut ledger = self.consumption.ledger();
            let Some(acker) = ledger.out.remove(&delivery.tag) else {
                lost += 1;
                continue;
            };
            ledger.settling += 1;
            settling.count += 1;
            match step {
                SettleStep::Ack => done.push((delivery.tag, acker)),
                SettleStep::Release => released.push((delivery.tag, acker)),
                SettleStep::Publish { exchange, trail, sooner } => {
                    moves.push((delivery, exchange, trail, sooner, acker));
                }
            }
        }
        let moved = moves.into_iter().map(|(delivery, exchange, trail, sooner, acker)| async move {
            (delivery.tag, acker, self.publish(delivery, &exchange, &trail, sooner).await)
        });
        let mut failure = None;
        for (tag, acker, moved) in future::join_all(moved).await {
            match moved {
                Ok(()) => done.push((tag, acker)),
                // Unsettled: the caller may try again.
                Err(error) => {
                    self.consumption.ledger().out.insert(tag, acker);
                    failure = Some(error);
                }
            }
        }
        let _alone = self.consumption.acking.lock().await;
        // Before any `ack multiple`, which would cover them.
        lost += self.release(released).await?;
        lost += self.ack(done).await?;
        counter!("payhook_queue_acks_refused_total").increment(lost as u64);
        match failure {
            Some(failure) => Err(failure.at(&self.consumption.context.address)),
            None => Ok(lost),
        }
    }

    fn step<'a>(&self, delivery: &Delivery, verdict: &'a Verdict) -> SettleStep<'a> {
        match verdict {
            Verdict::Ack => SettleStep::Ack,
            Verdict::Release => SettleStep::Release,
            Verdict::Retry { after, attempt, first_failed_at } => {
                // A round without a try does not show if the delivery crashes its worker.
                let is_tried = *attempt != delivery.attempt;
                let returns = self.consumption.ledger().returns.get(&delivery.tag).copied().filter(|_| !is_tried);
                let (attempt, first_failed_at) = (*attempt, Some(*first_failed_at));
                let trail = Trail { attempt, first_failed_at, death: None, returns: returns.unwrap_or(0) };
                self.to_retry_lane(*after, trail)
            }
            Verdict::DeadLetter(death) => Self::to_dead_lane(delivery, death),
        }
    }

    fn bypass_step<'a>(&self, delivery: &Delivery, bypass: &'a Bypass) -> SettleStep<'a> {
        let Delivery { attempt, first_failed_at, .. } = *delivery;
        match bypass {
            Bypass::Probe => SettleStep::Ack,
            Bypass::Poison(death) => Self::to_dead_lane(delivery, death),
            Bypass::Republish { returns, rests } => {
                let trail = Trail { attempt, first_failed_at, death: None, returns: *returns };
                match rests {
                    true => self.to_retry_lane(suspects::REST, trail),
                    false => SettleStep::Publish { exchange: NOTIFICATIONS.to_owned(), trail, sooner: None },
                }
            }
        }
    }

    /// Publishes to the retry queue where it waits for `after`.
    fn to_retry_lane<'a>(&self, after: Duration, trail: Trail<'a>) -> SettleStep<'a> {
        let RetryWait { delay, hidden } = self.consumption.context.delays.wait(after);
        SettleStep::Publish {
            exchange: retry_name(delay),
            trail,
            sooner: Some(hidden).filter(|hidden| *hidden < delay),
        }
    }

    /// Publishes to the dead lane.
    fn to_dead_lane<'a>(delivery: &Delivery, death: &'a Death) -> SettleStep<'a> {
        let Delivery { attempt, first_failed_at, .. } = *delivery;
        let trail = Trail { attempt, first_failed_at, death: Some(death), returns: 0 };
        SettleStep::Publish { exchange: DEAD.to_owned(), trail, sooner: None }
    }

    async fn publish(
        &self,
        delivery: &Delivery,
        exchange: &str,
        trail: &Trail<'_>,
        sooner: Option<Duration>,
    ) -> Result<(), RabbitFailure> {
        let RabbitContext { publisher, clock, .. } = &*self.consumption.context;
        let (mut properties, key) = message::hint(delivery.envelope.as_ref().ok(), trail, clock.now());
        if let Some(sooner) = sooner {
            properties = message::expiring(properties, sooner);
        }
        publisher.publish(exchange, &key, properties, &delivery.bytes).await
    }

    async fn release(&self, released: Vec<(u64, Acker)>) -> Result<usize, QueueError> {
        let mut lost = 0;
        for (tag, acker) in released {
            if self.sent(acker.nack(REQUEUE)).await? {
                self.consumption.ledger().settle(tag);
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
            let mut ledger = self.consumption.ledger();
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

    /// Returns true if the frame went out, and false if the channel is gone and the delivery comes again.
    async fn sent(&self, frame: impl Future<Output = lapin::Result<bool>>) -> Result<bool, QueueError> {
        self.consumption.live.answer("take an ack", frame).await.map_err(|failure| self.consumption.failed(failure))
    }
}
