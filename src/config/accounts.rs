//! Reads the sections of the accounts. Each provider reads its own keys: `provider/src/<name>/account.rs`.

use payhook_provider::{Accounts, CheckSecret, Protocol, Section};
use payhook_schema::{AccountName, Provider};
use toml::Value;

use super::reader::Reader;
use super::{OwnKeys, Tokens};

/// Takes every `[<provider>.<account>]`.
pub(super) fn take(reader: &mut Reader, keys: OwnKeys, tokens: &Tokens) -> Accounts {
    let mut accounts = Vec::new();
    for &provider in Provider::ALL {
        for name in reader.names(provider.as_str()) {
            let section = format!("{provider}.{name}");
            let Ok(name) = AccountName::new(name) else {
                reader.mistake(format!("[{section}]: an account's name is 1 to 64 lower-case letters, digits and `-`"));
                continue;
            };
            let seals_tokens = !tokens.numbers.is_empty();
            let mut section = AccountSection { reader, name: section, keys, seals_tokens };
            accounts.extend(Protocol::take_account(provider, name, &mut section));
        }
    }
    Accounts::new(accounts)
}

struct AccountSection<'a> {
    reader: &'a mut Reader,
    name: String,
    keys: OwnKeys,
    seals_tokens: bool,
}

fn take_secret(reader: &mut Reader, section: &str, key: &str, hint: &str, check: &mut CheckSecret<'_>) -> Option<()> {
    let secret = reader.secret(section, key);
    let secret = reader.required(section, key, secret, hint)?;
    check(secret).map_err(|why| reader.mistake(format!("{section}.{key}: {why}"))).ok()
}

impl Section for AccountSection<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.reader.text(&self.name, key)
    }

    fn scalar(&mut self, key: &str) -> Option<String> {
        self.reader.parsed(&self.name, key)
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        self.reader.texts(&self.name, key)
    }

    fn table(&mut self, key: &str) -> Option<Vec<(String, Option<String>)>> {
        match self.reader.value(&self.name, key)? {
            Value::Table(table) => {
                Some(table.into_iter().map(|(name, value)| (name, value.as_str().map(str::to_owned))).collect())
            }
            other => {
                self.reader.mistake(format!("{}.{key} must be a table, not {}", self.name, other.type_str()));
                None
            }
        }
    }

    fn file(&mut self, key: &str, path: &str) -> Option<String> {
        self.reader.file(&format!("{}.{key}", self.name), path)
    }

    fn own_secret(&mut self, key: &str, hint: &str, check: &mut CheckSecret<'_>) {
        let mut take = |reader: &mut Reader| take_secret(reader, &self.name, key, hint, check);
        match self.keys {
            OwnKeys::Required => take(self.reader).unwrap_or_default(),
            OwnKeys::Optional => self.reader.forgiving(take).unwrap_or_default(),
            OwnKeys::Unused => self.reader.skip_secret(&self.name, key),
        }
    }

    fn seals_tokens(&self) -> bool {
        self.seals_tokens
    }

    fn missing(&mut self, key: &str, hint: &str) {
        self.reader.required(&self.name, key, None::<()>, hint);
    }

    fn mistake(&mut self, what: String) {
        self.reader.mistake(what);
    }

    fn notice(&mut self, what: String) {
        self.reader.notice(what);
    }
}
