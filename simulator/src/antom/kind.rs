//! The kinds of Antom's notifications.

use crate::SimulatorError;

/// The content of a notification from Antom. [`Self::State`] and [`Self::RefundState`] report the true state; each
/// other kind reports the state in its name, even if it is false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum AntomKind {
    /// The payment's state: paid, failed, or paid by the customer and pending.
    State,
    Paid,
    /// With the state's code, if the payment failed.
    Failed,
    /// `PAYMENT_PENDING`, whose `resultStatus` is `S` although nothing is paid yet.
    Pending,
    /// A card's authorization was raised: `UPDATE_AMOUNT_RESULT`.
    AmountUpdated,
    /// The last capture succeeded: `CAPTURE_RESULT`, which names the payment by Antom's `paymentId` alone.
    Capture,
    CaptureFailed,
    /// The refund's state.
    RefundState,
    /// The refund succeeded.
    Refund,
    /// The refund did not happen.
    RefundFailed,
    AuthcodeCreated,
    TokenCreated,
    TokenCanceled,
    /// A customer disputes the payment: `DISPUTE_CREATED`.
    Dispute,
    /// The merchant has to answer soon.
    DefenseDueAlert,
    /// The merchant answered.
    DefenseSupplied,
    DisputeJudged(Judgement),
    /// The merchant gave in.
    DisputeAccepted,
    /// The customer took it back.
    DisputeCancelled,
    /// Settled between the card's bank and the network before it became a dispute.
    RdrResolved,
    Subscription(SubscriptionStep),
    /// A period of a subscription was paid: `PAYMENT_RESULT` like any other, with the subscription beside it.
    SubscriptionPayment,
    /// A card was kept for later.
    Vaulting,
    /// A kind that no page of Antom's names.
    Unknown,
}

/// The judgement of a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    AcceptByCustomer,
    AcceptByMerchant,
    /// Of this and the next no page says who gets the money.
    ValidateSuccess,
    ValidateFail,
}

impl Judgement {
    /// As Antom spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::AcceptByCustomer => "ACCEPT_BY_CUSTOMER",
            Self::AcceptByMerchant => "ACCEPT_BY_MERCHANT",
            Self::ValidateSuccess => "VALIDATE_SUCCESS",
            Self::ValidateFail => "VALIDATE_FAIL",
        }
    }
}

/// An event of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionStep {
    Create,
    Change,
    Cancel,
    Update,
    Terminate,
}

impl SubscriptionStep {
    /// As Antom spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Change => "CHANGE",
            Self::Cancel => "CANCEL",
            Self::Update => "UPDATE",
            Self::Terminate => "TERMINATE",
        }
    }
}

/// Each kind with its name.
const NAMES: [(AntomKind, &str); 31] = [
    (AntomKind::State, "state"),
    (AntomKind::Paid, "paid"),
    (AntomKind::Failed, "failed"),
    (AntomKind::Pending, "pending"),
    (AntomKind::AmountUpdated, "amount_updated"),
    (AntomKind::Capture, "capture"),
    (AntomKind::CaptureFailed, "capture_failed"),
    (AntomKind::RefundState, "refund_state"),
    (AntomKind::Refund, "refund"),
    (AntomKind::RefundFailed, "refund_failed"),
    (AntomKind::AuthcodeCreated, "authcode_created"),
    (AntomKind::TokenCreated, "token_created"),
    (AntomKind::TokenCanceled, "token_canceled"),
    (AntomKind::Dispute, "dispute"),
    (AntomKind::DefenseDueAlert, "defense_due_alert"),
    (AntomKind::DefenseSupplied, "defense_supplied"),
    (AntomKind::DisputeJudged(Judgement::AcceptByCustomer), "dispute_accept_by_customer"),
    (AntomKind::DisputeJudged(Judgement::AcceptByMerchant), "dispute_accept_by_merchant"),
    (AntomKind::DisputeJudged(Judgement::ValidateSuccess), "dispute_validate_success"),
    (AntomKind::DisputeJudged(Judgement::ValidateFail), "dispute_validate_fail"),
    (AntomKind::DisputeAccepted, "dispute_accepted"),
    (AntomKind::DisputeCancelled, "dispute_cancelled"),
    (AntomKind::RdrResolved, "rdr_resolved"),
    (AntomKind::Subscription(SubscriptionStep::Create), "subscription_create"),
    (AntomKind::Subscription(SubscriptionStep::Change), "subscription_change"),
    (AntomKind::Subscription(SubscriptionStep::Cancel), "subscription_cancel"),
    (AntomKind::Subscription(SubscriptionStep::Update), "subscription_update"),
    (AntomKind::Subscription(SubscriptionStep::Terminate), "subscription_terminate"),
    (AntomKind::SubscriptionPayment, "subscription_payment"),
    (AntomKind::Vaulting, "vaulting"),
    (AntomKind::Unknown, "unknown"),
];

impl AntomKind {
    pub const ALL: [Self; NAMES.len()] = {
        let mut all = [Self::State; NAMES.len()];
        let mut index = 0;
        while index < NAMES.len() {
            all[index] = NAMES[index].0;
            index += 1;
        }
        all
    };

    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(kind, _)| *kind == self).expect("every kind has a name").1
    }

    /// The last part of the URL it is posted to: three have one of their own, the rest go where the payment's go.
    pub fn call(self) -> &'static str {
        match self {
            Self::RefundState | Self::Refund | Self::RefundFailed => "notifyRefund",
            Self::AuthcodeCreated | Self::TokenCreated | Self::TokenCanceled => "notifyAuthorization",
            _ => "notifyPayment",
        }
    }
}

impl std::fmt::Display for AntomKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for AntomKind {
    type Err = SimulatorError;

    fn from_str(word: &str) -> Result<Self, SimulatorError> {
        NAMES.iter().find(|(_, name)| *name == word).map(|(kind, _)| *kind).ok_or_else(|| {
            let known = NAMES.map(|(_, name)| name).join(", ");
            SimulatorError::NotPossible(format!("Antom sends no `{word}`; known are {known}"))
        })
    }
}

impl TryFrom<String> for AntomKind {
    type Error = SimulatorError;

    fn try_from(word: String) -> Result<Self, SimulatorError> {
        word.parse()
    }
}
