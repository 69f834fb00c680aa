//! Signed notifications, altered on purpose or not, and how they are sent.

use std::sync::Arc;
use std::time::Duration;

use payhook_schema::Provider;
use reqwest::Url;

use crate::antom::AntomKey;
use crate::journal::SentNotification;
use crate::shared::SimulatorState;
use crate::{Keys, SimulatorError, sample};

/// The answer to a notification.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    /// Returns true if the provider would accept the answer: status 200 and, as Antom requires, a `result` that says
    /// `S` if there is one.
    pub fn acknowledged(&self) -> bool {
        let status = |body: &str| {
            let body: serde_json::Value = serde_json::from_str(body).ok()?;
            Some(body.get("result")?.get("resultStatus")?.as_str()?.to_owned())
        };
        self.status == 200 && status(&self.body).is_none_or(|status| status == "S")
    }
}

/// A notification, signed and ready to be sent: as it is, or altered on the way.
///
/// Every field may be changed; the methods are the alterations that are wanted often.
#[derive(Clone)]
pub struct SignedRequest {
    pub method: String,
    /// Scheme, host and port of whom it goes to.
    pub origin: String,
    /// The path it is posted to, with its query if it has one; what was signed, for Antom.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    provider: Provider,
    about: String,
    shared: Arc<SimulatorState>,
}

impl SignedRequest {
    /// Signs `body` as `provider` would for `{base_url}{tail}`.
    pub(crate) fn new(
        shared: &Arc<SimulatorState>,
        provider: Provider,
        about: &str,
        base_url: &str,
        tail: &str,
        body: Vec<u8>,
    ) -> Result<Self, SimulatorError> {
        let wrong = || SimulatorError::BaseUrl(base_url.to_owned());
        let url = Url::parse(base_url).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
            return Err(wrong());
        }
        let request = Self {
            method: "POST".to_owned(),
            origin: url.origin().ascii_serialization(),
            path: format!("{}{tail}", url.path().trim_end_matches('/')),
            headers: Vec::new(),
            body,
            provider,
            about: about.to_owned(),
            shared: Arc::clone(shared),
        };
        Ok(request.signed_again())
    }

    /// Signs the request anew, now, with the provider's own key: after the body or path was changed on purpose.
    #[must_use]
    pub fn signed_again(self) -> Self {
        let client_id = self.client_id();
        self.for_client(&client_id)
    }

    /// Signs what the request is now with the keys of another world: right in form, and worthless.
    #[must_use]
    pub fn signed_by(self, keys: &Keys) -> Self {
        let version = self.shared.antom_key().version;
        self.signed_by_version(version, keys)
    }

    /// The same under a `keyVersion` of one's choice. Omise knows none: nothing but the secret changes.
    #[must_use]
    pub fn signed_by_version(self, version: u32, keys: &Keys) -> Self {
        let client_id = self.client_id();
        self.signed_with(&AntomKey { version, keys: keys.clone() }, &client_id, keys)
    }

    /// Says it is for another client, truly signed by Antom. Omise knows no client id: nothing changes.
    #[must_use]
    pub fn for_client(self, client_id: &str) -> Self {
        let (antom, keys) = (self.shared.antom_key().clone(), self.shared.keys.clone());
        self.signed_with(&antom, client_id, &keys)
    }

    fn client_id(&self) -> String {
        self.header("client-id").unwrap_or(self.shared.keys.client_id()).to_owned()
    }

    fn signed_with(mut self, antom: &AntomKey, client_id: &str, keys: &Keys) -> Self {
        let now = self.shared.clock.now();
        self.headers = match self.provider {
            Provider::Antom => {
                sample::sign_antom(antom.keys.antom(), antom.version, client_id, &self.path, now, &self.body)
            }
            Provider::Omise => sample::sign_omise(keys.webhook(), now, &self.body),
            #[cfg(debug_assertions)]
            Provider::Tamarind => crate::tamarind::sign(keys.webhook_secret(), now, &self.body),
        };
        self
    }

    /// Turns the lowest bit of one byte of the body, counted round from the start.
    #[must_use]
    pub fn flipped(mut self, index: usize) -> Self {
        let length = self.body.len().max(1);
        if let Some(byte) = self.body.get_mut(index % length) {
            *byte ^= 1;
        }
        self
    }

    /// Loses the blanks and newlines at the body's end: Omise's last newline, or the last byte of a body that has none.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        let end = self.body.trim_ascii_end().len();
        self.body.truncate(if end < self.body.len() { end } else { end.saturating_sub(1) });
        self
    }

    /// Reads the body and prints it again in the other layout: the same JSON, other bytes.
    #[must_use]
    pub fn reencoded(mut self) -> Self {
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&self.body) {
            self.body = match self.body.contains(&b'\n') {
                true => crate::json::compact(&value),
                false => crate::json::pretty(&value),
            };
        }
        self
    }

    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces a header, or adds it.
    #[must_use]
    pub fn with_header(self, name: &str, value: &str) -> Self {
        let mut request = self.without_header(name);
        request.headers.push((name.to_owned(), value.to_owned()));
        request
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Posts it once.
    pub async fn send(&self) -> Result<Reply, SimulatorError> {
        let url = format!("{}{}", self.origin, self.path);
        let at = self.shared.clock.now();
        let reply = self.post(&url).await;
        let status = reply.as_ref().ok().map(|reply| reply.status);
        let sent = SentNotification { provider: self.provider, about: self.about.clone(), url, at, status };
        self.shared.journal().sent(sent);
        reply.map_err(|error| SimulatorError::Undelivered(error.without_url()))
    }

    async fn post(&self, url: &str) -> reqwest::Result<Reply> {
        let method = reqwest::Method::from_bytes(self.method.as_bytes()).unwrap_or(reqwest::Method::POST);
        let mut request = self.shared.http.request(method, url).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        Ok(Reply { status: response.status().as_u16(), body: response.text().await? })
    }

    /// Posts it `times` times, one after the other.
    pub async fn send_times(&self, times: usize) -> Vec<Result<Reply, SimulatorError>> {
        let mut replies = Vec::with_capacity(times);
        for _ in 0..times {
            replies.push(self.send().await);
        }
        replies
    }

    /// Posts it `times` times at once.
    pub async fn send_together(&self, times: usize) -> Vec<Result<Reply, SimulatorError>> {
        let mut posts = tokio::task::JoinSet::new();
        for _ in 0..times {
            let request = self.clone();
            posts.spawn(async move { request.send().await });
        }
        posts.join_all().await
    }

    /// Posts it, and again after each of `delays` until it is acknowledged (`docs/providers/antom.md#resends`). The
    /// signature stays the first one: the documentation names no new one, and this is the harder case.
    pub async fn send_until_acknowledged(&self, delays: &[Duration]) -> Vec<Result<Reply, SimulatorError>> {
        let mut replies = vec![self.send().await];
        for delay in delays {
            if replies.last().is_some_and(|last| last.as_ref().is_ok_and(Reply::acknowledged)) {
                break;
            }
            tokio::time::sleep(*delay).await;
            replies.push(self.send().await);
        }
        replies
    }
}

impl std::fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}{} ({} bytes)", self.method, self.origin, self.path, self.body.len())
    }
}
