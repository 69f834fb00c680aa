use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{Clock, PaymentFacts, PaymentId, RefundId, Wallet};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

use crate::omise::EventsPage;
use crate::retry::{RetryPolicy, with_retry};
use crate::transport::{ANSWER_BYTES_MAX, Carrier, Http};
use crate::{Account, Grant, IssuedToken, OmiseAccount, RefundAnswer, antom, omise};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A whole inquiry, from connecting to the last byte.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// A short network failure is retried here; an outage goes through the queue.
const HICCUP: RetryPolicy = RetryPolicy { first_delay: Duration::from_millis(200), within: Duration::from_secs(1) };

/// A path segment keeps what RFC 3986 calls unreserved; `/`, `?` and `.` in an id stay inside their segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// The reason why a provider did not answer about a payment or refund, or gave no token. No variant says that a payment
/// failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AskError {
    /// Not reachable, too slow, in trouble, or unintelligible: ask again later. `connected` unless the request cannot have left us.
    #[error("{what}")]
    Unavailable { what: String, connected: bool },
    /// We ask too much: ask again after what the provider says, or later.
    #[error("the provider asks us to slow down")]
    Throttled { after: Option<Duration> },
    /// The provider does not know the payment or refund, or not yet.
    #[error("the provider does not know it ({code})")]
    NotThere { code: String },
    /// Our keys, ids or address are wrong for this account: every payment of it is affected, and a person must look.
    #[error("the account is misconfigured: {what}")]
    Misconfigured { what: String },
    /// A final no to this code or token; another one may be granted. Only where a token was applied for.
    #[error("the provider refused the code or token ({code})")]
    Refused { code: String },
    /// A signed answer outside the documented tables. Never guessed.
    #[error("the answer is outside the documented tables: {what}")]
    OutsideTables { what: String },
}

impl AskError {
    pub(crate) fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable { what: what.into(), connected: true }
    }

    /// A question this provider has no answer for. No request was sent.
    fn not_offered(what: &str) -> Self {
        Self::OutsideTables { what: what.to_owned() }
    }

    /// An answer that is not the provider's word: a proxy's page, half a body, another payment's.
    pub(crate) fn garbled(what: impl Into<String>) -> Self {
        Self::unavailable(format!("the answer cannot be used: {}", what.into()))
    }
}

/// Returns true if the request cannot have reached the provider: sending it again cannot repeat an effect.
fn never_left(error: &AskError) -> bool {
    matches!(error, AskError::Unavailable { connected: false, .. })
}

/// Asks the providers. Connections are kept and shared.
#[derive(Clone)]
pub struct Client {
    http: Http,
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
        Ok(Self { http: Http { client: http, carrier: None }, clock })
    }

    /// Sends its requests by `carrier` instead of the network, at the times of `clock`.
    #[must_use]
    pub fn carried_by(self, carrier: Arc<dyn Carrier>, clock: Clock) -> Self {
        Self { http: Http { carrier: Some(carrier), ..self.http }, clock }
    }

    /// Asks the provider what is true about a payment, now.
    ///
    /// # Errors
    /// Each variant of [`AskError`] is a class with its own treatment; a payment never changes on any of them.
    pub async fn ask(&self, account: &Account, payment: &PaymentId) -> Result<PaymentFacts, AskError> {
        with_retry(HICCUP, never_left, || async move {
            match account {
                Account::Antom(account) => {
                    let asked_at = self.clock.now();
                    let body = antom::inquiry_body(payment);
                    let answer = antom::call(&self.http, account, antom::INQUIRY_PAYMENT, body, asked_at).await?;
                    antom::read_inquiry(&answer, payment, asked_at)
                }
                Account::Omise(account) => self.ask_omise(account, payment).await,
            }
        })
        .await
    }

    /// Asks Antom for the current state of a refund. The answer's words about the refund's payment are not returned:
    /// ask for the payment, too.
    ///
    /// # Errors
    /// As for payments. With Omise a refund is read from its charge, and asking is [`AskError::OutsideTables`].
    pub async fn ask_refund(&self, account: &Account, refund: &RefundId) -> Result<RefundAnswer, AskError> {
        let account = match account {
            Account::Antom(account) => account,
            Account::Omise(_) => return Err(AskError::not_offered("Omise has no inquiry for refunds")),
        };
        with_retry(HICCUP, never_left, || async move {
            let body = antom::refund_inquiry_body(refund);
            let answer = antom::call(&self.http, account, antom::INQUIRY_REFUND, body, self.clock.now()).await?;
            antom::read_refund(&answer, refund)
        })
        .await
    }

    /// Exchanges a code, or refreshes a token. A code can be exchanged once: what may have reached Antom is not sent again.
    ///
    /// # Errors
    /// [`AskError::Refused`] is Antom's final no to this code or token. After [`AskError::Unavailable`] with `connected` nobody
    /// knows whether it was used.
    pub async fn apply_token(
        &self,
        account: &Account,
        wallet: &Wallet,
        grant: Grant<'_>,
    ) -> Result<IssuedToken, AskError> {
        let account = match account {
            Account::Antom(account) => account,
            Account::Omise(_) => return Err(AskError::not_offered("Omise has no tokens to apply for")),
        };
        with_retry(HICCUP, never_left, || async move {
            let body = antom::token_body(wallet, grant);
            let answer = antom::call(&self.http, account, antom::APPLY_TOKEN, body, self.clock.now()).await?;
            antom::read_token(&answer)
        })
        .await
    }

    /// Lists one page of an Omise account's events from `from` to `to`, oldest first, including those no webhook
    /// delivered. The next page's `offset` is this one's plus [`EventsPage::entries`]. Keep `to` the same while paging,
    /// so that new events shift nothing.
    ///
    /// # Errors
    /// As for payments; an incomplete page returns no events. Antom lists nothing: [`AskError::OutsideTables`].
    pub async fn events(
        &self,
        account: &Account,
        from: Timestamp,
        to: Timestamp,
        offset: u32,
    ) -> Result<EventsPage, AskError> {
        let account = match account {
            Account::Antom(_) => return Err(AskError::not_offered("Antom has no list of notifications")),
            Account::Omise(account) => account,
        };
        with_retry(HICCUP, never_left, || async move {
            let path = omise::events_path(from, to, offset);
            let page = omise::get(&self.http, account, &path, omise::PAGE_BYTES_MAX, self.clock.now()).await?;
            omise::read_events(&page, offset, account.livemode)
        })
        .await
    }

    /// `GET /charges/{id}` at a pinned version.
    async fn ask_omise(&self, account: &OmiseAccount, payment: &PaymentId) -> Result<PaymentFacts, AskError> {
        let path = format!("/charges/{}", utf8_percent_encode(payment.as_str(), SEGMENT));
        let asked_at = self.clock.now();
        let charge = omise::get(&self.http, account, &path, ANSWER_BYTES_MAX, asked_at).await?;
        omise::read_charge(&charge, payment, account.livemode, asked_at)
    }
}
