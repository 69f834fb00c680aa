use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Api, path_with_id, query};
use crate::cli::{DeadArguments, DeadCommand, DeadFilter, DeadSelection};
use crate::failure::{Ended, failed};
use crate::order::{money, text};
use crate::watch::payment;
use crate::{output, watch};

/// `payhook dead …`: what was given up on, and what to do about it.
pub(crate) async fn run(config: Option<&Path>, arguments: DeadArguments) -> anyhow::Result<Ended> {
    match arguments.command {
        DeadCommand::List { filter, state, all, before, limit, console } => {
            let state = if all { Some("all".to_owned()) } else { state.map(|it| it.to_string()) };
            let mut pairs = asked_by(filter);
            pairs.extend([
                ("state", state),
                ("before", before.map(|it| it.to_string())),
                ("limit", Some(limit.to_string())),
            ]);
            let path = format!("/v1/dead-letters{}", query(&pairs));
            let answer = Api::open(config, &console)?.call(Method::GET, &path, None).await?;
            Ok(list(&answer.unwrap_or_default(), console.output.json))
        }
        DeadCommand::Show { id, console } => {
            let path = path_with_id("/v1/dead-letters", &id.to_string(), "");
            let letter = Api::open(config, &console)?.call(Method::GET, &path, None).await?;
            Ok(show(letter.as_ref(), console.output.json))
        }
        DeadCommand::Groups { filter, console } => {
            let path = format!("/v1/dead-letters/groups{}", query(&asked_by(filter)));
            let answer = Api::open(config, &console)?.call(Method::GET, &path, None).await?;
            Ok(groups(&answer.unwrap_or_default(), console.output.json))
        }
        DeadCommand::Replay { chosen, pace, console } => {
            let api = Api::open(config, &console)?;
            watch::replay(&api, "/v1/dead-letters/replay", selected_by(chosen), pace, console.output.json).await
        }
        DeadCommand::Discard { chosen, reason, console } => {
            let body = json!({ "filter": selected_by(chosen), "reason": reason });
            let answer =
                Api::open(config, &console)?.call(Method::POST, "/v1/dead-letters/discard", Some(body)).await?;
            counted("discarded", &answer.unwrap_or_default(), console.output.json)
        }
        DeadCommand::Note { chosen, note, console } => {
            let body = json!({ "filter": selected_by(chosen), "note": note });
            let answer = Api::open(config, &console)?.call(Method::POST, "/v1/dead-letters/note", Some(body)).await?;
            counted("noted", &answer.unwrap_or_default(), console.output.json)
        }
    }
}

/// A filter as a query has it.
fn asked_by(filter: DeadFilter) -> Vec<(&'static str, Option<String>)> {
    let DeadFilter { ids, cause, provider, account, since } = filter;
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    vec![
        ("id", (!ids.is_empty()).then(|| ids.join(","))),
        ("cause", cause.map(|it| it.to_string())),
        ("provider", provider.map(|it| it.to_string())),
        ("account", account.map(|it| it.to_string())),
        ("since", since),
    ]
}

/// The same as a body has it.
fn selected_by(chosen: DeadSelection) -> Value {
    let DeadSelection { filter: DeadFilter { ids, cause, provider, account, since }, all } = chosen;
    json!({ "ids": ids, "cause": cause, "provider": provider, "account": account, "since": since, "all": all })
}

fn list(answer: &Value, json: bool) -> Ended {
    if json {
        output::json(answer);
    }
    let letters = answer["dead_letters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if letters.is_empty() {
        return Ended::NothingFound;
    }
    if !json {
        output::table(
            ["ID", "STATE", "CAUSE", "PAYMENT", "ORDER", "ORDER IS", "ATTEMPTS", "LAST FAILED", "NOTE", "DETAIL"],
            letters.iter().map(|letter| {
                let [id, state, cause] = ["id", "state", "cause"].map(|key| text(&letter[key]));
                let [order, order_state, attempts, last, note, detail] =
                    ["order_id", "order_state", "attempts", "last_failed_at", "note", "detail"]
                        .map(|key| text(&letter[key]));
                [id, state, cause, payment(letter), order, order_state, attempts, last, note, detail]
            }),
        );
        if let Some(next) = answer["next"].as_str() {
            output::line(format_args!("more: --before {next}"));
        }
    }
    Ended::Done
}

fn show(letter: Option<&Value>, json: bool) -> Ended {
    let Some(letter) = letter else { return Ended::NothingFound };
    if json {
        output::json(letter);
        return Ended::Done;
    }
    let of = |key: &str| text(&letter[key]);
    let envelope = &letter["envelope"];
    output::facts([
        ("id", of("id")),
        ("state", of("state")),
        ("cause", of("cause")),
        ("detail", of("detail")),
        ("note", of("note")),
        ("account", format!("{}/{}", of("provider"), of("account"))),
        ("payment", of("payment_id")),
        ("order", of("order_id")),
        ("order is", of("order_state")),
        ("order's amount", money(&letter["order_amount"], "amount_minor")),
        ("attempts", of("attempts")),
        ("first failed", of("first_failed_at")),
        ("last failed", of("last_failed_at")),
        ("notification", of("notification_id")),
        (
            "envelope",
            format!("{}, {} bytes, SHA-256 {}", text(&envelope["hint"]), envelope["bytes"], text(&envelope["sha256"])),
        ),
    ]);
    let told = &envelope["notification"];
    if told.is_object() {
        let of = |key: &str| text(&told[key]);
        output::line("");
        output::facts([
            ("kind", of("kind")),
            ("received", of("received_at")),
            ("signed", of("signed_at")),
            ("verified by", of("verified_by")),
        ]);
    }
    Ended::Done
}

fn groups(answer: &Value, json: bool) -> Ended {
    if json {
        output::json(answer);
    }
    let groups = answer["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    if groups.is_empty() {
        return Ended::NothingFound;
    }
    if !json {
        output::table(
            ["CAUSE", "PROVIDER", "ACCOUNT", "COUNT", "FIRST FAILED", "LAST FAILED", "AT STAKE", "PAID MEANWHILE"],
            groups.iter().map(|group| {
                let [cause, provider, account, count, first, last, paid] =
                    ["cause", "provider", "account", "count", "first_failed_at", "last_failed_at", "paid_meanwhile"]
                        .map(|key| text(&group[key]));
                let at_stake = group["at_stake"].as_array().map(Vec::as_slice).unwrap_or_default();
                let at_stake: Vec<String> = at_stake.iter().map(|it| money(it, "amount_minor")).collect();
                let at_stake = if at_stake.is_empty() { "-".to_owned() } else { at_stake.join(", ") };
                [cause, provider, account, count, first, last, at_stake, paid]
            }),
        );
    }
    Ended::Done
}

fn counted(what: &str, answer: &Value, json: bool) -> anyhow::Result<Ended> {
    let count = |what: &str| answer[what].as_u64().unwrap_or_default();
    let (count, elsewhere) = (count(what), count("in_other_replays"));
    match json {
        true => output::json(answer),
        false if count > 0 => output::line(format_args!("{what} {count}")),
        false => {}
    }
    match (count, elsewhere) {
        (0, 0) => Ok(Ended::NothingFound),
        (_, 0) => Ok(Ended::Done),
        _ => Err(failed(
            format!("{elsewhere} are in a replay that is not over, and were left to it"),
            "`payhook replay list` shows it; `payhook replay cancel` ends it",
        )),
    }
}
