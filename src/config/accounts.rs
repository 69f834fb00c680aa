//! Reads the account sections: `[antom.NAME]` and `[omise.NAME]`.

use std::collections::BTreeMap;

use payhook_provider::omise::WebhookSecret;
use payhook_provider::{Account, Accounts, AgeLimit, AntomAccount, Limits, OmiseAccount, PrivateKey, PublicKey};
use payhook_schema::{AccountName, Provider, parse_duration};
use secrecy::{ExposeSecret, SecretString};
use toml::Value;

use super::reader::Reader;
use super::{OwnKeys, Tokens};

/// The highest limits accepted: no provider's API takes more at once, or in a second.
const PARALLEL_MAX: u32 = 1000;
const REQUESTS_PER_S_MAX: u32 = 10_000;

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
            accounts.extend(match provider {
                Provider::Antom => antom(reader, &section, name, keys, tokens).map(Account::Antom),
                Provider::Omise => omise(reader, &section, name, keys).map(Account::Omise),
            });
        }
    }
    Accounts::new(accounts)
}

fn antom(
    reader: &mut Reader,
    section: &str,
    name: AccountName,
    keys: OwnKeys,
    tokens: &Tokens,
) -> Option<AntomAccount> {
    let client_id = reader.text(section, "client_id");
    let client_id = reader.required(section, "client_id", client_id, "the client ID of Antom's dashboard");
    let api = api(reader, section, "https://open-sea-global.alipay.com");
    let sandbox = reader.parsed(section, "sandbox");
    let sandbox = reader.required(section, "sandbox", sandbox, "true or false");
    let hint = "our key as PEM or base64, or private_key_file";
    let parse = |text: SecretString| {
        PrivateKey::parse(text.expose_secret()).map_err(|error| format!("{section}.private_key: {error}"))
    };
    let private_key = own_key(reader, section, "private_key", keys, hint, parse);
    let private_key_version = reader.parsed(section, "private_key_version").unwrap_or(1);
    let public_keys = public_keys(reader, section);
    let signature_age_max = age_limit(reader, section);
    let limits = limits(reader, section, Limits::ANTOM);
    let apply_token = reader.parsed(section, "apply_token").unwrap_or(false);
    match (tokens.numbers.is_empty(), apply_token) {
        (true, true) => reader.mistake(format!(
            "{section}.apply_token is true, and `[tokens] keys` has no key to seal the tokens with: `openssl rand -base64 32` \
             prints one"
        )),
        (true, false) => reader.notice(format!(
            "{section}: without `[tokens] keys`, notifications with tokens are stored unencrypted, and TOKEN_CREATED becomes a \
             dead letter (misconfigured)"
        )),
        (false, _) => {}
    }
    let (client_id, sandbox) = (client_id?, sandbox?);
    if client_id.starts_with("SANDBOX_") != sandbox {
        reader.mistake(format!(
            "{section}: client_id and sandbox disagree: client ids of the sandbox begin with SANDBOX_"
        ));
    }
    Some(AntomAccount {
        name,
        client_id,
        api: api?,
        sandbox,
        private_key,
        private_key_version,
        public_keys: public_keys?,
        apply_token,
        signature_age_max: signature_age_max?,
        limits,
    })
}

/// Takes a key of ours: required where it is used, unread where it is not. `read` returns the mistake in its text.
fn own_key<T>(
    reader: &mut Reader,
    section: &str,
    key: &str,
    keys: OwnKeys,
    hint: &str,
    read: impl Fn(SecretString) -> Result<T, String>,
) -> Option<T> {
    let take = |reader: &mut Reader| {
        let secret = reader.secret(section, key);
        let secret = reader.required(section, key, secret, hint)?;
        read(secret).map_err(|why| reader.mistake(why)).ok()
    };
    match keys {
        OwnKeys::Required => take(reader),
        OwnKeys::Optional => reader.forgiving(take),
        OwnKeys::Unused => {
            reader.skip_secret(section, key);
            None
        }
    }
}

/// `{ 1 = "MIIBI…", 2 = "@keys/antom-2.pem" }`: at least one, or nothing could ever be verified.
fn public_keys(reader: &mut Reader, section: &str) -> Option<BTreeMap<u32, PublicKey>> {
    let hint = "Antom's public keys by keyVersion: { 1 = \"MIIBI…\" }";
    let table = match reader.value(section, "public_keys") {
        Some(Value::Table(table)) if !table.is_empty() => Some(table),
        Some(Value::Table(_)) | None => None,
        Some(other) => {
            reader.mistake(format!("{section}.public_keys must be a table, not {}", other.type_str()));
            return None;
        }
    };
    let mut keys = BTreeMap::new();
    for (version, value) in reader.required(section, "public_keys", table, hint)? {
        let key = format!("{section}.public_keys.{version}");
        let (Ok(number), Some(text)) = (version.parse::<u32>(), value.as_str()) else {
            reader.mistake(format!("{key}: the keyVersion must be a number, and the key a text"));
            continue;
        };
        let text = match text.strip_prefix('@') {
            Some(path) => reader.file(&key, path)?,
            None => text.to_owned(),
        };
        match PublicKey::parse(&text).map(|parsed| keys.insert(number, parsed)) {
            Ok(None) => {}
            // `1` and `01` are two keys of TOML's and one of Antom's.
            Ok(Some(_)) => reader.mistake(format!("{key}: keyVersion {number} is there twice")),
            Err(error) => reader.mistake(format!("{key}: {error}")),
        }
    }
    (!keys.is_empty()).then_some(keys)
}

fn omise(reader: &mut Reader, section: &str, name: AccountName, keys: OwnKeys) -> Option<OmiseAccount> {
    let livemode = reader.parsed(section, "livemode");
    let livemode = reader.required(section, "livemode", livemode, "true or false");
    let fitting = |text: SecretString| match text.expose_secret() {
        key if !key.starts_with("skey_") => Err(format!("{section}.secret_key: a secret key begins with skey_")),
        key if livemode.is_some_and(|livemode| key.starts_with("skey_test_") == livemode) => {
            Err(format!("{section}: secret_key and livemode disagree: test keys begin with skey_test_"))
        }
        _ => Ok(text),
    };
    let secret_key = own_key(reader, section, "secret_key", keys, "skey_…, or secret_key_file", fitting);
    let api = api(reader, section, "https://api.omise.co");
    let webhook_secrets = webhook_secrets(reader, section);
    let signature_age_max = age_limit(reader, section);
    let limits = limits(reader, section, Limits::OMISE);
    Some(OmiseAccount {
        name,
        livemode: livemode?,
        api: api?,
        secret_key,
        webhook_secrets: webhook_secrets?,
        signature_age_max: signature_age_max?,
        limits,
    })
}

/// Takes at least one: without any, no notification could be verified.
fn webhook_secrets(reader: &mut Reader, section: &str) -> Option<Vec<WebhookSecret>> {
    let mut texts = reader.texts(section, "webhook_secrets");
    if let Some(file) = reader.text(section, "webhook_secrets_file") {
        let lines = reader.file(&format!("{section}.webhook_secrets_file"), &file)?;
        texts.extend(lines.lines().map(str::to_owned));
    }
    let texts = (!texts.is_empty()).then_some(texts);
    let texts = reader.required(section, "webhook_secrets", texts, "the secrets of Omise's webhook settings")?;
    let mut secrets = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match WebhookSecret::parse(text) {
            Ok(secret) => secrets.push(secret),
            Err(error) => reader.mistake(format!("{section}.webhook_secrets[{index}]: {error}")),
        }
    }
    (!secrets.is_empty()).then_some(secrets)
}

/// Scheme and host. Plain HTTP is for a provider simulated on this machine: keys and tokens never cross a network in the clear.
fn api(reader: &mut Reader, section: &str, example: &str) -> Option<String> {
    let text = reader.text(section, "api");
    let text = reader.required(section, "api", text, &format!("such as {example}"))?;
    let wrong = |reader: &mut Reader, what: &str| {
        reader.mistake(format!("{section}.api: {what}, such as {example}"));
        None
    };
    let Ok(url) = reqwest::Url::parse(&text) else { return wrong(reader, "not an address") };
    if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
        return wrong(reader, "write the scheme and the host, and nothing else");
    }
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    match url.scheme() {
        "https" => Some(text.trim_end_matches('/').to_owned()),
        "http" if loopback => Some(text.trim_end_matches('/').to_owned()),
        _ => wrong(reader, "use https (http works for a loopback address only)"),
    }
}

fn age_limit(reader: &mut Reader, section: &str) -> Option<AgeLimit> {
    match reader.text(section, "signature_age_max").as_deref() {
        None | Some("off") => Some(AgeLimit::Off),
        Some(text) => match parse_duration(text) {
            Ok(limit) => Some(AgeLimit::Within(limit)),
            Err(error) => {
                reader.mistake(format!("{section}.signature_age_max: {error}, or `off`"));
                None
            }
        },
    }
}

/// Reads the limits on our requests to the provider, for all workers together.
fn limits(reader: &mut Reader, section: &str, default: Limits) -> Limits {
    let parallel = reader.parsed(section, "parallel").unwrap_or(default.parallel);
    if !(1..=PARALLEL_MAX).contains(&parallel) {
        reader.mistake(format!("{section}.parallel must be 1 to {PARALLEL_MAX}"));
    }
    let requests_per_s = match reader.parsed::<String>(section, "requests_per_s").as_deref().map(str::trim) {
        None => default.requests_per_s,
        Some("off") => None,
        Some(text) => {
            let number = text.parse().ok().filter(|number| (1..=REQUESTS_PER_S_MAX).contains(number));
            if number.is_none() {
                reader.mistake(format!("{section}.requests_per_s must be 1 to {REQUESTS_PER_S_MAX}, or `off`"));
            }
            number
        }
    };
    Limits { parallel, requests_per_s }
}
