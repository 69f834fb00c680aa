//! `payhook check`: what the configuration means and what is reachable, secrets hidden.

mod keys;

use std::path::Path;
use std::time::Duration;

use payhook_provider::Account;
use payhook_queue::{Queue, Route, RouteState};
use payhook_schema::Clock;
use payhook_store::{Store, StoreError};
use serde_json::json;
use tokio::time::error::Elapsed;

use self::keys::KnownKeys;
use crate::cli::JsonOutput;
use crate::config::{Config, QueueConfig, StoreConfig};
use crate::failure::{Exit, failed};
use crate::{backends, output, roles};

/// The time limit for each answer.
const WITHIN: Duration = Duration::from_secs(6);
/// Clocks further apart than this are worth a line: signatures and schedules suffer.
const SKEW_MAX_S: i64 = 30;

/// A line of the report.
#[derive(Clone)]
struct Finding {
    what: String,
    state: FindingState,
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FindingState {
    Ok,
    /// Works, and a person should read it.
    Note,
    /// A role could not start, or could not work.
    Bad,
}

impl FindingState {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Bad => "BAD",
        }
    }
}

fn finding(what: impl Into<String>, state: FindingState, detail: impl Into<String>) -> Finding {
    Finding { what: what.into(), state, detail: detail.into() }
}

/// Fails if a role could not start.
pub(crate) async fn run(config: anyhow::Result<Config>, arguments: &JsonOutput) -> anyhow::Result<Exit> {
    let config = config?;
    let mut findings = vec![
        finding("configuration", FindingState::Ok, config.source.clone()),
        finding(
            "ingress.listen",
            FindingState::Ok,
            format!("{} (signed path prefix `{}`)", config.ingress.listen, config.ingress.public_path),
        ),
        finding(
            "console.listen",
            FindingState::Ok,
            format!(
                "{}, {}",
                config.console.listen,
                match (config.console.asks_for_tokens(), config.console.callers.len()) {
                    (false, _) => "without a token, loopback only".to_owned(),
                    (true, 0) => "with a token".to_owned(),
                    (true, callers) => format!("with tokens, {callers} named caller(s)"),
                }
            ),
        ),
    ];
    let lacks = config.lacks.iter().map(|lack| format!("{lack} (`payhook serve` and `payhook worker` cannot start)"));
    findings.extend(lacks.map(|lack| finding("configuration", FindingState::Bad, lack)));
    findings.extend(config.notices.iter().map(|notice| finding("configuration", FindingState::Note, notice)));
    let (of_backends, known) = check_backends(&config).await;
    findings.extend(of_backends);
    findings.extend(check_accounts(&config).await);
    findings.extend(known.iter().flat_map(|known| known.findings(&config)));

    let bad = findings.iter().filter(|finding| finding.state == FindingState::Bad).count();
    if arguments.json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| json!({ "what": finding.what, "state": finding.state.word(), "detail": finding.detail }))
            .collect();
        let mut report = json!({ "ok": bad == 0, "findings": list });
        if let Some(known) = known {
            known.add_to(&mut report, &config);
        }
        output::json(&report);
    } else {
        output::line(text(findings));
    }
    match bad {
        0 => Ok(Exit::Done),
        _ => Err(failed(
            format!("{bad} finding(s) would keep a role from working"),
            "fix what is marked BAD, then check again",
        )),
    }
}

fn text(findings: Vec<Finding>) -> String {
    let rows = findings.into_iter().map(|finding| [finding.state.word().to_owned(), finding.what, finding.detail]);
    output::table(["", "WHAT", "DETAIL"], rows)
}

/// Checks that the queue and the store are reachable, and reads from the store which of our keys are in use.
async fn check_backends(config: &Config) -> (Vec<Finding>, Option<KnownKeys>) {
    // A check changes nothing: `serve` creates the file, not we.
    if let StoreConfig::Sqlite(path) = &config.store
        && !path.exists()
    {
        let mut findings = vec![missing_file(path)];
        if let QueueConfig::Rabbit(url) = &config.queue {
            match backends::rabbit(config, url, "check", &Clock::system()) {
                Ok(queue) => findings.extend(check_queue(config, &*queue).await),
                Err(error) => findings.push(finding("queue", FindingState::Bad, format!("{error:#}"))),
            }
        }
        return (findings, Some(KnownKeys::default()));
    }
    let backends = match backends::open(config, "check", true, &Clock::system()).await {
        Ok(backends) => backends,
        // The file belongs to a running process, and only that can read it.
        Err(error) if is_held(&error) => {
            let detail = format!("{error:#}; its /readyz shows the state of the store and the queue");
            let unknown = "the use of each key is shown only while `payhook serve` is stopped";
            let findings = vec![
                finding("queue and store", FindingState::Note, detail),
                finding("keys", FindingState::Note, unknown),
            ];
            return (findings, None);
        }
        Err(error) => return (vec![finding("queue and store", FindingState::Bad, format!("{error:#}"))], None),
    };
    let store = backends.store.expect("opened with the store");
    let (of_store, of_queue) = tokio::join!(check_store(config, &*store), check_queue(config, &*backends.queue));
    let known = keys::look(&*store).await;
    backends.queue.close().await;
    store.close().await;
    ([vec![of_store], of_queue].concat(), known)
}

/// Reports a file that does not exist yet; its folder must.
fn missing_file(path: &Path) -> Finding {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match folder.is_dir() {
        true => finding(
            "store",
            FindingState::Ok,
            format!("{}: does not exist yet; `payhook serve` creates it", path.display()),
        ),
        false => {
            let detail = format!("{}: there is no folder {}; create it", path.display(), folder.display());
            finding("store", FindingState::Bad, detail)
        }
    }
}

/// Returns true if a file cannot be opened because the process that owns it runs.
fn is_held(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StoreError>().is_some_and(|error| matches!(error, StoreError::Held { .. }))
}

fn answered(what: &'static str, address: String, answer: Result<Result<(), String>, Elapsed>) -> Finding {
    match answer {
        Ok(Ok(())) => finding(what, FindingState::Ok, address),
        Ok(Err(why)) => finding(what, FindingState::Bad, why),
        Err(_) => finding(what, FindingState::Bad, format!("{address}: no answer within {} s", WITHIN.as_secs())),
    }
}

async fn check_store(config: &Config, store: &dyn Store) -> Finding {
    let checked = tokio::time::timeout(WITHIN, store.check()).await;
    let is_updated_at_start =
        matches!(&checked, Ok(Err(StoreError::Outdated { .. }))) && config.one_process_only(false).is_some();
    let checked = checked.map(|checked| checked.map_err(|error| error.to_string()));
    let checked = answered("store", store.address(), checked);
    if is_updated_at_start { updated_at_start(checked) } else { checked }
}

/// Checks that the queue takes a publish, has every queue that a worker needs, and routes messages to them.
async fn check_queue(config: &Config, queue: &dyn Queue) -> Vec<Finding> {
    let probed = tokio::time::timeout(WITHIN, async {
        queue.probe().await.map_err(|error| error.to_string())?;
        queue.depths().await.map_err(|error| error.to_string())
    });
    let probed = probed.await;
    let unrouted = match &probed {
        Ok(Ok(depths)) => depths.iter().find(|depth| depth.queue == "payhook.unrouted").map_or(0, |depth| depth.ready),
        _ => 0,
    };
    let answer = probed.map(|answer| answer.map(drop));
    let whole = answered("queue", queue.address(), answer);
    let whole = match (&config.queue, whole.state) {
        (QueueConfig::Embedded, FindingState::Bad) => updated_at_start(whole),
        _ => whole,
    };
    let mut findings = vec![whole];
    if unrouted > 0 {
        let detail = format!("{unrouted} message(s) that no queue took: `payhook queue unrouted` lists them");
        findings.push(finding("queue payhook.unrouted", FindingState::Note, detail));
    }
    if let Ok(Ok(routes)) = tokio::time::timeout(WITHIN, queue.routes()).await {
        let broken = routes.into_iter().filter_map(|Route { name, state }| match state {
            RouteState::Works => None,
            RouteState::NotPermitted => {
                let detail =
                    "this broker user may not write to it; ingress and console need only payhook.notifications";
                Some(finding(format!("queue {name}"), FindingState::Note, detail))
            }
            RouteState::Broken(why) => {
                let detail = format!("{why}; `payhook migrate` declares what is missing");
                Some(finding(format!("queue {name}"), FindingState::Bad, detail))
            }
        });
        findings.extend(broken);
    }
    findings
}

/// Softens a finding about the file: `serve` migrates it before it does anything else.
fn updated_at_start(finding: Finding) -> Finding {
    let detail = format!("{} (`payhook serve` updates its file at start)", finding.detail);
    Finding { state: FindingState::Note, detail, ..finding }
}

async fn check_accounts(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.accounts.all().is_empty() {
        findings.push(finding("accounts", FindingState::Bad, format!("none: add {}", roles::account_sections())));
    }
    let http =
        reqwest::Client::builder().timeout(WITHIN).redirect(reqwest::redirect::Policy::none()).no_proxy().build();
    for account in config.accounts.all() {
        let name = format!("{}.{}", account.provider(), account.name());
        findings.push(finding(name.clone(), FindingState::Ok, account.summary()));
        if let Ok(http) = &http {
            findings.push(check_api(http, &account, &name).await);
        }
    }
    findings
}

/// Checks that the API answers and that its clock agrees with ours. Sends no key.
async fn check_api(http: &reqwest::Client, account: &Account, name: &str) -> Finding {
    let what = format!("{name}.api");
    let response = match http.head(account.api()).send().await {
        Ok(response) => response,
        Err(error) => {
            let why = if error.is_timeout() { "no answer in time" } else { "cannot be reached" };
            return finding(what, FindingState::Bad, format!("{}: {why}", account.api()));
        }
    };
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let theirs = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    match theirs.map(|theirs| Clock::system().now().duration_since(theirs.timestamp()).as_secs()) {
        Some(skew) if skew.abs() > SKEW_MAX_S => finding(
            what,
            FindingState::Note,
            format!("{}: our clock differs from theirs by {skew} s; check NTP", account.api()),
        ),
        _ => finding(what, FindingState::Ok, format!("{} answers", account.api())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings() {
        let findings = vec![
            finding("configuration", FindingState::Ok, "payhook.toml"),
            finding(
                "antom.shop-sg.api",
                FindingState::Note,
                "https://open-sea-global.alipay.com: our clock differs by 40 s",
            ),
            missing_file(Path::new("nowhere/payhook.db")),
        ];
        insta::assert_snapshot!("check", text(findings));
    }
}
