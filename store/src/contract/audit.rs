use jiff::Timestamp;
use payhook_schema::{AccountName, Hold, OrderId, PaymentKey, Provider};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A key of ours, and the time when it last verified a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    pub provider: Provider,
    pub account: AccountName,
    /// As [`Notification::verified_by`](payhook_schema::Notification::verified_by) has it: `keyVersion 1`, `secret 3fa1c2d4`.
    pub verified_by: String,
    pub last_at: Timestamp,
}

/// An entry of the audit log: who did what, to what, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Sorts by time.
    pub id: Uuid,
    pub at: Timestamp,
    /// The caller's name in the configuration; `console` for the one token without a name, `local` where none is asked for.
    pub who: String,
    pub role: String,
    /// `token.read`, `keys.rotate`, `order.release`, `dead_letter.replay`, ….
    pub action: String,
    /// The subject of the action: an id, or a filter in words.
    pub subject: String,
    /// The number of things it was done to.
    pub count: u64,
    pub reason: Option<String>,
}

/// A person's decision to let a held order go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub id: Uuid,
    pub order: OrderId,
    /// The version of the order that was looked at. At another version nothing is released.
    pub version: i64,
    /// The objections that were open at that version.
    pub holds: Vec<Hold>,
    /// Payments whose money went back without the provider saying so.
    pub returned: Vec<PaymentKey>,
    pub who: String,
    pub reason: String,
    pub at: Timestamp,
}
