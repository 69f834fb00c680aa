//! Defines the states and reasons that payhook stores and shows, and the steps between them.

use crate::words::words;

words! {
    /// The state of a payment, which is one attempt to pay an order.
    pub enum PaymentState ("payment state") {
        Awaiting = "awaiting",
        Authorized = "authorized",
        Paid = "paid",
        PartlyRefunded = "partly_refunded",
        Refunded = "refunded",
        Failed = "failed",
        Expired = "expired",
        Cancelled = "cancelled",
    }
}

words! {
    /// The state of an order, for fulfilment.
    pub enum OrderState ("order state") {
        Pending = "pending",
        Authorized = "authorized",
        Paid = "paid",
        PartlyRefunded = "partly_refunded",
        Refunded = "refunded",
        Held = "held",
    }
}

words! {
    /// The reason an order waits for a person instead of being paid.
    pub enum HoldReason ("hold reason") {
        AmountMismatch = "amount_mismatch",
        CurrencyMismatch = "currency_mismatch",
        AccountMismatch = "account_mismatch",
        DoublePayment = "double_payment",
        ImpossibleTransition = "impossible_transition",
    }
}

words! {
    /// The state of a refund. Money that went back stays gone: nothing leads away from `succeeded`.
    pub enum RefundState ("refund state") {
        Pending = "pending",
        Succeeded = "succeeded",
        Failed = "failed",
    }
}

words! {
    /// The state of a customer's dispute of a payment: an overlay, which moves no money of the order by itself.
    pub enum DisputeState ("dispute state") {
        /// The merchant has to answer.
        Open = "open",
        /// Answered; others judge.
        Pending = "pending",
        Won = "won",
        Lost = "lost",
        /// Over, and the provider does not say for whom.
        Closed = "closed",
    }
}

words! {
    /// The state of an authorization, which is a customer's consent to be charged by a wallet.
    pub enum AuthorizationState ("authorization state") {
        /// Registered; the customer has not agreed yet.
        Awaiting = "awaiting",
        Granted = "granted",
        TokenIssued = "token_issued",
        /// Never left: a customer who comes back makes a new one.
        Cancelled = "cancelled",
    }
}

words! {
    /// The reason a hint ended in the dead letters.
    pub enum DeadCause ("dead-letter cause") {
        UnknownPayment = "unknown_payment",
        ProviderRefused = "provider_refused",
        ProviderUnreachable = "provider_unreachable",
        AttemptsExhausted = "attempts_exhausted",
        Poison = "poison",
        Misconfigured = "misconfigured",
    }
}

words! {
    /// The state of a dead letter.
    pub enum DeadLetterState ("dead-letter state") {
        Open = "open",
        Replayed = "replayed",
        Discarded = "discarded",
    }
}

words! {
    /// The state of a replay.
    pub enum ReplayState ("replay state") {
        Running = "running",
        Paused = "paused",
        /// It stopped by itself: too much failed.
        Stopped = "stopped",
        Done = "done",
        Cancelled = "cancelled",
    }
}

words! {
    /// The outcome of one item of a replay.
    pub enum ReplayOutcome ("replay outcome") {
        Changed = "changed",
        Unchanged = "unchanged",
        Failed = "failed",
    }
}

words! {
    /// The kind of an entry in an order's timeline.
    pub enum TimelineKind ("timeline kind") {
        Registered = "registered",
        Notification = "notification",
        Inquiry = "inquiry",
        Transition = "transition",
        /// The provider's answer, or a hint, that changed nothing, and why.
        Refusal = "refusal",
        Publish = "publish",
        DeadLetter = "dead_letter",
        Operator = "operator",
    }
}

/// The effect of a provider's answer on a payment in a given state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The same state as before; the amounts may have grown.
    Stay,
    /// Along an arrow of the state diagram.
    Move,
    /// Money arrived after a final "no": taken on the provider's word, with an alert.
    Revive,
    /// The answer is behind what we know (replicas lag, workers race): nothing changes.
    Older,
    /// The answer contradicts money we know was taken: nothing changes, a person must look.
    Impossible,
}

impl PaymentState {
    /// Returns true if the provider is not expected to change its answer about the payment.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Awaiting | Self::Authorized)
    }

    /// Returns true if money was taken, even if some or all of it went back since.
    pub fn took_money(self) -> bool {
        matches!(self, Self::Paid | Self::PartlyRefunded | Self::Refunded)
    }

    /// Returns the effect of the provider's answer `stated` on a payment in this state: the whole state machine.
    pub fn step(self, stated: Self) -> Step {
        use PaymentState::{Authorized, Awaiting, Cancelled, Expired, Failed, Paid, PartlyRefunded, Refunded};
        match (self, stated) {
            (Awaiting, Awaiting)
            | (Authorized, Authorized)
            | (Paid, Paid)
            | (PartlyRefunded, PartlyRefunded)
            | (Refunded, Refunded)
            | (Failed, Failed)
            | (Expired, Expired)
            | (Cancelled, Cancelled) => Step::Stay,

            (Awaiting, Authorized | Paid | PartlyRefunded | Refunded | Failed | Expired | Cancelled)
            | (Authorized, Paid | PartlyRefunded | Refunded | Failed | Expired | Cancelled)
            | (Paid, PartlyRefunded | Refunded)
            | (PartlyRefunded, Refunded) => Step::Move,

            (Failed | Expired | Cancelled, Paid | PartlyRefunded | Refunded) => Step::Revive,

            (Authorized, Awaiting)
            | (Paid, Awaiting | Authorized)
            | (PartlyRefunded, Awaiting | Authorized | Paid)
            // A refunded payment holds no money of the merchant's, so a provider that cancels it reports no new money.
            | (Refunded, Awaiting | Authorized | Paid | PartlyRefunded | Failed | Expired | Cancelled)
            | (Failed, Awaiting | Authorized | Expired | Cancelled)
            | (Expired, Awaiting | Authorized | Failed | Cancelled)
            | (Cancelled, Awaiting | Authorized | Failed | Expired) => Step::Older,

            (Paid | PartlyRefunded, Failed | Expired | Cancelled) => Step::Impossible,
        }
    }
}

impl RefundState {
    pub fn is_final(self) -> bool {
        self != Self::Pending
    }

    /// Returns the refund's state after the provider states `stated`. A failure may turn out well after all; a success
    /// is never taken back.
    #[must_use]
    pub fn then(self, stated: Self) -> Self {
        match (self, stated) {
            (Self::Succeeded, _) | (_, Self::Succeeded) => Self::Succeeded,
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            (Self::Pending, Self::Pending) => Self::Pending,
        }
    }
}

impl DisputeState {
    pub fn is_over(self) -> bool {
        matches!(self, Self::Won | Self::Lost | Self::Closed)
    }

    /// Returns the dispute's state after the provider states `stated`. Notifications come in any order, so it only goes
    /// forward. The first final state stands, except that `closed` gives way to `won` or `lost`.
    #[must_use]
    pub fn then(self, stated: Self) -> Self {
        match (self, stated) {
            (Self::Closed, Self::Won | Self::Lost) => stated,
            (Self::Won | Self::Lost | Self::Closed, _) => self,
            (Self::Pending, Self::Open) => Self::Pending,
            (Self::Open | Self::Pending, _) => stated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refunds_and_disputes_only_go_forward_whatever_comes_again() {
        for &from in RefundState::ALL {
            for &stated in RefundState::ALL {
                let then = from.then(stated);
                assert_eq!(then.then(stated), then, "{from} {stated}");
                assert!(!from.is_final() || then.is_final(), "{from} {stated}");
                assert!(from != RefundState::Succeeded || then == from, "{from} {stated}");
            }
        }
        for &from in DisputeState::ALL {
            for &stated in DisputeState::ALL {
                let then = from.then(stated);
                assert_eq!(then.then(stated), then, "{from} {stated}");
                assert_eq!(then.then(from), then, "{from} {stated}: what is old moves nothing");
                assert!(!from.is_over() || then.is_over(), "{from} {stated}");
            }
        }
    }

    #[test]
    fn money_taken_is_never_untaken() {
        for &from in PaymentState::ALL.iter().filter(|state| state.took_money()) {
            for &stated in PaymentState::ALL {
                if matches!(from.step(stated), Step::Move | Step::Revive) {
                    assert!(stated.took_money(), "{from} -> {stated}");
                }
            }
        }
    }

    #[test]
    fn a_final_no_is_left_only_for_money() {
        for from in [PaymentState::Failed, PaymentState::Expired, PaymentState::Cancelled] {
            for &stated in PaymentState::ALL {
                assert_ne!(from.step(stated), Step::Move, "{from} -> {stated}");
                assert_eq!(from.step(stated) == Step::Revive, stated.took_money(), "{from} -> {stated}");
            }
        }
    }

    #[test]
    fn every_move_goes_forward_so_no_two_states_can_swap_for_ever() {
        for &a in PaymentState::ALL {
            for &b in PaymentState::ALL {
                let forward = |from: PaymentState, to| matches!(from.step(to), Step::Move | Step::Revive);
                assert!(!(forward(a, b) && forward(b, a)), "{a} <-> {b}");
            }
        }
    }

    /// The state machine as a table, drawn from the code.
    fn drawn() -> String {
        let heads: Vec<_> = PaymentState::ALL.iter().map(|state| format!("`{state}`")).collect();
        let mut table = format!("| from \\ answer | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
        for &from in PaymentState::ALL {
            let cells = PaymentState::ALL.iter().map(|&stated| match from.step(stated) {
                Step::Stay => "stay",
                Step::Move => "**move**",
                Step::Revive => "**revive**",
                Step::Older => "·",
                Step::Impossible => "hold",
            });
            table += &format!("| `{from}` | {} |\n", cells.collect::<Vec<_>>().join(" | "));
        }
        table
    }

    /// Draws the table of the next states from the code.
    fn drawn_then<T: Copy + std::fmt::Display>(all: &[T], then: impl Fn(T, T) -> T) -> String {
        let heads: Vec<_> = all.iter().map(|stated| format!("`{stated}`")).collect();
        let mut table = format!("| is \\ answer | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
        for &from in all {
            let cells: Vec<_> = all.iter().map(|&stated| then(from, stated).to_string()).collect();
            table += &format!("| `{from}` | {} |\n", cells.join(" | "));
        }
        table
    }

    #[test]
    fn the_architectures_tables_are_the_codes() {
        let document = include_str!("../../ARCHITECTURE.md");
        let refunds = drawn_then(RefundState::ALL, RefundState::then);
        let disputes = drawn_then(DisputeState::ALL, DisputeState::then);
        for table in [drawn(), refunds, disputes] {
            assert!(document.contains(&table), "write this into ARCHITECTURE.md:\n{table}");
        }
    }

    #[test]
    fn words_are_read_back_and_others_refused() {
        for &state in PaymentState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("PAID".parse::<PaymentState>().is_err());
    }
}
