//! Clients that are slow, rude or cunning, on raw sockets.

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

/// Longer than any limit below: what is not answered or closed by then hangs.
const PATIENCE: Duration = Duration::from_secs(5);

async fn server(limits: ListenLimits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let slow = post(async || {
        tokio::time::sleep(SLOW).await;
        "done"
    });
    let router = Router::new()
        .route("/", post(async |body: String| body))
        .route("/slow", slow)
        .route("/large", get(async || "x".repeat(1024 * 1024)))
        .route("/healthz", get(async || "well"));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, "test", router, limits, stop.clone()));
    (address, stop, serving)
}

fn limits(connections: usize) -> ListenLimits {
    ListenLimits::new(ConnectionsConfig::for_tests(connections, usize::MAX))
}

fn quick() -> ListenLimits {
    ListenLimits { waits_within: Duration::from_millis(200), ..limits(768) }
}

const SLOW: Duration = Duration::from_millis(400);
const GET_HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const POST_SLOW: &[u8] = b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Connections that never send a request.
async fn silent(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    futures_util::future::join_all((0..count).map(|_| async { TcpStream::connect(address).await.unwrap() })).await
}

/// Connections that ask for far more than they read, which is nothing.
async fn deaf(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut all = silent(address, count).await;
    for stream in &mut all {
        // It breaks off once the server has closed it.
        let _ = stream.write_all(&b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64)).await;
    }
    all
}

/// A request from an address of its own.
async fn exchange_from(from: [u8; 4], address: SocketAddr, bytes: &[u8]) -> String {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let mut answer = Vec::new();
    // Refused is an answer, too.
    let _ = stream.write_all(bytes).await;
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("neither answered nor closed");
    String::from_utf8_lossy(&answer).into_owned()
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
    let (address, ..) = server(limits(2)).await;
    let request = b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let all = (0..5).map(|_| exchange(address, request));
    for answer in futures_util::future::join_all(all).await {
        assert!(answer.contains("done"), "{answer}");
    }
}

#[tokio::test]
async fn a_stop_finishes_requests_in_flight_and_takes_no_new_ones() {
    let (address, stop, serving) = server(limits(768)).await;
    let request = b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let flying = tokio::spawn(async move { exchange(address, request).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.cancel();
    assert!(flying.await.unwrap().contains("done"));
    timeout(PATIENCE, serving).await.expect("the server ends").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
}

#[tokio::test]
async fn silent_connections_make_room_for_one_that_asks() {
    let (address, ..) = server(limits(8)).await;
    let _silent = silent(address, 64).await;
    for _ in 0..20 {
        assert!(exchange(address, GET_HEALTH).await.contains("well"));
    }
}

#[tokio::test]
async fn connections_that_never_read_make_room_for_one_that_asks() {
    let (address, ..) = server(limits(8)).await;
    let _deaf = deaf(address, 24).await;
    for _ in 0..20 {
        assert!(exchange(address, GET_HEALTH).await.contains("well"));
    }
}

#[tokio::test]
async fn every_wait_for_a_peer_ends() {
    let (address, ..) = server(quick()).await;
    let mut half_a_body = TcpStream::connect(address).await.unwrap();
    half_a_body.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhe").await.unwrap();
    let mut deaf = deaf(address, 1).await.remove(0);
    for stream in [&mut half_a_body, &mut deaf] {
        tokio::time::sleep(TICK * 3).await;
        let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("it is closed");
    }
}

#[tokio::test]
async fn a_request_at_work_is_not_closed_for_another_connection() {
    let (address, ..) = server(limits(1)).await;
    let working = tokio::spawn(async move { exchange(address, POST_SLOW).await });
    tokio::time::sleep(SLOW / 4).await;
    let _silent = silent(address, 16).await;
    assert!(working.await.unwrap().contains("done"));
}

#[tokio::test]
async fn one_peer_has_no_more_than_its_share() {
    let connections = ConnectionsConfig::for_tests(8, 2);
    let (address, ..) = server(ListenLimits::new(connections)).await;
    let request = |peer: u8| exchange_from([127, 0, 0, peer], address, POST_SLOW);
    let greedy = futures_util::future::join_all((0..6).map(|_| request(2)));
    let (greedy, other) = tokio::join!(greedy, async {
        tokio::time::sleep(SLOW / 4).await;
        request(3).await
    });
    assert!(other.contains("done"), "another peer is served: {other}");
    assert_eq!(greedy.iter().filter(|answer| answer.contains("done")).count(), 2, "{greedy:?}");
}

#[tokio::test]
async fn health_is_answered_while_every_connection_is_at_work() {
    let reserve = ListenLimits { health_reserve: 1, ..limits(1) };
    let (address, ..) = server(reserve).await;
    let working = tokio::spawn(async move { exchange(address, POST_SLOW).await });
    tokio::time::sleep(SLOW / 4).await;
    assert!(exchange(address, GET_HEALTH).await.contains("well"));
    let other = exchange(address, POST_SLOW).await;
    assert!(other.starts_with("HTTP/1.1 503"), "only health has a place now: {other}");
    assert!(working.await.unwrap().contains("done"));
}

#[tokio::test]
async fn a_stop_waits_for_no_peer_that_does_nothing() {
    let (address, stop, serving) = server(limits(768)).await;
    let _silent = silent(address, 4).await;
    let mut half = silent(address, 4).await;
    for stream in &mut half {
        stream.write_all(b"POST / HTTP/1.1\r\nhost:").await.unwrap();
    }
    let _deaf = deaf(address, 4).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.cancel();
    timeout(PATIENCE, serving).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn a_peer_keeps_no_place_by_asking_again_and_again() {
    let (address, ..) = server(limits(4)).await;
    for _ in 0..4 {
        tokio::spawn(async move {
            while let Ok(mut stream) = TcpStream::connect(address).await {
                let mut answer = [0; 4096];
                while stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {
                    if stream.read(&mut answer).await.unwrap_or_default() == 0 {
                        break;
                    }
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..20 {
        assert!(exchange(address, GET_HEALTH).await.contains("well"));
    }
}
