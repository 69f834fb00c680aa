//! `payhook send`: posts a sample notification to ingress, signed as the provider would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use payhook_provider::omise::WebhookSecret;
use payhook_provider::{Account, AntomAccount, PrivateKey};
use payhook_schema::{AccountName, Clock, Money, PaymentId, Provider};
use payhook_simulator::{AntomKind, Keys, sample};
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
    /// The key to sign with: the private key of Antom's side (`payhook simulate` writes one to antom_private_key), or a webhook
    /// secret of Omise; Omise's is taken from the configuration unless given
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
    let path = path(&arguments);
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
        None => sample_body(&arguments, now)?,
    };
    let headers = match &*account {
        Account::Antom(antom) => {
            let key = antom_key(&arguments)?;
            let version = key_version(antom, &key);
            sample::sign_antom(&key, version, &antom.client_id, &signed_path, now, &body)
        }
        Account::Omise(omise) => {
            let secret = omise_secret(&arguments, &omise.webhook_secrets)?;
            sample::sign_omise(&secret, now, &body)
        }
    };

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

fn path(arguments: &SendArguments) -> String {
    match arguments.provider {
        Provider::Antom => {
            let call = AntomKind::ALL.into_iter().find(|kind| kind.as_str() == arguments.kind);
            format!("/antom/{}/{}", arguments.account, call.map_or("notifyPayment", AntomKind::call))
        }
        Provider::Omise => format!("/omise/{}", arguments.account),
    }
}

fn sample_body(arguments: &SendArguments, now: jiff::Timestamp) -> anyhow::Result<Vec<u8>> {
    let SendArguments { kind, payment, amount, .. } = arguments;
    match arguments.provider {
        Provider::Antom => {
            let kind = sample::antom_kinds().find(|known| known.as_str() == kind).ok_or_else(|| {
                let known: Vec<&str> = sample::antom_kinds().map(AntomKind::as_str).collect();
                failed(format!("Antom has no notification `{kind}`"), format!("known are {}", known.join(", ")))
            })?;
            Ok(sample::antom(kind, payment, *amount, now)?)
        }
        Provider::Omise => Ok(sample::omise(kind, payment, *amount, now)?),
    }
}

fn key_file(arguments: &SendArguments) -> anyhow::Result<Option<String>> {
    let Some(file) = &arguments.key else { return Ok(None) };
    let text = std::fs::read_to_string(file);
    Ok(Some(text.map_err(|error| failed_by(error, format!("cannot read {}", file.display()), "--key takes a file"))?))
}

/// Reads the private key of Antom's side; no configuration has it, only the simulator.
fn antom_key(arguments: &SendArguments) -> anyhow::Result<PrivateKey> {
    if arguments.forge {
        return Ok(PrivateKey::generate());
    }
    let text = key_file(arguments)?.ok_or_else(|| {
        failed(
            "signing as Antom needs the private key of Antom's side",
            "`payhook simulate` writes one: --key simulator-keys/antom_private_key",
        )
    })?;
    Ok(PrivateKey::parse(&text)?)
}

/// Returns the `keyVersion` of this key in the account. An unknown key is sent as the newest, and refused.
fn key_version(account: &AntomAccount, key: &PrivateKey) -> u32 {
    let probe = b"payhook send";
    let signature = key.sign(probe);
    let ours = account.public_keys.iter().find(|(_, public)| public.holds(probe, &signature));
    ours.or(account.public_keys.last_key_value()).map_or(1, |(version, _)| *version)
}

fn omise_secret(arguments: &SendArguments, configured: &[WebhookSecret]) -> anyhow::Result<WebhookSecret> {
    if arguments.forge {
        return Ok(Keys::generate().webhook().clone());
    }
    match key_file(arguments)? {
        Some(text) => Ok(WebhookSecret::parse(&text)?),
        None => Ok(configured.first().expect("an account has a secret").clone()),
    }
}
