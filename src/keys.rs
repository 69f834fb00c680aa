use std::path::Path;

use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Api;
use crate::cli::{KeysArguments, KeysCommand};
use crate::failure::{Ended, failed};
use crate::output;

/// `payhook keys …`: the keys that seal tokens.
pub(crate) async fn run(config: Option<&Path>, arguments: KeysArguments) -> anyhow::Result<Ended> {
    let KeysCommand::Rotate { console } = arguments.command;
    let api = Api::open(config, &console)?;
    let mut resealed = 0;
    // One request does as much as it has time for; the next goes on.
    let answer = loop {
        let answer = api.call(Method::POST, "/v1/keys/rotate", None).await?;
        let answer = answer.context("this console has no keys to rotate: it may be of an older version")?;
        let now = count(&answer["resealed"]);
        resealed += now;
        if now == 0 || left(&answer) <= count(&answer["unopened"]) {
            break answer;
        }
        output::note(format_args!("sealed {resealed} anew, {} left", left(&answer)));
    };
    let (newest, unopened, left) = (&answer["newest"], count(&answer["unopened"]), left(&answer));
    if console.output.json {
        output::json(&json!({
            "newest": newest,
            "resealed": resealed,
            "left": answer["left"],
            "unopened": unopened,
        }));
    } else {
        output::line(format_args!("sealed {resealed} anew under key {newest}"));
        for (key, left) in answer["left"].as_object().into_iter().flatten() {
            output::line(format_args!("key {key}: {left} left"));
        }
    }
    match (unopened, left) {
        (0, 0) => Ok(Ended::Done),
        (0, left) => Err(failed(
            format!("{left} are still sealed under another key"),
            "another process may still seal under an older key: have all of them read the configuration again (SIGHUP), \
             then rotate again",
        )),
        (unopened, _) => Err(failed(
            format!("{unopened} do not open with any of the keys"),
            "the console's log says which and why; give their key back under `[tokens] keys`, then rotate again",
        )),
    }
}

/// Counts the things that are still sealed under other keys than the newest.
fn left(answer: &Value) -> u64 {
    answer["left"].as_object().into_iter().flatten().map(|(_, left)| count(left)).sum()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
