use std::time::Duration;

use payhook_schema::Clock;
use payhook_simulator::{Keys, Options, Simulator};

use crate::cli::SimulateArguments;
use crate::failure::{Ended, failed_by};
use crate::process::Stop;
use crate::{output, process};

/// `payhook simulate`: Antom and Omise for whoever has no sandbox at hand. Prints the accounts to put into payhook.toml.
pub(crate) async fn run(arguments: SimulateArguments) -> anyhow::Result<Ended> {
    let keys = Keys::load_or_create(&arguments.keys)?;
    let options = Options { listen: arguments.listen, clock: Clock::system(), keys };
    let simulator = Simulator::start(options).await.map_err(|error| {
        failed_by(error, "cannot start the simulated providers", "--listen takes another loopback address")
    })?;
    output::line(simulator.config_toml(&arguments.account).trim_end());
    tracing::info!("Antom and Omise are simulated at {}; POST its verbs to /control", simulator.url());
    tracing::info!("the tables above go into payhook.toml; keys are kept in {}", arguments.keys.display());
    let stop = Stop::default();
    process::stop_on_signal(stop.clone(), Duration::ZERO);
    stop.now.cancelled().await;
    simulator.stop().await;
    Ok(Ended::Done)
}
