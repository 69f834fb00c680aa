//! The load generator: connections that are kept, requests that lie ready as bytes, and no library in between, so that
//! the client costs as little as it can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::figures::Latencies;

/// An answer that takes longer is a failure of the run.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct LoadConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl LoadConnection {
    pub(crate) async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8192) })
    }

    /// Sends one request and returns the status of its answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if let Some(whole) = message_end(&self.buffer) {
                ensure!(self.buffer.len() == whole, "more came than was asked for");
                let status = self.buffer.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
                return status.and_then(|status| status.parse().ok()).context("not an answer of HTTP/1.1");
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed without an answer");
            }
        }
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        let head = find(&self.buffer, b"\r\n\r\n").map_or(self.buffer.len(), |head| head + 4);
        &self.buffer[head..]
    }
}

/// Returns the end of the first message in `bytes`, head and body; `None` until all of it is there.
pub(crate) fn message_end(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let length = bytes[..head].split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:").then(|| std::str::from_utf8(value).ok()?.trim().parse().ok())?
    });
    let whole = head + length.unwrap_or(0usize);
    (bytes.len() >= whole).then_some(whole)
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|&byte| byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// A GET of `path`, ready to be sent.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// A POST, ready to be sent.
pub(crate) fn post(path: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

/// The number of accepted requests, and the time they took.
pub(crate) struct LoadResult {
    pub(crate) accepted: usize,
    pub(crate) took: Duration,
    pub(crate) latencies: Latencies,
}

/// As much as goes: every connection sends its next request when the last was answered.
pub(crate) async fn flood(
    to: SocketAddr,
    requests: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    warm_up: Duration,
    count_for: Duration,
) -> Result<LoadResult> {
    let from = Instant::now() + warm_up;
    let until = from + count_for;
    let tasks = (0..connections).map(|first| {
        let requests = Arc::clone(requests);
        async move {
            let mut connection = LoadConnection::open(to).await?;
            let mut latencies = Latencies::default();
            let mut accepted = 0;
            for request in requests.iter().cycle().skip(first).step_by(connections) {
                let began = Instant::now();
                if began >= until {
                    break;
                }
                accept(&mut connection, request).await?;
                let now = Instant::now();
                if now >= from && now < until {
                    accepted += 1;
                    latencies.push(now - began);
                }
            }
            Ok((accepted, latencies))
        }
    });
    let (accepted, latencies) = together(tasks).await?;
    Ok(LoadResult { accepted, took: count_for, latencies })
}

/// At a rate that is kept: what is late was late from when it should have been sent.
pub(crate) async fn steady(
    to: SocketAddr,
    requests: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    rate: f64,
    during: Duration,
) -> Result<LoadResult> {
    let began = Instant::now() + Duration::from_millis(20);
    let total = (rate * during.as_secs_f64()) as usize;
    let tasks = (0..connections).map(|first| {
        let requests = Arc::clone(requests);
        async move {
            let mut connection = LoadConnection::open(to).await?;
            let mut latencies = Latencies::default();
            let mut accepted = 0;
            for turn in (first..total).step_by(connections) {
                let due = began + Duration::from_secs_f64(turn as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                accept(&mut connection, &requests[turn % requests.len()]).await?;
                accepted += 1;
                latencies.push(due.elapsed());
            }
            Ok((accepted, latencies))
        }
    });
    let (accepted, latencies) = together(tasks).await?;
    Ok(LoadResult { accepted, took: began.elapsed(), latencies })
}

async fn accept(connection: &mut LoadConnection, request: &[u8]) -> Result<()> {
    let status = tokio::time::timeout(ANSWER_WITHIN, connection.send(request)).await.context("no answer")??;
    ensure!(status == 200, "a notification was answered {status}: {}", String::from_utf8_lossy(connection.body()));
    Ok(())
}

async fn together<F>(tasks: impl Iterator<Item = F>) -> Result<(usize, Latencies)>
where
    F: Future<Output = Result<(usize, Latencies)>> + Send + 'static,
{
    let mut running: JoinSet<_> = tasks.collect();
    let (mut accepted, mut latencies) = (0, Latencies::default());
    while let Some(done) = running.join_next().await {
        let (some, took) = done??;
        accepted += some;
        latencies.extend(took);
    }
    Ok((accepted, latencies))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_length_says() {
        assert_eq!(message_end(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Some(40));
        assert_eq!(message_end(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"), None);
        assert_eq!(message_end(b"GET / HTTP/1.1\r\n\r\n"), Some(18));
        assert_eq!(message_end(b"GET / HTTP/1.1\r\n"), None);
    }
}
