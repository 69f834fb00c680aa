use std::sync::Arc;
use std::time::Instant;

use payhook_provider::{Account, AskError, RefundAnswer, dispute_told};
use payhook_schema::{About, AccountName, Notification, Payment, PaymentFacts, PaymentKey, Provider, Refund, RefundId};

use crate::flights::InHand;
use crate::outcome::notification;
use crate::worker::Context;

impl Context {
    /// Asks the provider about one payment, under the account it is registered with.
    pub(crate) async fn ask(&self, key: &PaymentKey) -> Result<PaymentFacts, AskError> {
        let account = self.account(key.provider, &key.account)?;
        measured(key.provider, "payment", self.client.ask(&account, &key.id)).await
    }

    /// Asks about a payment, and about every refund of it that is not settled by that answer: those somebody notified us of, and
    /// those `stored` as pending. What notifications say of disputes, for which Antom has no inquiry, is added.
    pub(crate) async fn ask_whole(
        &self,
        key: &PaymentKey,
        stored: Option<&Payment>,
        passengers: &[InHand],
    ) -> Result<PaymentFacts, AskError> {
        let mut facts = self.ask(key).await?;
        if key.provider != Provider::Antom {
            return Ok(facts);
        }
        let notifications = || passengers.iter().filter_map(|passenger| notification(&passenger.delivery));
        facts.disputes.extend(notifications().filter_map(|it| dispute_told(it, &it.body)));

        let notified: Vec<&RefundId> = notifications().filter_map(refund_named).collect();
        let pending = stored.into_iter().flat_map(|payment| &payment.refunds).filter(|it| !it.state.is_final());
        let mut refunds: Vec<Refund> = Vec::new();
        for id in notified.iter().copied().chain(pending.map(|refund| &refund.id)) {
            let told = |refund: &Refund| refund.id == *id || refund.provider_reference.as_deref() == Some(id.as_str());
            if facts.refunds.iter().any(|refund| told(refund) && refund.state.is_final()) || refunds.iter().any(told) {
                continue;
            }
            match self.ask_refund(key.provider, &key.account, id).await {
                Ok(answer) => refunds.push(answer.refund),
                // Announced, and not begun yet: nobody says that it was.
                Err(AskError::NotThere { .. }) if !notified.contains(&id) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(facts.with_refunds(&refunds))
    }

    /// Asks about one refund, under one of our accounts.
    pub(crate) async fn ask_refund(
        &self,
        provider: Provider,
        account: &AccountName,
        id: &RefundId,
    ) -> Result<RefundAnswer, AskError> {
        let account = self.account(provider, account)?;
        measured(provider, "refund", self.client.ask_refund(&account, id)).await
    }

    pub(crate) fn account(&self, provider: Provider, name: &AccountName) -> Result<Arc<Account>, AskError> {
        self.accounts
            .get(provider, name)
            .ok_or_else(|| AskError::Misconfigured { what: format!("{provider} account `{name}` is not configured") })
    }
}

/// The refund a notification is about, if it is about one.
pub(crate) fn refund_named(notification: &Notification) -> Option<&RefundId> {
    match &notification.about {
        About::Refund { id, .. } => Some(id),
        About::Payment(_) | About::Reference(_) | About::Authorization(_) | About::Other => None,
    }
}

/// Notes how long a call took and what class of answer it had.
pub(crate) async fn measured<T>(
    provider: Provider,
    about: &'static str,
    call: impl Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    let started = Instant::now();
    let answer = call.await;
    let outcome = match &answer {
        Ok(_) => "answered",
        Err(AskError::Unavailable { .. }) => "unavailable",
        Err(AskError::Throttled { .. }) => "throttled",
        Err(AskError::NotThere { .. }) => "not_there",
        Err(AskError::Refused { .. }) => "refused",
        Err(AskError::Misconfigured { .. }) => "misconfigured",
        Err(AskError::OutsideTables { .. }) => "outside_tables",
    };
    let labels = [("provider", provider.as_str()), ("about", about), ("outcome", outcome)];
    metrics::histogram!("payhook_inquiry_seconds", &labels).record(started.elapsed().as_secs_f64());
    answer
}
