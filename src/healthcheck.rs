//! `payhook healthcheck`: asks the process of the same configuration how it is, for containers, which have no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::config::OwnKeys;
use crate::failure::{Exit, failed, failed_by};
use crate::{output, process};

#[derive(Debug, Args)]
pub(crate) struct HealthcheckArguments {
    /// Ask for readiness: 0 only if the process can do its roles now
    #[arg(long)]
    ready: bool,
    /// The process's address, such as http://127.0.0.1:8081; `[console] listen` unless given
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Shorter than what containers give a health check by default.
const WITHIN: Duration = Duration::from_secs(5);

pub(crate) async fn run(config: Option<&Path>, arguments: HealthcheckArguments) -> anyhow::Result<Exit> {
    let base = match arguments.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", reachable(process::load(config, OwnKeys::Unused)?.console.listen)),
    };
    let path = if arguments.ready { "/readyz" } else { "/healthz" };
    let http = reqwest::Client::builder().timeout(WITHIN).no_proxy().build()?;
    let answer = http.get(format!("{base}{path}")).send().await.map_err(|error| {
        let hint = "start the process, or pass --url with its console.listen";
        failed_by(error.without_url(), format!("nobody answers at {base}{path}"), hint)
    })?;
    let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
    if !status.is_success() {
        return Err(failed(
            format!("{base}{path} answered {}: {}", status.as_u16(), text.trim()),
            "its log names the cause; `payhook check` looks at everything it needs",
        ));
    }
    output::line(text.trim());
    Ok(Exit::Done)
}

/// The address to ask a process at that listens everywhere.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_listens_everywhere_is_asked_on_the_loopback() {
        for (listen, asked) in [("0.0.0.0:81", "127.0.0.1:81"), ("[::]:81", "[::1]:81"), ("10.0.0.5:81", "10.0.0.5:81")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
