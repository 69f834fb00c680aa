use crate::SimulatorError;

/// The content of a notification from Antom. [`Self::State`] and [`Self::RefundState`] report the true state; each
/// other kind reports the state in its name, even if it is false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl AntomKind {
    pub const ALL: [Self; 31] = [
        Self::State,
        Self::Paid,
        Self::Failed,
        Self::Pending,
        Self::AmountUpdated,
        Self::Capture,
        Self::CaptureFailed,
        Self::RefundState,
        Self::Refund,
        Self::RefundFailed,
        Self::AuthcodeCreated,
        Self::TokenCreated,
        Self::TokenCanceled,
        Self::Dispute,
        Self::DefenseDueAlert,
        Self::DefenseSupplied,
        Self::DisputeJudged(Judgement::AcceptByCustomer),
        Self::DisputeJudged(Judgement::AcceptByMerchant),
        Self::DisputeJudged(Judgement::ValidateSuccess),
        Self::DisputeJudged(Judgement::ValidateFail),
        Self::DisputeAccepted,
        Self::DisputeCancelled,
        Self::RdrResolved,
        Self::Subscription(SubscriptionStep::Create),
        Self::Subscription(SubscriptionStep::Change),
        Self::Subscription(SubscriptionStep::Cancel),
        Self::Subscription(SubscriptionStep::Update),
        Self::Subscription(SubscriptionStep::Terminate),
        Self::SubscriptionPayment,
        Self::Vaulting,
        Self::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::AmountUpdated => "amount_updated",
            Self::Capture => "capture",
            Self::CaptureFailed => "capture_failed",
            Self::RefundState => "refund_state",
            Self::Refund => "refund",
            Self::RefundFailed => "refund_failed",
            Self::AuthcodeCreated => "authcode_created",
            Self::TokenCreated => "token_created",
            Self::TokenCanceled => "token_canceled",
            Self::Dispute => "dispute",
            Self::DefenseDueAlert => "defense_due_alert",
            Self::DefenseSupplied => "defense_supplied",
            Self::DisputeJudged(Judgement::AcceptByCustomer) => "dispute_accept_by_customer",
            Self::DisputeJudged(Judgement::AcceptByMerchant) => "dispute_accept_by_merchant",
            Self::DisputeJudged(Judgement::ValidateSuccess) => "dispute_validate_success",
            Self::DisputeJudged(Judgement::ValidateFail) => "dispute_validate_fail",
            Self::DisputeAccepted => "dispute_accepted",
            Self::DisputeCancelled => "dispute_cancelled",
            Self::RdrResolved => "rdr_resolved",
            Self::Subscription(SubscriptionStep::Create) => "subscription_create",
            Self::Subscription(SubscriptionStep::Change) => "subscription_change",
            Self::Subscription(SubscriptionStep::Cancel) => "subscription_cancel",
            Self::Subscription(SubscriptionStep::Update) => "subscription_update",
            Self::Subscription(SubscriptionStep::Terminate) => "subscription_terminate",
            Self::SubscriptionPayment => "subscription_payment",
            Self::Vaulting => "vaulting",
            Self::Unknown => "unknown",
        }
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
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            SimulatorError::NotPossible(format!("Antom sends no `{word}`; known are {known}"))
        })
    }
}
