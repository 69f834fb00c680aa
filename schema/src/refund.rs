use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DisputeId, DisputeState, Money, PaymentKey, RefundId, RefundState};

/// Money on its way back to the customer: as the provider told it, and as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The merchant's name for it with Antom, Omise's own with Omise.
    pub id: RefundId,
    /// Antom's `refundId`; Omise's `transaction`.
    pub provider_reference: Option<String>,
    pub state: RefundState,
    /// Absent while it is registered and the provider has not told of it.
    pub amount: Option<Money>,
    /// Undone before settlement instead of paid back: the customer never sees either.
    pub voided: bool,
    /// The provider's word for why it failed, as it spells it.
    pub reason: Option<String>,
    /// The time when it was done, by the provider's clock.
    pub occurred_at: Option<Timestamp>,
}

impl Refund {
    /// A refund that was announced, and not told of by the provider yet.
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

    /// Returns the refund after an answer with `told`: a known fact is not forgotten because `told` lacks
    /// it.
    #[must_use]
    pub fn then(&self, told: &Self) -> Self {
        let state = self.state.then(told.state);
        // What was told of the state we end in is what counts about it.
        let (first, second) = if state == told.state { (told, self) } else { (self, told) };
        Self {
            id: self.id.clone(),
            provider_reference: first.provider_reference.clone().or_else(|| second.provider_reference.clone()),
            state,
            amount: first.amount.or(second.amount),
            voided: self.voided || told.voided,
            reason: first.reason.clone().filter(|_| state == RefundState::Failed),
            occurred_at: first.occurred_at.or(second.occurred_at),
        }
    }
}

/// A refund as the merchant announces it: with Antom its notification names no payment, so only the merchant knows of which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRefund {
    pub payment: PaymentKey,
    pub id: RefundId,
}

/// A customer's dispute of a payment, as the provider told it and as the store keeps it.
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
    /// Returns the dispute after an answer with `told`.
    #[must_use]
    pub fn then(&self, told: &Self) -> Self {
        let state = self.state.then(told.state);
        let (first, second) = if state == told.state { (told, self) } else { (self, told) };
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

/// Each refund once. A provider may tell one under two names before it says that both are the same; from then on both are known to be.
pub fn distinct(refunds: &[Refund]) -> impl Iterator<Item = &Refund> {
    let is_first = |(index, refund): &(usize, &Refund)| !refunds[..*index].iter().any(|known| known.is_same(refund));
    refunds.iter().enumerate().filter(is_first).map(|(_, refund)| refund)
}

/// Adds what was told to everything known that it is the same as; the order in which things became known stays.
pub(crate) fn merge<T: Clone>(
    known: &[T],
    told: &[T],
    same: impl Fn(&T, &T) -> bool,
    then: impl Fn(&T, &T) -> T,
) -> Vec<T> {
    let mut merged = known.to_vec();
    for told in told {
        let mut is_known = false;
        for known in merged.iter_mut().filter(|known| same(known, told)) {
            *known = then(known, told);
            is_known = true;
        }
        if !is_known {
            merged.push(told.clone());
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
    fn a_refund_keeps_what_was_known_and_never_goes_back() {
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
    fn a_refund_first_told_under_two_names_is_one_as_soon_as_both_are_told_together() {
        let amount = "30.00 THB".parse().ok();
        let announced = refund("RF-1", RefundState::Pending);
        let by_its_reference = Refund {
            provider_reference: Some("2026-9".to_owned()),
            amount,
            ..refund("2026-9", RefundState::Succeeded)
        };
        let known = merge(&[announced], std::slice::from_ref(&by_its_reference), Refund::is_same, Refund::then);
        assert_eq!(distinct(&known).count(), 2, "nobody has said that they are one");
        let told = Refund { id: RefundId::new("RF-1").unwrap(), ..by_its_reference };
        let known = merge(&known, &[told], Refund::is_same, Refund::then);
        assert!(known.iter().all(|refund| refund.state == RefundState::Succeeded), "neither is pending for ever");
        assert_eq!(distinct(&known).map(|refund| refund.id.as_str()).collect::<Vec<_>>(), ["RF-1"]);
    }
}
