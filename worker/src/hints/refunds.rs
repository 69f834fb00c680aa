//! Finds out which payment the refunds in an answer are of. Neither Antom's notification of a refund nor its answer
//! about one has to name a payment, so it may be announced for the wrong one.
//!
//! | who says that a refund is of a payment | while it is pending elsewhere | once it is settled elsewhere |
//! |---|---|---|
//! | the payment's own answer lists it | it moves here | an objection |
//! | the answer about the refund names the payment | it moves there | an objection |
//! | nobody | it stays where it was announced | it stays |

use payhook_provider::RefundAnswer;
use payhook_schema::{AccountName, NewRefund, Order, PaymentKey, Provider, RefundId};
use payhook_store::PaymentName;

use crate::ask::asking::AnswerAboutPayment;
use crate::hints::Hints;
use crate::store_retry::GaveUp;

/// Refunds in an answer about one payment that are of other payments, and of which. None of their money is booked here.
#[derive(Default)]
pub(crate) struct OfOthers {
    /// Settled there or here before: a person must look.
    pub(crate) foreign: Vec<(RefundId, PaymentKey)>,
    /// Asked about on the way, and settled with the payment they are of.
    pub(crate) elsewhere: Vec<(RefundId, PaymentKey)>,
}

/// The refunds that were asked about by themselves, and that are of another payment by its id. Refunds that the
/// payment's own answer lists are its own.
pub(crate) fn named_elsewhere(key: &PaymentKey, answer: &AnswerAboutPayment) -> Vec<(RefundId, PaymentKey)> {
    let other = |asked: &RefundAnswer| {
        let id = asked.payment.clone().filter(|id| *id != key.id)?;
        Some((asked.refund.id.clone(), PaymentKey { id, ..key.clone() }))
    };
    answer.refunds.iter().filter(|asked| !answer.lists(asked)).filter_map(other).collect()
}

impl Hints {
    /// Sorts out the refunds of other payments. A refund that is only announced goes where the provider says that it
    /// belongs. Both orders have a new revision then, so that all that was decided on the old one, this answer too, is
    /// decided again.
    pub(crate) async fn refunds_of_others(
        &self,
        order: &Order,
        key: &PaymentKey,
        answer: &AnswerAboutPayment,
    ) -> Result<OfOthers, GaveUp> {
        let stored = order.payment(key).map_or(&[][..], |payment| &payment.refunds);
        let known = |id: &RefundId| stored.iter().find(|refund| refund.id == *id);
        let mut of_others = OfOthers::default();
        for refund in answer.facts.refunds.iter().filter(|refund| known(&refund.id).is_none()) {
            if let Some(owner) = self.other_owner(key, &refund.id).await?
                && !self.assign(&refund.id, key).await?
            {
                of_others.foreign.push((refund.id.clone(), owner));
            }
        }
        for asked in answer.refunds.iter().filter(|asked| !answer.lists(asked)) {
            let id = &asked.refund.id;
            match (self.payment_of(key, asked).await?, known(id)) {
                (Some(other), Some(refund)) if other != *key && refund.state.is_final() => {
                    of_others.foreign.push((id.clone(), other));
                }
                (Some(other), _) if other != *key => {
                    self.assign(id, &other).await?;
                    of_others.elsewhere.push((id.clone(), other));
                }
                (_, Some(_)) => {}
                (named, None) => {
                    if let Some(owner) = self.other_owner(key, id).await? {
                        match named {
                            None => of_others.elsewhere.push((id.clone(), owner)),
                            Some(_) if self.assign(id, key).await? => {}
                            Some(_) => of_others.foreign.push((id.clone(), owner)),
                        }
                    }
                }
            }
        }
        Ok(of_others)
    }

    /// Returns the payment that the answer about a refund names, by its id or by a reference that we know.
    async fn payment_of(&self, key: &PaymentKey, asked: &RefundAnswer) -> Result<Option<PaymentKey>, GaveUp> {
        match (&asked.payment, &asked.reference) {
            (Some(id), _) => Ok(Some(PaymentKey { id: id.clone(), ..key.clone() })),
            (None, Some(reference)) => self.payment_by_reference(key.provider, &key.account, reference).await,
            (None, None) => Ok(None),
        }
    }

    /// Returns the payment that a refund is known to be of, where that is not `key`.
    async fn other_owner(&self, key: &PaymentKey, id: &RefundId) -> Result<Option<PaymentKey>, GaveUp> {
        let owner = self.payment_of_refund(key.provider, &key.account, id).await?;
        Ok(owner.filter(|owner| owner != key))
    }

    pub(super) async fn payment_by_reference(
        &self,
        provider: Provider,
        account: &AccountName,
        reference: &str,
    ) -> Result<Option<PaymentKey>, GaveUp> {
        self.named(PaymentName::Reference { provider, account: account.clone(), reference: reference.to_owned() }).await
    }

    pub(super) async fn payment_of_refund(
        &self,
        provider: Provider,
        account: &AccountName,
        id: &RefundId,
    ) -> Result<Option<PaymentKey>, GaveUp> {
        self.named(PaymentName::Refund { provider, account: account.clone(), id: id.clone() }).await
    }

    async fn named(&self, name: PaymentName) -> Result<Option<PaymentKey>, GaveUp> {
        self.context.store_retry("looking a payment up", || self.context.store.payment_named(&name)).await
    }

    async fn assign(&self, id: &RefundId, to: &PaymentKey) -> Result<bool, GaveUp> {
        let refund = NewRefund { payment: to.clone(), id: id.clone() };
        let now = self.context.clock.now();
        self.context.store_retry("moving a refund", || self.context.store.refund_assign(&refund, now)).await
    }
}
