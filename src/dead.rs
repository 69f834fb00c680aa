use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use crate::api::{Api, query};
use crate::cli::{DeadArguments, DeadCommand};
use crate::failure::Ended;
use crate::order::text;
use crate::output;

/// `payhook dead …`: what was given up on.
pub(crate) async fn run(config: Option<&Path>, arguments: DeadArguments) -> anyhow::Result<Ended> {
    let one = matches!(arguments.command, DeadCommand::Show { .. });
    let (console, query) = match arguments.command {
        DeadCommand::List { cause, provider, account, since, limit, console } => {
            let query = query(&[
                ("cause", cause.map(|it| it.to_string())),
                ("provider", provider.map(|it| it.to_string())),
                ("account", account.map(|it| it.to_string())),
                ("since", since),
                ("limit", Some(limit.to_string())),
            ]);
            (console, query)
        }
        DeadCommand::Show { id, console } => (console, query(&[("id", Some(id.to_string()))])),
    };
    let answer = Api::open(config, &console)?.call(Method::GET, &format!("/v1/dead-letters{query}"), None).await?;
    let answer = answer.unwrap_or_default();
    let letters = answer["dead_letters"].as_array().cloned().unwrap_or_default();
    match letters.first() {
        Some(letter) if one && console.output.json => output::json(letter),
        _ if console.output.json && !one => output::json(&answer),
        _ => {}
    }
    if letters.is_empty() {
        return Ok(Ended::NothingFound);
    }
    if !console.output.json {
        output::table(
            ["ID", "CAUSE", "PAYMENT", "ORDER", "ATTEMPTS", "LAST FAILED", "DETAIL"],
            letters.iter().map(|letter| {
                [
                    text(&letter["id"]),
                    text(&letter["cause"]),
                    payment(letter),
                    text(&letter["order_id"]),
                    text(&letter["attempts"]),
                    text(&letter["last_failed_at"]),
                    text(&letter["detail"]),
                ]
            }),
        );
    }
    Ok(Ended::Done)
}

fn payment(letter: &Value) -> String {
    format!("{}/{}/{}", text(&letter["provider"]), text(&letter["account"]), text(&letter["payment_id"]))
}
