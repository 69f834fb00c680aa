//! SIGHUP: reads the configuration again and applies accounts and keys; other changes need a restart. A configuration
//! with a mistake changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use payhook_provider::Accounts;
use payhook_schema::Provider;
use payhook_vault::Vault;
use tokio::signal::unix::Signal;
use tracing::{error, info, warn};

use crate::config::{Config, Mistakes, OwnKeys, Taken};

/// The settings a running process was started with and shares with its roles.
pub(crate) struct Reload {
    file: Option<PathBuf>,
    keys: OwnKeys,
    accounts: Accounts,
    vault: Vault,
    /// Every key as it counts now.
    taken: Taken,
    notices: BTreeSet<String>,
}

/// A change in the configuration, in words.
#[derive(Debug, PartialEq, Eq)]
enum ConfigChange {
    TakenUp(String),
    /// Applied, and worth a check.
    Gone(String),
    NeedsRestart(String),
}

impl Reload {
    /// `config` is what the roles were started with: their accounts and keys are its own.
    pub(crate) fn new(file: Option<PathBuf>, keys: OwnKeys, config: &mut Config) -> Self {
        Self {
            file,
            keys,
            accounts: config.accounts.clone(),
            vault: config.tokens.vault.clone(),
            taken: std::mem::take(&mut config.taken),
            notices: config.notices.iter().cloned().collect(),
        }
    }

    /// Reads the configuration again at each hang-up signal, for as long as the process runs.
    pub(crate) async fn at_each(mut self, mut hangups: Signal, environment: BTreeMap<String, String>) {
        while hangups.recv().await.is_some() {
            let read = Config::load(self.file.as_deref(), &environment, self.keys);
            self.take_up(read);
        }
    }

    fn take_up(&mut self, read: Result<Config, Mistakes>) {
        match read.and_then(some_account) {
            Err(Mistakes { source, mistakes }) => {
                for mistake in &mistakes {
                    error!("mistake in the configuration ({source}): {mistake}");
                }
                let count = mistakes.len();
                error!(
                    count,
                    "the configuration was read again and has mistakes, so nothing was changed: fix them, then send SIGHUP again"
                );
            }
            Ok(config) => {
                for notice in config.notices.iter().filter(|notice| !self.notices.contains(*notice)) {
                    warn!("configuration: {notice}");
                }
                for change in self.replace(config) {
                    match change {
                        ConfigChange::TakenUp(what) => info!("configuration: {what}"),
                        ConfigChange::Gone(what) => warn!("configuration: {what}"),
                        ConfigChange::NeedsRestart(key) => warn!("configuration: {key} changed and needs a restart"),
                    }
                }
                info!("the configuration was read again");
            }
        }
    }

    /// Replaces accounts and keys, and returns the changes: by name, never by value.
    fn replace(&mut self, config: Config) -> Vec<ConfigChange> {
        let changed = self.taken.differs_from(&config.taken);
        let mut changes = Vec::new();
        if changed.iter().any(|key| key.starts_with("tokens.")) {
            let numbers = &config.tokens.numbers;
            changes.push(ConfigChange::TakenUp(format!(
                "tokens.keys changed and was taken up: keys {numbers:?} count now"
            )));
        }
        let (before, after) = (names(&self.accounts), names(&config.accounts));
        for name in before.union(&after) {
            changes.extend(match (before.contains(name), after.contains(name)) {
                (true, true) => {
                    let keys = changed.iter().filter_map(|key| key.strip_prefix(name.as_str())?.strip_prefix('.'));
                    let keys: Vec<&str> = keys.collect();
                    let what = format!("{name}: {} changed and was taken up", keys.join(", "));
                    (!keys.is_empty()).then_some(ConfigChange::TakenUp(what))
                }
                (false, _) => Some(ConfigChange::TakenUp(format!("{name}: a new account, taken up"))),
                (true, false) => Some(ConfigChange::Gone(format!(
                    "{name}: removed; its notifications are refused from now on, and its payments are not asked about"
                ))),
            });
        }
        let rest = changed.iter().filter(|key| !counts_at_once(key));
        changes.extend(rest.map(|key| ConfigChange::NeedsRestart(key.clone())));

        // First the keys: an account may ask for tokens from now on, and they are sealed.
        self.vault.replace(&config.tokens.vault);
        self.accounts.replace(config.accounts);
        // A change that needs a restart is reported at each reload until there was one.
        self.taken.take_over(config.taken, counts_at_once);
        self.notices = config.notices.into_iter().collect();
        changes
    }
}

/// An account is applied as a whole: half old and half new is in no file.
fn counts_at_once(key: &str) -> bool {
    let section = key.split_once('.').map(|(section, _)| section);
    section.is_some_and(|section| section == "tokens" || section.parse::<Provider>().is_ok())
}

fn names(accounts: &Accounts) -> BTreeSet<String> {
    accounts.all().iter().map(|account| format!("{}.{}", account.provider(), account.name())).collect()
}

fn some_account(config: Config) -> Result<Config, Mistakes> {
    match config.accounts.all().is_empty() {
        false => Ok(config),
        true => Err(Mistakes { source: config.source, mistakes: vec![crate::roles::no_account()] }),
    }
}

#[cfg(test)]
mod tests;
