use crate::words::words;

words! {
    /// Who takes the money. We know them all: a third must not compile until every place has decided.
    pub enum Provider ("provider") {
        Antom = "antom",
        Omise = "omise",
    }
}

words! {
    /// Where one payment (one attempt to pay an order) stands.
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
    /// Where an order stands, for fulfilment.
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
    /// Why an order waits for a person instead of being paid.
    pub enum HoldReason ("hold reason") {
        AmountMismatch = "amount_mismatch",
        CurrencyMismatch = "currency_mismatch",
        AccountMismatch = "account_mismatch",
        DoublePayment = "double_payment",
        ImpossibleTransition = "impossible_transition",
    }
}

words! {
    /// Why a hint ended in the dead letters.
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
    /// What an entry of an order's timeline tells.
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

/// What a provider's answer does to a payment in a given state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing new, unless the amounts grew.
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
    /// Whether the provider is not expected to change its mind, so nobody needs to ask again on a schedule.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Awaiting | Self::Authorized)
    }

    /// Whether money was taken, even if some or all of it went back since.
    pub fn took_money(self) -> bool {
        matches!(self, Self::Paid | Self::PartlyRefunded | Self::Refunded)
    }

    /// The state machine of a payment, whole: from `self`, when the provider says `told`.
    pub fn step(self, told: Self) -> Step {
        use PaymentState::{Authorized, Awaiting, Cancelled, Expired, Failed, Paid, PartlyRefunded, Refunded};
        match (self, told) {
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
            | (Refunded, Awaiting | Authorized | Paid | PartlyRefunded)
            | (Failed, Awaiting | Authorized | Expired | Cancelled)
            | (Expired, Awaiting | Authorized | Failed | Cancelled)
            | (Cancelled, Awaiting | Authorized | Failed | Expired) => Step::Older,

            (Paid | PartlyRefunded | Refunded, Failed | Expired | Cancelled) => Step::Impossible,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_taken_is_never_untaken() {
        for &from in PaymentState::ALL.iter().filter(|state| state.took_money()) {
            for &told in PaymentState::ALL {
                if matches!(from.step(told), Step::Move | Step::Revive) {
                    assert!(told.took_money(), "{from} -> {told}");
                }
            }
        }
    }

    #[test]
    fn a_final_no_is_left_only_for_money() {
        for from in [PaymentState::Failed, PaymentState::Expired, PaymentState::Cancelled] {
            for &told in PaymentState::ALL {
                assert_ne!(from.step(told), Step::Move, "{from} -> {told}");
                assert_eq!(from.step(told) == Step::Revive, told.took_money(), "{from} -> {told}");
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
        let mut table = format!("| from \\ told | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
        for &from in PaymentState::ALL {
            let cells = PaymentState::ALL.iter().map(|&told| match from.step(told) {
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

    #[test]
    fn the_architectures_table_is_the_codes() {
        let table = drawn();
        let document = include_str!("../../ARCHITECTURE.md");
        assert!(document.contains(&table), "write this into ARCHITECTURE.md:\n{table}");
    }

    #[test]
    fn words_are_read_back_and_others_refused() {
        for &state in PaymentState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("PAID".parse::<PaymentState>().is_err());
    }
}
