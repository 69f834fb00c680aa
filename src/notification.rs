use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Api, path_with_id, query};
use crate::cli::{NotificationArguments, NotificationCommand, NotificationFilter, NotificationSelection};
use crate::failure::{Ended, failed_by};
use crate::order::text;
use crate::watch::payment;
use crate::{output, watch};

/// `payhook notification …`: what providers sent.
pub(crate) async fn run(config: Option<&Path>, arguments: NotificationArguments) -> anyhow::Result<Ended> {
    match arguments.command {
        NotificationCommand::List { filter, before, limit, console } => {
            let NotificationFilter { ids, kind, provider, account, payment, since } = filter;
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let query = query(&[
                ("id", (!ids.is_empty()).then(|| ids.join(","))),
                ("kind", kind),
                ("provider", provider.map(|it| it.to_string())),
                ("account", account.map(|it| it.to_string())),
                ("payment_id", payment.map(|it| it.to_string())),
                ("since", since),
                ("before", before.map(|it| it.to_string())),
                ("limit", Some(limit.to_string())),
            ]);
            let path = format!("/v1/notifications{query}");
            let answer = Api::open(config, &console)?.call(Method::GET, &path, None).await?;
            Ok(list(&answer.unwrap_or_default(), console.output.json))
        }
        NotificationCommand::Show { id, body: true, console } => {
            let path = path_with_id("/v1/notifications", &id.to_string(), "/body");
            let Some(bytes) = Api::open(config, &console)?.bytes(&path).await? else { return Ok(Ended::NothingFound) };
            output::bytes(&bytes).map_err(|error| {
                failed_by(error, "cannot print the body", "standard output must be open; `> FILE` keeps it")
            })?;
            Ok(Ended::Done)
        }
        NotificationCommand::Show { id, body: false, console } => {
            let path = path_with_id("/v1/notifications", &id.to_string(), "");
            let found = Api::open(config, &console)?.call(Method::GET, &path, None).await?;
            Ok(show(found.as_ref(), console.output.json))
        }
        NotificationCommand::Replay { chosen, pace, console } => {
            let api = Api::open(config, &console)?;
            watch::replay(&api, "/v1/notifications/replay", selected_by(chosen), pace, console.output.json).await
        }
    }
}

fn selected_by(chosen: NotificationSelection) -> Value {
    let NotificationFilter { ids, kind, provider, account, payment, since } = chosen.filter;
    json!({
        "ids": ids, "kind": kind, "provider": provider, "account": account, "payment_id": payment, "since": since,
        "all": chosen.all,
    })
}

fn list(answer: &Value, json: bool) -> Ended {
    if json {
        output::json(answer);
    }
    let notifications = answer["notifications"].as_array().map(Vec::as_slice).unwrap_or_default();
    if notifications.is_empty() {
        return Ended::NothingFound;
    }
    if !json {
        output::table(
            ["ID", "RECEIVED", "TIMES", "ACCOUNT", "KIND", "ABOUT", "PAYMENT", "VERIFIED BY"],
            notifications.iter().map(|it| {
                let [id, received, kind, about, verified_by] =
                    ["id", "received_at", "kind", "about", "verified_by"].map(|key| text(&it[key]));
                let account = format!("{}/{}", text(&it["provider"]), text(&it["account"]));
                [id, received, text(&it["received"]), account, kind, about, payment(it), verified_by]
            }),
        );
        if let Some(next) = answer["next"].as_str() {
            output::line(format_args!("more: --before {next}"));
        }
    }
    Ended::Done
}

fn show(found: Option<&Value>, json: bool) -> Ended {
    let Some(found) = found else { return Ended::NothingFound };
    if json {
        output::json(found);
        return Ended::Done;
    }
    let of = |key: &str| text(&found[key]);
    let headers = found["headers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let headers: Vec<String> =
        headers.iter().map(|header| format!("{} ({} bytes)", text(&header["name"]), header["bytes"])).collect();
    output::facts([
        ("id", of("id")),
        ("account", format!("{}/{}", of("provider"), of("account"))),
        ("kind", of("kind")),
        ("about", of("about")),
        ("payment", of("payment_id")),
        ("refund", of("refund_id")),
        ("same fact", of("idempotency_key")),
        ("received", of("received_at")),
        ("times received", of("received")),
        ("last received", of("last_received_at")),
        ("signed", of("signed_at")),
        ("verified by", of("verified_by")),
        ("signed path", of("signed_path")),
        ("headers", headers.join(", ")),
        ("body bytes", of("body_bytes")),
        ("body SHA-256", of("body_sha256")),
        ("sealed under", of("sealed_with")),
    ]);
    Ended::Done
}
