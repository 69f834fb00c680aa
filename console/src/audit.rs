use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use payhook_schema::new_id;
use payhook_store::{AuditEntry, StoreError};
use serde_json::json;
use tracing::warn;

use crate::problem::Problem;
use crate::query::{Parameters, RawQuery};
use crate::{Caller, Console};

/// `GET /v1/audit?before=&limit=`: who did what, newest first.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut parameters = Parameters::new(query)?;
    let (before, limit) = (parameters.take("before")?, parameters.limit()?);
    parameters.none_left()?;
    let entries = console.store.audit_list(before, limit).await?;
    let next = (entries.len() == limit as usize).then(|| entries.last().map(|entry| entry.id)).flatten();
    Ok(Json(json!({ "audit": entries, "next": next })))
}

impl Console {
    /// Writes an audit entry before an action: the caller, the action and its subject. An action without its entry is
    /// not done.
    pub(crate) async fn audit(
        &self,
        caller: &Caller,
        action: &str,
        subject: String,
        count: u64,
        reason: Option<&str>,
    ) -> Result<(), Problem> {
        let entry = self.audit_entry(caller, action, subject, count, reason);
        self.store.audit_write(&entry).await.map_err(|error| not_audited(&error, action))
    }

    /// Makes an audit entry, for whoever writes it together with what it is about.
    pub(crate) fn audit_entry(
        &self,
        caller: &Caller,
        action: &str,
        subject: String,
        count: u64,
        reason: Option<&str>,
    ) -> AuditEntry {
        let at = self.clock.now();
        AuditEntry {
            id: new_id(at),
            at,
            who: caller.name.clone(),
            role: caller.role.to_string(),
            action: action.to_owned(),
            subject,
            count,
            reason: reason.map(str::to_owned),
        }
    }
}

/// Answers that nothing was done, because the audit log could not be written.
pub(crate) fn not_audited(error: &StoreError, action: &str) -> Problem {
    warn!(error = %error, action, "refused: the audit log cannot be written");
    Problem::unavailable(
        "The audit log cannot be written",
        "It was not done, because nobody could tell later who did it; try again.",
    )
}
