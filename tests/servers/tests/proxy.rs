//! The proxy's faults, as the program behind it sees them.

use std::io::ErrorKind;
use std::time::Duration;

use payhook_test_servers::Proxy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(100);

/// A proxy before a server that sends back whatever it is sent.
async fn proxy() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Proxy::start(&format!("amqp://127.0.0.1:{port}/vhost")).await.expect("the proxy starts")
}

async fn connected(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
    assert_eq!(echo(&mut stream, b"hello").await.expect("an echo"), b"hello");
    stream
}

async fn echo(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    timeout(SOON, stream.read_exact(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn a_cut_connection_is_reset_and_the_next_one_is_served() {
    let proxy = proxy().await;
    let mut stream = connected(&proxy).await;
    proxy.cut();
    let end = timeout(SOON, stream.read_u8()).await.expect("told of it");
    assert_eq!(end.expect_err("an end").kind(), ErrorKind::ConnectionReset);
    connected(&proxy).await;
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_closed_connection_ends_in_good_order() {
    let proxy = proxy().await;
    let mut stream = connected(&proxy).await;
    proxy.close();
    let read = timeout(SOON, stream.read(&mut [0; 8])).await.expect("told of it");
    assert_eq!(read.expect("no error"), 0);
}

#[tokio::test]
async fn while_it_refuses_old_connections_go_on_and_new_ones_fail() {
    let proxy = proxy().await;
    let mut old = connected(&proxy).await;
    proxy.refuse().await;
    let refused = TcpStream::connect(proxy.address()).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    echo(&mut old, b"still here").await.expect("an echo");
    proxy.accept().await.expect("the port is still ours");
    connected(&proxy).await;
}

#[tokio::test]
async fn frozen_bytes_arrive_after_the_thaw() {
    let proxy = proxy().await;
    let mut stream = connected(&proxy).await;
    proxy.freeze();
    stream.write_all(b"held").await.expect("written");
    let mut answer = [0; 4];
    timeout(A_WHILE, stream.read_exact(&mut answer)).await.expect_err("nothing comes through");
    proxy.thaw();
    timeout(SOON, stream.read_exact(&mut answer)).await.expect("in time").expect("an echo");
    assert_eq!(&answer, b"held");
}

#[tokio::test]
async fn so_many_bytes_go_to_the_client_and_no_more() {
    let proxy = proxy().await;
    let mut stream = connected(&proxy).await;
    proxy.drop_after(3);
    stream.write_all(b"abcdef").await.expect("written");
    let mut answer = Vec::new();
    let end = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("told of it");
    assert_eq!(end.expect_err("an end").kind(), ErrorKind::ConnectionReset);
    assert_eq!(answer, b"abc");
    // Once: the next connection lives.
    connected(&proxy).await;
}

#[tokio::test]
async fn a_url_leads_through_the_proxy_with_everything_else_in_place() {
    let proxy = proxy().await;
    let url = proxy.url("postgres://u:p%2F@db.internal:5432/name?sslmode=disable");
    assert_eq!(url, format!("postgres://u:p%2F@{}/name?sslmode=disable", proxy.address()));
}

#[tokio::test]
async fn a_server_that_is_gone_looks_gone_through_the_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let proxy = Proxy::start(&format!("amqp://127.0.0.1:{port}")).await.expect("the proxy starts");
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
    timeout(SOON, stream.read_u8()).await.expect("told of it").expect_err("an end");
}
