//! Reloads: what counts at once, what needs a restart, what is refused.

use std::path::Path;

use payhook_provider::Account;
use payhook_schema::{AccountName, Provider};

use super::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "HxECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn config(text: &str) -> Result<Config, Mistakes> {
    Config::read(text, "test", Path::new(""), &BTreeMap::new(), OwnKeys::Required)
}

fn omise(name: &str, secrets: &str) -> String {
    format!(
        "[omise.{name}]\nlivemode = false\nsecret_key = \"skey_test_1\"\napi = \"https://api.omise.co\"\n\
         webhook_secrets = [{secrets}]\n"
    )
}

/// A running process as far as a hang-up concerns it: what its roles hold, and what reads again.
struct Running {
    accounts: Accounts,
    vault: Vault,
    reload: Reload,
}

fn running(text: &str) -> Running {
    let mut config = config(text).unwrap();
    let (accounts, vault) = (config.accounts.clone(), config.tokens.vault.clone());
    Running { accounts, vault, reload: Reload::new(None, OwnKeys::Required, &mut config) }
}

impl Running {
    fn secrets(&self, name: &str) -> Option<usize> {
        let account = self.accounts.get(Provider::Omise, &AccountName::new(name).unwrap())?;
        let Account::Omise(omise) = &*account else { return None };
        Some(omise.webhook_secrets.len())
    }

    fn reloads(&mut self, text: &str) -> Vec<String> {
        let changes = self.reload.replace(config(text).unwrap());
        changes
            .into_iter()
            .map(|change| match change {
                ConfigChange::TakenUp(what) => format!("taken up: {what}"),
                ConfigChange::Gone(what) => format!("gone: {what}"),
                ConfigChange::NeedsRestart(what) => format!("restart: {what}"),
            })
            .collect()
    }
}

#[test]
fn webhook_secrets_and_new_accounts_count_at_once() {
    let mut running = running(&omise("shop", "\"AAECAwQFBgc=\""));
    let both = omise("shop", "\"AAECAwQFBgg=\", \"AAECAwQFBgc=\"") + &omise("next", "\"AAECAwQFBgc=\"");
    let changes = running.reloads(&both);
    assert_eq!(
        changes,
        [
            "taken up: omise.next: a new account, taken up",
            "taken up: omise.shop: webhook_secrets changed and was taken up"
        ]
    );
    assert_eq!((running.secrets("shop"), running.secrets("next")), (Some(2), Some(1)));
    assert_eq!(running.reloads(&both), Vec::<String>::new(), "nothing changed since");
    assert!(running.reloads(&omise("shop", "\"AAECAwQFBgc=\""))[0].starts_with("gone: omise.next"));
    assert_eq!(running.secrets("next"), None);
}

#[test]
fn token_keys_count_at_once_and_are_named_by_their_numbers() {
    let shop = omise("shop", "\"AAECAwQFBgc=\"");
    let mut running = running(&format!("[tokens]\nkeys = {{ 1 = \"{KEY}\" }}\n{shop}"));
    let changes = running.reloads(&format!("[tokens]\nkeys = {{ 1 = \"{KEY}\", 2 = \"{OTHER_KEY}\" }}\n{shop}"));
    assert_eq!(changes, ["taken up: tokens.keys changed and was taken up: keys [1, 2] count now"]);
    assert_eq!(running.vault.newest(), Some(2));
}

#[test]
fn a_file_with_something_else_in_it_has_changed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "skey_test_1").unwrap();
    let by_file = |path: &Path| {
        omise("shop", "\"AAECAwQFBgc=\"")
            .replace("secret_key = \"skey_test_1\"", &format!("secret_key_file = \"{}\"", path.display()))
    };
    let text = by_file(file.path());
    let mut running = running(&text);
    std::fs::write(file.path(), "skey_test_2").unwrap();
    assert_eq!(running.reloads(&text), ["taken up: omise.shop: secret_key_file changed and was taken up"]);
}

#[test]
fn whatever_else_changed_is_named_each_time_until_there_was_a_restart() {
    let shop = omise("shop", "\"AAECAwQFBgc=\"");
    let mut running = running(&shop);
    let other = format!("[worker]\nconcurrency = 7\n[console]\ntoken = \"another-token-of-chars\"\n{shop}");
    for _ in 0..2 {
        assert_eq!(running.reloads(&other), ["restart: console.token", "restart: worker.concurrency"]);
    }
    assert_eq!(running.reloads(&shop), Vec::<String>::new());
}

#[test]
fn a_configuration_with_a_mistake_changes_nothing() {
    let good = format!("[tokens]\nkeys = {{ 1 = \"{KEY}\" }}\n{}", omise("shop", "\"AAECAwQFBgc=\""));
    let mut running = running(&good);
    let more = good.replace("[\"AAECAwQFBgc=\"]", "[\"AAECAwQFBgc=\", \"AAECAwQFBgg=\"]").replace("{ 1 =", "{ 2 =");
    for mistaken in [format!("{more}listne = 1\n"), String::new(), "not toml".to_owned()] {
        running.reload.take_up(config(&mistaken));
        assert_eq!((running.secrets("shop"), running.vault.newest()), (Some(1), Some(1)), "{mistaken}");
    }
    running.reload.take_up(config(&more));
    assert_eq!((running.secrets("shop"), running.vault.newest()), (Some(2), Some(2)));
}
