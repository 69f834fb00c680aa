//! Reads the named callers of the console, and checks all of its tokens.

use payhook_console::{Caller, Role};
use secrecy::{ExposeSecret, SecretString};

use super::ConsoleConfig;
use super::reader::Reader;

/// Shorter ones can be guessed.
const TOKEN_CHARS_MIN: usize = 16;
/// The audit log's names for callers without a name.
const RESERVED: [&str; 2] = ["console", "local"];

/// Takes every `[console.callers.…]`, in the order of their names.
pub(super) fn take(reader: &mut Reader) -> Vec<(SecretString, Caller)> {
    let mut callers = Vec::new();
    for name in reader.names("console.callers") {
        let section = format!("console.callers.{name}");
        if !is_name(&name) {
            reader.mistake(format!("[{section}]: a caller's name is 1 to 64 lower-case letters, digits and `-`"));
            continue;
        }
        if RESERVED.contains(&name.as_str()) {
            reader.mistake(format!(
                "[{section}]: the audit log uses `{name}` for callers without a name; choose another"
            ));
        }
        let role = reader.parsed::<Role>(&section, "role");
        let known = Role::NAMED.map(Role::as_str).join(", ");
        let role = reader.required(&section, "role", role, &format!("one of {known}"));
        let token = reader.secret(&section, "token");
        let token = reader.required(&section, "token", token, "such as `openssl rand -hex 24` prints, or token_file");
        if let Some(token) = &token {
            check_length(reader, &format!("{section}.token"), token);
        }
        if let (Some(role), Some(token)) = (role, token) {
            callers.push((token, Caller { name, role }));
        }
    }
    callers
}

/// Checks the tokens together: some mistakes show only then.
pub(super) fn check(reader: &mut Reader, console: &ConsoleConfig) {
    if let Some(token) = &console.token {
        check_length(reader, "console.token", token);
    }
    if !console.asks_for_tokens() && !console.listen.ip().is_loopback() {
        reader.mistake(
            "console.token is missing: without one, and without console.callers, `console.listen` must be a loopback \
             address",
        );
    }
    let nameless = console.token.iter().map(|token| (token, "console.token".to_owned()));
    let named = console.callers.iter().map(|(token, it)| (token, format!("console.callers.{}.token", it.name)));
    let all: Vec<(&SecretString, String)> = nameless.chain(named).collect();
    for (index, (token, key)) in all.iter().enumerate() {
        let same = |(other, _): &&(&SecretString, String)| other.expose_secret() == token.expose_secret();
        let twin = all.iter().take(index).find(same);
        // An empty one is reported already.
        if let (Some((_, twin)), false) = (twin, token.expose_secret().is_empty()) {
            reader.mistake(format!("{key} is the same as {twin}: give each caller its own token"));
        }
    }
}

fn check_length(reader: &mut Reader, key: &str, token: &SecretString) {
    match token.expose_secret().len() {
        0 => reader.mistake(format!("{key} is empty: set a token, such as `openssl rand -hex 24` prints")),
        TOKEN_CHARS_MIN.. => {}
        _ => reader.mistake(format!(
            "{key} is too short: use at least {TOKEN_CHARS_MIN} characters, such as `openssl rand -hex 24` prints"
        )),
    }
}

fn is_name(name: &str) -> bool {
    payhook_schema::AccountName::new(name).is_ok()
}
