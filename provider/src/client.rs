use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use payhook_schema::{Clock, PaymentFacts, PaymentId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use secrecy::ExposeSecret;
use thiserror::Error;

use crate::retry::{RetryPolicy, with_retry};
use crate::{Account, AntomAccount, OmiseAccount, antom, omise};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A whole inquiry, from connecting to the last byte.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Charges have 3 to 6 KB; an answer beyond this is not one.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// One hiccup of the network is not worth a round through the queue; an outage is.
const HICCUP: RetryPolicy = RetryPolicy { first_delay: Duration::from_millis(200), within: Duration::from_secs(1) };
/// No `Retry-After` is obeyed beyond this: the schedule has its own longest wait.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(6);

/// A path segment keeps what RFC 3986 calls unreserved; `/`, `?` and `.` in an id stay inside their segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Why a provider told us nothing about a payment. None of these says that the payment failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AskError {
    /// Not reachable, too slow, in trouble, or unintelligible: ask again later.
    #[error("{what}")]
    Unavailable { what: String, connected: bool },
    /// We ask too much: ask again after what the provider says, or later.
    #[error("the provider asks us to slow down")]
    Throttled { after: Option<Duration> },
    /// The provider does not know the payment, or not yet.
    #[error("the provider does not know the payment ({code})")]
    NotThere { code: String },
    /// Our keys, ids or address are wrong for this account: every payment of it is affected, and a person must look.
    #[error("the account is misconfigured: {what}")]
    Misconfigured { what: String },
    /// A signed answer outside the documented tables. Never guessed.
    #[error("the answer is outside the documented tables: {what}")]
    OutsideTables { what: String },
}

impl AskError {
    pub(crate) fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable { what: what.into(), connected: true }
    }

    /// An answer that is not the provider's word: a proxy's page, half a body, another payment's.
    pub(crate) fn garbled(what: impl Into<String>) -> Self {
        Self::unavailable(format!("the answer cannot be used: {}", what.into()))
    }
}

/// Asks the providers. Connections are kept and shared.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    clock: Clock,
}

impl Client {
    pub fn new(clock: Clock) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ASK_TIMEOUT)
            // Addresses come from the configuration and from nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, clock })
    }

    /// Asks the provider what is true about a payment, now.
    ///
    /// # Errors
    /// Each variant of [`AskError`] is a class with its own treatment; a payment never changes on any of them.
    pub async fn ask(&self, account: &Account, payment: &PaymentId) -> Result<PaymentFacts, AskError> {
        let worth_waiting = |error: &AskError| matches!(error, AskError::Unavailable { connected: false, .. });
        with_retry(HICCUP, worth_waiting, || async move {
            match account {
                Account::Antom(account) => self.ask_antom(account, payment).await,
                Account::Omise(account) => self.ask_omise(account, payment).await,
            }
        })
        .await
    }

    /// `inquiryPayment`, signed by us, its answer's signature checked before anything of it is read.
    async fn ask_antom(&self, account: &AntomAccount, payment: &PaymentId) -> Result<PaymentFacts, AskError> {
        let Some(private_key) = &account.private_key else {
            return Err(AskError::Misconfigured { what: "private_key is missing".to_owned() });
        };
        let path = antom::api_path(account.sandbox, antom::INQUIRY_PAYMENT);
        let body = antom::inquiry_body(payment);
        let asked_at = self.clock.now();
        let time = asked_at.as_millisecond().to_string();
        let message = antom::signed_message(&path, &account.client_id, &time, body.as_bytes());
        let request = self
            .http
            .post(format!("{}{path}", account.api))
            .header(CONTENT_TYPE, "application/json; charset=UTF-8")
            .header("client-id", &account.client_id)
            .header("request-time", &time)
            .header("signature", antom::sign(private_key, account.private_key_version, &message))
            .body(body);
        let Answered { status, headers, body } = answered(request).await?;
        match status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => return Err(throttled(&headers, asked_at)),
            status => return Err(AskError::unavailable(format!("Antom answered {status}"))),
        }
        if !headers.contains_key("signature") && !antom::is_result(&body) {
            return Err(AskError::garbled("it is neither signed nor Antom's: a proxy may have answered"));
        }
        if !headers.contains_key("signature") {
            // The gateway signs nothing when it cannot tell who we are; its code is worth a log line and nothing more.
            return Err(AskError::Misconfigured {
                what: "Antom's answer is not signed: wrong key, client id or region".to_owned(),
            });
        }
        account.check_answer(&path, &headers, &body).map_err(AskError::garbled)?;
        antom::read_inquiry(&body, payment, asked_at)
    }

    /// `GET /charges/{id}` at a pinned version.
    async fn ask_omise(&self, account: &OmiseAccount, payment: &PaymentId) -> Result<PaymentFacts, AskError> {
        let Some(secret_key) = &account.secret_key else {
            return Err(AskError::Misconfigured { what: "secret_key is missing".to_owned() });
        };
        let id = utf8_percent_encode(payment.as_str(), SEGMENT);
        let asked_at = self.clock.now();
        let request = self
            .http
            .get(format!("{}/charges/{id}", account.api))
            .basic_auth(secret_key.expose_secret(), Some(""))
            .header("omise-version", omise::API_VERSION);
        let Answered { status, headers, body } = answered(request).await?;
        match status.as_u16() {
            200 => {}
            401 | 403 => {
                return Err(AskError::Misconfigured {
                    what: format!("Omise answered {status}: wrong secret key or mode"),
                });
            }
            404 => return Err(AskError::NotThere { code: "not_found".to_owned() }),
            429 => return Err(throttled(&headers, asked_at)),
            400 if omise::is_their_trouble(&body) => return Err(AskError::unavailable("Omise answered backend_error")),
            400..=499 => return Err(AskError::OutsideTables { what: format!("Omise answered {status}") }),
            _ => return Err(AskError::unavailable(format!("Omise answered {status}"))),
        }
        if headers.get("omise-version").is_some_and(|version| version != omise::API_VERSION) {
            return Err(AskError::garbled("it is of another API version than asked for"));
        }
        omise::read_charge(&body, payment, account.livemode, asked_at)
    }
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Sends a request and takes the whole answer, within limits.
async fn answered(request: reqwest::RequestBuilder) -> Result<Answered, AskError> {
    let mut response = request.send().await.map_err(|error| transport(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(AskError::garbled(format!("it has more than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status, headers, body })
}

/// What went wrong on the way, without the address: it can carry an id.
fn transport(error: &reqwest::Error) -> AskError {
    let what = match error {
        error if error.is_timeout() => "the provider did not answer in time",
        error if error.is_connect() => "the provider cannot be reached",
        _ => "the connection to the provider broke off",
    };
    AskError::Unavailable { what: what.to_owned(), connected: !error.is_connect() || error.is_timeout() }
}

/// `Retry-After` in seconds or as an HTTP date.
fn throttled(headers: &HeaderMap, now: Timestamp) -> AskError {
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = text.and_then(|text| match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
            Duration::try_from(at.duration_since(now)).ok()
        }
    });
    AskError::Throttled { after: after.map(|after| after.min(RETRY_AFTER_MAX)) }
}
