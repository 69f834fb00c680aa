//! Begins replays and plans, and watches them to their end.

mod progress;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use self::progress::Progress;
use crate::api::{Api, path_with_id, query};
use crate::cli::Pace;
use crate::failure::{Ended, failed, failed_by};
use crate::order::text;
use crate::output;

/// The time between two looks at a replay.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The console may be restarted meanwhile: so many looks in a row may fail, so far apart.
const LOOKS_FAILED_MAX: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Items of a replay that are printed; `payhook replay show --json` and the API have all.
const ROWS_MAX: usize = 200;
/// Items asked for at once.
const PAGE: usize = 500;

/// A replay that was begun.
pub(crate) struct Begun {
    pub(crate) id: String,
    pub(crate) total: u64,
    /// The number of selected things that are in another replay already.
    elsewhere: u64,
    /// The limit leaves some out.
    pub(crate) more: bool,
}

pub(crate) enum Watched {
    Over(Value),
    /// The person stopped watching; the replay goes on.
    Left,
}

/// `payhook dead replay` and `payhook notification replay`.
pub(crate) async fn replay(api: &Api, path: &str, filter: Value, pace: Pace, json: bool) -> anyhow::Result<Ended> {
    let mut body = json!({
        "filter": filter, "plan": pace.plan, "rate_per_s": pace.rate, "limit": pace.limit,
        "reason": pace.reason.unwrap_or_default(),
    });
    if let Some(canary) = pace.canary {
        body["canary"] = canary.into();
    }
    let begun = begin(api, path, body).await?;
    if begun.more {
        let limit = pace.limit;
        output::note(format_args!(
            "only the oldest {limit} are taken, and there are more: raise --limit, or come again after these"
        ));
    }
    if begun.elsewhere > 0 {
        output::note(format_args!(
            "left to another replay that is not over: {}; `payhook replay list` shows it",
            begun.elsewhere
        ));
    }
    if begun.total == 0 {
        return Ok(Ended::NothingFound);
    }
    if pace.detach {
        say_how_to_steer(&begun.id);
        leave(&begun, json);
        return Ok(Ended::Done);
    }
    let Watched::Over(over) = watch(api, &begun).await? else {
        leave(&begun, json);
        return Ok(Ended::Done);
    };
    match (json, pace.plan) {
        (true, true) => {
            let items = items(api, &begun.id, |_| true, usize::MAX).await?;
            output::json(&json!({ "plan": plan(&over, &items) }));
        }
        (true, false) => output::json(&over),
        (false, _) => {
            show_result(&over);
            show_items(api, &over).await?;
        }
    }
    judge(&over)
}

/// Has the console begin one. It does not wait for a plan: we watch.
pub(crate) async fn begin(api: &Api, path: &str, body: Value) -> anyhow::Result<Begun> {
    let answer = api.call(Method::POST, &format!("{path}?wait=0s"), Some(body)).await?.ok_or_else(|| {
        failed(format!("this console has no {path}"), "it is of an older version: update the process that serves it")
    })?;
    // A plan over nothing is done before it is answered.
    let begun = if answer["plan"].is_object() { &answer["plan"] } else { &answer };
    let count = |key: &str| begun[key].as_u64().unwrap_or_default();
    let more = begun["more"] == true;
    Ok(Begun { id: text(&begun["replay_id"]), total: count("total"), elsewhere: count("in_other_replays"), more })
}

/// Until it is over, or ctrl-C.
pub(crate) async fn watch(api: &Api, begun: &Begun) -> anyhow::Result<Watched> {
    let mut progress = Progress::default();
    let watched = tokio::select! {
        over = until_over(api, &begun.id, &mut progress) => over.map(Watched::Over),
        _ = tokio::signal::ctrl_c() => Ok(Watched::Left),
    };
    progress.end();
    if !matches!(watched, Ok(Watched::Over(_))) {
        say_how_to_steer(&begun.id);
    }
    watched
}

async fn until_over(api: &Api, id: &str, progress: &mut Progress) -> anyhow::Result<Value> {
    let path = path_with_id("/v1/replays", id, "");
    let mut failures = 0;
    loop {
        match api.call(Method::GET, &path, None).await {
            Ok(Some(replay)) => {
                failures = 0;
                progress.show(&replay);
                if matches!(replay["state"].as_str(), Some("done" | "stopped" | "cancelled")) {
                    return Ok(replay);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(None) => {
                return Err(failed(format!("replay {id} is gone"), "`payhook replay list` shows those there are"));
            }
            Err(error) if failures == LOOKS_FAILED_MAX => {
                let hint = "whatever became of the console, workers go on with it";
                return Err(failed_by(error, format!("cannot see how far replay {id} is"), hint));
            }
            Err(_) => {
                failures += 1;
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

fn say_how_to_steer(id: &str) {
    output::note(format_args!("replay {id} goes on by itself"));
    output::note(format_args!("  see it:     payhook replay show {id}"));
    output::note(format_args!("  pause it:   payhook replay pause {id}"));
    output::note(format_args!("  cancel it:  payhook replay cancel {id}"));
}

/// Prints the id of a replay, for the program that began it.
fn leave(begun: &Begun, json: bool) {
    match json {
        true => output::json(&json!({ "replay_id": begun.id, "total": begun.total })),
        false => output::line(&begun.id),
    }
}

/// Prints the result of a replay that is over.
fn show_result(replay: &Value) {
    let count = |key: &str| replay[key].as_u64().unwrap_or_default();
    let (kind, changed) = if replay["plan"] == true { ("plan", "would change") } else { ("replay", "changed") };
    output::line(format_args!("{kind} {} {}", text(&replay["replay_id"]), text(&replay["state"])));
    let left = count("total").saturating_sub(count("done"));
    let outcomes = [
        (changed, count("changed")),
        ("unchanged", count("unchanged")),
        ("failed", count("failed")),
        ("not tried", left),
    ];
    let rows = outcomes.into_iter().filter(|(word, count)| *word != "not tried" || *count > 0);
    output::line("");
    output::table(["OUTCOME", "COUNT"], rows.map(|(word, count)| [word.to_owned(), count.to_string()]));
}

/// Prints a replay, as the lists show it.
pub(crate) fn show(replay: &Value) {
    show_all(std::slice::from_ref(replay));
    if let Some(detail) = replay["detail"].as_str() {
        output::line(format_args!("\nit stopped: {detail}"));
    }
}

pub(crate) fn show_all(replays: &[Value]) {
    let columns = ["replay_id", "state", "total", "done", "changed", "unchanged", "failed", "who", "reason"];
    let rows = replays.iter().map(|replay| {
        let kind = if replay["plan"] == true { "plan" } else { "replay" };
        let [id, rest @ ..] = columns.map(|key| text(&replay[key]));
        let [state, total, done, changed, unchanged, failed, who, reason] = rest;
        [id, kind.to_owned(), state, total, done, changed, unchanged, failed, who, reason]
    });
    let head = ["ID", "KIND", "STATE", "TOTAL", "DONE", "CHANGED", "UNCHANGED", "FAILED", "WHO", "REASON"];
    output::table(head, rows);
}

/// Those items that changed something, would, or failed.
pub(crate) async fn show_items(api: &Api, replay: &Value) -> anyhow::Result<()> {
    let count = |key: &str| replay[key].as_u64().unwrap_or_default() as usize;
    let worth = count("changed") + count("failed");
    if worth == 0 {
        return Ok(());
    }
    let notable = |item: &Value| matches!(item["outcome"].as_str(), Some("changed" | "failed"));
    let shown = items(api, &text(&replay["replay_id"]), notable, worth.min(ROWS_MAX)).await?;
    output::line("");
    output::table(
        ["ITEM", "PAYMENT", "OUTCOME", "DETAIL"],
        shown.iter().map(|item| [origin(item), payment(item), text(&item["outcome"]), text(&item["detail"])]),
    );
    if worth > shown.len() {
        output::line(format_args!("… and {} more; --json has all", worth - shown.len()));
    }
    Ok(())
}

/// Items of a replay for which `keep` holds, in their order, up to `at_most`.
pub(crate) async fn items(
    api: &Api,
    id: &str,
    keep: impl Fn(&Value) -> bool,
    at_most: usize,
) -> anyhow::Result<Vec<Value>> {
    let (mut kept, mut after) = (Vec::new(), 0);
    while kept.len() < at_most {
        let page = query(&[("after", Some(after.to_string())), ("limit", Some(PAGE.to_string()))]);
        let path = path_with_id("/v1/replays", id, "/items");
        let mut answer = api.call(Method::GET, &format!("{path}{page}"), None).await?.unwrap_or_default();
        if let Value::Array(items) = answer["items"].take() {
            kept.extend(items.into_iter().filter(&keep).take(at_most - kept.len()));
        }
        match answer["next"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(kept)
}

/// A plan as the API answers it.
fn plan(replay: &Value, items: &[Value]) -> Value {
    let of = |key: &str| replay[key].clone();
    json!({
        "replay_id": of("replay_id"), "state": of("state"), "total": of("total"), "would_change": of("changed"),
        "unchanged": of("unchanged"), "failed": of("failed"), "detail": of("detail"), "items": items,
    })
}

/// Returns the id of what an item was made of, or its number.
fn origin(item: &Value) -> String {
    match (&item["dead_letter_id"], &item["notification_id"]) {
        (Value::Null, Value::Null) => text(&item["n"]),
        (Value::Null, id) | (id, _) => text(id),
    }
}

/// `antom/shop-sg/PR-1`; `-` where it is about none.
pub(crate) fn payment(of: &Value) -> String {
    match of["payment_id"].is_null() {
        true => "-".to_owned(),
        false => format!("{}/{}/{}", text(&of["provider"]), text(&of["account"]), text(&of["payment_id"])),
    }
}

/// Returns the end of a command that watched a replay until it was over.
fn judge(replay: &Value) -> anyhow::Result<Ended> {
    let id = text(&replay["replay_id"]);
    let failures = replay["failed"].as_u64().unwrap_or_default();
    match replay["state"].as_str() {
        Some("stopped") => Err(failed(
            format!("replay {id} stopped by itself: {}", text(&replay["detail"])),
            format!("mend what the items above say, then `payhook replay resume {id}`, or cancel it"),
        )),
        Some("cancelled") => Err(failed(format!("replay {id} was cancelled"), "what it did until then stays done")),
        _ if failures > 0 => {
            Err(failed(format!("{failures} of {} failed", text(&replay["total"])), "the items above say why"))
        }
        _ => Ok(Ended::Done),
    }
}
