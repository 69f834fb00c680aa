//! HTTP/1.1 servers that keep serving while peers hold connections open: the connection that has waited the longest for
//! its peer makes room, no peer has more than its share, and every wait has a limit.

mod connections;
mod service;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use payhook_schema::NowAndThen;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::connections::{Closed, Connections, Entered, HeldConnection};
use crate::config::ConnectionsConfig;
use crate::failure::failed_by;

/// The limits of a listener.
#[derive(Debug, Clone)]
pub(crate) struct ListenLimits {
    connections: ConnectionsConfig,
    /// Connections more, on which health is answered and nothing else, for when all others are at work.
    health_reserve: usize,
    /// The longest time a peer may take: to send a request, to read its answer, or between the two.
    waits_within: Duration,
    headers_max: usize,
    /// Request line and headers together, in bytes.
    head_bytes_max: usize,
    /// The time that requests in flight have when we stop.
    drain_within: Duration,
    /// The longest time a peer may take when we stop.
    drain_waits_within: Duration,
}

impl ListenLimits {
    /// Makes the limits that every listener has; only the number of connections is configured.
    pub(crate) fn new(connections: ConnectionsConfig) -> Self {
        Self {
            connections,
            health_reserve: 0,
            waits_within: Duration::from_secs(30),
            headers_max: 64,
            head_bytes_max: 32 * 1024,
            drain_within: Duration::from_secs(20),
            drain_waits_within: Duration::from_secs(2),
        }
    }

    /// The same for a listener that answers health, too.
    pub(crate) fn with_health(connections: ConnectionsConfig) -> Self {
        Self { health_reserve: HEALTH_RESERVE, ..Self::new(connections) }
    }

    /// Files this listener has open at most.
    pub(crate) fn files(&self) -> u64 {
        (self.connections.max + self.health_reserve) as u64
    }
}

/// Enough for the probes of an orchestrator, a load balancer and a scraper at once.
const HEALTH_RESERVE: usize = 16;

/// After a failed accept (too many open files), before the next one.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// While every connection is at work, before looking for room again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The time between two looks for late peers.
const TICK: Duration = Duration::from_millis(500);

/// Between two lines about full listeners: an attack must not fill the log.
const LOG_EVERY: Duration = Duration::from_secs(10);

pub(crate) async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = format!("another process may use it: `ss -ltnp` shows which; or change {key} in the configuration");
        failed_by(error, format!("cannot listen on {address} ({key})"), hint)
    })
}

/// Serves until `stop`, then finishes what is in flight. `name` is in metrics and the log.
pub(crate) async fn serve(
    listener: TcpListener,
    name: &'static str,
    router: Router,
    limits: ListenLimits,
    stop: CancellationToken,
) {
    let mut server = ListenServer::new(name, router, limits);
    let mut tick = tokio::time::interval(TICK);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = tick.tick() => {
                server.close_late(server.limits.waits_within);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::select! {
                    () = stop.cancelled() => break,
                    held = server.place_for(peer.ip().to_canonical()) => {
                        if let Some(held) = held {
                            server.start(stream, held);
                        }
                    }
                }
            }
            Err(error) => {
                metrics::counter!("payhook_accept_failures_total", "listener" => name).increment(1);
                if let Some(missed) = server.accept_log.due() {
                    warn!(listener = name, missed, error = %error, "cannot accept a connection: {error}");
                }
                // Most likely too many files are open: one that does nothing is given back.
                server.connections.close_one();
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    server.drain().await;
}

struct ListenServer {
    name: &'static str,
    router: Router,
    limits: ListenLimits,
    http: http1::Builder,
    graceful: GracefulShutdown,
    connections: Arc<Connections>,
    full_log: NowAndThen,
    accept_log: NowAndThen,
}

impl ListenServer {
    fn new(name: &'static str, router: Router, limits: ListenLimits) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.waits_within)
            .max_headers(limits.headers_max)
            .max_buf_size(limits.head_bytes_max);
        Self {
            name,
            router,
            limits,
            http,
            graceful: GracefulShutdown::new(),
            connections: Arc::default(),
            full_log: NowAndThen::new(LOG_EVERY),
            accept_log: NowAndThen::new(LOG_EVERY),
        }
    }

    /// A place for a connection of `peer`, as soon as there is one; none if the peer has its share already.
    async fn place_for(&mut self, peer: IpAddr) -> Option<HeldConnection> {
        loop {
            match self.connections.enter(peer, &self.limits) {
                Entered::In { held, closed: None } => return Some(held),
                Entered::In { held, closed: Some(closed) } => {
                    self.note_full(closed, "closed", peer);
                    return Some(held);
                }
                Entered::PeerHasShare => {
                    self.note_full(Closed::PeerHasShare, "refused", peer);
                    return None;
                }
                Entered::Full => {
                    self.note_full(Closed::Full, "waiting", peer);
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    fn note_full(&mut self, why: Closed, what: &'static str, peer: IpAddr) {
        let why = match why {
            Closed::Full => "full",
            Closed::PeerHasShare => "peer_has_share",
        };
        let labels = [("listener", self.name), ("why", why), ("what", what)];
        metrics::counter!("payhook_connections_full_total", &labels).increment(1);
        if let Some(missed) = self.full_log.due() {
            let open = self.connections.count();
            warn!(
                listener = self.name,
                open, missed, why, %peer,
                "connections are full ({why}): those that wait for their peer the longest are closed, {what} at a new one of {peer}"
            );
        }
    }

    fn start(&self, stream: TcpStream, held: HeldConnection) {
        let _ = stream.set_nodelay(true);
        let (router, close, held) = (self.router.clone(), held.close.clone(), Arc::new(held));
        let service = service_fn(move |request| service::answer(request, router.clone(), held.clone()));
        let connection = self.graceful.watch(self.http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            tokio::select! {
                () = close.cancelled() => {}
                ended = connection => {
                    if let Err(error) = ended {
                        debug!(error = %error, "a connection broke off");
                    }
                }
            }
        });
    }

    fn close_late(&self, limit: Duration) {
        let late = self.connections.close_waiting_for(limit);
        metrics::counter!("payhook_connections_late_total", "listener" => self.name).increment(late as u64);
        metrics::gauge!("payhook_connections", "listener" => self.name).set(self.connections.count() as f64);
    }

    async fn drain(self) {
        let end = Instant::now() + self.limits.drain_within;
        let (connections, limit) = (self.connections, self.limits.drain_waits_within);
        let drained = self.graceful.shutdown();
        tokio::pin!(drained);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = &mut drained => return,
                () = tokio::time::sleep_until(end) => {
                    warn!(listener = self.name, open = connections.count(), "stopped with requests in flight");
                    return;
                }
                _ = tick.tick() => {
                    connections.close_waiting_for(limit);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
