//! Reads the arguments, and the environment that `cargo xtask bench` sets.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use payhook_test_servers::{AMQP_ADMIN_URL, AMQP_URL, DATABASE_URL};

pub(crate) const HELP: &str = "\
usage: cargo xtask bench [--quick] [--json] [--no-pin] [--connections N] [--concurrency N] [--only PART]...

  --quick           fewer and shorter rounds: within 90 s instead of 6 min
  --json            the figures as JSON on standard output, and no table
  --no-pin          let the scheduler place every process
  --connections N   keep-alive connections of the load generator; 64 by default
  --concurrency N   `worker.concurrency` of the program; 128 by default
  --only PART       accept, settle, embedded or idle; may be given again";

/// The parts to measure, and their size.
#[derive(Clone)]
pub(crate) struct BenchOptions {
    pub(crate) json: bool,
    pub(crate) pin: bool,
    pub(crate) connections: usize,
    pub(crate) concurrency: usize,
    pub(crate) only: Vec<String>,
    pub(crate) size: Size,
    pub(crate) environment: Environment,
}

/// The durations and counts of a run.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) rounds: usize,
    /// The length of one round of publishing or posting, of which the first `warm_up` is not counted.
    pub(crate) round: Duration,
    pub(crate) warm_up: Duration,
    /// Payments settled in one round.
    pub(crate) omise: usize,
    pub(crate) antom: usize,
    /// Payments of a raw round: it is faster, and should last as long.
    pub(crate) raw: usize,
    pub(crate) embedded: usize,
    /// Notifications one after the other, at rest.
    pub(crate) idle: usize,
    /// The time a steady rate is held.
    pub(crate) steady: Duration,
}

const FULL: Size = Size {
    rounds: 5,
    round: Duration::from_millis(2500),
    warm_up: Duration::from_millis(500),
    omise: 12_000,
    antom: 8_000,
    raw: 20_000,
    embedded: 6_000,
    idle: 150,
    steady: Duration::from_millis(1500),
};

const QUICK: Size = Size {
    rounds: 3,
    round: Duration::from_millis(1100),
    warm_up: Duration::from_millis(300),
    omise: 5_000,
    antom: 2_500,
    raw: 8_000,
    embedded: 2_500,
    idle: 60,
    steady: Duration::from_millis(700),
};

/// The settings that `cargo xtask bench` hands over in environment variables.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) amqp_url: String,
    pub(crate) amqp_admin_url: Option<String>,
    pub(crate) database_url: String,
    /// The program that is measured.
    pub(crate) payhook: PathBuf,
}

impl BenchOptions {
    /// # Errors
    /// When an argument is none of [`HELP`], or a server is not named.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            json: false,
            pin: true,
            connections: 64,
            concurrency: 128,
            only: Vec::new(),
            size: FULL,
            environment: Environment::read()?,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--quick" => options.size = QUICK,
                "--json" => options.json = true,
                "--no-pin" => options.pin = false,
                "--connections" => options.connections = value()?.parse::<usize>()?.clamp(1, 1024),
                "--concurrency" => options.concurrency = value()?.parse::<usize>()?.clamp(1, 1024),
                "--only" => options.only.push(value()?),
                _ => bail!("`{argument}` is unknown\n{HELP}"),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "a program of its own reads its own environment")]
    fn read() -> Result<Self> {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let needed = |name: &str| given(name).with_context(|| format!("{name} is not set: use `cargo xtask bench`"));
        Ok(Self {
            amqp_url: needed(AMQP_URL)?,
            amqp_admin_url: given(AMQP_ADMIN_URL),
            database_url: needed(DATABASE_URL)?,
            payhook: needed("PAYHOOK_BIN")?.into(),
        })
    }
}
