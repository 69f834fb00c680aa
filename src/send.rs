//! `payhook send`: posts a sample notification to ingress, signed as the provider would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use payhook_schema::{AccountName, Clock, Money, PaymentId, Provider};
use payhook_simulator::SimulatorError;
use payhook_simulator::sample::{self, SampleKey};
use reqwest::Url;

use crate::config::OwnKeys;
use crate::failure::{Exit, failed, failed_by};
use crate::{output, process};

#[derive(Debug, Args)]
pub(crate) struct SendArguments {
    /// antom or omise
    provider: Provider,
    /// The kind of notification: paid, failed, pending, … of Antom; an event's key such as charge.complete of Omise
    kind: String,
    /// The account it is for, as configured
    #[arg(long)]
    account: AccountName,
    /// The payment it is about: a paymentRequestId, a charge id
    #[arg(long)]
    payment: PaymentId,
    /// The amount in the sample
    #[arg(long, default_value = "120.00 THB")]
    amount: Money,
    /// The body to send instead of a sample, byte for byte
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The key to sign with: the private key of Antom's side (`payhook simulate` writes one to antom_private_key), or a
    /// webhook secret of Omise; Omise's is taken from the configuration unless given
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The address of payhook's ingress; taken from the configuration unless given
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The number of times to send it
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: usize,
    /// Sign with another key, to see the forgery refused
    #[arg(long)]
    forge: bool,
}

pub(crate) async fn run(config: Option<&Path>, arguments: SendArguments) -> anyhow::Result<Exit> {
    let config = process::load(config, OwnKeys::Unused)?;
    let account = config.accounts.get(arguments.provider, &arguments.account).ok_or_else(|| {
        failed(
            format!("there is no {} account `{}` in the configuration", arguments.provider, arguments.account),
            "`payhook check` lists the accounts",
        )
    })?;
    let to = arguments.to.clone().unwrap_or_else(|| format!("http://{}", config.ingress.listen));
    let to =
        Url::parse(&to).map_err(|error| failed_by(error, "--to is not an address", "such as http://127.0.0.1:8080"))?;
    let path = sample::path(arguments.provider, &arguments.account, &arguments.kind);
    // A proxy's prefix is part of the signed path, and not of the path behind the proxy.
    let base = to.path().trim_end_matches('/');
    let signed_path = match arguments.to {
        Some(_) => format!("{base}{path}"),
        None => format!("{}{path}", config.ingress.public_path),
    };
    let now = Clock::system().now();
    let body = match &arguments.body {
        Some(file) => std::fs::read(file).map_err(|error| {
            failed_by(error, format!("cannot read {}", file.display()), "--body takes a file to send byte for byte")
        })?,
        None => {
            let SendArguments { provider, kind, payment, amount, .. } = &arguments;
            sample::body(*provider, kind, payment, *amount, now).map_err(shown)?
        }
    };
    let key = key_file(&arguments)?;
    let key = match (arguments.forge, &key) {
        (true, _) => SampleKey::Forged,
        (false, Some(text)) => SampleKey::Given(text),
        (false, None) => SampleKey::Configured,
    };
    let headers = sample::sign(&account, key, &signed_path, now, &body).map_err(shown)?;

    let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build()?;
    let url = format!("{}{base}{path}", to.origin().ascii_serialization());
    let mut refused = 0;
    for _ in 0..arguments.times {
        let mut request = http.post(&url).body(body.clone());
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| {
            failed_by(
                error.without_url(),
                format!("cannot post to {url}"),
                "start `payhook serve` or `payhook ingress` there, or name another address with --to",
            )
        })?;
        let status = response.status();
        let answer = response.text().await.unwrap_or_default();
        output::line(format_args!("POST {url}  {}  {}", status.as_u16(), answer.trim()));
        // Another answer was made before any signature was checked: a 404, a 503.
        let unchecked = arguments.forge && !matches!(status.as_u16(), 200..=299 | 401 | 429);
        if unchecked {
            return Err(failed(
                format!("the forgery was answered {}, so its signature was not checked", status.as_u16()),
                "ingress answers 401 to a forgery: check --to, and that ingress has this account",
            ));
        }
        refused += usize::from(!status.is_success());
    }
    match (refused, arguments.forge) {
        (refused, true) if refused < arguments.times => {
            let accepted = arguments.times - refused;
            Err(failed(
                format!("{accepted} forgeries were accepted"),
                "the server at this address does not check signatures: check --to",
            ))
        }
        (0, _) | (_, true) => Ok(Exit::Done),
        _ => Err(failed(
            format!("{refused} of {} were refused", arguments.times),
            "the log of ingress says why each was refused",
        )),
    }
}

fn key_file(arguments: &SendArguments) -> anyhow::Result<Option<String>> {
    let Some(file) = &arguments.key else { return Ok(None) };
    let text = std::fs::read_to_string(file);
    Ok(Some(text.map_err(|error| failed_by(error, format!("cannot read {}", file.display()), "--key takes a file"))?))
}

/// Shows what is missing with the next step.
fn shown(error: SimulatorError) -> anyhow::Error {
    match error {
        SimulatorError::Lacking { what, hint } => failed(what, hint),
        other => other.into(),
    }
}
