use std::path::Path;

use reqwest::Method;

use crate::api::{Api, query};
use crate::cli::{AuditArguments, AuditCommand};
use crate::failure::Ended;
use crate::order::text;
use crate::output;

/// `payhook audit …`: who did what.
pub(crate) async fn run(config: Option<&Path>, arguments: AuditArguments) -> anyhow::Result<Ended> {
    let AuditCommand::List { before, limit, console } = arguments.command;
    let query = query(&[("before", before.map(|it| it.to_string())), ("limit", Some(limit.to_string()))]);
    let answer = Api::open(config, &console)?.call(Method::GET, &format!("/v1/audit{query}"), None).await?;
    let answer = answer.unwrap_or_default();
    if console.output.json {
        output::json(&answer);
    }
    let entries = answer["audit"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        return Ok(Ended::NothingFound);
    }
    if !console.output.json {
        let columns = ["at", "who", "role", "action", "subject", "count", "reason"];
        let rows = entries.iter().map(|entry| columns.map(|key| text(&entry[key])));
        output::table(["AT", "WHO", "ROLE", "ACTION", "SUBJECT", "COUNT", "REASON"], rows);
        if let Some(next) = answer["next"].as_str() {
            output::line(format_args!("more: --before {next}"));
        }
    }
    Ok(Ended::Done)
}
