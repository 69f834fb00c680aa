//! Replays, plans and comparisons: how they are begun and shown.

use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentId, Provider, ReplayOutcome, ReplayState};
use payhook_store::{Replay, ReplayItem};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FilterRequest, TimeOrAgo, WaitTime};

/// Begins a replay, or a plan, which only asks the providers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    #[serde(default)]
    pub filter: FilterRequest,
    #[serde(default)]
    pub plan: bool,
    /// Required unless it is a plan.
    #[serde(default)]
    pub reason: String,
    pub rate_per_s: Option<u32>,
    pub canary: Option<u32>,
    pub limit: Option<u32>,
}

/// Begins a comparison of payments with what their providers say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftRequest {
    /// The period in which the payments were registered.
    pub since: TimeOrAgo,
    /// Now unless given.
    pub until: Option<TimeOrAgo>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub limit: Option<u32>,
}

/// The parameter of a request that begins a plan.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanQuery {
    pub wait: Option<WaitTime>,
}

/// The answer to a request that begins a replay or a plan.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReplayAnswer {
    /// A plan that is done.
    Plan { plan: PlanView },
    /// A replay, or a plan that is not done yet.
    Begun(ReplayBegun),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ReplayBegun {
    pub replay_id: Uuid,
    pub total: u64,
    /// Items of the filter that an unfinished replay has: they stay with it.
    pub in_other_replays: u64,
    /// True if the limit left some out.
    pub more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PlanView {
    #[serde(flatten)]
    pub begun: ReplayBegun,
    pub state: ReplayState,
    pub would_change: u64,
    pub unchanged: u64,
    pub failed: u64,
    /// The reason why it stopped by itself.
    pub detail: Option<String>,
    /// The first of them.
    pub items: Vec<ReplayItemView>,
}

/// The parameters of a replay's items.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayItemQuery {
    pub after: Option<i64>,
    pub limit: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ReplayList {
    pub replays: Vec<ReplayView>,
}

/// Items of a replay, in the order they are taken.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReplayItemPage {
    pub replay_id: Uuid,
    pub items: Vec<ReplayItemView>,
    /// Goes into `after` to read on; null on the last page.
    pub next: Option<i64>,
}

/// A replay or a plan, and how far it is.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReplayView {
    pub replay_id: Uuid,
    pub state: ReplayState,
    pub plan: bool,
    pub total: u64,
    pub done: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub failed: u64,
    pub rate_per_s: u32,
    pub canary: u32,
    pub who: String,
    pub reason: String,
    /// The reason why the replay stopped by itself.
    pub detail: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Replay> for ReplayView {
    fn from(replay: Replay) -> Self {
        Self {
            replay_id: replay.id,
            state: replay.state,
            plan: replay.plan,
            total: replay.total,
            done: replay.done,
            changed: replay.changed,
            unchanged: replay.unchanged,
            failed: replay.failed,
            rate_per_s: replay.rate_per_s,
            canary: replay.canary,
            who: replay.who,
            reason: replay.reason,
            detail: replay.detail,
            created_at: replay.created_at,
            updated_at: replay.updated_at,
        }
    }
}

/// An item of a replay. Its claim is the workers' and is not shown.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReplayItemView {
    pub n: i64,
    pub dead_letter_id: Option<Uuid>,
    pub notification_id: Option<Uuid>,
    pub provider: Option<Provider>,
    pub account: Option<AccountName>,
    pub payment_id: Option<PaymentId>,
    /// Null while it has none.
    pub outcome: Option<ReplayOutcome>,
    pub detail: Option<String>,
}

impl From<ReplayItem> for ReplayItemView {
    fn from(item: ReplayItem) -> Self {
        let (provider, account, payment_id) = match item.payment {
            Some(key) => (Some(key.provider), Some(key.account), Some(key.id)),
            None => (None, None, None),
        };
        Self {
            n: item.n,
            dead_letter_id: item.dead_letter,
            notification_id: item.notification,
            provider,
            account,
            payment_id,
            outcome: item.outcome,
            detail: item.detail,
        }
    }
}
