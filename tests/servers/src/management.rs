//! RabbitMQ's management API.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::address::ServerAddress;

/// Longer than the broker ever took to make or delete a virtual host on a busy machine.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// The characters that may not stand in a path. `/`, `?`, `=`, `&` and `%` may: paths arrive with their structure and
/// escapes in place.
const NOT_IN_A_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}');

/// RabbitMQ's management HTTP API, one connection a call.
#[derive(Clone)]
pub(crate) struct Management {
    host: String,
    port: u16,
    authorization: String,
}

impl Management {
    pub(crate) fn new(address: &ServerAddress) -> Result<Self> {
        ensure!(address.scheme == "http", "the management API is used over plain http, not {}", address.scheme);
        let credentials = format!("{}:{}", address.plain_user(), address.plain_password());
        let authorization = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(credentials));
        Ok(Self { host: address.host.clone(), port: address.port.unwrap_or(15672), authorization })
    }

    /// `path` is relative to `/api`. An answer without a body is `null`; a status that is not 2xx is an error.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let what = || format!("{method} http://{}:{}/api{path}", self.host, self.port);
        match tokio::time::timeout(CALL_TIMEOUT, self.exchange(method, path, body)).await {
            Ok(answer) => answer.with_context(what),
            Err(_) => bail!("{}: no answer within {} s", what(), CALL_TIMEOUT.as_secs()),
        }
    }

    async fn exchange(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let stream = TcpStream::connect((self.host.trim_matches(['[', ']']), self.port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("/api{}", utf8_percent_encode(path, NOT_IN_A_PATH)))
            .header("host", format!("{}:{}", self.host, self.port))
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .header("connection", "close")
            .body(Full::new(Bytes::from(body)))?;
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        driver.abort();
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&bytes));
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).context("the answer is not JSON")
    }
}
