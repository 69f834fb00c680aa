//! The JSON of the API: what requests carry and what answers hold. The console writes these types and the command line
//! reads them, so a field that is renamed here breaks the build and not a command.

/// Declares a view: its fields, each with the value that it shows.
macro_rules! view {
    ($(#[$doc:meta])* pub struct $name:ident of ($($from:ident: $source:ty),+) {
        $($(#[$attribute:meta])* $field:ident: $type:ty = $value:expr,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$attribute])* pub $field: $type,)+
        }

        impl $name {
            pub(crate) fn of($($from: $source),+) -> Self {
                Self { $($field: $value,)+ }
            }
        }
    };
}

mod authorization;
mod dead_letter;
mod filter;
mod notification;
mod order;
mod replay;

use jiff::Timestamp;
use payhook_schema::TimelineKind;
use payhook_store::{AuditEntry, TimelineEntry};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use self::authorization::{AuthorizationRegistration, AuthorizationTimeline, AuthorizationView, RotationReport};
pub use self::dead_letter::{
    DeadLetterDetails, DeadLetterGroupList, DeadLetterGroupView, DeadLetterPage, DeadLetterQuery, DeadLetterView,
    DiscardReport, DiscardRequest, EnvelopeView, NoteReport, NoteRequest,
};
pub(crate) use self::filter::wrong_id;
pub use self::filter::{FilterRequest, IdList, TimeOrAgo, WaitTime};
pub use self::notification::{HeaderView, NotificationDetails, NotificationPage, NotificationQuery, NotificationView};
pub use self::order::{
    DisputeView, OrderPage, OrderQuery, OrderRegistration, OrderTimeline, OrderView, PaymentRegistration, PaymentView,
    RefundRegistration, RefundView, ReleaseRequest, ReturnedPayment, TimelineQuery,
};
pub use self::replay::{
    DriftRequest, PlanQuery, PlanView, ReplayAnswer, ReplayBegun, ReplayItemPage, ReplayItemQuery, ReplayItemView,
    ReplayList, ReplayRequest, ReplayView,
};

/// The parameters of a list that has nothing to choose but its length.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    pub limit: Option<u32>,
}

/// The parameters of the audit log.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    pub before: Option<Uuid>,
    pub limit: Option<u32>,
}

/// Entries of the audit log, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuditPage {
    pub audit: Vec<AuditEntry>,
    /// Goes into `before` to read on; null on the last page.
    pub next: Option<Uuid>,
}

view! {
    /// One entry in the timeline of an order or an authorization.
    pub struct TimelineView of (entry: TimelineEntry) {
        at: Timestamp = entry.at,
        kind: TimelineKind = entry.kind,
        text: String = entry.text,
        #[serde(skip_serializing_if = "Option::is_none")]
        payment: Option<String> = entry.payment.map(|key| key.to_string()),
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        detail: serde_json::Value = entry.detail,
    }
}

/// Shows whether two are the same bytes, without showing either.
fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
