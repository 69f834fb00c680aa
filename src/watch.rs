//! Begins replays and plans, and watches them to their end.

mod progress;

use std::time::Duration;

use clap::Args;
use payhook_console::api::{
    FilterRequest, PlanQuery, ReplayAnswer, ReplayBegun, ReplayItemPage, ReplayItemQuery, ReplayItemView,
    ReplayRequest, ReplayView, WaitTime,
};
use payhook_schema::{AccountName, PaymentId, Provider, ReplayOutcome, ReplayState};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use self::progress::Progress;
use crate::api::{Api, ApiAnswer};
use crate::failure::{Exit, failed, failed_by};
use crate::output::{self, or_dash};

/// The time between two looks at a replay.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The console may be restarted meanwhile: so many looks in a row may fail, so far apart.
const LOOKS_FAILED_MAX: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Items of a replay that are printed; `payhook replay show --json` and the API have all.
const ROWS_MAX: usize = 200;
/// Items asked for at once.
const PAGE: u32 = 500;

/// The options of a replay.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Only ask the providers, and show what would change
    #[arg(long)]
    pub(crate) plan: bool,
    /// At most this many a second
    #[arg(long, value_name = "N/s", value_parser = rate, default_value = "50/s")]
    pub(crate) rate: u32,
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: u32,
    /// This many go first; the rest follow only if all of them succeed. 5 unless it is a plan
    #[arg(long, value_name = "N")]
    pub(crate) canary: Option<u32>,
    /// The reason; stored with the replay and in the audit log
    #[arg(long, required_unless_present = "plan")]
    pub(crate) reason: Option<String>,
    /// Begin the replay, print its id, and do not watch it
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `payhook dead replay` and `payhook notification replay`.
pub(crate) async fn replay(api: &Api, path: &[&str], filter: FilterRequest, pace: ReplayArgs) -> anyhow::Result<Exit> {
    let ReplayArgs { plan, rate, limit, canary, reason, detach } = pace;
    let reason = reason.unwrap_or_default();
    let body = ReplayRequest { filter, plan, reason, rate_per_s: Some(rate), canary, limit: Some(limit) };
    let begun = begin(api, path, &body).await?;
    if begun.more {
        output::note(format_args!(
            "only the oldest {limit} are taken, and there are more: raise --limit, or repeat the command after these"
        ));
    }
    if begun.in_other_replays > 0 {
        output::note(format_args!(
            "{} are in another unfinished replay and stay with it; `payhook replay list` shows it",
            begun.in_other_replays
        ));
    }
    if begun.total == 0 {
        return Ok(Exit::NothingFound);
    }
    if detach {
        note_steering(begun.replay_id);
        print_begun(api, &begun);
        return Ok(Exit::Done);
    }
    let Some(over) = watch(api, begun.replay_id).await? else {
        print_begun(api, &begun);
        return Ok(Exit::Done);
    };
    match (api.json, plan) {
        (true, true) => {
            let items = items_json(items(api, begun.replay_id, |_| true, usize::MAX).await?);
            output::json(&json!({ "plan": plan_json(&over.view, &items) }));
        }
        (true, false) => output::json(&over.json),
        (false, _) => output::line(result_text(&over.view) + &notable_items(api, &over.view).await?),
    }
    judge(&over.view)
}

/// Begins a replay or a plan. The console does not wait for a plan: we watch it.
pub(crate) async fn begin(api: &Api, path: &[&str], body: &impl Serialize) -> anyhow::Result<ReplayBegun> {
    let query = PlanQuery { wait: Some(WaitTime(Duration::ZERO)) };
    let answer = api.call(Method::POST, path, &query, body).await?.ok_or_else(|| {
        let what = format!("this console has no /v1/{}", path.join("/"));
        failed(what, "it is of an older version: update the process that serves it")
    })?;
    Ok(match answer.view {
        ReplayAnswer::Plan { plan } => plan.begun,
        ReplayAnswer::Begun(begun) => begun,
    })
}

/// Watches until the replay is over. `None` after ctrl-C: the person stopped watching, and the replay goes on.
pub(crate) async fn watch(api: &Api, id: Uuid) -> anyhow::Result<Option<ApiAnswer<ReplayView>>> {
    let mut progress = Progress::default();
    let watched = tokio::select! {
        over = until_over(api, id, &mut progress) => over.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    progress.end();
    if !matches!(watched, Ok(Some(_))) {
        note_steering(id);
    }
    watched
}

async fn until_over(api: &Api, id: Uuid, progress: &mut Progress) -> anyhow::Result<ApiAnswer<ReplayView>> {
    let mut failures = 0;
    loop {
        match api.get::<ReplayView>(&["replays", &id.to_string()], &()).await {
            Ok(Some(replay)) => {
                failures = 0;
                progress.show(&replay.view);
                match replay.view.state {
                    ReplayState::Done | ReplayState::Stopped | ReplayState::Cancelled => return Ok(replay),
                    ReplayState::Running | ReplayState::Paused => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
            Ok(None) => {
                return Err(failed(
                    format!("replay {id} does not exist any more"),
                    "`payhook replay list` shows the others",
                ));
            }
            Err(error) if failures == LOOKS_FAILED_MAX => {
                let hint = "the workers go on with it; `payhook replay show` tells once the console answers again";
                return Err(failed_by(error, format!("cannot read the progress of replay {id}"), hint));
            }
            Err(_) => {
                failures += 1;
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

fn note_steering(id: Uuid) {
    output::note(format_args!(
        "replay {id} goes on by itself\n  show it:    payhook replay show {id}\n  pause it:   payhook replay pause {id}\n  \
         cancel it:  payhook replay cancel {id}"
    ));
}

/// Prints the id of a replay, for the program that began it.
fn print_begun(api: &Api, begun: &ReplayBegun) {
    match api.json {
        true => output::json(&json!({ "replay_id": begun.replay_id, "total": begun.total })),
        false => output::line(begun.replay_id),
    }
}

/// Returns the result of a replay that is over.
pub(crate) fn result_text(replay: &ReplayView) -> String {
    let (kind, changed) = if replay.plan { ("plan", "would change") } else { ("replay", "changed") };
    let left = replay.total.saturating_sub(replay.done);
    let outcomes =
        [(changed, replay.changed), ("unchanged", replay.unchanged), ("failed", replay.failed), ("not tried", left)];
    let rows = outcomes.into_iter().filter(|(word, count)| *word != "not tried" || *count > 0);
    let rows = rows.map(|(word, count)| [word.to_owned(), count.to_string()]);
    format!("{kind} {} {}", replay.replay_id, replay.state) + &output::section(["OUTCOME", "COUNT"], rows)
}

/// Returns the items that changed something, would, or failed, below another text.
pub(crate) async fn notable_items(api: &Api, replay: &ReplayView) -> anyhow::Result<String> {
    let count = (replay.changed + replay.failed) as usize;
    let is_notable =
        |item: &ReplayItemView| matches!(item.outcome, Some(ReplayOutcome::Changed | ReplayOutcome::Failed));
    let items = match count {
        0 => Vec::new(),
        _ => items(api, replay.replay_id, is_notable, count.min(ROWS_MAX)).await?,
    };
    let more = match count - items.len() {
        0 => String::new(),
        more => format!("\n… and {more} more; --json has all"),
    };
    Ok(items_text(items.iter().map(|item| &item.view)) + &more)
}

pub(crate) fn items_text<'a>(items: impl Iterator<Item = &'a ReplayItemView>) -> String {
    let rows = items.map(|item| {
        let origin = item.dead_letter_id.or(item.notification_id);
        [
            origin.map_or_else(|| item.n.to_string(), |id| id.to_string()),
            item_payment(item),
            or_dash(item.outcome),
            or_dash(item.detail.as_ref()),
        ]
    });
    output::section(["ITEM", "PAYMENT", "OUTCOME", "DETAIL"], rows)
}

/// Reads the items of a replay that `is_wanted`, in their order, up to `at_most`.
pub(crate) async fn items(
    api: &Api,
    id: Uuid,
    is_wanted: impl Fn(&ReplayItemView) -> bool,
    at_most: usize,
) -> anyhow::Result<Vec<ApiAnswer<ReplayItemView>>> {
    let (mut wanted, mut after) = (Vec::new(), Some(0));
    while wanted.len() < at_most && after.is_some() {
        let query = ReplayItemQuery { after, limit: Some(PAGE) };
        let page = api.get::<ReplayItemPage>(&["replays", &id.to_string(), "items"], &query).await?;
        let Some(ApiAnswer { mut json, view }) = page else { break };
        let items = json["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let items = items.into_iter().zip(view.items).map(|(json, view)| ApiAnswer { json, view });
        wanted.extend(items.filter(|item| is_wanted(&item.view)).take(at_most - wanted.len()));
        after = view.next;
    }
    Ok(wanted)
}

pub(crate) fn items_json(items: Vec<ApiAnswer<ReplayItemView>>) -> Value {
    items.into_iter().map(|item| item.json).collect()
}

/// Returns a plan as the API answers it.
fn plan_json(replay: &ReplayView, items: &Value) -> Value {
    json!({
        "replay_id": replay.replay_id, "state": replay.state, "total": replay.total, "would_change": replay.changed,
        "unchanged": replay.unchanged, "failed": replay.failed, "detail": replay.detail, "items": items,
    })
}

pub(crate) fn item_payment(item: &ReplayItemView) -> String {
    payment_text(item.provider, item.account.as_ref(), item.payment_id.as_ref())
}

/// `antom/shop-sg/PR-1`; `-` where it is about none.
pub(crate) fn payment_text(
    provider: Option<Provider>,
    account: Option<&AccountName>,
    payment: Option<&PaymentId>,
) -> String {
    or_dash(payment.map(|id| format!("{}/{}/{id}", or_dash(provider), or_dash(account))))
}

/// Returns the end of a command that watched a replay until it was over.
fn judge(replay: &ReplayView) -> anyhow::Result<Exit> {
    let (id, failures) = (replay.replay_id, replay.failed);
    match replay.state {
        ReplayState::Stopped => Err(failed(
            format!("replay {id} stopped by itself: {}", or_dash(replay.detail.as_ref())),
            format!("fix the causes shown above, then `payhook replay resume {id}`, or cancel it"),
        )),
        ReplayState::Cancelled => Err(failed(format!("replay {id} was cancelled"), "its finished items stay done")),
        _ if failures > 0 => Err(failed(format!("{failures} of {} failed", replay.total), "the items above say why")),
        _ => Ok(Exit::Done),
    }
}

/// `50/s`, or `50`.
fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim();
    number.parse().map_err(|_| "write how many a second, such as 50/s".to_owned())
}
