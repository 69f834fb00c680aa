//! The client of the console's API. Its types are those the console itself writes: [`payhook_console::api`].

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::ConsoleAddress;
use crate::config::OwnKeys;
use crate::failure::{Exit, failed, failed_by};
use crate::{output, process};

const READ_HINT: &str = "repeat the command: that is safe";
const CHANGE_HINT: &str = "the change may have been made: look before you repeat the command";

pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
    /// True if answers are printed as they came.
    pub(crate) json: bool,
}

/// An answer as it came, for `--json`, and as its type, for people.
pub(crate) struct ApiAnswer<T> {
    pub(crate) json: Value,
    pub(crate) view: T,
}

/// Problem details, as far as a command shows them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ProblemText {
    title: String,
    detail: String,
}

impl Api {
    /// By `--url` and `--token`, else by the configuration.
    pub(crate) fn open(config: Option<&Path>, address: &ConsoleAddress) -> anyhow::Result<Self> {
        let token = address.token.clone().map(SecretString::from);
        let (base, token) = match (&address.url, token) {
            (Some(url), token) => (url.clone(), token),
            (None, token) => {
                let config = process::load(config, OwnKeys::Unused)?;
                (format!("http://{}", config.console.listen), token.or(config.console.token))
            }
        };
        let url = Url::parse(&base).ok().filter(Url::has_host);
        let base = url.ok_or_else(|| failed(format!("--url {base} is no address"), "such as http://127.0.0.1:8081"))?;
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).no_proxy().build()?;
        Ok(Self { http, base, token, json: address.output.json })
    }

    /// Prints an answer: with `--json` as it came, else as the text that `text` makes of it. No text means: nothing
    /// found.
    pub(crate) fn print<T>(&self, answer: Option<ApiAnswer<T>>, text: impl FnOnce(&T) -> Option<String>) -> Exit {
        let Some(ApiAnswer { json, view }) = answer else { return Exit::NothingFound };
        let text = text(&view);
        match (&text, self.json) {
            (_, true) => output::json(&json),
            (Some(text), false) => output::line(text),
            (None, false) => {}
        }
        if text.is_some() { Exit::Done } else { Exit::NothingFound }
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> anyhow::Result<Option<ApiAnswer<T>>> {
        self.call(Method::GET, path, query, &()).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> anyhow::Result<Option<ApiAnswer<T>>> {
        self.call(Method::PUT, path, &(), body).await
    }

    /// `()` as the body sends none.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> anyhow::Result<Option<ApiAnswer<T>>> {
        self.call(Method::POST, path, &(), body).await
    }

    /// Calls the API under `/v1` and returns its answer; `None` where the console has no such thing.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &impl Serialize,
        body: &impl Serialize,
    ) -> anyhow::Result<Option<ApiAnswer<T>>> {
        let hint = if method == Method::GET { READ_HINT } else { CHANGE_HINT };
        let Some(response) = self.send(method, path, query, body).await? else { return Ok(None) };
        let json: Value = response.json().await.map_err(|error| {
            failed_by(error.without_url(), format!("cannot read the answer of {}", self.address()), hint)
        })?;
        let view = T::deserialize(&json).map_err(|error| {
            let what = format!("{} does not answer as a console of this version does", self.address());
            failed_by(error, what, hint)
        })?;
        Ok(Some(ApiAnswer { json, view }))
    }

    /// The exact bytes that were answered.
    pub(crate) async fn bytes(&self, path: &[&str]) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(response) = self.send(Method::GET, path, &(), &()).await? else { return Ok(None) };
        let bytes = response.bytes().await.map_err(|error| {
            failed_by(error.without_url(), format!("cannot read the answer of {}", self.address()), READ_HINT)
        })?;
        Ok(Some(bytes.to_vec()))
    }

    fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &impl Serialize,
        body: &impl Serialize,
    ) -> anyhow::Result<Option<Response>> {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an address with a host has a path").pop_if_empty().push("v1").extend(path);
        let mut request = self.http.request(method, url).query(query);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let body = serde_json::to_value(body)?;
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(|error| {
            failed_by(
                error.without_url(),
                format!("cannot reach the console at {}", self.address()),
                "start `payhook serve` or `payhook console` there, or name another address with --url",
            )
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(Some(response));
        }
        let ProblemText { title, detail } = response.json().await.unwrap_or_default();
        // Only the console's own title counts: another server's 404, ingress's among them, is no answer about an order.
        if status == StatusCode::NOT_FOUND && title == "Not found" {
            return Ok(None);
        }
        if status == StatusCode::UNAUTHORIZED {
            let hint = "pass --token, set PAYHOOK_TOKEN, or set [console] token in payhook.toml";
            return Err(failed("the console rejected the request: the token is missing or unknown (401)", hint));
        }
        let title = if title.is_empty() { "no reason given" } else { &title };
        let detail = if detail.is_empty() { "the log of the server at this address may say why" } else { &detail };
        Err(failed(format!("the console answered {}: {title}", status.as_u16()), detail))
    }
}
