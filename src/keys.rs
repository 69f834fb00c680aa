//! `payhook keys`: rotates the keys that seal tokens.

use anyhow::Context;
use clap::Subcommand;
use payhook_console::api::RotationReport;
use serde_json::json;

use crate::api::Api;
use crate::failure::{Exit, failed};
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Seal everything anew under the newest of `[tokens] keys`, so that older ones can go
    Rotate,
}

pub(crate) async fn run(api: &Api, command: KeysCommand) -> anyhow::Result<Exit> {
    let KeysCommand::Rotate = command;
    let mut resealed = 0;
    // A request seals as much as it has time for; the next one goes on.
    let RotationReport { newest, left, unopened, .. } = loop {
        let answer = api.post::<RotationReport>(&["keys", "rotate"], &()).await?;
        let report = answer.context("this console cannot rotate keys: it may be of an older version")?.view;
        resealed += report.resealed;
        let left: u64 = report.left.values().sum();
        if report.resealed == 0 || left <= report.unopened as u64 {
            break report;
        }
        output::note(format_args!("sealed {resealed} anew, {left} left"));
    };
    if api.json {
        output::json(&json!(RotationReport { newest, resealed, left: left.clone(), unopened }));
    } else {
        output::line(format_args!("sealed {resealed} anew under key {newest}"));
        for (key, left) in &left {
            output::line(format_args!("key {key}: {left} left"));
        }
    }
    match (unopened, left.values().sum::<u64>()) {
        (0, 0) => Ok(Exit::Done),
        (0, left) => Err(failed(
            format!("{left} are still sealed under another key"),
            "another process may still seal under an older key: have all of them reload the configuration (SIGHUP), \
             then rotate again",
        )),
        (unopened, _) => Err(failed(
            format!("{unopened} do not open with any of the keys"),
            "the console's log names them and their key; add it to `[tokens] keys` again, then rotate again",
        )),
    }
}
