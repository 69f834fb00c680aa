//! `payhook replay`: lists, shows, pauses, resumes and cancels replays and plans.

use clap::Subcommand;
use payhook_console::api::{PageQuery, ReplayList, ReplayView};
use uuid::Uuid;

use crate::api::Api;
use crate::failure::Exit;
use crate::{output, watch};

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// List replays and plans, newest first
    List {
        /// Replays to show, at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Show the progress of a replay, and the items that it changed or that failed
    Show {
        /// Its id, as the list shows it
        id: Uuid,
    },
    /// Pause a running replay
    Pause {
        /// Its id, as the list shows it
        id: Uuid,
    },
    /// Resume a replay that was paused or that stopped by itself
    Resume {
        /// Its id, as the list shows it
        id: Uuid,
    },
    /// End a replay for good; its finished items stay done
    Cancel {
        /// Its id, as the list shows it
        id: Uuid,
    },
}

pub(crate) async fn run(api: &Api, command: ReplayCommand) -> anyhow::Result<Exit> {
    match command {
        ReplayCommand::List { limit } => {
            let answer = api.get(&["replays"], &PageQuery { limit: Some(limit) }).await?;
            Ok(api.print(answer, list_text))
        }
        ReplayCommand::Show { id } => {
            let Some(mut found) = api.get::<ReplayView>(&["replays", &id.to_string()], &()).await? else {
                return Ok(Exit::NothingFound);
            };
            let items = match api.json {
                true => {
                    found.json["items"] = watch::items_json(watch::items(api, id, |_| true, usize::MAX).await?);
                    String::new()
                }
                false => watch::notable_items(api, &found.view).await?,
            };
            Ok(api.print(Some(found), |replay| Some(text(replay) + &items)))
        }
        ReplayCommand::Pause { id } => steer(api, id, "pause").await,
        ReplayCommand::Resume { id } => steer(api, id, "resume").await,
        ReplayCommand::Cancel { id } => steer(api, id, "cancel").await,
    }
}

async fn steer(api: &Api, id: Uuid, word: &str) -> anyhow::Result<Exit> {
    let answer = api.post(&["replays", &id.to_string(), word], &()).await?;
    Ok(api.print(answer, |replay| Some(text(replay))))
}

pub(crate) fn text(replay: &ReplayView) -> String {
    let stopped = replay.detail.as_ref().map_or_else(String::new, |detail| format!("\n\nit stopped: {detail}"));
    table(std::slice::from_ref(replay)) + &stopped
}

pub(crate) fn list_text(list: &ReplayList) -> Option<String> {
    (!list.replays.is_empty()).then(|| table(&list.replays))
}

fn table(replays: &[ReplayView]) -> String {
    let rows = replays.iter().map(|replay| {
        let count = |count: u64| count.to_string();
        [
            replay.replay_id.to_string(),
            if replay.plan { "plan" } else { "replay" }.to_owned(),
            replay.state.to_string(),
            count(replay.total),
            count(replay.done),
            count(replay.changed),
            count(replay.unchanged),
            count(replay.failed),
            replay.who.clone(),
            replay.reason.clone(),
        ]
    });
    let head = ["ID", "KIND", "STATE", "TOTAL", "DONE", "CHANGED", "UNCHANGED", "FAILED", "WHO", "REASON"];
    output::table(head, rows)
}
