//! `payhook drift`: asks the providers about payments, and shows where they differ from the store. Changes nothing.

use std::path::Path;

use clap::Args;
use payhook_console::api::{DriftRequest, ReplayItemView, ReplayView, TimeOrAgo};
use payhook_schema::{AccountName, Provider, ReplayOutcome, ReplayState};
use serde_json::json;

use crate::api::{Api, ApiAnswer};
use crate::cli::ConsoleAddress;
use crate::failure::{Exit, failed};
use crate::output::{self, or_dash};
use crate::watch::{self, item_payment, items_json};

#[derive(Debug, Args)]
pub(crate) struct DriftArguments {
    /// Payments registered at or after: a time, or how long ago: 2026-11-21T10:00:00Z, 24h
    #[arg(long)]
    since: TimeOrAgo,
    /// And before this: a time, or how long ago
    #[arg(long)]
    until: Option<TimeOrAgo>,
    /// antom or omise
    #[arg(long)]
    provider: Option<Provider>,
    /// The account's name, as configured
    #[arg(long)]
    account: Option<AccountName>,
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: u32,
    #[command(flatten)]
    console: ConsoleAddress,
}

pub(crate) async fn run(config: Option<&Path>, arguments: DriftArguments) -> anyhow::Result<Exit> {
    let DriftArguments { since, until, provider, account, limit, console } = arguments;
    let api = Api::open(config, &console)?;
    let body = DriftRequest { since, until, provider, account, limit: Some(limit) };
    let begun = watch::begin(&api, &["drift"], &body).await?;
    let id = begun.replay_id;
    if begun.total == 0 {
        return Ok(Exit::NothingFound);
    }
    if begun.more {
        output::note(format_args!(
            "only the first {limit} are compared: raise --limit, or narrow the period with --since and --until"
        ));
    }
    let Some(over) = watch::watch(&api, id).await? else {
        output::line(id);
        return Ok(Exit::Done);
    };
    let of = |outcome| move |item: &ReplayItemView| item.outcome == Some(outcome);
    let differ = watch::items(&api, id, of(ReplayOutcome::Changed), usize::MAX).await?;
    let failures = watch::items(&api, id, of(ReplayOutcome::Failed), usize::MAX).await?;
    let counts = (differ.len(), failures.len());
    if api.json {
        output::json(&json!({
            "replay_id": id, "state": over.view.state, "compared": over.view.done, "total": over.view.total,
            "differences": items_json(differ), "failed": items_json(failures),
        }));
    } else if let Some(text) = text(&views(differ), &views(failures)) {
        output::line(text);
    }
    judge(&over.view, counts.0, counts.1)
}

fn views(items: Vec<ApiAnswer<ReplayItemView>>) -> Vec<ReplayItemView> {
    items.into_iter().map(|item| item.view).collect()
}

pub(crate) fn text(differ: &[ReplayItemView], failures: &[ReplayItemView]) -> Option<String> {
    let row = |word: &'static str| {
        move |item: &ReplayItemView| [item_payment(item), word.to_owned(), or_dash(item.detail.as_ref())]
    };
    let rows = differ.iter().map(row("differs")).chain(failures.iter().map(row("not compared")));
    output::page(["PAYMENT", "", "WHAT THE PROVIDER SAYS"], rows, None)
}

fn judge(over: &ReplayView, differ: usize, failures: usize) -> anyhow::Result<Exit> {
    let ReplayView { replay_id, state, done, total, .. } = over;
    if *state != ReplayState::Done {
        return Err(failed(
            format!("the comparison is {state}, with {done} of {total} compared"),
            format!("`payhook replay show {replay_id}` says why; fix that, then compare again"),
        ));
    }
    match (differ, failures) {
        (0, 0) => {
            output::note(format_args!("{total} compared, none differs"));
            Ok(Exit::Done)
        }
        (0, _) => Err(failed(
            format!("{failures} of {total} could not be compared; none of the others differs"),
            "the rows above say why; `payhook check` shows whether the providers are reachable",
        )),
        _ => Err(failed(
            format!("{differ} of {total} differ"),
            "`payhook order refresh` stores the provider's answer for an order; `payhook order show` has its timeline",
        )),
    }
}
