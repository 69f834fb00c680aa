//! Asks the providers, and says what an answer that does not come means.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{Clock, PaymentFacts, PaymentId, RefundId, Wallet};
use thiserror::Error;

use crate::account::{ProviderAccount, each};
use crate::retry::{RetryPolicy, with_retry};
use crate::transport::{Carrier, Http};
use crate::{Account, EventsPage, Grant, IssuedToken, RefundAnswer};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A whole inquiry, from connecting to the last byte.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// A short network failure is retried here; an outage goes through the queue.
const HICCUP: RetryPolicy = RetryPolicy { first_delay: Duration::from_millis(200), within: Duration::from_secs(1) };

/// The reason why a provider did not answer about a payment or refund, or gave no token. No variant says that a payment
/// failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AskError {
    /// Not reachable, too slow, in trouble, or unintelligible: ask again later. `connected` unless the request cannot
    /// have left us.
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
    pub(crate) fn not_offered(what: &str) -> Self {
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

/// Asks the providers. Connections are shared and used again.
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
            each!(account, account => account.ask(&self.http, payment, self.clock.now()).await)
        })
        .await
    }

    /// Asks for the current state of a refund. The answer's words about the refund's payment are not returned: ask for
    /// the payment, too.
    ///
    /// # Errors
    /// As for payments. [`AskError::OutsideTables`] where the provider has no inquiry for refunds
    /// (`Profile::has_refund_inquiry`).
    pub async fn ask_refund(&self, account: &Account, refund: &RefundId) -> Result<RefundAnswer, AskError> {
        with_retry(HICCUP, never_left, || async move {
            each!(account, account => account.ask_refund(&self.http, refund, self.clock.now()).await)
        })
        .await
    }

    /// Exchanges a code, or refreshes a token. A code can be exchanged once: a request that may have reached the
    /// provider is not sent again.
    ///
    /// # Errors
    /// [`AskError::Refused`] is the provider's final no to this code or token. After [`AskError::Unavailable`] with
    /// `connected` nobody knows whether it was used.
    pub async fn apply_token(
        &self,
        account: &Account,
        wallet: &Wallet,
        grant: Grant<'_>,
    ) -> Result<IssuedToken, AskError> {
        with_retry(HICCUP, never_left, || async move {
            each!(account, account => account.apply_token(&self.http, wallet, grant, self.clock.now()).await)
        })
        .await
    }

    /// Lists one page of an account's events from `from` to `to`, oldest first, including those no webhook
    /// delivered. The next page's `offset` is this one's plus [`EventsPage::entries`]. Keep `to` the same while paging,
    /// so that new events shift nothing.
    ///
    /// # Errors
    /// As for payments; an incomplete page returns no events. [`AskError::OutsideTables`] where the
    /// provider lists nothing (`Profile::lists_events`).
    pub async fn events(
        &self,
        account: &Account,
        from: Timestamp,
        to: Timestamp,
        offset: u32,
    ) -> Result<EventsPage, AskError> {
        with_retry(HICCUP, never_left, || async move {
            each!(account, account => account.events(&self.http, (from, to), offset, self.clock.now()).await)
        })
        .await
    }
}
