//! The configuration: `payhook.example.toml`'s defaults, under the file's values, under the environment's. All mistakes
//! are reported at once.

mod accounts;
mod authorities;
mod callers;
mod connections;
mod exposed;
mod reader;
mod retention;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use payhook_console::{Caller, Callers};
use payhook_provider::Accounts;
use payhook_schema::{EventType, UnknownWord};
use payhook_store::History;
use secrecy::{ExposeSecret, SecretString};

pub(crate) use self::connections::ConnectionsConfig;
use self::reader::Reader;
pub(crate) use self::reader::Taken;
pub(crate) use self::tokens::Tokens;

/// The defaults and the manual in one text, so that they agree.
const EXAMPLE: &str = include_str!("../payhook.example.toml");

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "payhook.toml";

#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) ingress: IngressConfig,
    pub(crate) console: ConsoleConfig,
    pub(crate) queue: QueueConfig,
    /// Certificate authorities the broker's certificate may be of, besides the system's, in PEM.
    pub(crate) queue_ca: Option<String>,
    pub(crate) store: StoreConfig,
    /// The same for the database's certificate, which then is insisted on.
    pub(crate) store_ca: Option<String>,
    pub(crate) worker: WorkerConfig,
    pub(crate) events: EventsConfig,
    /// The age each kind of history ends at.
    pub(crate) retention: Vec<(History, Duration)>,
    /// The time the process goes on working after SIGTERM, so that a load balancer stops sending to it first.
    pub(crate) lame_duck: Duration,
    pub(crate) accounts: Accounts,
    pub(crate) tokens: Tokens,
    /// Every key as it was read, to tell what changed when it is read again.
    pub(crate) taken: Taken,
    /// The source of the configuration, for `payhook check`.
    pub(crate) source: String,
    /// Settings that work and that a person should read: reported at start, and by `payhook check`.
    pub(crate) notices: Vec<String>,
    /// Settings missing for the roles that sign or authenticate, where they were [not required](OwnKeys::Optional).
    pub(crate) lacks: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct IngressConfig {
    pub(crate) listen: SocketAddr,
    /// The path of `public_base`, without a trailing `/`.
    pub(crate) public_path: String,
    pub(crate) body_timeout: Duration,
    pub(crate) unverified_per_s: u32,
    pub(crate) repeats_per_s: u32,
    pub(crate) connections: ConnectionsConfig,
}

#[derive(Debug)]
pub(crate) struct ConsoleConfig {
    pub(crate) listen: SocketAddr,
    /// The token without a name: its caller may do everything.
    pub(crate) token: Option<SecretString>,
    /// By name, each with a role.
    pub(crate) callers: Vec<(SecretString, Caller)>,
    pub(crate) connections: ConnectionsConfig,
}

impl ConsoleConfig {
    pub(crate) fn asks_for_tokens(&self) -> bool {
        self.token.is_some() || !self.callers.is_empty()
    }

    pub(crate) fn callers(&self) -> Callers {
        match self.asks_for_tokens() {
            true => {
                Callers::known(self.token.as_ref(), self.callers.iter().map(|(token, caller)| (token, caller.clone())))
            }
            false => Callers::local(),
        }
    }
}

#[derive(Debug)]
pub(crate) enum QueueConfig {
    Embedded,
    Rabbit(SecretString),
}

#[derive(Debug)]
pub(crate) enum StoreConfig {
    Sqlite(PathBuf),
    Postgres(SecretString),
}

#[derive(Debug)]
pub(crate) struct WorkerConfig {
    pub(crate) concurrency: usize,
    pub(crate) retry_delays: Vec<Duration>,
    /// The time between two readings of the providers' own lists of events; absent if they are not read.
    pub(crate) follow_events: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct EventsConfig {
    /// Events of these types wait until a queue is bound for them.
    pub(crate) must_route: Vec<EventType>,
}

/// The need for our own keys with the providers: each inquiry is signed or authenticated with them. The processes that
/// face the Internet ask nothing, and need not hold these keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnKeys {
    Required,
    /// Optional: missing ones are listed in [`Config::lacks`].
    Optional,
    Unused,
}

/// Every mistake in a configuration, each naming its key.
#[derive(Debug)]
pub(crate) struct Mistakes {
    pub(crate) source: String,
    pub(crate) mistakes: Vec<String>,
}

impl std::error::Error for Mistakes {}

impl std::fmt::Display for Mistakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.mistakes.len();
        write!(f, "the configuration ({}) has {count} mistake{}", self.source, if count == 1 { "" } else { "s" })?;
        for mistake in &self.mistakes {
            write!(f, "\n  - {mistake}")?;
        }
        Ok(())
    }
}

/// Names the place of the mistake without the text there: it may be a secret.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or_else(String::new, |before| format!("line {}: ", before.matches('\n').count() + 1));
    format!("{line}not TOML: {}", error.message())
}

impl Config {
    /// Reads the named file, or `payhook.toml` if it is there, and the environment.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        keys: OwnKeys,
    ) -> Result<Self, Mistakes> {
        let wanted = file.map_or_else(|| PathBuf::from(DEFAULT_FILE), Path::to_owned);
        match std::fs::read_to_string(&wanted) {
            Ok(text) => {
                let folder = wanted.parent().unwrap_or(Path::new("")).to_owned();
                let mut config = Self::read(&text, &wanted.display().to_string(), &folder, environment, keys)?;
                config.notices.extend(exposed::by_its_text(&wanted, &text));
                Ok(config)
            }
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Self::read("", "defaults, no payhook.toml here", Path::new(""), environment, keys)
            }
            Err(error) => {
                let mistakes = vec![format!("cannot read {}: {error}", wanted.display())];
                Err(Mistakes { source: wanted.display().to_string(), mistakes })
            }
        }
    }

    /// Reads a configuration's text; paths in it are relative to `folder`.
    pub(crate) fn read(
        text: &str,
        source: &str,
        folder: &Path,
        environment: &BTreeMap<String, String>,
        keys: OwnKeys,
    ) -> Result<Self, Mistakes> {
        let failed = |mistakes| Mistakes { source: source.to_owned(), mistakes };
        let written: toml::Table = toml::from_str(text).map_err(|error| failed(vec![not_toml(text, &error)]))?;
        let mut table: toml::Table = toml::from_str(EXAMPLE).expect("payhook.example.toml is TOML");
        reader::overlay(&mut table, written);
        reader::overlay_environment(&mut table, environment);
        let mut reader = Reader::new(table, folder);
        let config = Self::take(&mut reader, source, keys);
        let mistakes = reader.finish();
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(failed(mistakes)),
        }
    }

    /// Takes every key. The reader notes mistakes; with a mistake, the result is not used.
    fn take(reader: &mut Reader, source: &str, keys: OwnKeys) -> Option<Self> {
        let ingress = IngressConfig {
            listen: reader.parsed("ingress", "listen").unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            public_path: reader
                .text("ingress", "public_base")
                .map(|base| public_path(reader, &base))
                .unwrap_or_default(),
            body_timeout: reader.duration("ingress", "body_timeout").unwrap_or_default(),
            repeats_per_s: reader.parsed("ingress", "repeats_per_s").unwrap_or_default(),
            unverified_per_s: reader.parsed("ingress", "unverified_per_s").unwrap_or_default(),
            connections: ConnectionsConfig::take(reader, "ingress"),
        };
        if ingress.body_timeout.is_zero() {
            reader.mistake("ingress.body_timeout must be longer than 0s");
        }
        let console = ConsoleConfig {
            listen: reader.parsed("console", "listen").unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            token: reader.secret("console", "token"),
            callers: callers::take(reader),
            connections: ConnectionsConfig::take(reader, "console"),
        };
        callers::check(reader, &console);
        let queue = reader.secret("queue", "url").and_then(|url| match url.expose_secret() {
            "embedded" => Some(QueueConfig::Embedded),
            text if text.starts_with("amqp://") || text.starts_with("amqps://") => Some(QueueConfig::Rabbit(url)),
            _ => {
                reader.mistake("queue.url must be `embedded`, or begin with amqp:// or amqps://");
                None
            }
        });
        let store = reader.secret("store", "url").and_then(|url| match url.expose_secret() {
            text if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                Some(StoreConfig::Postgres(url))
            }
            text => match text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
                Some(path) if path.contains('?') => {
                    reader.mistake("store.url: a SQLite file takes no parameters: remove `?` and what follows");
                    None
                }
                Some(path) if !path.is_empty() => Some(StoreConfig::Sqlite(reader.path(path))),
                _ => {
                    reader.mistake("store.url must begin with sqlite:// and name a file, or begin with postgres://");
                    None
                }
            },
        });
        if matches!((&queue, &store), (Some(QueueConfig::Embedded), Some(StoreConfig::Postgres(_)))) {
            reader.mistake(
                "queue.url is `embedded`, which needs a SQLite file, and store.url is PostgreSQL: use RabbitMQ (amqp://…) with \
                 PostgreSQL",
            );
        }
        let encrypted = matches!(&queue, Some(QueueConfig::Rabbit(url)) if url.expose_secret().starts_with("amqps://"));
        let queue_ca = authorities::take(
            reader,
            "queue",
            (!encrypted).then_some("it is for amqps://, and queue.url does not begin with that"),
        );
        let server = matches!(&store, Some(StoreConfig::Postgres(_)));
        let store_ca =
            authorities::take(reader, "store", (!server).then_some("it is for postgres://, and store.url is a file"));
        let worker = WorkerConfig {
            concurrency: reader.parsed("worker", "concurrency").unwrap_or(1),
            retry_delays: reader.durations("worker", "retry_delays"),
            follow_events: reader.duration_or_off("worker", "follow_events"),
        };
        if !(1..=1024).contains(&worker.concurrency) {
            reader.mistake("worker.concurrency must be 1 to 1024");
        }
        check_delays(reader, &worker.retry_delays);
        let events = EventsConfig { must_route: must_route(reader) };
        let retention = retention::take(reader);
        let lame_duck = reader.duration("stop", "lame_duck").unwrap_or_default();
        let tokens = tokens::take(reader);
        let accounts = accounts::take(reader, keys, &tokens);
        let (queue, store) = (queue?, store?);
        for notice in exposed::in_the_clear(&queue, &store, store_ca.is_some()) {
            reader.notice(notice);
        }
        let (source, taken) = (source.to_owned(), reader.take_taken());
        let (notices, lacks) = (reader.take_notices(), reader.take_lacks());
        Some(Self {
            ingress,
            console,
            queue,
            queue_ca,
            store,
            store_ca,
            worker,
            events,
            retention,
            lame_duck,
            accounts,
            tokens,
            taken,
            source,
            notices,
            lacks,
        })
    }

    /// Returns why no other process may run roles beside this one: one process owns a file. Ingress opens no store.
    pub(crate) fn one_process_only(&self, ingress: bool) -> Option<&'static str> {
        match (&self.queue, &self.store) {
            (QueueConfig::Embedded, _) => Some("queue.url is `embedded`"),
            (_, StoreConfig::Sqlite(_)) if !ingress => Some("store.url is a SQLite file"),
            _ => None,
        }
    }
}

/// Event types as events carry them, or as their routing keys: `payhook.order.paid.v1`, `order.paid.v1`.
fn must_route(reader: &mut Reader) -> Vec<EventType> {
    let mut types = Vec::new();
    for text in reader.texts("events", "must_route").iter().filter(|text| !text.is_empty()) {
        let full = text.parse().or_else(|unknown: UnknownWord| format!("payhook.{text}").parse().map_err(|_| unknown));
        match full {
            Ok(event_type) => types.push(event_type),
            Err(unknown) => reader.mistake(format!("events.must_route: {unknown}")),
        }
    }
    types
}

/// `https://shop.example/pay/` is signed as `/pay/…`.
fn public_path(reader: &mut Reader, base: &str) -> String {
    if base.is_empty() {
        return String::new();
    }
    match reqwest::Url::parse(base) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none() => {
            url.path().trim_end_matches('/').to_owned()
        }
        _ => {
            reader.mistake("ingress.public_base must be an address like https://shop.example/pay, without a query");
            String::new()
        }
    }
}

/// A delay is in a queue's name on RabbitMQ, so it has whole seconds; a schedule that does not rise is a mistake.
fn check_delays(reader: &mut Reader, delays: &[Duration]) {
    if delays.is_empty() {
        reader.mistake("worker.retry_delays must have at least one delay");
    }
    if delays.iter().any(|delay| delay.is_zero() || delay.subsec_nanos() != 0) {
        reader.mistake("worker.retry_delays must be whole seconds, minutes or hours, and not zero");
    }
    if !delays.is_sorted_by(|earlier, later| earlier < later) {
        reader.mistake("worker.retry_delays must rise: each is longer than the one before");
    }
}

#[cfg(test)]
mod tests;
