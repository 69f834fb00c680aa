//! Notices about a configuration that works and exposes secrets: in a file that others may read, or on a connection
//! that others may listen to.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use payhook_console::is_this_machine;
use payhook_schema::shown_url;
use secrecy::ExposeSecret;
use toml::{Table, Value};

use super::{QueueConfig, StoreConfig};

/// Returns a notice if a configuration file has secrets in its text, and every user of the machine may read it. A text
/// that is not TOML has none.
pub(super) fn by_its_text(file: &Path, text: &str) -> Option<String> {
    toml::from_str(text).is_ok_and(|written| has_secrets(&written)).then(|| readable_by_all(file)).flatten()
}

/// Returns a notice if every user of the machine may read this file of secrets.
pub(super) fn readable_by_all(path: &Path) -> Option<String> {
    const OTHERS_READ: u32 = 0o004;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & OTHERS_READ != 0).then(|| {
        let shown = path.display();
        format!("{shown} holds secrets, and every user of this machine may read it: `chmod o= {shown}`")
    })
}

/// Returns true if a secret stands in the text itself, not in a file that it names.
fn has_secrets(written: &Table) -> bool {
    written.iter().any(|(key, value)| match (key.as_str(), value) {
        ("public_keys", _) => false,
        ("keys", Value::Table(keys)) => keys.values().any(is_inline),
        (_, Value::Table(inner)) => has_secrets(inner),
        ("token" | "private_key" | "secret_key", value) => is_inline(value),
        ("webhook_secrets", Value::Array(secrets)) => secrets.iter().any(is_inline),
        ("url", Value::String(url)) => url.contains('@'),
        _ => false,
    })
}

fn is_inline(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && !text.starts_with('@'))
}

/// Returns a notice for each connection to another machine that is not encrypted. With a certificate authority of its
/// own, the store's is.
pub(super) fn in_the_clear(queue: &QueueConfig, store: &StoreConfig, store_has_ca: bool) -> Vec<String> {
    let mut notices = Vec::new();
    if let QueueConfig::Rabbit(url) = queue
        && url.expose_secret().starts_with("amqp://")
        && let Some(hosts) = remote_hosts(url.expose_secret())
    {
        notices.push(format!(
            "queue.url: the connection to {hosts} is not encrypted: anyone who listens on the network reads its password. Use amqps://"
        ));
    }
    if let StoreConfig::Postgres(url) = store
        && !store_has_ca
        && !insists_on_tls(url.expose_secret())
        && let Some(hosts) = remote_hosts(url.expose_secret())
    {
        notices.push(format!(
            "store.url: the connection to {hosts} may be unencrypted: anyone who listens on the network reads the stored data. Add sslmode=verify-full"
        ));
    }
    notices
}

/// The hosts of a URL, unless all of them are this machine, or it names none: a socket in a folder.
fn remote_hosts(url: &str) -> Option<String> {
    let shown = shown_url(url)?;
    let hosts = shown.split_once("://")?.1.split('/').next()?.to_owned();
    let is_remote = |host: &str| !host.is_empty() && !is_this_machine(host);
    hosts.split(',').any(is_remote).then_some(hosts)
}

fn insists_on_tls(url: &str) -> bool {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    parameters.split('&').any(|parameter| {
        matches!(parameter.split_once('='), Some(("sslmode" | "ssl-mode", "require" | "verify-ca" | "verify-full")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noticed(queue: &str, store: &str) -> String {
        in_the_clear(&QueueConfig::Rabbit(queue.into()), &StoreConfig::Postgres(store.into()), false).join("\n")
    }

    #[test]
    fn a_connection_to_another_machine_in_the_clear_is_noticed_without_its_password() {
        let all = noticed("amqp://u:s3cret@mq1,127.0.0.1/pay", "postgres://u:s3cret@db:5432/payhook?sslmode=prefer");
        for part in ["mq1,127.0.0.1 is not encrypted", "db:5432 may be unencrypted"] {
            assert!(all.contains(part), "{all}");
        }
        assert!(!all.contains("s3cret"), "{all}");
    }

    #[test]
    fn an_encrypted_or_local_connection_gets_no_notice() {
        for (queue, store) in [
            ("amqps://u:p@mq/pay", "postgres://u:p@db/payhook?sslmode=verify-full"),
            ("amqp://u:p@localhost:5672/pay", "postgres://u:p@[::1]:5432/payhook"),
            ("amqp://127.0.0.1,[::1]:5673", "postgres:///payhook?host=/run/postgresql"),
            ("amqp://localhost", "postgres://u@db/payhook?connect_timeout=3&sslmode=require"),
        ] {
            assert_eq!(noticed(queue, store), "", "{queue} {store}");
        }
    }

    #[test]
    fn secrets_in_the_file_itself_are_found() {
        for (text, has) in [
            ("[console]\ntoken = \"t\"", true),
            ("[console.callers.shop]\ntoken = \"t\"", true),
            ("[console]\ntoken_file = \"t\"", false),
            ("[queue]\nurl = \"amqp://u:p@mq\"", true),
            ("[queue]\nurl = \"embedded\"", false),
            ("[tokens]\nkeys = { 1 = \"AAEC\" }", true),
            ("[tokens]\nkeys = { 1 = \"@key1\" }", false),
            ("[antom.shop]\npublic_keys = { 1 = \"MIIB\" }\nprivate_key_file = \"k\"", false),
            ("[omise.shop]\nwebhook_secrets = [\"AAEC\"]", true),
            ("", false),
        ] {
            assert_eq!(has_secrets(&toml::from_str(text).unwrap()), has, "{text}");
        }
    }
}
