//! The one place that picks the backends.

use std::sync::Arc;

use anyhow::Context;
use payhook_queue::{
    Queue,
    embedded::EmbeddedQueue,
    rabbitmq::{RabbitOptions, RabbitQueue},
};
use payhook_schema::Clock;
use payhook_store::{
    Store,
    postgres::{PgOptions, PgStore},
    sqlite::SqliteStore,
};
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Config, QueueConfig, StoreConfig};

pub(crate) struct Backends {
    pub(crate) queue: Arc<dyn Queue>,
    /// Absent where the role needs none: ingress never opens a store.
    pub(crate) store: Option<Arc<dyn Store>>,
    /// The database's, where processes share one: what one of them writes, others read.
    pub(crate) clock: Clock,
}

/// The broker need not be up.
pub(crate) fn rabbit(config: &Config, url: &SecretString, role: &str, clock: &Clock) -> anyhow::Result<Arc<dyn Queue>> {
    let mut options = RabbitOptions::new(role, clock.clone(), &config.worker.retry_delays);
    options.tls_ca_pem.clone_from(&config.queue_ca);
    Ok(Arc::new(RabbitQueue::open(url.expose_secret(), options)?))
}

/// Opens what the configuration names. Servers need not be up; a file must be ours alone.
pub(crate) async fn open(config: &Config, role: &str, with_store: bool, clock: &Clock) -> anyhow::Result<Backends> {
    let delays = &config.worker.retry_delays;
    let rabbit = |url, clock| rabbit(config, url, role, clock);
    let machine = clock.clone();
    match (&config.queue, &config.store) {
        (QueueConfig::Rabbit(queue), _) if !with_store => {
            Ok(Backends { queue: rabbit(queue, clock)?, store: None, clock: machine })
        }
        (queue, StoreConfig::Sqlite(path)) => {
            let file = SqliteStore::open(&path.to_string_lossy()).await.context("cannot open the store's file")?;
            let queue = match queue {
                QueueConfig::Embedded => Arc::new(EmbeddedQueue::open(file.writer(), clock.clone(), delays)?),
                QueueConfig::Rabbit(url) => rabbit(url, clock)?,
            };
            Ok(Backends { queue, store: Some(Arc::new(file)), clock: machine })
        }
        (QueueConfig::Rabbit(queue), StoreConfig::Postgres(url)) => {
            let store = PgStore::connect(
                url.expose_secret(),
                PgOptions { tls_ca_pem: config.store_ca.clone(), ..PgOptions::default() },
            )?;
            let clock = store.clock(machine);
            Ok(Backends { queue: rabbit(queue, &clock)?, store: Some(Arc::new(store)), clock })
        }
        (QueueConfig::Embedded, StoreConfig::Postgres(_)) => {
            unreachable!("the configuration refuses an embedded queue without a SQLite store")
        }
    }
}
