//! `cargo xtask soak`: load for minutes while a fault comes and goes, one fault after the other.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use payhook_test_servers::REQUIRED;

use crate::run::{cargo, exit_code, run, run_well};
use crate::servers::XtaskServers;

const MINUTES: u64 = 2;

/// `--minutes N` for each fault, `--fault NAME` for those whose name has this in it.
pub(crate) async fn soak(arguments: &[String]) -> Result<ExitCode> {
    let (mut minutes, mut fault) = (MINUTES, "");
    for pair in arguments.chunks(2) {
        let value = pair.get(1).with_context(|| format!("{} needs a value", pair[0]))?;
        match pair[0].as_str() {
            "--minutes" => minutes = value.parse().context("--minutes needs a number")?,
            "--fault" => fault = value,
            other => bail!("`{other}` is unknown: give --minutes N or --fault NAME"),
        }
    }
    let servers = XtaskServers::start().await?;
    run_well(&mut cargo(&["build", "--package", "payhook", "--bin", "payhook"])).await?;
    let filter = format!("soak::{fault}");
    let mut test = cargo(&["test", "--package", "payhook", "--test", "it", "--", &filter, "--test-threads", "1"]);
    test.envs(servers.environment.iter().cloned()).env(REQUIRED, "1");
    test.env("PAYHOOK_SOAK_SECONDS", (minutes * 60).to_string());
    Ok(ExitCode::from(exit_code(run(&mut test).await?)))
}
