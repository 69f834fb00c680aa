//! Receives a notification: checks it, publishes it, and only then answers that it was accepted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Request};
use axum::routing::post;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::SignedDuration;
use payhook_provider::{Account, Accounts, Protocol, Received, Refusal};
use payhook_queue::Queue;
use payhook_schema::{About, AccountName, BODY_BYTES_MAX, Clock, Envelope, Hint, Notification, Provider, new_id};
use payhook_vault::Vault;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::answer::NotifyAnswer;
use crate::flood::{Flood, RefusalLog};
use crate::repeats::{RepeatCheck, Repeats};

/// Antom's last resend comes 24 h 22 min after the first.
const AGE_ALARM: SignedDuration = SignedDuration::from_hours(25);
/// Clocks differ; by more than this, one of them is wrong.
const AHEAD_ALARM: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, Clone)]
pub struct IngressOptions {
    /// The path a proxy strips: `/pay` of `public_base = "https://shop.example/pay"`. The path that the provider signed
    /// has this prefix.
    pub public_path: String,
    /// The time a body may take to arrive.
    pub body_timeout: Duration,
    pub body_bytes_max: usize,
    /// Refusals a second beyond which forgeries are answered 429, and no refusal is logged by itself.
    pub unverified_per_s: u32,
    /// Repeats a second of one account beyond which they are answered 429: requests that this process made durable
    /// lately.
    pub repeats_per_s: u32,
}

impl Default for IngressOptions {
    fn default() -> Self {
        Self {
            public_path: String::new(),
            body_timeout: Duration::from_secs(5),
            body_bytes_max: BODY_BYTES_MAX,
            unverified_per_s: 50,
            repeats_per_s: 20,
        }
    }
}

/// The state that every request needs.
pub struct Ingress {
    accounts: Accounts,
    queue: Arc<dyn Queue>,
    clock: Clock,
    /// Seals what carries a customer's token before it is on any disk.
    vault: Vault,
    options: IngressOptions,
    flood: Flood,
    repeats: Repeats,
}

impl Ingress {
    pub fn new(accounts: Accounts, queue: Arc<dyn Queue>, clock: Clock, vault: Vault, options: IngressOptions) -> Self {
        let (flood, repeats) = (Flood::new(options.unverified_per_s), Repeats::new(options.repeats_per_s));
        Self { accounts, queue, clock, vault, options, flood, repeats }
    }
}

/// The routes that providers post to. Every other path, method or account gets its own answer.
pub fn routes(ingress: Ingress) -> Router {
    let mut router = Router::new();
    for &provider in Provider::ALL {
        for end in Protocol::of(provider).notify {
            let take = post(move |state, account, request| receive(provider, state, account, request));
            router = router.route(&format!("/{provider}/{{account}}{end}"), take);
        }
    }
    router
        .fallback(async || NotifyAnswer::NoSuchPath)
        .method_not_allowed_fallback(async || NotifyAnswer::NoSuchMethod)
        .with_state(Arc::new(ingress))
}

async fn receive(
    provider: Provider,
    State(ingress): State<Arc<Ingress>>,
    Path(account): Path<String>,
    request: Request<Body>,
) -> NotifyAnswer {
    let started = Instant::now();
    let account = AccountName::new(account).ok();
    let answer = match account.as_ref().and_then(|name| ingress.accounts.get(provider, name)) {
        Some(account) => ingress.take(&account, request).await,
        // Only a name of the right form is for a log.
        None => {
            let name = account.as_ref().map_or("-", AccountName::as_str);
            ingress.refuse(provider, name, NotifyAnswer::NoSuchPath, "no such account is configured", 0)
        }
    };
    let labels = [("provider", provider.as_str()), ("outcome", answer.word())];
    metrics::counter!("payhook_ingress_requests_total", &labels).increment(1);
    metrics::histogram!("payhook_ingress_answer_seconds", &labels).record(started.elapsed().as_secs_f64());
    answer
}

impl Ingress {
    /// Takes a request in the order that costs least first: form, size, signature, meaning, durability.
    async fn take(&self, account: &Account, request: Request<Body>) -> NotifyAnswer {
        let (parts, body) = request.into_parts();
        let refuse = |answer: NotifyAnswer, why: &str, body_bytes: usize| {
            self.refuse(account.provider(), account.name().as_str(), answer, why, body_bytes)
        };
        if !is_json(&parts.headers) {
            return refuse(NotifyAnswer::NotJson, "its content type or encoding is not plain JSON", 0);
        }
        let body = match self.read(&parts.headers, body).await {
            Ok(body) => body,
            Err((answer, why)) => return refuse(answer, why, 0),
        };

        let now = self.clock.now();
        let path = format!("{}{}", self.options.public_path, parts.uri.path());
        let received = Received {
            path: &path,
            query: parts.uri.query(),
            headers: &parts.headers,
            body: &body,
            at: now,
            id: new_id(now),
        };
        let notification = match payhook_provider::verify(account, &received) {
            Ok(notification) => notification,
            Err(Refusal::NotGenuine(why) | Refusal::Unreadable(why)) => {
                return refuse(NotifyAnswer::NotGenuine, &why, body.len());
            }
            Err(Refusal::Malformed(why)) => return refuse(NotifyAnswer::Malformed, &why, body.len()),
        };

        let signed = notification.signed_id;
        if let Some(signed) = signed
            && self.is_beyond_limit(account, signed)
        {
            return NotifyAnswer::TooManyRepeats;
        }
        watch_age(&notification);
        if let About::Unreadable(why) = &notification.about {
            metrics::counter!("payhook_ingress_unreadable_total", "provider" => account.provider().as_str())
                .increment(1);
            let (id, name) = (notification.id, account.name());
            warn!(notification.id = %id, account = %name, body_bytes = body.len(), "accepted what cannot be interpreted: {why}");
        }
        let mut envelope = Envelope::notification(notification);
        if let Hint::Notification(notification) = &mut envelope.hint {
            self.vault.seal_body(notification);
        }
        match self.queue.publish(&envelope).await {
            Ok(()) => {
                if let Some(signed) = signed {
                    self.repeats.durable(account.provider(), account.name(), signed);
                }
                debug!(notification.id = %envelope.id, provider = %account.provider(), account = %account.name(), "accepted");
                NotifyAnswer::Accepted(account.provider())
            }
            Err(error) => refuse(NotifyAnswer::NotDurable, &format!("it cannot be made durable: {error}"), body.len()),
        }
    }

    /// Counts a repeat. Returns true if it is beyond the limit.
    fn is_beyond_limit(&self, account: &Account, signed: Uuid) -> bool {
        let (provider, name) = (account.provider(), account.name());
        let check = self.repeats.check(provider, name, signed, self.clock.now());
        if check != RepeatCheck::First {
            metrics::counter!("payhook_ingress_repeats_total", "provider" => provider.as_str()).increment(1);
        }
        if let RepeatCheck::TooMany { log: true } = check {
            warn!(%provider, account = %name, "answering 429 for the rest of this second: requests that are stored are sent again and again");
        }
        matches!(check, RepeatCheck::TooMany { .. })
    }

    /// Answers a refused request and logs it, with one line at most: a flood must not fill the log.
    fn refuse(
        &self,
        provider: Provider,
        name: &str,
        answer: NotifyAnswer,
        why: &str,
        body_bytes: usize,
    ) -> NotifyAnswer {
        let missed = match self.flood.refused(self.clock.now()) {
            RefusalLog::Write { missed } => missed,
            RefusalLog::Skip if matches!(answer, NotifyAnswer::NotGenuine | NotifyAnswer::Malformed) => {
                return NotifyAnswer::TooManyUnverified;
            }
            RefusalLog::Skip => return answer,
        };
        warn!(%provider, account = %name, outcome = answer.word(), body_bytes, missed, "refused a request: {why}");
        answer
    }

    /// The whole body, within size and time.
    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, (NotifyAnswer, &'static str)> {
        const TOO_LARGE: (NotifyAnswer, &str) = (NotifyAnswer::TooLarge, "its body is too large");
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > self.options.body_bytes_max) {
            return Err(TOO_LARGE);
        }
        let limited = Limited::new(body, self.options.body_bytes_max).collect();
        match tokio::time::timeout(self.options.body_timeout, limited).await {
            Err(_) => Err((NotifyAnswer::TooSlow, "its body did not arrive in time")),
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TOO_LARGE),
            Ok(Err(_)) => Err((NotifyAnswer::Malformed, "its body broke off")),
        }
    }
}

/// Raises an alarm if a signature is older than the providers' last resend, or ahead of our clock. No provider
/// documents how old a genuine signature may be.
fn watch_age(notification: &Notification) {
    let Some(signed_at) = notification.signed_at else { return };
    let age = notification.received_at.duration_since(signed_at);
    if age > AGE_ALARM || age < -AHEAD_ALARM {
        let (provider, account) = (notification.provider, &notification.account);
        metrics::counter!("payhook_signature_age_alarms_total", "provider" => provider.as_str()).increment(1);
        warn!(%provider, %account, notification.id = %notification.id, age_s = age.as_secs(), "signed {} s ago", age.as_secs());
    }
}

/// `application/json`, in UTF-8 where it says, and not compressed: the bytes must be the ones that were signed.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(Ok(content_type)), None) = (types.next().map(|value| value.to_str()), types.next()) else {
        return false;
    };
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    json && utf8 && headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

#[cfg(test)]
mod tests;
