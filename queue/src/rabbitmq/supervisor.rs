//! Keeps one connection up. lapin's own recovery is never switched on: when a cut is noticed by a write it can spin for
//! ever. Instead the first failure anyone meets ends the connection, everything on it is dropped, and a new one is made.

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

use super::address::Address;
use super::failure::Failure;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The number of times every node is asked before publishes are refused without waiting: one more than it takes to meet
/// a node that is just being restarted, or a cut in the middle of connecting.
const ROUNDS: usize = 2;

/// The time limit for closing a connection before it is dropped.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection that is made again whenever it is lost. Ends with the last handle to it.
pub(super) struct Supervisor {
    state: watch::Receiver<State>,
    deadline: Duration,
    stop: CancellationToken,
    task: TaskTracker,
    _stop_on_drop: DropGuard,
}

/// The settings of a connection, with its name.
pub(super) struct Target {
    pub(super) address: Address,
    /// Shown in the broker's list of connections.
    pub(super) name: String,
    /// `publish` or `consume`: the label of its metrics.
    pub(super) purpose: &'static str,
    pub(super) tls_ca_pem: Option<String>,
    pub(super) deadline: Duration,
}

#[derive(Clone)]
enum State {
    /// Not known yet: worth waiting for.
    Connecting,
    Up(Arc<Live>),
    /// Every node was asked and none took us. Asked again in the background.
    Down(Failure),
    Closed,
}

/// A connection that was up when last seen.
pub(super) struct Live {
    connection: Connection,
    /// Cancelled once the connection is given up: whoever waits for something on it need not wait any longer.
    gone: CancellationToken,
    blocked: watch::Receiver<bool>,
    deadline: Duration,
}

impl Supervisor {
    pub(super) fn start(target: Target) -> Self {
        let (to, state) = watch::channel(State::Connecting);
        let stop = CancellationToken::new();
        let task = TaskTracker::new();
        let deadline = target.deadline;
        task.spawn(supervise(target, to, stop.clone()));
        task.close();
        Self { state, deadline, task, _stop_on_drop: stop.clone().drop_guard(), stop }
    }

    /// The connection, waiting for one that is being made, but not past `until` and not for one that was refused.
    pub(super) async fn live(&self, until: Instant) -> Result<Arc<Live>, Failure> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| match state {
            State::Connecting => false,
            State::Up(live) => !live.gone.is_cancelled(),
            State::Down(_) | State::Closed => true,
        });
        let state = match timeout_at(until, settled).await {
            Err(_) => return Err(Failure::late("connect", self.deadline)),
            Ok(Err(_)) => return Err(Failure::unavailable("it was closed")),
            Ok(Ok(state)) => state.clone(),
        };
        match state {
            State::Up(live) => Ok(live),
            State::Down(failure) => Err(failure),
            State::Connecting | State::Closed => Err(Failure::unavailable("it was closed")),
        }
    }

    /// Says goodbye to the broker and ends the task.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.task.wait().await;
    }
}

impl Live {
    /// A new channel on it.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        self.answer("open a channel", self.connection.create_channel()).await
    }

    /// The broker's answer, within the deadline.
    pub(super) async fn answer<T>(
        &self,
        doing: &str,
        asked: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Failure> {
        match timeout(self.deadline, asked).await {
            Ok(answer) => answer.map_err(|error| {
                self.check();
                Failure::of(doing, error)
            }),
            Err(_) => {
                self.give_up_unless_blocked();
                Err(Failure::late(doing, self.deadline))
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

    /// After an error on a channel: gives the connection up if it was the connection's.
    pub(super) fn check(&self) {
        if !self.connection.status().connected() {
            self.gone.cancel();
        }
    }

    /// After silence past a deadline: a blocked connection is well, and only waits; any other is taken for dead.
    pub(super) fn give_up_unless_blocked(&self) {
        if !self.is_blocked() {
            self.gone.cancel();
        }
    }
}

async fn supervise(target: Target, state: watch::Sender<State>, stop: CancellationToken) {
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
                let ended = watch_over(&target, connection, &state, &stop).await;
                if stop.is_cancelled() {
                    break;
                }
                warn!(queue.purpose = target.purpose, "lost the queue at `{}`: {ended}", target.address.shown);
                counter!("payhook_queue_reconnects_total", "connection" => target.purpose).increment(1);
                state.send_replace(State::Connecting);
                refused = 0;
                // A broker that takes us and drops us at once is not asked more often for it.
                if began.elapsed() > FIRST_WAIT {
                    waits.reset();
                }
            }
            Err(failure) => {
                refused += 1;
                node += 1;
                let down = refused >= ROUNDS * nodes.len() || failure.needs_a_person();
                if down && !matches!(*state.borrow(), State::Down(_)) {
                    warn!(
                        queue.purpose = target.purpose,
                        "cannot use the queue at `{}`: {failure}", target.address.shown
                    );
                }
                if down {
                    state.send_replace(State::Down(failure));
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(waits.next_wait()) => {}
        }
    }
    state.send_replace(State::Closed);
}

async fn connect(target: &Target, node: &AMQPUri) -> Result<Connection, Failure> {
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("{} {}", target.name, target.purpose).into())
        .with_client_property("product".into(), "payhook".into());
    let tls = OwnedTLSConfig { identity: None, cert_chain: target.tls_ca_pem.clone() };
    let runtime = lapin::runtime::default_runtime().map_err(|error| Failure::of("start", error))?;
    let connecting = Connection::connect_uri_with_config(node.clone(), properties, tls, runtime);
    match timeout(target.deadline, connecting).await {
        Ok(connected) => connected.map_err(Failure::of_connecting),
        Err(_) => Err(Failure::late("connect", target.deadline)),
    }
}

/// Hands the connection out and returns, once it is over, why.
async fn watch_over(
    target: &Target,
    connection: Connection,
    state: &watch::Sender<State>,
    stop: &CancellationToken,
) -> String {
    let mut events = connection.events_listener().boxed();
    let (block, blocked) = watch::channel(connection.status().blocked());
    let gone = CancellationToken::new();
    let live = Arc::new(Live { connection, gone: gone.clone(), blocked, deadline: target.deadline });
    // What happened before we listened was not told.
    live.check();
    info!(queue.purpose = target.purpose, "connected to the queue at `{}`", target.address.shown);
    state.send_replace(State::Up(Arc::clone(&live)));
    let ended = loop {
        tokio::select! {
            () = stop.cancelled() => break "closing".to_owned(),
            () = gone.cancelled() => break "a failure was met on it".to_owned(),
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    warn!("the queue at `{}` takes no publishes: {reason}", target.address.shown);
                    block.send_replace(true);
                }
                Some(Event::ConnectionUnblocked) => {
                    info!("the queue at `{}` takes publishes again", target.address.shown);
                    block.send_replace(false);
                }
                // A channel's error is told here too; only the connection's own ends it.
                Some(Event::Error(error)) if !live.connection.status().connected() => break error.to_string(),
                Some(_) => live.check(),
                None => break "its events ended".to_owned(),
            },
        }
    };
    gone.cancel();
    // lapin closes nothing while a channel of it is alive somewhere, so it is told to. It may be too dead to answer.
    let _ = timeout(GOODBYE, live.connection.close(200, "bye".into())).await;
    ended
}
