use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Api, path_with_id};
use crate::cli::{AuthorizationArguments, AuthorizationCommand, ConsoleAddress};
use crate::failure::Ended;
use crate::order::{show_timeline, text};
use crate::output;

/// `payhook authorization …`: the console's API in a shell.
pub(crate) async fn run(config: Option<&Path>, arguments: AuthorizationArguments) -> anyhow::Result<Ended> {
    match arguments.command {
        AuthorizationCommand::Register { authorization, account, auth_state, wallet, console } => {
            let body = json!({ "account": account, "auth_state": auth_state, "customer_belongs_to": wallet });
            let path = path_with_id("/v1/authorizations", authorization.as_str(), "");
            let answer = Api::open(config, &console)?.call(Method::PUT, &path, Some(body)).await?;
            Ok(show(&console, answer.as_ref(), None))
        }
        AuthorizationCommand::Show { authorization, console } => {
            let api = Api::open(config, &console)?;
            let path = |suffix| path_with_id("/v1/authorizations", authorization.as_str(), suffix);
            let Some(mut found) = api.call(Method::GET, &path(""), None).await? else {
                return Ok(Ended::NothingFound);
            };
            let timeline = api.call(Method::GET, &path("/timeline"), None).await?;
            let timeline = timeline.map(|mut it| it["timeline"].take()).unwrap_or_default();
            if console.output.json {
                found["timeline"] = timeline;
                output::json(&found);
                return Ok(Ended::Done);
            }
            Ok(show(&console, Some(&found), Some(&timeline)))
        }
    }
}

fn show(console: &ConsoleAddress, authorization: Option<&Value>, timeline: Option<&Value>) -> Ended {
    let Some(authorization) = authorization else { return Ended::NothingFound };
    if console.output.json {
        output::json(authorization);
        return Ended::Done;
    }
    let of = |key: &str| text(&authorization[key]);
    output::line(format_args!(
        "{}  {}  {}/{}  {}  version {}",
        of("authorization_id"),
        of("state"),
        of("provider"),
        of("account"),
        of("customer_belongs_to"),
        of("version"),
    ));
    let rows = [[of("expires_at"), of("refresh_expires_at"), of("next_check_at"), of("reason")]];
    output::line("");
    output::table(["TOKEN EXPIRES", "REFRESH EXPIRES", "NEXT CHECK", "REASON"], rows);
    show_timeline(timeline);
    Ended::Done
}
