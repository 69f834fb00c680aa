use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use crate::api::{Api, path_with_id, query};
use crate::cli::{ConsoleAddress, ReplayArguments, ReplayCommand};
use crate::failure::Ended;
use crate::{output, watch};

/// `payhook replay …`: replays and plans that were begun.
pub(crate) async fn run(config: Option<&Path>, arguments: ReplayArguments) -> anyhow::Result<Ended> {
    match arguments.command {
        ReplayCommand::List { limit, console } => {
            let path = format!("/v1/replays{}", query(&[("limit", Some(limit.to_string()))]));
            let answer = Api::open(config, &console)?.call(Method::GET, &path, None).await?.unwrap_or_default();
            if console.output.json {
                output::json(&answer);
            }
            let replays = answer["replays"].as_array().map(Vec::as_slice).unwrap_or_default();
            if replays.is_empty() {
                return Ok(Ended::NothingFound);
            }
            if !console.output.json {
                watch::show_all(replays);
            }
            Ok(Ended::Done)
        }
        ReplayCommand::Show { id, console } => {
            let (api, id) = (Api::open(config, &console)?, id.to_string());
            let Some(mut replay) = api.call(Method::GET, &path_with_id("/v1/replays", &id, ""), None).await? else {
                return Ok(Ended::NothingFound);
            };
            if console.output.json {
                replay["items"] = watch::items(&api, &id, |_| true, usize::MAX).await?.into();
                output::json(&replay);
            } else {
                watch::show(&replay);
                watch::show_items(&api, &replay).await?;
            }
            Ok(Ended::Done)
        }
        ReplayCommand::Pause { id, console } => steer(config, &console, &id.to_string(), "/pause").await,
        ReplayCommand::Resume { id, console } => steer(config, &console, &id.to_string(), "/resume").await,
        ReplayCommand::Cancel { id, console } => steer(config, &console, &id.to_string(), "/cancel").await,
    }
}

async fn steer(config: Option<&Path>, console: &ConsoleAddress, id: &str, word: &str) -> anyhow::Result<Ended> {
    let path = path_with_id("/v1/replays", id, word);
    let replay: Option<Value> = Api::open(config, console)?.call(Method::POST, &path, None).await?;
    let Some(replay) = replay else { return Ok(Ended::NothingFound) };
    match console.output.json {
        true => output::json(&replay),
        false => watch::show(&replay),
    }
    Ok(Ended::Done)
}
