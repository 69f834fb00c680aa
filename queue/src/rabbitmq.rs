//! The queue on RabbitMQ: quorum queues, publisher confirms, any number of processes.
//!
//! Known weakness: a publish that got no answer in time may be stored all the same, even much later, and a broken
//! connection hands deliveries out again: both are duplicates, which the store makes harmless.
//!
//! Publishing and consuming use a connection each, because a broker short of memory or disk stops the publishing one
//! and not the other. AMQP's words stay in this module.
//!
//! # Metrics
//! - `payhook_queue_publish_seconds`, histogram: from taking a channel to its confirm. The embedded queue has it too.
//! - `payhook_queue_reconnects_total{connection="publish"|"consume"}`: connections that were up and were lost.
//! - `payhook_queue_returned_total`: publishes no queue was bound for, but events; each is a wiring fault.
//! - `payhook_queue_unrouted_moved_total{kind}`: messages moved out of `payhook.unrouted`; a kind `event` was dropped.
//! - `payhook_queue_acks_refused_total`: settled deliveries that were no longer ours; they come again.

mod address;
mod consumer;
mod evidence;
mod failure;
mod message;
mod publisher;
mod rights;
mod supervisor;
mod suspects;
mod topology;
mod unrouted;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use payhook_schema::{Clock, Envelope, Event};
use tokio::time::{Instant, timeout};

use crate::delays::Delays;
use crate::{Consumer, Depth, Lane, MoveBack, MovedBack, Queue, QueueError, Route, RouteState, Routed, Unrouted};
use address::BrokerAddress;
use consumer::RabbitContext;
use failure::RabbitFailure;
use message::Trail;
use publisher::{Confirmed, Publisher};
use supervisor::{ConnectionTarget, Live, Supervisor};
use topology::{DEAD, EVENTS, NOTIFICATIONS, RETURNED, Topology, UNROUTED, retry_name};

/// The most publishes in flight at once, one per channel. RabbitMQ allows 2047 channels on a connection.
const PUBLISH_CHANNELS: u16 = 128;

/// The largest backlog without a consumer to which probes are added as often as elsewhere.
const PROBED_BACKLOG_MAX: u64 = 1000;

/// The time limit for each answer of the broker. A leader that dies is replaced well within it.
const DEADLINE: Duration = Duration::from_secs(5);

/// The settings for the use of a broker.
#[derive(Clone)]
pub struct RabbitOptions {
    /// The process as the broker's list of connections shows it: `worker at host-7`.
    pub role: String,
    /// The delays a retry can wait, in whole seconds: each is a queue.
    pub retry_delays: Vec<Duration>,
    /// The most publishes in flight at once; 128 by default.
    pub publish_channels: u16,
    /// The time limit for each answer of the broker; 5 s by default.
    pub deadline: Duration,
    /// Certificate authorities to trust for `amqps`, in PEM, besides the system's.
    pub tls_ca_pem: Option<String>,
    /// For the time a message says it was sent; nothing is decided by it.
    pub clock: Clock,
}

impl RabbitOptions {
    pub fn new(role: impl Into<String>, clock: Clock, retry_delays: &[Duration]) -> Self {
        Self {
            role: role.into(),
            retry_delays: retry_delays.to_vec(),
            publish_channels: PUBLISH_CHANNELS,
            deadline: DEADLINE,
            tls_ca_pem: None,
            clock,
        }
    }
}

/// A durable queue on a RabbitMQ broker or cluster. Dropping the last handle closes its connections.
pub struct RabbitQueue {
    publishing: Arc<Supervisor>,
    publisher: Arc<Publisher>,
    context: Arc<RabbitContext>,
}

impl RabbitQueue {
    /// Begins to connect in the background and returns at once: a broker that is down now is no error here.
    ///
    /// `url` is `amqp://user:password@host:5672/vhost` or `amqps://…`, several hosts of a cluster separated by commas.
    /// Call it inside a Tokio runtime; for `amqps` the process has installed a rustls provider.
    ///
    /// # Errors
    /// [`QueueError::Misconfigured`] when the URL cannot be read, or a delay is not of whole seconds.
    pub fn open(url: &str, options: RabbitOptions) -> Result<Self, QueueError> {
        let RabbitOptions { role, retry_delays, publish_channels, deadline, tls_ca_pem, clock } = options;
        let address = BrokerAddress::parse(url)?;
        let delays = delays(&retry_delays, &address.shown)?;
        let shown = address.shown.clone();
        let supervise = |purpose| {
            let (address, name, tls_ca_pem) = (address.clone(), role.clone(), tls_ca_pem.clone());
            Arc::new(Supervisor::start(ConnectionTarget { address, name, purpose, tls_ca_pem, deadline }))
        };
        let publishing = supervise("publish");
        let supervisor = supervise("consume");
        let publisher = Arc::new(Publisher::new(Arc::clone(&publishing), publish_channels, deadline));
        let context =
            RabbitContext { supervisor, publisher: Arc::clone(&publisher), delays, clock, address: shown, deadline };
        Ok(Self { publishing, publisher, context: Arc::new(context) })
    }

    /// Proves the way to the work queue: a confirm was seen lately, or a probe is published and confirmed now.
    async fn prove(&self, untaken: bool) -> Result<(), QueueError> {
        let live = self.publishing.live(Instant::now() + self.context.deadline).await;
        let live = live.map_err(|failure| failure.at(&self.context.address))?;
        if live.is_blocked() {
            return Err(RabbitFailure::blocked().at(&self.context.address));
        }
        if self.publisher.evidence().is_fresh(untaken) {
            return Ok(());
        }
        self.publish_probe(NOTIFICATIONS).await.map_err(|failure| failure.at(&self.context.address))
    }

    async fn publish_probe(&self, exchange: &str) -> Result<(), RabbitFailure> {
        let mut properties = message::probe(self.context.clock.now());
        if exchange != NOTIFICATIONS && exchange != DEAD {
            // In a retry queue it waits for nothing but the messages before it.
            properties = message::expiring(properties, Duration::ZERO);
        }
        self.publisher.publish(exchange, "probe", properties, b"{}").await
    }

    /// Returns true if `payhook.events` has the alternate exchange of earlier versions. Declares the exchange if it
    /// does not exist.
    async fn events_have_an_alternate(&self) -> Result<bool, QueueError> {
        let declared = async {
            let live = self.publishing.live(Instant::now() + self.context.deadline).await?;
            let channel = live.channel().await?;
            let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let asked = channel.exchange_declare(EVENTS.into(), ExchangeKind::Topic, durable, FieldTable::default());
            match timeout(self.context.deadline, asked).await {
                Ok(answer) => answer.map_err(|error| RabbitFailure::of("take the topology", error)),
                Err(_) => Err(RabbitFailure::late("declare the topology", self.context.deadline)),
            }
        };
        match declared.await {
            Ok(()) => Ok(false),
            Err(failure) if failure.differs() => Ok(true),
            Err(failure) => Err(failure.at(&self.context.address)),
        }
    }

    /// Asks so many `questions` on a channel made for them, so that a refusal harms nothing else.
    async fn on_a_channel<T>(
        &self,
        doing: &str,
        questions: usize,
        run: impl AsyncFnOnce(&Channel, &Live) -> Result<T, RabbitFailure>,
    ) -> Result<T, QueueError> {
        let deadline = self.context.deadline;
        let ran = async {
            let live = self.publishing.live(Instant::now() + deadline).await?;
            if live.is_blocked() {
                return Err(RabbitFailure::blocked());
            }
            let channel = live.channel().await?;
            let deadline = deadline.saturating_mul(u32::try_from(questions).unwrap_or(u32::MAX));
            match timeout(deadline, run(&channel, &live)).await {
                Ok(ran) => ran.inspect_err(|_| live.check()),
                Err(_) => {
                    live.give_up_unless_blocked();
                    Err(RabbitFailure::late(doing, deadline))
                }
            }
        };
        ran.await.map_err(|failure| failure.at(&self.context.address))
    }
}

/// The same topology as [`Queue::migrate`] declares, as a definitions file of RabbitMQ.
///
/// # Errors
/// [`QueueError::Misconfigured`] when a delay is not of whole seconds.
pub fn definitions(vhost: &str, retry_delays: &[Duration]) -> Result<serde_json::Value, QueueError> {
    Ok(Topology::new(&delays(retry_delays, "amqp://…")?).definitions(vhost))
}

fn delays(retry_delays: &[Duration], address: &str) -> Result<Delays, QueueError> {
    if let Some(delay) = retry_delays.iter().find(|delay| delay.subsec_nanos() != 0) {
        let what = format!("a retry delay of {delay:?} is not of whole seconds");
        return Err(QueueError::misconfigured(address, what));
    }
    Delays::new(retry_delays, address)
}

/// Counts the messages of a queue that wait, which are not with a consumer.
async fn depth(channel: &Channel, queue: &str) -> Result<Depth, RabbitFailure> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asked = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
    let asked =
        asked.map_err(|error| RabbitFailure::of(&format!("count `{queue}`; `payhook migrate` declares it"), error))?;
    Ok(Depth {
        queue: queue.to_owned(),
        ready: asked.message_count().into(),
        consumers: Some(asked.consumer_count()),
        oldest_at: None,
        next_due_at: None,
    })
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn publish(&self, envelope: &Envelope) -> Result<(), QueueError> {
        let bytes = envelope.encode();
        let (properties, key) = message::hint(Some(envelope), &Trail::NEW, self.context.clock.now());
        let published = self.publisher.publish(NOTIFICATIONS, &key, properties, &bytes).await;
        published.map_err(|failure| failure.at(&self.context.address))
    }

    async fn consume(&self, lane: Lane, prefetch: u16) -> Result<Consumer, QueueError> {
        // A broker in alarm goes on delivering and takes no retry. Each hint that cannot be moved on would come back
        // and be counted, until the broker dead-letters it as poison: so nothing is taken until a publish was
        // confirmed.
        if lane == Lane::Notifications
            && let Err(error @ QueueError::Unavailable { .. }) = self.prove(false).await
        {
            return Err(error);
        }
        consumer::start(Arc::clone(&self.context), lane, prefetch).await
    }

    fn carries_events(&self) -> bool {
        true
    }

    async fn publish_event(&self, event: &Event) -> Result<Routed, QueueError> {
        let bytes = serde_json::to_vec(event).expect("plain data always serialises");
        let properties = message::event(event, self.context.clock.now());
        let published = self.publisher.offer(EVENTS, event.event_type.routing_key(), properties, &bytes).await;
        match published.map_err(|failure| failure.at(&self.context.address))? {
            Confirmed::Taken => Ok(Routed::Taken),
            Confirmed::Returned(_) => Ok(Routed::Unwanted),
        }
    }

    async fn migrate(&self) -> Result<(), QueueError> {
        let topology = Topology::new(&self.context.delays);
        let topology =
            if self.events_have_an_alternate().await? { topology.with_alternate_of_events() } else { topology };
        let declare = async |channel: &Channel, _: &Live| {
            topology.declare(channel).await.map_err(|error| RabbitFailure::of("take the topology", error))
        };
        self.on_a_channel("declare the topology", topology.steps(), declare).await?;
        self.publisher.evidence().forget();
        Ok(())
    }

    async fn probe(&self) -> Result<(), QueueError> {
        let probe = async |channel: &Channel, live: &Live| {
            for exchange in [NOTIFICATIONS, RETURNED] {
                let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
                let asked =
                    channel.exchange_declare(exchange.into(), ExchangeKind::Fanout, passive, FieldTable::default());
                let doing = || format!("know its exchange `{exchange}`; `payhook migrate` declares it");
                asked.await.map_err(|error| RabbitFailure::of(&doing(), error))?;
            }
            let work = depth(channel, NOTIFICATIONS).await?;
            if live.is_blocked() { Err(RabbitFailure::blocked()) } else { Ok(work) }
        };
        let work = self.on_a_channel("answer questions about its exchanges", 3, probe).await?;
        for (exchange, refusal) in self.publisher.evidence().refusals() {
            // A probe in the events would reach the merchants' queues.
            let still = if exchange == EVENTS { Err(refusal) } else { self.publish_probe(&exchange).await };
            still.map_err(|refusal| refusal.at(&self.context.address))?;
        }
        self.prove(work.consumers == Some(0) && work.ready > PROBED_BACKLOG_MAX).await
    }

    async fn routes(&self) -> Result<Vec<Route>, QueueError> {
        let retries = self.context.delays.iter().map(retry_name);
        let mut routes = Vec::new();
        for name in [NOTIFICATIONS, DEAD].map(str::to_owned).into_iter().chain(retries) {
            let state = match self.publish_probe(&name).await {
                Ok(()) => RouteState::Works,
                Err(failure) if failure.is_forbidden() => RouteState::NotPermitted,
                Err(failure) if failure.needs_a_person() => RouteState::Broken(failure.to_string()),
                Err(failure) => return Err(failure.at(&self.context.address)),
            };
            routes.push(Route { name, state });
        }
        let ask = async |channel: &Channel, _: &Live| {
            let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            let asked = channel.exchange_declare(EVENTS.into(), ExchangeKind::Topic, passive, FieldTable::default());
            asked.await.map_err(|error| RabbitFailure::of("know it", error))
        };
        let state = match self.on_a_channel("answer a question about its exchange", 1, ask).await {
            Ok(()) => RouteState::Works,
            Err(error @ QueueError::Misconfigured { .. }) => RouteState::Broken(error.to_string()),
            Err(error) => return Err(error),
        };
        routes.push(Route { name: EVENTS.to_owned(), state });
        Ok(routes)
    }

    async fn unrouted(&self, at_most: usize) -> Result<Vec<Unrouted>, QueueError> {
        let listed = async {
            let live = self.publishing.live(Instant::now() + self.context.deadline).await?;
            unrouted::list(&self.context, &live, at_most).await
        };
        listed.await.map_err(|failure: RabbitFailure| failure.at(&self.context.address))
    }

    async fn unrouted_move_back(&self, which: MoveBack, at_most: usize) -> Result<MovedBack, QueueError> {
        let count = async |channel: &Channel, _: &Live| depth(channel, UNROUTED).await;
        let waiting = self.on_a_channel("count what waits", 1, count).await?.ready;
        if waiting == 0 {
            return Ok(MovedBack::default());
        }
        let moved = async {
            let live = self.publishing.live(Instant::now() + self.context.deadline).await?;
            let all_now = u32::try_from(waiting).unwrap_or(u32::MAX);
            unrouted::move_back(&self.context, &live, which, all_now, at_most).await
        };
        let moved = moved.await.map_err(|failure: RabbitFailure| failure.at(&self.context.address))?;
        let left = self.on_a_channel("count what waits", 1, count).await?.ready;
        // The broker may not count yet what was put back.
        Ok(MovedBack { left: left.max(moved.left), ..moved })
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let retries = self.context.delays.iter().map(retry_name);
        let fixed = [NOTIFICATIONS, DEAD, UNROUTED].map(str::to_owned);
        let names: Vec<String> = fixed.into_iter().chain(retries).collect();
        let count = async |channel: &Channel, _: &Live| {
            let mut depths = Vec::with_capacity(names.len());
            for queue in names {
                depths.push(depth(channel, &queue).await?);
            }
            Ok(depths)
        };
        self.on_a_channel("count what waits", 1, count).await
    }

    async fn waiting(&self, up_to: u32) -> Result<u32, QueueError> {
        let count = async |channel: &Channel, _: &Live| depth(channel, NOTIFICATIONS).await;
        let waiting = self.on_a_channel("count what waits", 1, count).await?.ready;
        Ok(u32::try_from(waiting).unwrap_or(u32::MAX).min(up_to))
    }

    fn address(&self) -> String {
        self.context.address.clone()
    }

    async fn close(&self) {
        self.publisher.close().await;
        self.publishing.close().await;
        self.context.supervisor.close().await;
    }
}
