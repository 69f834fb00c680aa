use std::path::Path;

use payhook_schema::{Currency, Money, NewRefund};
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Api, path_with_id, query};
use crate::cli::{ConsoleAddress, OrderArguments, OrderCommand};
use crate::failure::Ended;
use crate::output;

/// `payhook order …`: the console's API in a shell.
pub(crate) async fn run(config: Option<&Path>, arguments: OrderArguments) -> anyhow::Result<Ended> {
    match arguments.command {
        OrderCommand::Register { order, amount, payments, refunds, console } => {
            let payments: Vec<_> = payments
                .iter()
                .map(|key| json!({ "provider": key.provider, "account": key.account, "id": key.id }))
                .collect();
            let mut body =
                json!({ "amount_minor": amount.amount_minor, "currency": amount.currency, "payments": payments });
            if !refunds.is_empty() {
                body["refunds"] = refunds.iter().map(new_refund).collect();
            }
            let path = path_with_id("/v1/orders", order.as_str(), "");
            let answer = Api::open(config, &console)?.call(Method::PUT, &path, Some(body)).await?;
            Ok(show(&console, answer.as_ref(), None))
        }
        OrderCommand::Show { order, after, limit, console } => {
            let api = Api::open(config, &console)?;
            let Some(mut found) = api.call(Method::GET, &path_with_id("/v1/orders", order.as_str(), ""), None).await?
            else {
                return Ok(Ended::NothingFound);
            };
            let page = query(&[("after", after), ("limit", Some(limit.to_string()))]);
            let path = path_with_id("/v1/orders", order.as_str(), "/timeline");
            let answer = api.call(Method::GET, &format!("{path}{page}"), None).await?;
            let (timeline, next) = answer.map(|mut it| (it["timeline"].take(), it["next"].take())).unwrap_or_default();
            if console.output.json {
                found["timeline"] = timeline;
                found["timeline_next"] = next;
                output::json(&found);
                return Ok(Ended::Done);
            }
            let ended = show(&console, Some(&found), Some(&timeline));
            if let Some(next) = next.as_str() {
                output::line(format_args!("more: payhook order show {order} --after {next}"));
            }
            Ok(ended)
        }
        OrderCommand::List { state, provider, account, before, limit, console } => {
            let query = query(&[
                ("state", state.map(|it| it.to_string())),
                ("provider", provider.map(|it| it.to_string())),
                ("account", account.map(|it| it.to_string())),
                ("before", before.map(|it| it.to_string())),
                ("limit", Some(limit.to_string())),
            ]);
            let answer = Api::open(config, &console)?.call(Method::GET, &format!("/v1/orders{query}"), None).await?;
            Ok(list(&console, &answer.unwrap_or_default()))
        }
        OrderCommand::Refresh { order, console } => {
            let path = path_with_id("/v1/orders", order.as_str(), "/refresh");
            let answer = Api::open(config, &console)?.call(Method::POST, &path, None).await?;
            Ok(show(&console, answer.as_ref(), None))
        }
        OrderCommand::Release { order, reason, version, returned, console } => {
            let api = Api::open(config, &console)?;
            let Some(found) = api.call(Method::GET, &path_with_id("/v1/orders", order.as_str(), ""), None).await?
            else {
                return Ok(Ended::NothingFound);
            };
            for hold in holds(&found) {
                output::note(format_args!("open: {}: {}", text(&hold["reason"]), text(&hold["detail"])));
            }
            let version = version.map_or_else(|| found["version"].clone(), Value::from);
            let returned: Vec<Value> = returned
                .iter()
                .map(|key| json!({ "provider": key.provider, "account": key.account, "id": key.id }))
                .collect();
            let body = json!({ "reason": reason, "version": version, "returned": returned });
            let path = path_with_id("/v1/orders", order.as_str(), "/release");
            let answer = api.call(Method::POST, &path, Some(body)).await?;
            let ended = show(&console, answer.as_ref(), None);
            if ended == Ended::Done {
                output::note(format_args!("a worker releases it in a moment: `payhook order show {order}`"));
            }
            Ok(ended)
        }
    }
}

/// The open objections of an order.
fn holds(order: &Value) -> &[Value] {
    order["holds"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn show(console: &ConsoleAddress, order: Option<&Value>, timeline: Option<&Value>) -> Ended {
    let Some(order) = order else { return Ended::NothingFound };
    if console.output.json {
        output::json(order);
        return Ended::Done;
    }
    let money = |key: &str| money(order, key);
    output::line(format_args!(
        "{}  {}  {}  captured {}  refunded {}  version {}",
        text(&order["order_id"]),
        text(&order["state"]),
        money("amount_minor"),
        money("captured_minor"),
        money("refunded_minor"),
        order["version"]
    ));
    for hold in holds(order) {
        output::line(format_args!(
            "held since {}: {}: {}",
            text(&hold["since"]),
            text(&hold["reason"]),
            text(&hold["detail"])
        ));
    }
    if !holds(order).is_empty() {
        let (id, version) = (text(&order["order_id"]), &order["version"]);
        output::note(format_args!(
            "hint: once a person has looked: payhook order release {id} --version {version} --reason \"…\""
        ));
    }
    let payments = order["payments"].as_array().cloned().unwrap_or_default();
    if !payments.is_empty() {
        let rows = payments.iter().map(|payment| {
            [
                payment_key(payment, "id"),
                text(&payment["state"]),
                text(&payment["reason"]),
                text(&payment["asked_at"]),
                text(&payment["next_check_at"]),
            ]
        });
        output::line("");
        output::table(["PAYMENT", "STATE", "REASON", "LAST ASKED", "NEXT CHECK"], rows);
    }
    show_refunds(order);
    show_disputes(order);
    show_timeline(timeline);
    Ended::Done
}

fn show_refunds(order: &Value) {
    let refunds = order["refunds"].as_array().map(Vec::as_slice).unwrap_or_default();
    if refunds.is_empty() {
        return;
    }
    let rows = refunds.iter().map(|refund| {
        let state = if refund["voided"] == true { "voided".to_owned() } else { text(&refund["state"]) };
        let money = money(refund, "amount_minor");
        [text(&refund["id"]), payment_key(refund, "payment_id"), state, money, text(&refund["reason"])]
    });
    output::line("");
    output::table(["REFUND", "PAYMENT", "STATE", "AMOUNT", "REASON"], rows);
}

fn show_disputes(order: &Value) {
    let disputes = order["disputes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if disputes.is_empty() {
        return;
    }
    let rows = disputes.iter().map(|dispute| {
        [
            text(&dispute["id"]),
            payment_key(dispute, "payment_id"),
            text(&dispute["state"]),
            money(dispute, "amount_minor"),
            text(&dispute["reason"]),
            text(&dispute["answer_by"]),
        ]
    });
    output::line("");
    output::table(["DISPUTE", "PAYMENT", "STATE", "AMOUNT", "REASON", "ANSWER BY"], rows);
}

/// Prints the timeline of an order or an authorization, oldest first.
pub(crate) fn show_timeline(timeline: Option<&Value>) {
    if let Some(timeline) = timeline.and_then(Value::as_array) {
        let rows = timeline.iter().map(|entry| [text(&entry["at"]), text(&entry["kind"]), text(&entry["text"])]);
        output::line("");
        output::table(["AT", "KIND", "WHAT HAPPENED"], rows);
    }
}

fn new_refund(refund: &NewRefund) -> Value {
    let NewRefund { payment, id } = refund;
    json!({ "provider": payment.provider, "account": payment.account, "payment_id": payment.id, "id": id })
}

/// `antom/shop-sg/PR-1`, of an object that has the id under `id_key`.
fn payment_key(of: &Value, id_key: &str) -> String {
    format!("{}/{}/{}", text(&of["provider"]), text(&of["account"]), text(&of[id_key]))
}

fn list(console: &ConsoleAddress, answer: &Value) -> Ended {
    if console.output.json {
        output::json(answer);
    }
    let orders = answer["orders"].as_array().cloned().unwrap_or_default();
    if orders.is_empty() {
        return Ended::NothingFound;
    }
    if !console.output.json {
        let rows = orders.iter().map(|order| {
            let hold = match holds(order) {
                [] => "-".to_owned(),
                [first] => text(&first["reason"]),
                [first, more @ ..] => format!("{} +{}", text(&first["reason"]), more.len()),
            };
            [
                text(&order["order_id"]),
                text(&order["state"]),
                money(order, "amount_minor"),
                money(order, "captured_minor"),
                money(order, "refunded_minor"),
                hold,
                text(&order["updated_at"]),
            ]
        });
        output::table(["ORDER", "STATE", "AMOUNT", "CAPTURED", "REFUNDED", "HOLD", "UPDATED"], rows);
        if let Some(next) = answer["next"].as_str() {
            output::line(format_args!("more: --before {next}"));
        }
    }
    Ended::Done
}

/// A JSON scalar as a person reads it; `-` where there is none.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An amount of an order as the API has it, with its currency.
pub(crate) fn money(order: &Value, key: &str) -> String {
    let currency = order["currency"].as_str().and_then(|code| Currency::new(code).ok());
    match (order[key].as_i64(), currency) {
        (Some(minor), Some(currency)) => Money::new(minor, currency).to_string(),
        _ => "-".to_owned(),
    }
}
