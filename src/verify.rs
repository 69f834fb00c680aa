//! `payhook verify`: checks a captured request offline, and names the likely cause if its signature does not hold.
//! Shows nothing of its content.

mod captured;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use payhook_provider::{Account, Cause, Diagnosis, Protocol, Received, diagnose};
use payhook_schema::{AccountName, Clock, Provider, new_id};
use serde_json::json;

use self::captured::Captured;
use crate::cli::JsonOutput;
use crate::config::{Config, OwnKeys};
use crate::failure::{Exit, failed, failed_by};
use crate::{output, process};

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// antom or omise
    provider: Provider,
    /// The request's headers, one `Name: value` a line; the output of `curl -v` and raw HTTP work too, and give the
    /// path
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// The request's body, byte for byte
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// The account it was sent to, if the path does not say
    #[arg(long)]
    account: Option<AccountName>,
    /// The path it was sent to, as registered with the provider
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The method it was sent with, if there is no request line
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// The time when it was received; without it, an account's `signature_age_max` is not checked
    #[arg(long, value_name = "TIME")]
    received_at: Option<Timestamp>,
    #[command(flatten)]
    output: JsonOutput,
}

pub(crate) fn run(config: Option<&Path>, arguments: &VerifyArguments) -> anyhow::Result<Exit> {
    let config = process::load(config, OwnKeys::Optional)?;
    let text = String::from_utf8_lossy(&read(&arguments.headers, "--headers")?).into_owned();
    let body = read(&arguments.body, "--body")?;
    let captured = Captured::read(&text).map_err(|error| {
        let what = format!("cannot read the headers in {}", arguments.headers.display());
        failed_by(error, what, "write one `Name: value` a line; the output of `curl -v` and raw HTTP work too")
    })?;
    let at = VerifyTarget::find(&config, arguments, &captured)?;
    check_method(arguments.method.as_deref().or(captured.method.as_deref()))?;
    let now = Clock::system().now();
    let received = |at_time| Received {
        path: &at.path,
        query: at.query.as_deref(),
        headers: &captured.headers,
        body: &body,
        at: at_time,
        id: new_id(now),
    };
    let diagnosis = match arguments.received_at {
        Some(at_time) => diagnose(&at.account, &received(at_time)),
        None => ageless(&at.account, now, received),
    };
    if arguments.output.json {
        output::json(&as_json(&at, &diagnosis));
    } else {
        show(&at, &diagnosis);
    }
    judge(&diagnosis)
}

/// Diagnoses a request whose time of receipt is unknown: its age is not checked.
fn ageless<'a>(account: &Account, now: Timestamp, received: impl Fn(Timestamp) -> Received<'a>) -> Diagnosis {
    let diagnosis = diagnose(account, &received(now));
    let is_old = diagnosis.causes.iter().any(|cause| cause.word == "too_old");
    match diagnosis.signed_at.filter(|_| is_old) {
        Some(signed_at) => {
            output::note(format_args!(
                "the time it was received is unknown, so its age is not checked: pass --received-at"
            ));
            Diagnosis { age: diagnosis.age, ..diagnose(account, &received(signed_at)) }
        }
        None => diagnosis,
    }
}

fn read(file: &Path, flag: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file)
        .map_err(|error| failed_by(error, format!("cannot read {}", file.display()), format!("{flag} takes a file")))
}

/// The destination of the request.
struct VerifyTarget {
    account: Arc<Account>,
    /// The public path.
    path: String,
    query: Option<String>,
    /// True if no path was given: then it is the usual path of the account's notifications.
    assumed: bool,
}

impl VerifyTarget {
    fn find(config: &Config, arguments: &VerifyArguments, captured: &Captured) -> anyhow::Result<Self> {
        let public_path = &config.ingress.public_path;
        // A request captured behind a proxy lacks the prefix that the proxy strips; a path given by hand is complete.
        let captured = captured.target.as_ref().map(|target| match target.starts_with(&format!("{public_path}/")) {
            true => target.clone(),
            false => format!("{public_path}{target}"),
        });
        let given = arguments.path.clone().or(captured);
        let path = given.as_deref().and_then(|path| path.strip_prefix(public_path.as_str()));
        let name = arguments.account.clone().or_else(|| account_in(path?, arguments.provider));
        let account = account(config, arguments.provider, name)?;
        let assumed = given.is_none();
        let usual = || format!("{public_path}{}", Protocol::notify_path(arguments.provider, account.name()));
        let given = given.unwrap_or_else(usual);
        let (path, query) = match given.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (given, None),
        };
        Ok(Self { account, path, query, assumed })
    }
}

/// `/antom/shop-sg/notifyPayment` is `shop-sg`'s.
fn account_in(path: &str, provider: Provider) -> Option<AccountName> {
    let rest = path.strip_prefix('/')?.strip_prefix(provider.as_str())?.strip_prefix('/')?;
    rest.split(['/', '?']).next()?.parse().ok()
}

/// Returns the named account, or the only one.
fn account(config: &Config, provider: Provider, name: Option<AccountName>) -> anyhow::Result<Arc<Account>> {
    let all: Vec<Arc<Account>> =
        config.accounts.all().into_iter().filter(|account| account.provider() == provider).collect();
    let names: Vec<&str> = all.iter().map(|account| account.name().as_str()).collect();
    let known = match names.is_empty() {
        true => format!("the configuration ({}) has none of {provider}; --config names another", config.source),
        false => format!("the configuration ({}) has {}", config.source, names.join(", ")),
    };
    match (name, all.as_slice()) {
        (Some(name), _) => config
            .accounts
            .get(provider, &name)
            .ok_or_else(|| failed(format!("there is no {provider} account `{name}`"), known)),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(failed(
            format!("it is unknown which {provider} account the request was sent to: pass --account"),
            known,
        )),
    }
}

/// Refuses any method but POST: every notification is a POST, and Antom's signature covers the method.
fn check_method(method: Option<&str>) -> anyhow::Result<()> {
    match method {
        Some(method) if !method.eq_ignore_ascii_case("POST") => Err(failed(
            format!("the request was sent as {}; providers send POST", method.chars().take(16).collect::<String>()),
            "a redirect turns POST into GET: register the redirect's target with the provider, or capture the request itself",
        )),
        _ => Ok(()),
    }
}

fn is_accepted(diagnosis: &Diagnosis) -> bool {
    diagnosis.by.is_some() && diagnosis.causes.is_empty()
}

fn show(at: &VerifyTarget, diagnosis: &Diagnosis) {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let assumed = if at.assumed { " (assumed: pass --path)" } else { "" };
    output::line(output::facts([
        ("genuine", if is_accepted(diagnosis) { "yes" } else { "no" }.to_owned()),
        ("account", format!("{}/{}", at.account.provider(), at.account.name())),
        ("path", format!("{}{assumed}", at.path)),
        ("signature", if diagnosis.by.is_some() { "holds" } else { "does not hold as it is" }.to_owned()),
        ("by", or_none(diagnosis.by.clone())),
        ("signed", or_none(diagnosis.signed_at.map(|at| at.to_string()))),
        ("age", or_none(diagnosis.age.map(in_words))),
    ]));
    for cause in &diagnosis.causes {
        let Cause { word, what, advice, proven } = cause;
        let cause = format!("{word}{}", if *proven { "" } else { " (likely)" });
        let facts = output::facts([("cause", cause), ("what", what.clone()), ("do", advice.clone())]);
        output::line(format_args!("\n{facts}"));
    }
}

fn as_json(at: &VerifyTarget, diagnosis: &Diagnosis) -> serde_json::Value {
    let causes = diagnosis
        .causes
        .iter()
        .map(|cause| json!({ "word": cause.word, "what": cause.what, "advice": cause.advice, "proven": cause.proven }));
    json!({
        "genuine": is_accepted(diagnosis),
        "provider": at.account.provider(),
        "account": at.account.name(),
        "path": at.path,
        "path_assumed": at.assumed,
        "holds": diagnosis.by.is_some(),
        "by": diagnosis.by,
        "signed_at": diagnosis.signed_at,
        "age_s": diagnosis.age.map(|age| age.as_secs()),
        "causes": causes.collect::<Vec<_>>(),
    })
}

fn judge(diagnosis: &Diagnosis) -> anyhow::Result<Exit> {
    match (diagnosis.causes.first(), diagnosis.by.is_some()) {
        (None, true) => Ok(Exit::Done),
        (Some(cause), _) => Err(failed(format!("ingress would refuse it: {}", cause.what), cause.advice.clone())),
        (None, false) => Err(failed(
            "the signature does not hold, and no known cause explains it",
            "compare the key with the provider's dashboard, and the body with the provider's, byte for byte; if both are right, \
             somebody else sent it",
        )),
    }
}

/// `2 h 5 min before now`: the two largest units.
fn in_words(age: SignedDuration) -> String {
    let seconds = age.unsigned_abs().as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let from = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
    let words: Vec<String> = parts[from..].iter().take(2).map(|(count, unit)| format!("{count} {unit}")).collect();
    format!("{} {}", words.join(" "), if age.is_negative() { "after now" } else { "before now" })
}

#[cfg(test)]
mod tests;
