//! Reads the keys that seal tokens.

use std::collections::BTreeMap;

use payhook_vault::{Vault, VaultKey};
use secrecy::SecretString;
use toml::Value;

use super::reader::Reader;

/// The content of `[tokens]`: the keys, and their numbers.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) vault: Vault,
    pub(crate) numbers: Vec<u32>,
}

/// Takes `[tokens] keys`: `{ 1 = "base64…", 2 = "@keys/tokens-2" }`.
pub(super) fn take(reader: &mut Reader) -> Tokens {
    let written = match reader.value("tokens", "keys") {
        None => return Tokens::default(),
        Some(Value::Table(written)) => written,
        Some(other) => {
            reader.mistake(format!("tokens.keys must be a table, not {}", other.type_str()));
            return Tokens::default();
        }
    };
    let mut keys = BTreeMap::new();
    for (number, value) in written {
        let name = format!("tokens.keys.{number}");
        let (Ok(number), Some(text)) = (number.parse::<u32>(), value.as_str()) else {
            reader.mistake(format!("{name}: write a number and its key, the base64 of 32 bytes"));
            continue;
        };
        let text = match text.strip_prefix('@') {
            Some(path) => reader.file(&name, path),
            None => Some(text.to_owned()),
        };
        let Some(text) = text else { continue };
        match VaultKey::parse(&SecretString::from(text)) {
            Err(error) => reader.mistake(format!("{name} {error}")),
            Ok(key) => {
                let twin = keys.insert(number, key);
                if twin.is_some() {
                    reader.mistake(format!("{name}: there are two keys of this number"));
                }
            }
        }
    }
    Tokens { numbers: keys.keys().copied().collect(), vault: Vault::new(keys) }
}
