//! The console's API, as the commands use it.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::cli::ConsoleAddress;
use crate::config::Keys;
use crate::failure::{failed, failed_by};
use crate::process;

pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<SecretString>,
}

impl Api {
    /// By `--url` and `--token`, else by the configuration.
    pub(crate) fn open(config: Option<&Path>, address: &ConsoleAddress) -> anyhow::Result<Self> {
        let token = address.token.clone().map(SecretString::from);
        let (base, token) = match (&address.url, token) {
            (Some(url), token) => (url.trim_end_matches('/').to_owned(), token),
            (None, token) => {
                let config = process::load(config, Keys::NotNeeded)?;
                (format!("http://{}", config.console.listen), token.or(config.console.token))
            }
        };
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).no_proxy().build()?;
        Ok(Self { http, base, token })
    }

    /// Calls the API and returns its answer; `None` where there is no such thing.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Option<Value>> {
        let reads = method == Method::GET;
        let Some(response) = self.send(method, path, body).await? else { return Ok(None) };
        match response.json().await {
            Ok(answer @ Value::Object(_)) => Ok(Some(answer)),
            _ if reads => Err(self.no_answer("asking again does no harm")),
            _ => Err(self.no_answer("what was asked for may have been done: look before asking again")),
        }
    }

    /// The exact bytes that were answered.
    pub(crate) async fn bytes(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(response) = self.send(Method::GET, path, None).await? else { return Ok(None) };
        let bytes = response.bytes().await.map_err(|error| {
            failed_by(error.without_url(), "the console's answer broke off", "asking again does no harm")
        })?;
        Ok(Some(bytes.to_vec()))
    }

    fn no_answer(&self, hint: &str) -> anyhow::Error {
        failed(format!("what {} answered broke off, or is not the console's", self.base), hint)
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Option<Response>> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(|error| {
            failed_by(
                error.without_url(),
                format!("cannot reach the console at {}", self.base),
                "is `payhook serve` or `payhook console` running there? --url names another address",
            )
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(Some(response));
        }
        let answer: Value = response.json().await.unwrap_or_default();
        let title = answer["title"].as_str().unwrap_or("no reason given");
        // Only the console's own word counts: another server's 404, ingress's among them, is no answer about an order.
        if status == StatusCode::NOT_FOUND && title == "Not found" {
            return Ok(None);
        }
        if status == StatusCode::UNAUTHORIZED {
            let hint = "pass --token, set PAYHOOK_TOKEN, or set [console] token in payhook.toml";
            return Err(failed("the console rejected the request: the token is missing or unknown (401)", hint));
        }
        let detail = answer["detail"].as_str().unwrap_or("see the console's log").to_owned();
        Err(failed(format!("the console answered {}: {title}", status.as_u16()), detail))
    }
}

/// A path with an id in it, whatever the id is made of.
pub(crate) fn path_with_id(prefix: &str, id: &str, suffix: &str) -> String {
    let mut url = reqwest::Url::parse("http://console").expect("a constant address");
    url.path_segments_mut().expect("an http address has segments").push(id);
    format!("{prefix}{}{suffix}", url.path())
}

/// A query of those parameters that are given.
pub(crate) fn query(pairs: &[(&str, Option<String>)]) -> String {
    let mut url = reqwest::Url::parse("http://console").expect("a constant address");
    for (name, value) in pairs {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url.query().map_or_else(String::new, |query| format!("?{query}"))
}
