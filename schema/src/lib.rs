//! The data that every part of payhook shares: money, ids, states, notifications, the envelope on the queue, the order
//! events, the waits between tries. No I/O, no async, no opinions. Everyone may use it; it uses nobody.

mod authorization;
mod backoff;
mod clock;
mod duration;
mod envelope;
mod event;
mod facts;
mod ids;
mod method;
mod money;
mod notification;
mod now_and_then;
mod order;
mod provider;
mod refund;
mod replay;
mod shown_url;
mod state;
mod verified;
mod words;

pub use authorization::{Authorization, AuthorizationName, Code, NewAuthorization, Sealed, SealedPlace, Token};
pub use backoff::{Backoff, jittered, jittered_fully, seed_waits};
pub use clock::{Clock, content_id, keepable_time, new_id};
pub use duration::{DurationError, parse_duration};
pub use envelope::{BODY_BYTES_MAX, Because, ENVELOPE_VERSION, Envelope, EnvelopeError, Hint};
pub use event::{AuthorizationEvent, Event, EventData, EventType, OrderEvent};
pub use facts::PaymentFacts;
pub use ids::{
    AccountName, AuthState, AuthorizationId, DisputeId, IdError, OrderId, PaymentId, PaymentKey, RefundId,
    SecretDigest, Wallet,
};
pub use method::{Method, MethodError, RefundTerms};
pub use money::{Currency, Money, MoneyError};
pub use notification::{About, DIGEST_PREFIX, Notification, fact_shown};
pub use now_and_then::NowAndThen;
pub use order::{FIRST_CHECK_AFTER, Hold, NewOrder, Order, PAYMENTS_MAX, Payment};
pub use provider::{Profile, Provider};
pub use refund::{Dispute, NewRefund, Refund, distinct};
pub use replay::{CanaryCounts, Forgiven, ReplayProgress, Steer};
pub use shown_url::shown_url;
pub use state::{
    AuthorizationState, DeadCause, DeadLetterState, DisputeState, HoldReason, OrderState, PaymentState, RefundState,
    ReplayOutcome, ReplayState, Step, TimelineKind,
};
pub use verified::Verified;
pub use words::UnknownWord;
