//! Reads what every account's section of the configuration has. Each provider's `account.rs` reads its own keys.

use std::fmt::Display;
use std::str::FromStr;

use payhook_schema::parse_duration;
use reqwest::Url;
use secrecy::SecretString;

use crate::{AgeLimit, Limits};

/// The highest limits accepted: no provider's API takes more at once, or in a second.
const PARALLEL_MAX: u32 = 1000;
const REQUESTS_PER_S_MAX: u32 = 10_000;

/// Checks a secret's text; an error says what is wrong with it and shows none of it.
pub type CheckSecret<'a> = dyn FnMut(SecretString) -> Result<(), String> + 'a;

/// A section `[<provider>.<account>]` of the configuration. Each key is read once. Mistakes are noted and not returned,
/// so that the user sees all of them.
pub trait Section {
    /// The section as messages name it: `antom.shop-sg`.
    fn name(&self) -> &str;
    fn text(&mut self, key: &str) -> Option<String>;
    /// A text, number, or truth value, as a text.
    fn scalar(&mut self, key: &str) -> Option<String>;
    fn texts(&mut self, key: &str) -> Vec<String>;
    /// A table by key; a value is `None` where it is no text.
    fn table(&mut self, key: &str) -> Option<Vec<(String, Option<String>)>>;
    /// The text of the file that `key` names.
    fn file(&mut self, key: &str, path: &str) -> Option<String>;
    /// A secret of ours, required where this process asks providers, and not read where it does not.
    fn own_secret(&mut self, key: &str, hint: &str, check: &mut CheckSecret<'_>);
    /// Returns true if the configuration has keys that seal tokens.
    fn seals_tokens(&self) -> bool;
    /// Notes that `key` is missing, unless a mistake in it is noted already.
    fn missing(&mut self, key: &str, hint: &str);
    fn mistake(&mut self, what: String);
    /// Notes something that works and deserves a look.
    fn notice(&mut self, what: String);
}

impl dyn Section + '_ {
    pub(crate) fn required<T>(&mut self, key: &str, value: Option<T>, hint: &str) -> Option<T> {
        if value.is_none() {
            self.missing(key, hint);
        }
        value
    }

    pub(crate) fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str) -> Option<T> {
        let text = self.scalar(key)?;
        let read = text.trim().parse().map_err(|error: T::Err| format!("{}.{key}: {error}", self.name()));
        read.map_err(|mistake| self.mistake(mistake)).ok()
    }

    /// Scheme and host. Plain HTTP is for a provider simulated on this machine: keys and tokens never cross a network
    /// in the clear.
    pub(crate) fn api(&mut self, example: &str) -> Option<String> {
        let text = self.text("api");
        let text = self.required("api", text, &format!("such as {example}"))?;
        match api_mistake(&text) {
            None => Some(text.trim_end_matches('/').to_owned()),
            Some(wrong) => {
                self.mistake(format!("{}.api: {wrong}, such as {example}", self.name()));
                None
            }
        }
    }

    pub(crate) fn age_limit(&mut self) -> Option<AgeLimit> {
        match self.text("signature_age_max").as_deref() {
            None | Some("off") => Some(AgeLimit::Off),
            Some(text) => match parse_duration(text) {
                Ok(limit) => Some(AgeLimit::Within(limit)),
                Err(error) => {
                    self.mistake(format!("{}.signature_age_max: {error}, or `off`", self.name()));
                    None
                }
            },
        }
    }

    /// Reads the limits on our requests to the provider, for all workers together.
    pub(crate) fn limits(&mut self, default: Limits) -> Limits {
        let parallel = self.parsed("parallel").unwrap_or(default.parallel);
        if !(1..=PARALLEL_MAX).contains(&parallel) {
            self.mistake(format!("{}.parallel must be 1 to {PARALLEL_MAX}", self.name()));
        }
        let requests_per_s = match self.scalar("requests_per_s").as_deref().map(str::trim) {
            None => default.requests_per_s,
            Some("off") => None,
            Some(text) => {
                let number = text.parse().ok().filter(|number| (1..=REQUESTS_PER_S_MAX).contains(number));
                if number.is_none() {
                    self.mistake(format!("{}.requests_per_s must be 1 to {REQUESTS_PER_S_MAX}, or `off`", self.name()));
                }
                number
            }
        };
        Limits { parallel, requests_per_s }
    }
}

fn api_mistake(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else { return Some("not an address") };
    if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
        return Some("write the scheme and the host, and nothing else");
    }
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    let fits = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    (!fits).then_some("use https (http works for a loopback address only)")
}
