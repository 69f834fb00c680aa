//! An Omise that gives one answer to every question.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Longer than any question about a charge.
const QUESTION_BYTES_MAX: usize = 16 * 1024;

/// An Omise that says the same whatever it is asked: for what no neighbour in its right mind says. Dropping it stops
/// it.
pub(crate) struct OddOmise {
    url: String,
    _serving: JoinSet<()>,
}

impl OddOmise {
    pub(crate) async fn saying(answer: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the system has a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let body = answer.to_string();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever asks and goes away asks again.
                let _ = answer_once(stream, &body).await;
            }
        });
        Self { url, _serving: serving }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Reads a question to its blank line: a GET has no body.
async fn answer_once(mut stream: TcpStream, body: &str) -> std::io::Result<()> {
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\n") && question.len() < QUESTION_BYTES_MAX {
        if stream.read_buf(&mut question).await? == 0 {
            return Ok(());
        }
    }
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
