//! Keeps one connection up. The first failure on a connection ends it, drops everything on it, and opens another.
//! lapin's own recovery stays off: when a write notices the cut, it can spin for ever.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use metrics::counter;
use payhook_schema::Backoff;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::address::BrokerAddress;
use super::failure::RabbitFailure;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The number of times every node is asked before publishes are refused without waiting: one more than it takes to meet
/// a node that is just being restarted, or a cut in the middle of connecting.
const ROUNDS: usize = 2;

/// The time limit for closing a connection before it is dropped.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A connection that is made again whenever it is lost. Ends with the last handle to it.
pub(super) struct Supervisor {
    state: watch::Receiver<ConnectionState>,
    deadline: Duration,
    stop: CancellationToken,
    task: TaskTracker,
    _stop_on_drop: DropGuard,
}

/// The settings of a connection, with its name.
pub(super) struct ConnectionTarget {
    pub(super) address: BrokerAddress,
    /// Shown in the broker's list of connections.
    pub(super) name: String,
    /// `publish` or `consume`: the label of its metrics.
    pub(super) purpose: &'static str,
    pub(super) tls_ca_pem: Option<String>,
    pub(super) deadline: Duration,
}

#[derive(Clone)]
enum ConnectionState {
    /// No answer yet: worth waiting for.
    Connecting,
    Up(Arc<Live>),
    /// Every node was tried and none accepted. Tried again in the background.
    Down(RabbitFailure),
    Closed,
}

/// A connection that was up when last seen.
pub(super) struct Live {
    connection: Connection,
    /// Cancelled once the connection is given up: no answer will come on it.
    gone: CancellationToken,
    blocked: watch::Receiver<bool>,
    deadline: Duration,
}

impl Supervisor {
    pub(super) fn start(target: ConnectionTarget) -> Self {
        let (to, state) = watch::channel(ConnectionState::Connecting);
        let stop = CancellationToken::new();
        let task = TaskTracker::new();
        let deadline = target.deadline;
        task.spawn(supervise(target, to, stop.clone()));
        task.close();
        Self { state, deadline, task, _stop_on_drop: stop.clone().drop_guard(), stop }
    }

    /// Returns the connection. Waits for one that is being opened until `until`, and not for one that was refused.
    pub(super) async fn live(&self, until: Instant) -> Result<Arc<Live>, RabbitFailure> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| match state {
            ConnectionState::Connecting => false,
            ConnectionState::Up(live) => !live.gone.is_cancelled(),
            ConnectionState::Down(_) | ConnectionState::Closed => true,
        });
        let state = match timeout_at(until, settled).await {
            Err(_) => return Err(RabbitFailure::late("connect", self.deadline)),
            Ok(Err(_)) => return Err(RabbitFailure::unavailable("it was closed")),
            Ok(Ok(state)) => state.clone(),
        };
        match state {
            ConnectionState::Up(live) => Ok(live),
            ConnectionState::Down(failure) => Err(failure),
            ConnectionState::Connecting | ConnectionState::Closed => Err(RabbitFailure::unavailable("it was closed")),
        }
    }

    /// Closes the connection and ends the task.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.task.wait().await;
    }
}

impl Live {
    /// Opens a channel.
    pub(super) async fn channel(&self) -> Result<Channel, RabbitFailure> {
        self.answer("open a channel", self.connection.create_channel()).await
    }

    /// Waits for the broker's answer, up to the deadline.
    pub(super) async fn answer<T>(
        &self,
        doing: &str,
        asked: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, RabbitFailure> {
        match timeout(self.deadline, asked).await {
            Ok(answer) => answer.map_err(|error| {
                self.check();
                RabbitFailure::of(doing, error)
            }),
            Err(_) => {
                self.give_up_unless_blocked();
                Err(RabbitFailure::late(doing, self.deadline))
            }
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        *self.blocked.borrow() || self.connection.status().blocked()
    }

    /// Waits until the broker says that it takes no publishes; for ever if it never does.
    pub(super) async fn blocked(&self) {
        if self.blocked.clone().wait_for(|blocked| *blocked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Gives the connection up if it is closed: called after an error on a channel, which may be the connection's.
    pub(super) fn check(&self) {
        if !self.connection.status().connected() {
            self.gone.cancel();
        }
    }

    /// Gives the connection up unless it is blocked: called when no answer came in time. A blocked one answers later.
    pub(super) fn give_up_unless_blocked(&self) {
        if !self.is_blocked() {
            self.gone.cancel();
        }
    }
}

async fn supervise(target: ConnectionTarget, state: watch::Sender<ConnectionState>, stop: CancellationToken) {
    let nodes = &target.address.nodes;
    let mut waits = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut node = 0;
    let mut refused = 0;
    loop {
        let connected = tokio::select! {
            () = stop.cancelled() => break,
            connected = connect(&target, &nodes[node % nodes.len()]) => connected,
        };
        match connected {
            Ok(connection) => {
                let began = Instant::now();
                let ended = watch(&target, connection, &state, &stop).await;
                if stop.is_cancelled() {
                    break;
                }
                warn!(queue.purpose = target.purpose, "lost the queue at `{}`: {ended}", target.address.shown);
                counter!("payhook_queue_reconnects_total", "connection" => target.purpose).increment(1);
                state.send_replace(ConnectionState::Connecting);
                refused = 0;
                // A connection that is dropped at once counts like a refusal: the waits go on growing.
                if began.elapsed() > FIRST_WAIT {
                    waits.reset();
                }
            }
            Err(failure) => {
                refused += 1;
                node += 1;
                let down = refused >= ROUNDS * nodes.len() || failure.needs_a_person();
                if down && !matches!(*state.borrow(), ConnectionState::Down(_)) {
                    warn!(
                        queue.purpose = target.purpose,
                        "cannot use the queue at `{}`: {failure}", target.address.shown
                    );
                }
                if down {
                    state.send_replace(ConnectionState::Down(failure));
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(waits.next_wait()) => {}
        }
    }
    state.send_replace(ConnectionState::Closed);
}

async fn connect(target: &ConnectionTarget, node: &AMQPUri) -> Result<Connection, RabbitFailure> {
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("{} {}", target.name, target.purpose).into())
        .with_client_property("product".into(), "payhook".into());
    let tls = OwnedTLSConfig { identity: None, cert_chain: target.tls_ca_pem.clone() };
    let runtime = lapin::runtime::default_runtime().map_err(|error| RabbitFailure::of("start", error))?;
    let connecting = Connection::connect_uri_with_config(node.clone(), properties, tls, runtime);
    match timeout(target.deadline, connecting).await {
        Ok(connected) => connected.map_err(RabbitFailure::of_connecting),
        Err(_) => Err(RabbitFailure::late("connect", target.deadline)),
    }
}

/// Offers the connection to its users, and returns why it ended.
async fn watch(
    target: &ConnectionTarget,
    connection: Connection,
    state: &watch::Sender<ConnectionState>,
    stop: &CancellationToken,
) -> String {
    let mut events = connection.events_listener().boxed();
    let (block, blocked) = watch::channel(connection.status().blocked());
    let gone = CancellationToken::new();
    let live = Arc::new(Live { connection, gone: gone.clone(), blocked, deadline: target.deadline });
    // An event from before we listened does not come: look at the state once.
    live.check();
    info!(queue.purpose = target.purpose, "connected to the queue at `{}`", target.address.shown);
    state.send_replace(ConnectionState::Up(Arc::clone(&live)));
    let ended = loop {
        tokio::select! {
            () = stop.cancelled() => break "closing".to_owned(),
            () = gone.cancelled() => break "an operation on it failed".to_owned(),
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    warn!("the queue at `{}` takes no publishes: {reason}", target.address.shown);
                    block.send_replace(true);
                }
                Some(Event::ConnectionUnblocked) => {
                    info!("the queue at `{}` takes publishes again", target.address.shown);
                    block.send_replace(false);
                }
                // A channel's error comes here too; only the connection's own ends it.
                Some(Event::Error(error)) if !live.connection.status().connected() => break error.to_string(),
                Some(_) => live.check(),
                None => break "its events ended".to_owned(),
            },
        }
    };
    gone.cancel();
    // lapin closes nothing while a channel of it is alive somewhere, so close it here. It may no longer answer.
    let _ = timeout(CLOSE_WITHIN, live.connection.close(200, "closing".into())).await;
    ended
}
