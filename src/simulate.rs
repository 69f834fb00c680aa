//! `payhook simulate`: the simulated Antom and Omise as a server. Prints the account sections for payhook.toml.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use payhook_schema::{AccountName, Clock};
use payhook_simulator::{Keys, Options, Simulator};

use crate::failure::{Exit, failed_by};
use crate::process::Stop;
use crate::{output, process};

#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// A loopback address
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The directory of its keys: they are made once, so that a configuration outlives a restart
    #[arg(long, value_name = "DIR", default_value = "simulator-keys")]
    keys: PathBuf,
    /// The account name in the configuration that it prints
    #[arg(long, default_value = "demo")]
    account: AccountName,
}

pub(crate) async fn run(arguments: SimulateArguments) -> anyhow::Result<Exit> {
    let keys = Keys::load_or_create(&arguments.keys)?;
    let options = Options { listen: arguments.listen, clock: Clock::system(), keys };
    let simulator = Simulator::start(options).await.map_err(|error| {
        failed_by(error, "cannot start the simulated providers", "choose another loopback address with --listen")
    })?;
    output::line(simulator.config_toml(&arguments.account).trim_end());
    tracing::info!("Antom and Omise are simulated at {}; POST its verbs to /control", simulator.url());
    tracing::info!("put the tables above into payhook.toml; the keys are in {}", arguments.keys.display());
    let stop = Stop::default();
    process::stop_on_signal(stop.clone(), Duration::ZERO);
    stop.now.cancelled().await;
    simulator.stop().await;
    Ok(Exit::Done)
}
