//! Reads one key after the other, and collects every mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use payhook_schema::{Provider, parse_duration};
use secrecy::{ExposeSecret, SecretString};
use toml::{Table, Value};

use super::exposed;

/// The prefix of our environment variables.
const PREFIX: &str = "PAYHOOK__";

/// Takes keys out of a configuration and notes every mistake, so that all are reported at once. A key left in the end
/// is a mistake as well: a misspelled key must not silently mean its default.
pub(super) struct Reader {
    table: Table,
    folder: PathBuf,
    mistakes: Vec<String>,
    notices: Vec<String>,
    lacks: Vec<String>,
    taken: Taken,
}

/// Every key that was read, with its value or the content of the file it names. Some are secrets, so none is printed.
#[derive(Debug, Default)]
pub(crate) struct Taken(BTreeMap<String, SecretString>);

impl Taken {
    /// Returns the keys with another value in `other`, and those in only one of the two.
    pub(crate) fn differs_from(&self, other: &Self) -> Vec<String> {
        let text = |taken: &Self, key: &str| taken.0.get(key).map(|text| text.expose_secret().to_owned());
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        keys.into_iter().filter(|key| text(self, key) != text(other, key)).cloned().collect()
    }

    /// Replaces the values of the keys `of_interest` by those in `other`.
    pub(crate) fn take_over(&mut self, other: Self, of_interest: impl Fn(&str) -> bool) {
        self.0.retain(|key, _| !of_interest(key));
        self.0.extend(other.0.into_iter().filter(|(key, _)| of_interest(key)));
    }
}

/// Puts `over` on top of `under`, table by table.
pub(super) fn overlay(under: &mut Table, over: Table) {
    // A secret given as a file replaces one given inline below, and the other way round; both at once stay, and are
    // reported.
    for key in over.keys() {
        let twin = key.strip_suffix("_file").map_or_else(|| format!("{key}_file"), str::to_owned);
        if !over.contains_key(&twin) {
            under.remove(&twin);
        }
    }
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => overlay(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// `PAYHOOK__ANTOM__SHOP_SG__CLIENT_ID` is `client_id` in `[antom.shop-sg]`.
pub(super) fn overlay_environment(table: &mut Table, environment: &BTreeMap<String, String>) {
    // One table of all variables first: a value given twice is reported, and not chosen by the alphabet.
    let mut all = Table::new();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let mut parts: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        match parts.as_mut_slice() {
            [provider, name, ..] if provider.parse::<Provider>().is_ok() => *name = name.replace('_', "-"),
            [console, callers, name, ..] if console == "console" && callers == "callers" => {
                *name = name.replace('_', "-");
            }
            _ => {}
        }
        let mut over = Value::String(value.clone());
        for part in parts.into_iter().rev() {
            over = Value::Table(Table::from_iter([(part, over)]));
        }
        if let Value::Table(over) = over {
            merge(&mut all, over);
        }
    }
    overlay(table, all);
}

/// Puts `over` into `under` as it is.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

impl Reader {
    pub(super) fn new(table: Table, folder: &Path) -> Self {
        Self {
            table,
            folder: folder.to_owned(),
            mistakes: Vec::new(),
            notices: Vec::new(),
            lacks: Vec::new(),
            taken: Taken::default(),
        }
    }

    pub(super) fn mistake(&mut self, what: impl Into<String>) {
        self.mistakes.push(what.into());
    }

    /// Notes a setting that works and that a person should read.
    pub(super) fn notice(&mut self, what: impl Into<String>) {
        self.notices.push(what.into());
    }

    /// Takes what only some roles need: its mistakes count for those roles only.
    pub(super) fn forgiving<T>(&mut self, take: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.mistakes.len();
        let taken = take(self);
        self.lacks.extend(self.mistakes.drain(before..));
        taken
    }

    pub(super) fn take_lacks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lacks)
    }

    pub(super) fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    pub(super) fn take_taken(&mut self) -> Taken {
        std::mem::take(&mut self.taken)
    }

    /// A path as the file means it: relative to the file.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The names of the tables in a section: its accounts, its callers.
    pub(super) fn names(&mut self, section: &str) -> Vec<String> {
        self.section(section).map(|table| table.keys().cloned().collect()).unwrap_or_default()
    }

    fn section(&mut self, section: &str) -> Option<&mut Table> {
        section.split('.').try_fold(&mut self.table, |table, part| match table.get_mut(part) {
            Some(Value::Table(inner)) => Some(inner),
            _ => None,
        })
    }

    /// Takes one key of a section (`antom.shop-sg` is one), if it is there.
    pub(super) fn value(&mut self, section: &str, key: &str) -> Option<Value> {
        let value = self.section(section)?.remove(key)?;
        self.taken.0.insert(format!("{section}.{key}"), value.to_string().into());
        Some(value)
    }

    pub(super) fn text(&mut self, section: &str, key: &str) -> Option<String> {
        match self.value(section, key)? {
            Value::String(text) => Some(text),
            other => {
                self.mistake(format!("{section}.{key} must be a text, not {}", other.type_str()));
                None
            }
        }
    }

    /// A text, number or truth value that reads as `T`; from the environment all of them are texts.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, section: &str, key: &str) -> Option<T> {
        let text = match self.value(section, key)? {
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Boolean(truth) => truth.to_string(),
            other => {
                self.mistake(format!("{section}.{key} cannot be {}", other.type_str()));
                return None;
            }
        };
        text.trim().parse().map_err(|error: T::Err| self.mistake(format!("{section}.{key}: {error}"))).ok()
    }

    pub(super) fn duration(&mut self, section: &str, key: &str) -> Option<Duration> {
        let text = self.text(section, key)?;
        parse_duration(&text).map_err(|error| self.mistake(format!("{section}.{key}: {error}"))).ok()
    }

    /// A duration, or nothing for `off`.
    pub(super) fn duration_or_off(&mut self, section: &str, key: &str) -> Option<Duration> {
        let text = self.text(section, key).filter(|text| text != "off")?;
        parse_duration(&text).map_err(|error| self.mistake(format!("{section}.{key}: {error}, or `off`"))).ok()
    }

    pub(super) fn durations(&mut self, section: &str, key: &str) -> Vec<Duration> {
        let texts = self.texts(section, key);
        texts
            .iter()
            .filter_map(|text| {
                parse_duration(text).map_err(|error| self.mistake(format!("{section}.{key}: {error}"))).ok()
            })
            .collect()
    }

    /// A list of texts; from the environment, one text with commas.
    pub(super) fn texts(&mut self, section: &str, key: &str) -> Vec<String> {
        match self.value(section, key) {
            None => Vec::new(),
            Some(Value::String(text)) => text.split(',').map(|part| part.trim().to_owned()).collect(),
            Some(Value::Array(items)) => {
                let texts: Vec<_> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                if texts.len() != items.len() {
                    self.mistake(format!("{section}.{key} must be a list of texts"));
                }
                texts
            }
            Some(other) => {
                self.mistake(format!("{section}.{key} must be a list of texts, not {}", other.type_str()));
                Vec::new()
            }
        }
    }

    /// A secret, given inline or as `…_file`; absent when neither is.
    pub(super) fn secret(&mut self, section: &str, key: &str) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        let (inline, file) = (self.text(section, key), self.text(section, &file_key));
        match (inline, file) {
            (Some(_), Some(_)) => {
                self.mistake(format!("{section}: give {key} or {file_key}, not both"));
                None
            }
            (Some(inline), None) => Some(inline.into()),
            (None, Some(file)) => {
                if let Some(notice) = exposed::readable_by_all(&self.path(&file)) {
                    self.notice(notice);
                }
                self.file(&format!("{section}.{file_key}"), &file).map(Into::into)
            }
            (None, None) => None,
        }
    }

    /// Takes a secret that is not needed here, without opening its file.
    pub(super) fn skip_secret(&mut self, section: &str, key: &str) {
        self.value(section, key);
        self.value(section, &format!("{key}_file"));
    }

    /// A file's text, without the line feed editors leave at its end.
    pub(super) fn file(&mut self, key: &str, path: &str) -> Option<String> {
        let path = self.path(path);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                // A file may change under the same name, so its content counts.
                self.taken.0.insert(key.to_owned(), text.trim().into());
                Some(text.trim().to_owned())
            }
            Err(error) => {
                self.mistake(format!("{key}: cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    pub(super) fn required<T>(&mut self, section: &str, key: &str, value: Option<T>, hint: &str) -> Option<T> {
        if value.is_none() && !self.mistakes.iter().any(|mistake| mistake.contains(&format!("{section}.{key}"))) {
            self.mistake(format!("{section}.{key} is missing: {hint}"));
        }
        value
    }

    /// Returns every mistake; a key that no one took is one.
    pub(super) fn finish(mut self) -> Vec<String> {
        let mut unknown = Vec::new();
        leftovers("", &self.table, &mut unknown);
        self.mistakes
            .extend(unknown.into_iter().map(|key| format!("{key}: there is no such key; see payhook.example.toml")));
        self.mistakes
    }
}

fn leftovers(prefix: &str, table: &Table, unknown: &mut Vec<String>) {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => leftovers(&name, inner, unknown),
            _ => unknown.push(name),
        }
    }
}
