//! The configuration of a test's payhook.

use std::path::{Path, PathBuf};
use std::time::Duration;

use payhook_schema::{AccountName, parse_duration};
use payhook_simulator::{Keys, Simulator};

use super::process::LogTo;
use super::world::{KEYS, STRANGER, other, shop};

/// The options of a test's payhook beyond the usual.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) retry_delays: Vec<&'static str>,
    /// Inquiries in the air at once, per process.
    pub(crate) concurrency: usize,
    /// Workers of a cluster.
    pub(crate) workers: usize,
    /// Lines more for the account's table of Omise.
    pub(crate) omise: &'static str,
    /// The time between two reads of Omise's own list of events.
    pub(crate) follow_events: &'static str,
    /// A proxy between payhook and the broker: [`super::TestPayhook::broker`].
    pub(crate) broker_proxy: bool,
    /// A proxy between payhook and the database: [`super::TestPayhook::database`].
    pub(crate) database_proxy: bool,
    /// Tables more for `payhook.toml`.
    pub(crate) tables: &'static str,
    /// Variables more for every process.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    pub(crate) log: LogTo,
    /// The certificate authority of broker and database.
    pub(crate) ca_file: Option<PathBuf>,
    /// Processes live on where their files may not grow.
    pub(crate) survives_file_limit: bool,
}

impl Plan {
    /// A few short retries.
    pub(crate) fn usual() -> Self {
        Self {
            retry_delays: vec!["1s", "2s", "5s"],
            broker_proxy: false,
            database_proxy: false,
            concurrency: 32,
            workers: 2,
            // A journey must not be saved by it, unless it is about it.
            follow_events: "off",
            omise: "",
            tables: "",
            environment: &[],
            log: LogTo::File,
            ca_file: None,
            survives_file_limit: false,
        }
    }

    pub(crate) fn retry_delays(self, delays: &[&'static str]) -> Self {
        Self { retry_delays: delays.to_vec(), ..self }
    }

    pub(crate) fn concurrency(self, concurrency: usize) -> Self {
        Self { concurrency, ..self }
    }

    pub(crate) fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    pub(crate) fn omise(self, lines: &'static str) -> Self {
        Self { omise: lines, ..self }
    }

    pub(crate) fn follow_events(self, every: &'static str) -> Self {
        Self { follow_events: every, ..self }
    }

    pub(crate) fn broker_proxy(self) -> Self {
        Self { broker_proxy: true, ..self }
    }

    pub(crate) fn database_proxy(self) -> Self {
        Self { database_proxy: true, ..self }
    }

    pub(crate) fn tables(self, tables: &'static str) -> Self {
        Self { tables, ..self }
    }

    pub(crate) fn environment(self, environment: &'static [(&'static str, &'static str)]) -> Self {
        Self { environment, ..self }
    }

    pub(crate) fn log(self, log: LogTo) -> Self {
        Self { log, ..self }
    }

    pub(crate) fn ca_file(self, file: PathBuf) -> Self {
        Self { ca_file: Some(file), ..self }
    }

    pub(crate) fn survives_file_limit(self) -> Self {
        Self { survives_file_limit: true, ..self }
    }

    pub(crate) fn delays(&self) -> Vec<Duration> {
        self.retry_delays.iter().map(|text| parse_duration(text).expect("a duration")).collect()
    }
}

/// The addresses of a payhook's parts.
pub(crate) struct Addresses {
    pub(crate) queue: String,
    pub(crate) store: String,
    pub(crate) ingress: u16,
    pub(crate) console: u16,
}

/// The keys tokens are sealed under, by number. They protect nothing.
pub(crate) const TOKEN_KEYS: [&str; 2] =
    ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="];

/// `[tokens]` with the keys of these numbers.
pub(crate) fn tokens(numbers: &[usize]) -> String {
    let keys = numbers.iter().map(|number| format!("{number} = \"{}\"", TOKEN_KEYS[number - 1]));
    format!("[tokens]\nkeys = {{ {} }}\n", keys.collect::<Vec<_>>().join(", "))
}

/// Writes `payhook.toml` into `folder`: the simulator's account, and another whose keys the simulator does not have.
pub(crate) fn write(folder: &Path, plan: &Plan, at: &Addresses, token: &str, simulator: &Simulator) {
    let Addresses { queue, store, ingress, console } = at;
    let ca_file = plan.ca_file.as_ref().map(|file| format!("ca_file = {:?}\n", file.display().to_string()));
    let ca_file = ca_file.unwrap_or_default();
    let text = format!(
        "[ingress]\nlisten = \"127.0.0.1:{ingress}\"\n\
         [console]\nlisten = \"127.0.0.1:{console}\"\ntoken = \"{token}\"\n\
         [queue]\nurl = \"{queue}\"\n{ca_file}[store]\nurl = \"{store}\"\n{ca_file}\
         [stop]\nlame_duck = \"0s\"\n[worker]\nretry_delays = {:?}\nconcurrency = {}\nfollow_events = \"{}\"\n{}{}{}{}",
        plan.retry_delays,
        plan.concurrency,
        plan.follow_events,
        tokens(&[1]),
        simulator
            .config_toml(&shop())
            .replace("sandbox = true", "sandbox = true\napply_token = true")
            .replace("livemode = false", &format!("livemode = false\n{}", plan.omise)),
        with_keys_of(&STRANGER, &simulator.config_toml(&other())),
        plan.tables,
    );
    std::fs::write(folder.join("payhook.toml"), text).expect("the configuration can be written");
}

fn with_keys_of(keys: &Keys, accounts: &str) -> String {
    let swaps = [
        (KEYS.client_id().to_owned(), keys.client_id().to_owned()),
        (KEYS.merchant().to_base64(), keys.merchant().to_base64()),
        (KEYS.antom().public_key_base64(), keys.antom().public_key_base64()),
        (KEYS.secret_key().to_owned(), keys.secret_key().to_owned()),
        (KEYS.webhook_secret().to_owned(), keys.webhook_secret().to_owned()),
    ];
    swaps.iter().fold(accounts.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Every secret in a configuration, and what no log may hold of it.
pub(crate) fn secrets(token: &str) -> Vec<(String, String)> {
    let mut secrets = vec![("the console's token".to_owned(), token.to_owned())];
    secrets.extend(TOKEN_KEYS.map(|key| ("a key of tokens".to_owned(), key.to_owned())));
    for (whose, keys) in [("our", &KEYS), ("the other account's", &STRANGER)] {
        for (what, key) in [("merchant key", keys.merchant()), ("Antom key", keys.antom())] {
            // From the middle: how a key is wrapped into lines must not hide it.
            let text = key.to_base64();
            secrets.push((format!("{whose} {what}"), text[400..440].to_owned()));
        }
        secrets.push((format!("{whose} webhook secret"), keys.webhook_secret().to_owned()));
        secrets.push((format!("{whose} secret key"), keys.secret_key().to_owned()));
    }
    secrets
}

/// The password in an address.
pub(crate) fn password_of(url: &str) -> Option<String> {
    let (credentials, _) = url.split_once("://")?.1.rsplit_once('@')?;
    Some(credentials.split_once(':')?.1.to_owned())
}

pub(crate) fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("a good name")
}
