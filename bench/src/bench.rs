//! The set-up that every part of a run uses: servers, payments, provider, program.

use anyhow::{Context as _, Result};
use lapin::options::QueuePurgeOptions;
use lapin::{Connection, ConnectionProperties};
use payhook_schema::Provider;
use payhook_test_servers::{Database, Postgres, Rabbit, Vhost};
use sqlx::PgPool;
use tempfile::TempDir;

use crate::machine::{self, Pinning, cpu_s};
use crate::options::BenchOptions;
use crate::orders;
use crate::program::Deployment;
use crate::raw::broker::goodbye;
use crate::stub::Stub;
use crate::world::{BenchWorld, SignedPayments};

/// The queues that fill up in a run: accepted notifications that are not settled, and events that match no queue's
/// binding.
const FILLING: [&str; 2] = ["payhook.notifications", "payhook.unrouted"];

pub(crate) struct Bench {
    pub(crate) options: BenchOptions,
    pub(crate) pinning: Pinning,
    pub(crate) omise: SignedPayments,
    pub(crate) antom: SignedPayments,
    pub(crate) cluster: Deployment,
    pub(crate) vhost: Vhost,
    pub(crate) database: Database,
    pub(crate) pool: PgPool,
    pub(crate) broker_pid: u32,
    pub(crate) postgres_pid: u32,
    pub(crate) world: BenchWorld,
    pub(crate) stub: Stub,
    pub(crate) dir: TempDir,
}

/// Processor seconds so far of broker and database.
#[derive(Clone, Copy)]
pub(crate) struct ServersCpu {
    pub(crate) broker_s: f64,
    pub(crate) postgres_s: f64,
}

impl Bench {
    pub(crate) async fn prepare(options: BenchOptions) -> Result<Self> {
        let (size, environment) = (options.size, options.environment.clone());
        let world = BenchWorld::new().await?;
        let omise = world.payments(Provider::Omise, size.omise.max(size.raw))?;
        let antom = world.payments(Provider::Antom, size.antom)?;
        let stub = Stub::start().await?;
        stub.learn(&omise.answers);
        stub.learn(&antom.answers);

        let vhost = Rabbit::at(&environment.amqp_url, environment.amqp_admin_url.as_deref())?.fresh_vhost().await;
        let database = Postgres::at(&environment.database_url)?.fresh_database().await;
        let pool = orders::postgres(&database.url).await?;
        let postgres_pid = orders::postmaster(&pool).await?;
        let port = vhost.url.parse::<::http::Uri>()?.port_u16().unwrap_or(5672);
        let broker_pid = machine::listener(port).context("the broker's process is not on this machine, or not ours")?;

        let pinning = Pinning::new(options.pin);
        let dir = tempfile::Builder::new().prefix("payhook-bench-").tempdir()?;
        let config = format!(
            "[queue]\nurl = \"{}\"\n[store]\nurl = \"{}\"\n[worker]\nconcurrency = {}\n{}",
            vhost.url,
            database.url,
            options.concurrency,
            world.accounts_toml(&format!("http://{}", stub.address)),
        );
        let cluster = Deployment::new(&environment.payhook, dir.path(), pinning, config);
        cluster.migrate()?;
        let bench = Self {
            options,
            pinning,
            omise,
            antom,
            cluster,
            vhost,
            database,
            pool,
            broker_pid,
            postgres_pid,
            world,
            stub,
            dir,
        };
        pinning.put_aside(&bench.everything_else());
        Ok(bench)
    }

    /// Everything but what is measured: we, the broker, the database.
    fn everything_else(&self) -> Vec<u32> {
        let mut pids = machine::family(self.broker_pid);
        pids.extend(machine::family(self.postgres_pid));
        pids.push(std::process::id());
        pids
    }

    pub(crate) fn payments(&self, provider: Provider) -> &SignedPayments {
        if provider == self.antom.provider { &self.antom } else { &self.omise }
    }

    pub(crate) fn servers_cpu(&self) -> ServersCpu {
        ServersCpu { broker_s: cpu_s(self.broker_pid), postgres_s: cpu_s(self.postgres_pid) }
    }

    /// Empties the queues that fill up.
    pub(crate) async fn purge(&self) -> Result<()> {
        let connection = Connection::connect(&self.vhost.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        for queue in FILLING {
            channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
        }
        goodbye(&connection).await;
        Ok(())
    }

    pub(crate) async fn end(self) {
        self.pinning.release(&self.everything_else());
        self.pool.close().await;
    }
}

impl ServersCpu {
    /// Returns the processor time spent since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { broker_s: self.broker_s - before.broker_s, postgres_s: self.postgres_s - before.postgres_s }
    }
}
