use std::path::Path;

use serde_json::{Value, json};

use crate::api::Api;
use crate::cli::DriftArguments;
use crate::failure::{Ended, failed};
use crate::order::text;
use crate::watch::{Watched, payment};
use crate::{output, watch};

/// `payhook drift`: asks the providers about payments, and shows where they say otherwise than we do. Changes nothing.
pub(crate) async fn run(config: Option<&Path>, arguments: DriftArguments) -> anyhow::Result<Ended> {
    let DriftArguments { since, until, provider, account, limit, console } = arguments;
    let api = Api::open(config, &console)?;
    let mut body = json!({ "since": since, "limit": limit });
    for (name, value) in [
        ("until", until),
        ("provider", provider.map(|it| it.to_string())),
        ("account", account.map(|it| it.to_string())),
    ] {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    let begun = watch::begin(&api, "/v1/drift", body).await?;
    if begun.total == 0 {
        return Ok(Ended::NothingFound);
    }
    if begun.more {
        output::note(format_args!(
            "only the first {limit} are compared: raise --limit, or narrow the period by --since and --until"
        ));
    }
    let Watched::Over(over) = watch::watch(&api, &begun).await? else {
        output::line(&begun.id);
        return Ok(Ended::Done);
    };
    let of = |outcome: &'static str| move |item: &Value| item["outcome"] == outcome;
    let differ = watch::items(&api, &begun.id, of("changed"), usize::MAX).await?;
    let failures = watch::items(&api, &begun.id, of("failed"), usize::MAX).await?;
    if console.output.json {
        output::json(&json!({
            "replay_id": begun.id, "state": over["state"], "compared": over["done"], "total": over["total"],
            "differences": differ, "failed": failures,
        }));
    } else if !(differ.is_empty() && failures.is_empty()) {
        let rows = |items: &[Value], what: &'static str| -> Vec<[String; 3]> {
            items.iter().map(|item| [payment(item), what.to_owned(), text(&item["detail"])]).collect()
        };
        let rows = [rows(&differ, "differs"), rows(&failures, "not compared")].concat();
        output::table(["PAYMENT", "", "WHAT THE PROVIDER SAYS"], rows);
    }
    judge(&over, differ.len(), failures.len())
}

fn judge(over: &Value, differ: usize, failures: usize) -> anyhow::Result<Ended> {
    let (done, total) = (text(&over["done"]), text(&over["total"]));
    if over["state"] != "done" {
        let (id, state) = (text(&over["replay_id"]), text(&over["state"]));
        return Err(failed(
            format!("the comparison is {state}, with {done} of {total} compared"),
            format!("`payhook replay show {id}` says why; mend it, then begin again"),
        ));
    }
    match (differ, failures) {
        (0, 0) => {
            output::note(format_args!("{total} compared, and none differs"));
            Ok(Ended::Done)
        }
        (0, _) => Err(failed(
            format!("{failures} of {total} could not be compared, and none of the others differs"),
            "the rows above say why; `payhook check` shows whether the providers are reachable",
        )),
        _ => Err(failed(
            format!("{differ} of {total} differ"),
            "`payhook order refresh` takes the provider's word for an order; its timeline shows what is known of it",
        )),
    }
}
