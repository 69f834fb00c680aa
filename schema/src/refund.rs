//! Describes refunds and disputes, and merges what several answers say about them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DisputeId, DisputeState, Money, PaymentKey, RefundId, RefundState};

/// Money on its way back to the customer, as the provider states it and as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The merchant's name for it with Antom, Omise's own with Omise.
    pub id: RefundId,
    /// Antom's `refundId`; Omise's `transaction`.
    pub provider_reference: Option<String>,
    pub state: RefundState,
    /// Absent while it is announced and the provider has not named it.
    pub amount: Option<Money>,
    /// Undone before settlement instead of paid back: the customer never sees either.
    pub voided: bool,
    /// The provider's word for why it failed, as it spells it.
    pub reason: Option<String>,
    /// The time when it was done, by the provider's clock.
    pub occurred_at: Option<Timestamp>,
}

impl Refund {
    /// Makes a refund that the merchant announced and the provider has not named yet.
    pub fn announced(id: RefundId) -> Self {
        Self {
            id,
            provider_reference: None,
            state: RefundState::Pending,
            amount: None,
            voided: false,
            reason: None,
            occurred_at: None,
        }
    }

    /// Returns true if both are the same refund. A provider may leave out one of the two names.
    pub fn is_same(&self, other: &Self) -> bool {
        let references = (&self.provider_reference, &other.provider_reference);
        self.id == other.id || matches!(references, (Some(left), Some(right)) if left == right)
    }

    /// Returns the refund after an answer that states `stated`. A known fact stays where `stated` lacks it.
    #[must_use]
    pub fn then(&self, stated: &Self) -> Self {
        let state = self.state.then(stated.state);
        // The answer that made the final state says most about it.
        let (first, second) = if state == stated.state { (stated, self) } else { (self, stated) };
        Self {
            id: self.id.clone(),
            provider_reference: first.provider_reference.clone().or_else(|| second.provider_reference.clone()),
            state,
            amount: first.amount.or(second.amount),
            voided: self.voided || stated.voided,
            reason: first.reason.clone().filter(|_| state == RefundState::Failed),
            occurred_at: first.occurred_at.or(second.occurred_at),
        }
    }
}

/// A refund that the merchant announces. Antom's notification of it names no payment, so only the merchant knows its
/// payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRefund {
    pub payment: PaymentKey,
    pub id: RefundId,
}

/// A customer's dispute of a payment, as the provider states it and as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    pub id: DisputeId,
    pub state: DisputeState,
    pub amount: Option<Money>,
    /// The provider's word: its reason code while it is open, its judgement once it is over.
    pub reason: Option<String>,
    /// Until when the merchant may answer.
    pub answer_by: Option<Timestamp>,
    pub occurred_at: Option<Timestamp>,
}

impl Dispute {
    /// Returns the dispute after an answer that states `stated`.
    #[must_use]
    pub fn then(&self, stated: &Self) -> Self {
        let state = self.state.then(stated.state);
        let (first, second) = if state == stated.state { (stated, self) } else { (self, stated) };
        Self {
            id: self.id.clone(),
            state,
            amount: first.amount.or(second.amount),
            reason: first.reason.clone().or_else(|| second.reason.clone()),
            answer_by: first.answer_by.or(second.answer_by),
            occurred_at: first.occurred_at.or(second.occurred_at),
        }
    }
}

/// Returns each refund once. A provider may name a refund in two ways before one answer shows that both are the same.
pub fn distinct(refunds: &[Refund]) -> impl Iterator<Item = &Refund> {
    let is_first = |(index, refund): &(usize, &Refund)| !refunds[..*index].iter().any(|known| known.is_same(refund));
    refunds.iter().enumerate().filter(is_first).map(|(_, refund)| refund)
}

/// Merges what an answer states into what is known. The order in which things became known stays.
pub(crate) fn merge<T: Clone>(
    known: &[T],
    stated: &[T],
    same: impl Fn(&T, &T) -> bool,
    then: impl Fn(&T, &T) -> T,
) -> Vec<T> {
    let mut merged = known.to_vec();
    for stated in stated {
        let mut is_known = false;
        for known in merged.iter_mut().filter(|known| same(known, stated)) {
            *known = then(known, stated);
            is_known = true;
        }
        if !is_known {
            merged.push(stated.clone());
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refund(id: &str, state: RefundState) -> Refund {
        Refund { state, ..Refund::announced(RefundId::new(id).unwrap()) }
    }

    #[test]
    fn a_refund_forgets_no_fact_and_never_goes_back() {
        let done = Refund { amount: "500.00 THB".parse().ok(), ..refund("RF-1", RefundState::Succeeded) };
        let late = Refund { reason: Some("PROCESS_FAIL".to_owned()), ..refund("RF-1", RefundState::Failed) };
        assert_eq!(done.then(&late), done);
        let revived = late.then(&done);
        assert_eq!((revived.state, revived.reason), (RefundState::Succeeded, None));
    }

    #[test]
    fn a_refund_is_the_same_by_either_of_its_names() {
        let named = Refund { provider_reference: Some("2024".to_owned()), ..refund("RF-1", RefundState::Pending) };
        let other = Refund { provider_reference: Some("2024".to_owned()), ..refund("2024", RefundState::Succeeded) };
        let merged = merge(&[named], &[other], Refund::is_same, Refund::then);
        assert_eq!(merged.len(), 1);
        assert_eq!((merged[0].id.as_str(), merged[0].state), ("RF-1", RefundState::Succeeded));
    }

    #[test]
    fn a_refund_with_two_names_is_one_as_soon_as_an_answer_has_both() {
        let amount = "30.00 THB".parse().ok();
        let announced = refund("RF-1", RefundState::Pending);
        let by_its_reference = Refund {
            provider_reference: Some("2026-9".to_owned()),
            amount,
            ..refund("2026-9", RefundState::Succeeded)
        };
        let known = merge(&[announced], std::slice::from_ref(&by_its_reference), Refund::is_same, Refund::then);
        assert_eq!(distinct(&known).count(), 2, "no answer shows that they are one");
        let stated = Refund { id: RefundId::new("RF-1").unwrap(), ..by_its_reference };
        let known = merge(&known, &[stated], Refund::is_same, Refund::then);
        assert!(known.iter().all(|refund| refund.state == RefundState::Succeeded), "neither is pending for ever");
        assert_eq!(distinct(&known).map(|refund| refund.id.as_str()).collect::<Vec<_>>(), ["RF-1"]);
    }
}
