//! Lists the providers and describes each once. Code outside `provider/` and the simulator asks here instead of
//! comparing providers, so that a further provider does not compile until each question is answered for it.

use crate::words::words;

words! {
    /// A payment provider. [`Provider::profile`] says how they differ; `docs/adding-a-provider.md` says how to add one.
    pub enum Provider ("provider") {
        Antom = "antom",
        Omise = "omise",
        /// Invented, to show that a further provider needs no change elsewhere: `tests/it/third_provider.rs`. No
        /// release knows it.
        #[cfg(debug_assertions)]
        Tamarind = "tamarind",
    }
}

/// The differences between providers where payhook stores, settles, or shows. Paths, answers, limits, and schedules are
/// in the provider crate's `Protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked by its own name")]
pub struct Profile {
    /// The provider's own spelling, for people.
    pub name: &'static str,
    /// A notification's body may carry a token or a card: it is sealed at rest, and a body that may hold a token is not
    /// shown.
    pub has_confidential_bodies: bool,
    /// The merchant gives payments their ids, so two accounts may use the same id. Otherwise an id is unique
    /// everywhere.
    pub merchant_names_payments: bool,
    /// The merchant gives refunds their ids, so it can announce them before it asks for them.
    pub merchant_names_refunds: bool,
    /// Some notifications name a payment by the provider's own reference alone.
    pub names_payments_by_reference: bool,
    /// Refunds have an inquiry of their own. Otherwise the answer about their payment says everything.
    pub has_refund_inquiry: bool,
    /// The answer about a payment carries its disputes, so that an open one is worth asking about. Otherwise only
    /// verified notifications name them.
    pub has_disputes_in_answers: bool,
    /// The provider lists what happened, also what no notification reached us about.
    pub lists_events: bool,
    /// The provider grants authorizations and tokens. At most one provider may grant them: see
    /// [`crate::Authorization::PROVIDER`].
    pub has_authorizations: bool,
}

/// # Source
/// `docs/providers/antom.md#kinds-of-notifications`, `docs/providers/antom.md#refunds`,
/// `docs/providers/antom.md#disputes`, `docs/providers/antom.md#authorizations`. Cards are in payments, tokens in
/// authorizations, and either may be in kinds we do not know.
const ANTOM: Profile = Profile {
    name: "Antom",
    has_confidential_bodies: true,
    merchant_names_payments: true,
    merchant_names_refunds: true,
    names_payments_by_reference: true,
    has_refund_inquiry: true,
    has_disputes_in_answers: false,
    lists_events: false,
    has_authorizations: true,
};

/// # Source
/// `docs/providers/omise.md#charges`, `docs/providers/omise.md#refunds`, `docs/providers/omise.md#disputes`,
/// `docs/providers/omise.md#lists`. Cards are masked in every body.
const OMISE: Profile = Profile {
    name: "Omise",
    has_confidential_bodies: false,
    merchant_names_payments: false,
    merchant_names_refunds: false,
    names_payments_by_reference: false,
    has_refund_inquiry: false,
    has_disputes_in_answers: true,
    lists_events: true,
    has_authorizations: false,
};

/// # Source
/// `docs/providers/tamarind.md`.
#[cfg(debug_assertions)]
const TAMARIND: Profile = Profile {
    name: "Tamarind",
    has_confidential_bodies: false,
    merchant_names_payments: true,
    merchant_names_refunds: false,
    names_payments_by_reference: false,
    has_refund_inquiry: false,
    has_disputes_in_answers: false,
    lists_events: false,
    has_authorizations: false,
};

impl Provider {
    pub const fn profile(self) -> &'static Profile {
        match self {
            Self::Antom => &ANTOM,
            Self::Omise => &OMISE,
            #[cfg(debug_assertions)]
            Self::Tamarind => &TAMARIND,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invented_provider_is_in_no_release() {
        assert_eq!("tamarind".parse::<Provider>().is_ok(), cfg!(debug_assertions));
        assert_eq!(Provider::ALL.iter().any(|provider| provider.as_str() == "tamarind"), cfg!(debug_assertions));
    }
}
