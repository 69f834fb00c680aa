//! Asks a provider, and tells the account's breaker how it answered.

use std::sync::Arc;

use jiff::Timestamp;
use payhook_provider::{Account, AskError, Client, EventsPage, Grant, IssuedToken, RefundAnswer, dispute_in};
use payhook_schema::{About, Notification, Payment, PaymentFacts, PaymentId, PaymentKey, Refund, RefundId, Wallet};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::ask::breaker::{BreakerTurn, Breakers};
use crate::ask::budget::BudgetTurn;
use crate::ask::failure::HintFailure;
use crate::wait::Pause;

/// A turn at one account, with its breaker passed: everything asked in it is within the account's budget, and known to
/// its breaker.
pub(crate) struct Asking<'a> {
    client: &'a Client,
    breakers: &'a Breakers,
    account: Arc<Account>,
    turn: BudgetTurn<'a>,
    /// Asked on behalf of all that wait for the account: failing counts for none of them.
    pub(crate) is_probe: bool,
}

impl<'a> Asking<'a> {
    pub(crate) fn new(
        client: &'a Client,
        breakers: &'a Breakers,
        account: Arc<Account>,
        turn: BudgetTurn<'a>,
        is_probe: bool,
    ) -> Self {
        Self { client, breakers, account, turn, is_probe }
    }

    pub(crate) async fn payment(&self, id: &PaymentId) -> Result<PaymentFacts, AskError> {
        self.asked("payment", self.client.ask(&self.account, id)).await
    }

    pub(crate) async fn refund(&self, id: &RefundId) -> Result<RefundAnswer, AskError> {
        self.asked("refund", self.client.ask_refund(&self.account, id)).await
    }

    pub(crate) async fn token(&self, wallet: &Wallet, grant: Grant<'_>) -> Result<IssuedToken, AskError> {
        self.asked("token", self.client.apply_token(&self.account, wallet, grant)).await
    }

    pub(crate) async fn events(&self, from: Timestamp, to: Timestamp, offset: u32) -> Result<EventsPage, AskError> {
        self.asked("events", self.client.events(&self.account, from, to, offset)).await
    }

    /// Asks about a payment, and about refunds of it that are not settled by that answer: those somebody notified us
    /// of, and some of those `stored` as pending, other ones each time. Adds what notifications say of disputes that no
    /// answer carries.
    ///
    /// A refund that cannot be asked about says nothing against what was answered about the payment.
    pub(crate) async fn whole(
        &self,
        key: &PaymentKey,
        stored: Option<&Payment>,
        notifications: &[&Notification],
    ) -> Result<AnswerAboutPayment, AskError> {
        let mut facts = self.payment(&key.id).await?;
        let mut unanswered = Vec::new();
        facts.disputes.extend(notifications.iter().filter_map(|signed| dispute_in(signed, &signed.body)));
        if !key.provider.profile().has_refund_inquiry {
            return Ok(AnswerAboutPayment { facts, refunds: Vec::new(), unanswered });
        }

        let notified: Vec<&RefundId> = notifications.iter().filter_map(|signed| refund_named(signed)).collect();
        let pending = stored.map_or_else(Vec::new, pending_refunds);
        let mut refunds: Vec<RefundAnswer> = Vec::new();
        for id in notified.iter().copied().chain(pending) {
            let is_of = |refund: &Refund| refund.id == *id || refund.provider_reference.as_deref() == Some(id.as_str());
            if facts.refunds.iter().any(|refund| is_of(refund) && refund.state.is_final())
                || refunds.iter().any(|asked| is_of(&asked.refund))
            {
                continue;
            }
            // What is the account's trouble is the next question's, too: it is not asked any more.
            let last: Option<&HintFailure> = unanswered.last().map(|(_, failure)| failure);
            if let Some(trouble) = last.filter(|failure| !failure.class.is_the_payments()).cloned() {
                if notified.contains(&id) {
                    unanswered.push((id.clone(), trouble));
                }
                continue;
            }
            match self.refund(id).await {
                Ok(answer) => refunds.push(answer),
                // Announced, and not begun yet: nobody says that it was.
                Err(AskError::NotThere { .. }) if !notified.contains(&id) => {}
                Err(error) => unanswered.push((id.clone(), error.into())),
            }
        }
        Ok(AnswerAboutPayment { facts, refunds, unanswered })
    }

    /// Makes one call, notes how long it took and what class of answer it had.
    async fn asked<T>(
        &self,
        about: &'static str,
        call: impl Future<Output = Result<T, AskError>>,
    ) -> Result<T, AskError> {
        let question = self.turn.question().await;
        let started = Instant::now();
        let answer = call.await;
        drop(question);
        let outcome = match &answer {
            Ok(_) => "answered",
            Err(AskError::Unavailable { .. }) => "unavailable",
            Err(AskError::Throttled { .. }) => "throttled",
            Err(AskError::NotThere { .. }) => "not_there",
            Err(AskError::Refused { .. }) => "refused",
            Err(AskError::Misconfigured { .. }) => "misconfigured",
            Err(AskError::OutsideTables { .. }) => "outside_tables",
        };
        let labels = [("provider", self.account.provider().as_str()), ("about", about), ("outcome", outcome)];
        metrics::histogram!("payhook_inquiry_seconds", &labels).record(started.elapsed().as_secs_f64());
        self.note(&answer);
        answer
    }

    /// Tells the account's breaker how it answered, and everybody when that turns it.
    fn note<T>(&self, answer: &Result<T, AskError>) {
        let (provider, name) = (self.account.provider(), self.account.name());
        let paused = |value: f64| {
            let labels = [("provider", provider.to_string()), ("account", name.to_string())];
            metrics::gauge!("payhook_account_paused", &labels).set(value);
        };
        match self.breakers.note(provider, name, answer, Instant::now()) {
            BreakerTurn::Nothing => {}
            BreakerTurn::Closed => {
                paused(0.0);
                info!(account = %name, "{provider} account `{name}` answers again; what waited goes on");
            }
            BreakerTurn::Opened { why, pause } => {
                paused(1.0);
                metrics::counter!("payhook_account_pauses_total", "why" => why.as_str()).increment(1);
                let seconds = pause.as_secs();
                let last = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
                if why == Pause::Misconfigured {
                    error!(account = %name, "{provider} account `{name}` is paused, mend its configuration: {last}");
                } else {
                    warn!(account = %name, "{provider} account `{name}` is left alone for {seconds} s: {last}");
                }
            }
        }
    }
}

/// A provider's answer about a payment and its refunds.
pub(crate) struct AnswerAboutPayment {
    /// Its refunds are those that the payment's own answer lists.
    pub(crate) facts: PaymentFacts,
    /// Refunds asked about by themselves. Comparing the answer finds out if they are of this payment.
    pub(crate) refunds: Vec<RefundAnswer>,
    /// Refunds that could not be asked about, and why.
    pub(crate) unanswered: Vec<(RefundId, HintFailure)>,
}

impl AnswerAboutPayment {
    pub(crate) fn lists(&self, asked: &RefundAnswer) -> bool {
        self.facts.refunds.iter().any(|refund| refund.is_same(&asked.refund))
    }

    /// The facts with the refunds that were asked about by themselves, but for those that are of other payments.
    pub(crate) fn facts_without(&self, elsewhere: &[(RefundId, PaymentKey)]) -> PaymentFacts {
        let is_own = |asked: &&RefundAnswer| elsewhere.iter().all(|(id, _)| *id != asked.refund.id);
        let own: Vec<Refund> = self.refunds.iter().filter(is_own).map(|asked| asked.refund.clone()).collect();
        self.facts.clone().with_refunds(&own)
    }
}

/// Refunds asked about with one look at their payment, besides those somebody notified us of.
const PENDING_AT_ONCE: usize = 8;

/// Some refunds of a payment that are on their way: with many of them, other ones at each look.
fn pending_refunds(payment: &Payment) -> Vec<&RefundId> {
    let pending: Vec<&RefundId> =
        payment.refunds.iter().filter(|refund| !refund.state.is_final()).map(|refund| &refund.id).collect();
    let from = usize::try_from(payment.checks).unwrap_or(0).wrapping_mul(PENDING_AT_ONCE);
    let count = pending.len().min(PENDING_AT_ONCE);
    (0..count).map(|n| pending[(from + n) % pending.len()]).collect()
}

/// The refund a notification is about, if it is about one.
pub(crate) fn refund_named(notification: &Notification) -> Option<&RefundId> {
    match &notification.about {
        About::Refund { id, .. } => Some(id),
        About::Payment(_) | About::Reference(_) | About::Authorization(_) | About::Other | About::Unreadable(_) => None,
    }
}
