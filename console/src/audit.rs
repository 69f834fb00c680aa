//! The audit log: who did what, to what, and why. Nothing is done before its entry is written.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use payhook_schema::new_id;
use payhook_store::{AuditEntry, StoreError};
use serde_json::{Value, json};
use tracing::warn;

use crate::api::{AuditPage, AuditQuery};
use crate::problem::ApiProblem;
use crate::query::{Parameters, page_rows};
use crate::{Caller, Console};

/// `GET /v1/audit?before=&limit=`: who did what, newest first.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Parameters(query): Parameters<AuditQuery>,
) -> Result<Json<Value>, ApiProblem> {
    let limit = page_rows(query.limit);
    let audit = console.store.audit_list(query.before, limit).await?;
    let next = (audit.len() == limit as usize).then(|| audit.last().map(|entry| entry.id)).flatten();
    Ok(Json(json!(AuditPage { audit, next })))
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
    ) -> Result<(), ApiProblem> {
        let entry = self.audit_entry(caller, action, subject, count, reason);
        self.store.audit_write(&entry).await.map_err(|error| not_audited(&error, action))
    }

    /// Makes an audit entry, to be written in one transaction with what it is about.
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
pub(crate) fn not_audited(error: &StoreError, action: &str) -> ApiProblem {
    warn!(error = %error, action, "refused: the audit log cannot be written");
    ApiProblem::unavailable(
        "The audit log cannot be written",
        "Nothing was changed, because the audit log cannot record who did it. Try again.",
    )
}
