//! Clients that are slow, rude or cunning, on raw sockets.

use axum::routing::post;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

/// Longer than any limit below: what is not answered or closed by then hangs.
const PATIENCE: Duration = Duration::from_secs(5);

async fn server(limits: Limits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", post(async |body: String| body)).route(
        "/slow",
        post(async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        }),
    );
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, router, limits, stop.clone()));
    (address, stop, serving)
}

fn quick() -> Limits {
    Limits { headers_within: Duration::from_millis(200), ..Limits::default() }
}

/// Sends bytes and reads until the server closes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server neither answered nor closed");
    String::from_utf8_lossy(&answer).into_owned()
}

fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

#[tokio::test]
async fn headers_that_never_end_are_closed() {
    let (address, ..) = server(quick()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("a slow client is closed");
    assert!(!String::from_utf8_lossy(&rest).contains("200"));
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let (address, ..) = server(quick()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an idle client is closed");
}

#[tokio::test]
async fn requests_that_can_be_read_two_ways_are_refused() {
    let (address, ..) = server(quick()).await;
    for head in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: +5\r\n",
        "content-length: 5, 6\r\n",
        "content-length: -1\r\n",
        "transfer-encoding: gzip\r\n",
        "content-length : 5\r\n",
        "x: a\r\n folded\r\ncontent-length : 5\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\nhello");
        let answer = exchange(address, request.as_bytes()).await;
        assert!(!answer.contains(" 200 "), "{head:?}: {answer}");
        assert!(answers(&answer) <= 1, "{head:?}: one request, at most one answer: {answer}");
    }
}

#[tokio::test]
async fn nothing_is_smuggled_behind_a_chunked_body() {
    let (address, ..) = server(quick()).await;
    let smuggled = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
                    0\r\n\r\nPOST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    let answer = exchange(address, smuggled.as_bytes()).await;
    assert!(!answer.contains("done"), "the second request is nobody's: {answer}");
}

#[tokio::test]
async fn a_head_without_measure_is_refused() {
    let (address, ..) = server(quick()).await;
    let long = format!("POST / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(64 * 1024));
    assert!(!exchange(address, long.as_bytes()).await.contains(" 200 "));
    let many: String = (0..100).map(|number| format!("x{number}: 1\r\n")).collect();
    let many = format!("POST / HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    assert!(!exchange(address, many.as_bytes()).await.contains(" 200 "));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_are_served_in_the_end() {
    let (address, ..) = server(Limits { connections_max: 2, ..quick() }).await;
    let request = b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let all = (0..5).map(|_| exchange(address, request));
    for answer in futures_util::future::join_all(all).await {
        assert!(answer.contains("done"), "{answer}");
    }
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    let (address, stop, serving) = server(Limits::default()).await;
    let request = b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let flying = tokio::spawn(async move { exchange(address, request).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.cancel();
    assert!(flying.await.unwrap().contains("done"));
    timeout(PATIENCE, serving).await.expect("the server ends").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
}
