//! `payhook demo`: all roles and the simulated providers in one process. Each step goes through the real HTTP,
//! signature, queue, inquiry, store and event path; the story watches from outside, as the merchant's program would.

mod merchant;
mod story;

use std::path::Path;
use std::time::Duration;

use clap::Args;
use payhook_schema::{AccountName, Clock};
use payhook_simulator::{Options, Simulator};
use secrecy::ExposeSecret;

use self::merchant::Merchant;
use self::story::Story;
use crate::config::{Config, OwnKeys};
use crate::failure::{Exit, failed};
use crate::process::Stop;
use crate::roles::{Roles, RunningRoles};
use crate::{output, process};

/// Short delays, so that the dead letter comes while somebody watches.
const RETRY_DELAYS: &str = r#"["1s", "2s"]"#;

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Run the story and exit; non-zero if a step failed
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(arguments: DemoArguments) -> anyhow::Result<Exit> {
    let stop = Stop::default();
    process::stop_on_signal(stop.clone(), Duration::ZERO);
    let folder = tempfile::Builder::new().prefix("payhook-demo-").tempdir()?;
    let account = AccountName::new("demo").expect("a constant name");
    let simulator = Simulator::start(Options::default()).await?;
    let config = config(&simulator, &account, folder.path())?;
    let running = RunningRoles::open(&config, Roles::ALL, "demo", Clock::system(), stop.clone()).await?;
    let ingress = running.ingress.expect("all roles have an ingress");
    let console = running.console;
    let ended = tokio::spawn(running.until_stopped());

    output::line(format_args!(
        "payhook {}   demo: providers are simulated, keys were made for this run, loopback only\n\n  \
         notifications  http://{ingress}/antom/{account}/notifyPayment   http://{ingress}/omise/{account}\n  \
         orders API     http://{console}/v1/orders\n  \
         simulator      {}\n  \
         data           {}   (deleted when the demo ends)\n",
        env!("CARGO_PKG_VERSION"),
        simulator.url(),
        folder.path().join("payhook.db").display(),
    ));

    let merchant = Merchant::new(console, account.clone())?;
    let mut story = Story::new(&simulator, &merchant, account, format!("http://{ingress}"));
    tokio::select! {
        () = story.tell() => {}
        () = stop.now.cancelled() => return Err(failed("the demo was interrupted before its last step", "run it again: it takes some ten seconds")),
    }
    let failures = story.close().await?;

    if !arguments.once && failures == 0 {
        output::line(format_args!(
            "\nStill running; ctrl-C ends it. Meanwhile, in another shell:\n\n  \
             payhook order list --url http://{console}\n  \
             payhook order show D-1001 --url http://{console}\n  \
             curl http://{console}/v1/events\n  \
             curl http://{console}/metrics\n\n\
             Then your own: copy payhook.example.toml to payhook.toml, `payhook check`, `payhook serve`."
        ));
        stop.now.cancelled().await;
    }
    stop.at_once();
    ended.await??;
    simulator.stop().await;
    match failures {
        0 => Ok(Exit::Done),
        count => Err(failed(
            format!("{count} step(s) of the demo failed"),
            "RUST_LOG=info payhook demo --once shows what every part did",
        )),
    }
}

fn config(simulator: &Simulator, account: &AccountName, folder: &Path) -> anyhow::Result<Config> {
    let text = format!(
        "[ingress]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n\
         [store]\nurl = \"sqlite://payhook.db\"\n[worker]\nretry_delays = {RETRY_DELAYS}\n\
         [tokens]\nkeys = {{ 1 = \"{}\" }}\n{}",
        payhook_vault::new_key().expose_secret(),
        simulator.config_toml(account).replace("sandbox = true", "sandbox = true\napply_token = true")
    );
    Ok(Config::read(&text, "demo", folder, &std::collections::BTreeMap::new(), OwnKeys::Required)?)
}
