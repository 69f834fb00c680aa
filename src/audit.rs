//! `payhook audit`: who did what.

use clap::Subcommand;
use payhook_console::api::{AuditPage, AuditQuery};
use uuid::Uuid;

use crate::api::Api;
use crate::failure::Exit;
use crate::output::{self, or_dash};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List what was done, newest first
    List {
        /// Only entries older than this one
        #[arg(long, value_name = "ID")]
        before: Option<Uuid>,
        /// Entries to show, at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
}

pub(crate) async fn run(api: &Api, command: AuditCommand) -> anyhow::Result<Exit> {
    let AuditCommand::List { before, limit } = command;
    let query = AuditQuery { before, limit: Some(limit) };
    let answer = api.get(&["audit"], &query).await?;
    Ok(api.print(answer, text))
}

pub(crate) fn text(page: &AuditPage) -> Option<String> {
    let rows = page.audit.iter().cloned().map(|entry| {
        let (at, count, reason) = (entry.at.to_string(), entry.count.to_string(), or_dash(entry.reason));
        [at, entry.who, entry.role, entry.action, entry.subject, count, reason]
    });
    let next = page.next.map(|id| id.to_string());
    output::page(["AT", "WHO", "ROLE", "ACTION", "SUBJECT", "COUNT", "REASON"], rows, next)
}
