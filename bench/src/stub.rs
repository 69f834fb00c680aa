//! A provider that answers at once: its answers were made, and signed, before the run. The simulator checks every
//! question's signature and signs every answer anew (some 0.5 ms of the core it shares with broker and database for
//! Antom), which would measure the neighbour and not the program.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::http::{find, message_end};

type Answers = Arc<HashMap<Vec<u8>, Vec<u8>>>;

pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    answers: Arc<Mutex<Vec<Answers>>>,
    asked: Arc<AtomicUsize>,
}

impl Stub {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let answers = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (known, counted) = (Arc::clone(&answers), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let known: Vec<Answers> = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // It ends when the client goes away.
                let asked = Arc::clone(&counted);
                tokio::spawn(async move { serve(stream, &known, &asked).await.ok() });
            }
        });
        Ok(Self { address, answers, asked })
    }

    /// The number of questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// From the next connection on, payments of `answers` are known, too.
    pub(crate) fn learn(&self, answers: &Answers) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(answers));
    }
}

async fn serve(mut stream: TcpStream, known: &[Answers], asked: &AtomicUsize) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8192);
    loop {
        while let Some(end) = message_end(&buffer) {
            asked.fetch_add(1, Ordering::Relaxed);
            let id = asked_about(&buffer[..end]).context("a question about no payment")?;
            let answer = known.iter().find_map(|answers| answers.get(id));
            let not_found: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.map_or(not_found, Vec::as_slice)).await?;
            buffer.drain(..end);
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// `GET /charges/{id}`, or a body with a `paymentRequestId`.
fn asked_about(question: &[u8]) -> Option<&[u8]> {
    const OMISE: &[u8] = b"GET /charges/";
    const ANTOM: &[u8] = b"\"paymentRequestId\":\"";
    let (from, until) = match question.strip_prefix(OMISE) {
        Some(_) => (OMISE.len(), b' '),
        None => (find(question, ANTOM)? + ANTOM.len(), b'"'),
    };
    let rest = &question[from..];
    rest.iter().position(|&byte| byte == until).map(|end| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_its_payment() {
        assert_eq!(asked_about(b"GET /charges/chrg_test_1 HTTP/1.1\r\n"), Some(&b"chrg_test_1"[..]));
        assert_eq!(asked_about(b"POST /x HTTP/1.1\r\n\r\n{\"paymentRequestId\":\"A-1\"}"), Some(&b"A-1"[..]));
        assert_eq!(asked_about(b"POST /x HTTP/1.1\r\n\r\n{}"), None);
    }
}
