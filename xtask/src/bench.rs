//! `cargo xtask bench`: the benchmark program against servers of its own.

use std::process::ExitCode;

use anyhow::Result;

use crate::run::{cargo, exit_code, program, run, run_well, target_dir};
use crate::servers::XtaskServers;

pub(crate) async fn bench(arguments: &[String]) -> Result<ExitCode> {
    // First, so that the compiler is not at work beside what is measured.
    run_well(&mut cargo(&["build", "--release", "--package", "payhook", "--package", "payhook-bench", "--bins"]))
        .await?;
    let release = target_dir()?.join("release");
    let servers = XtaskServers::start().await?;
    let mut bench = program(release.join("payhook-bench"));
    bench.args(arguments).envs(servers.environment.iter().cloned()).env("PAYHOOK_BIN", release.join("payhook"));
    let status = run(&mut bench).await?;
    Ok(ExitCode::from(exit_code(status)))
}
