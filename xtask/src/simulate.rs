//! `cargo xtask simulate`: random worlds of the simulation, as many as wanted, or one of them again.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::run::{cargo, exit_code, run};

/// `--seed N` for one world, `--worlds N` for so many.
pub(crate) async fn simulate(arguments: &[String]) -> Result<ExitCode> {
    let mut test = cargo(&["test", "--package", "payhook-simulation", "random_worlds_on_one_file"]);
    for pair in arguments.chunks(2) {
        let variable = match pair[0].as_str() {
            "--seed" => "PAYHOOK_SIM_SEED",
            "--worlds" => "PAYHOOK_SIM_WORLDS",
            other => bail!("`{other}` is unknown: give --seed N or --worlds N"),
        };
        test.env(variable, pair.get(1).with_context(|| format!("{} needs a number", pair[0]))?);
    }
    Ok(ExitCode::from(exit_code(run(&mut test).await?)))
}
