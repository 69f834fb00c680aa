use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentId, Provider, ReplayOutcome, ReplayState};
use payhook_store::{Replay, ReplayItem};
use serde::Serialize;
use uuid::Uuid;

#[derive(Serialize)]
pub(crate) struct ReplayView {
    replay_id: Uuid,
    state: ReplayState,
    plan: bool,
    total: u64,
    done: u64,
    changed: u64,
    unchanged: u64,
    failed: u64,
    rate_per_s: u32,
    canary: u32,
    who: String,
    reason: String,
    /// The reason why the replay stopped by itself.
    detail: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
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
#[derive(Serialize)]
pub(crate) struct ReplayItemView {
    n: i64,
    dead_letter_id: Option<Uuid>,
    notification_id: Option<Uuid>,
    provider: Option<Provider>,
    account: Option<AccountName>,
    payment_id: Option<PaymentId>,
    /// Null while it has none.
    outcome: Option<ReplayOutcome>,
    detail: Option<String>,
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
