//! HTTP/1.1 servers with limits: how many connections, how long headers may take, how long a stop may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::failure::failed_by;

/// What a listener bears.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once; past it, accepting waits.
    connections_max: usize,
    /// How long a request's headers may take; a connection without a request is closed after it, too.
    headers_within: Duration,
    headers_max: usize,
    /// Request line and headers together, in bytes.
    head_bytes_max: usize,
    /// How long requests in flight have when we stop.
    drain_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Below the 1024 open files many systems allow: the store's and the broker's must not be taken.
            connections_max: 768,
            headers_within: Duration::from_secs(30),
            headers_max: 64,
            head_bytes_max: 32 * 1024,
            drain_within: Duration::from_secs(20),
        }
    }
}

/// After a failed accept (too many open files), before the next one.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

pub(crate) async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint =
            format!("another process may have it: `ss -ltnp` shows which; {key} in the configuration changes it");
        failed_by(error, format!("cannot listen on {address} ({key})"), hint)
    })
}

/// Serves until `stop`, then finishes what is in flight.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.headers_within)
        .max_headers(limits.headers_max)
        .max_buf_size(limits.head_bytes_max);
    loop {
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = async {
                let permit = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
                (permit, listener.accept().await)
            } => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone().into_service::<hyper::body::Incoming>());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(error = %error, "a connection broke off");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_within, graceful.shutdown()).await.is_err() {
        warn!("stopped with requests in flight");
    }
}

#[cfg(test)]
mod tests;
