//! The part of `payhook check` about keys: which verified last, and what is sealed under which.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use payhook_schema::Provider;
use payhook_store::{KeyUse, Store};
use serde_json::{Value, json};

use super::{Finding, FindingState, WITHIN, finding};
use crate::config::Config;

/// The use of our keys, as the store knows it: it shows which of them still matter.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    used: Vec<KeyUse>,
    sealed: BTreeMap<u32, u64>,
}

/// A key that can verify an account's notifications, or did.
struct Verifier {
    account: String,
    key: String,
    last_at: Option<Timestamp>,
    configured: bool,
}

/// Reads the use of our keys from the store; `None` if it does not answer, which another check reports.
pub(super) async fn look(store: &dyn Store) -> Option<KnownKeys> {
    let read = tokio::time::timeout(WITHIN, async { (store.keys_used().await, store.sealed_count().await) });
    let (Ok(used), Ok(sealed)) = read.await.ok()? else { return None };
    Some(KnownKeys { used, sealed: sealed.into_iter().collect() })
}

impl KnownKeys {
    pub(super) fn findings(&self, config: &Config) -> Vec<Finding> {
        let mut findings = Vec::new();
        let verifiers = self.verifiers(config);
        let accounts: BTreeSet<&str> = verifiers.iter().map(|it| it.account.as_str()).collect();
        for account in accounts {
            let lines: Vec<String> =
                verifiers.iter().filter(|it| it.account == account).map(Verifier::to_string).collect();
            findings.push(finding(format!("{account}.keys"), FindingState::Ok, lines.join("; ")));
        }
        findings.extend(self.sealing(config));
        findings
    }

    /// The same for a program.
    pub(super) fn add_to(&self, report: &mut Value, config: &Config) {
        let keys = self.verifiers(config);
        report["keys"] = keys
            .iter()
            .map(|it| json!({ "account": it.account, "key": it.key, "last_at": it.last_at, "configured": it.configured }))
            .collect();
        report["sealed"] = json!(self.sealed);
    }

    /// Every configured key, then those that verified something and are configured no more.
    fn verifiers(&self, config: &Config) -> Vec<Verifier> {
        let mut verifiers = Vec::new();
        for account in config.accounts.all() {
            let keys = account.key_names();
            let (provider, name) = (account.provider(), account.name());
            let of_account = || self.used.iter().filter(|it| (it.provider, &it.account) == (provider, name));
            let verifier = |key: &str, configured| Verifier {
                account: account_name(provider, name.as_str()),
                key: key.to_owned(),
                last_at: of_account().find(|it| it.verified_by == key).map(|it| it.last_at),
                configured,
            };
            verifiers.extend(keys.iter().map(|key| verifier(key, true)));
            let former = of_account().filter(|it| !keys.contains(&it.verified_by));
            verifiers.extend(former.map(|it| verifier(&it.verified_by, false)));
        }
        verifiers
    }

    /// Reports how much is sealed under each of `[tokens] keys`, and under keys that are no longer configured.
    fn sealing(&self, config: &Config) -> Vec<Finding> {
        let configured = &config.tokens.numbers;
        let newest = configured.last();
        let mut findings: Vec<Finding> = configured
            .iter()
            .rev()
            .map(|number| {
                let things = self.sealed.get(number).copied().unwrap_or_default();
                let what = match (Some(number) == newest, things) {
                    (true, things) => format!("seals; {things} are sealed under it"),
                    (false, 0) => {
                        "nothing in the store is sealed under it: remove it once the queues are empty and no dead letter is open".to_owned()
                    }
                    (false, things) => format!("{things} are sealed under it: `payhook keys rotate` seals them under the newest"),
                };
                finding(format!("tokens.keys.{number}"), FindingState::Ok, what)
            })
            .collect();
        let missing = self.sealed.iter().filter(|(number, things)| !configured.contains(number) && **things > 0);
        findings.extend(missing.map(|(number, things)| {
            let what = format!(
                "{things} are sealed under it and it is not configured, so they cannot be opened: add it again"
            );
            finding(format!("tokens.keys.{number}"), FindingState::Note, what)
        }));
        findings
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.last_at {
            Some(at) => write!(f, "{} last verified at {at}", self.key)?,
            None => write!(f, "{} has verified nothing yet", self.key)?,
        }
        f.write_str(if self.configured { "" } else { " (no longer configured)" })
    }
}

fn account_name(provider: Provider, name: &str) -> String {
    format!("{provider}.{name}")
}
