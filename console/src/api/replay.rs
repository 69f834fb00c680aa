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

view! {
    /// A replay or a plan, and its progress.
    pub struct ReplayView of (replay: Replay) {
        replay_id: Uuid = replay.id,
        state: ReplayState = replay.state,
        plan: bool = replay.plan,
        total: u64 = replay.total,
        done: u64 = replay.done,
        changed: u64 = replay.changed,
        unchanged: u64 = replay.unchanged,
        failed: u64 = replay.failed,
        rate_per_s: u32 = replay.rate_per_s,
        canary: u32 = replay.canary,
        who: String = replay.who,
        reason: String = replay.reason,
        /// The reason why it stopped by itself.
        detail: Option<String> = replay.detail,
        created_at: Timestamp = replay.created_at,
        updated_at: Timestamp = replay.updated_at,
    }
}

view! {
    /// An item of a replay. Its claim is the workers' and is not shown.
    pub struct ReplayItemView of (item: ReplayItem) {
        n: i64 = item.n,
        dead_letter_id: Option<Uuid> = item.dead_letter,
        notification_id: Option<Uuid> = item.notification,
        provider: Option<Provider> = item.payment.as_ref().map(|key| key.provider),
        account: Option<AccountName> = item.payment.as_ref().map(|key| key.account.clone()),
        payment_id: Option<PaymentId> = item.payment.map(|key| key.id),
        /// Null until it has one.
        outcome: Option<ReplayOutcome> = item.outcome,
        detail: Option<String> = item.detail,
    }
}
