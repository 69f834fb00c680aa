//! The servers that tests and the benchmark need: installed if missing, started unless the environment names others.

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use payhook_test_servers::{
    AMQP_ADMIN_URL, AMQP_URL, DATABASE_URL, PrivatePostgres, PrivateRabbit, faketime, postgres_is_installed,
    rabbit_is_installed,
};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// `policy-rc.d` with 101 is how Debian's packages are told not to start their service.
const INSTALL: &str = r"set -e
export DEBIAN_FRONTEND=noninteractive
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
apt-get update
apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 rabbitmq-server postgresql strace libfaketime \
    nginx-light caddy php-cli librabbitmq-client-java libjackson2-databind-java libpostgresql-jdbc-java
";

/// The running servers, with the environment variables that lead to them. Dropping it ends the servers it started.
pub(crate) struct XtaskServers {
    pub(crate) environment: Vec<(&'static str, String)>,
    // In the order in which they must end: the directory last.
    _rabbit: Option<PrivateRabbit>,
    _postgres: Option<PrivatePostgres>,
    _dir: TempDir,
}

/// With strace a test has the disk's sync fail, with libfaketime a process has a wrong clock.
fn test_tools_are_installed() -> bool {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    strace.is_ok_and(|status| status.success()) && faketime().is_some()
}

/// `cargo xtask servers`.
pub(crate) async fn run() -> Result<ExitCode> {
    let servers = XtaskServers::start().await?;
    for (variable, url) in &servers.environment {
        println!("export {variable}='{url}'");
    }
    eprintln!("running until ctrl-C");
    interrupted().await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns when somebody wants us to end.
pub(crate) async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

impl XtaskServers {
    /// An interruption while the servers start ends those that have started.
    pub(crate) async fn start() -> Result<Self> {
        tokio::select! {
            servers = Self::start_all() => servers,
            interrupted = interrupted() => {
                interrupted?;
                anyhow::bail!("interrupted")
            }
        }
    }

    async fn start_all() -> Result<Self> {
        let began = Instant::now();
        let (amqp_url, database_url) = (given(AMQP_URL), given(DATABASE_URL));
        let lacks_server =
            (amqp_url.is_none() && !rabbit_is_installed()) || (database_url.is_none() && !postgres_is_installed());
        if lacks_server || !test_tools_are_installed() {
            install()?;
        }
        let dir = tempfile::Builder::new().prefix("payhook-servers-").tempdir().context("no temporary directory")?;
        let rabbit =
            async { if amqp_url.is_some() { Ok(None) } else { PrivateRabbit::start(dir.path()).await.map(Some) } };
        let postgres = async {
            if database_url.is_some() { Ok(None) } else { PrivatePostgres::start(dir.path()).await.map(Some) }
        };
        let (rabbit, postgres) = tokio::join!(rabbit, postgres);
        let (rabbit, postgres) = (rabbit?, postgres?);

        let mut environment = Vec::new();
        environment.extend(amqp_url.or(rabbit.as_ref().map(PrivateRabbit::url)).map(|url| (AMQP_URL, url)));
        let admin_url = rabbit.as_ref().map(PrivateRabbit::admin_url).or_else(|| given(AMQP_ADMIN_URL));
        environment.extend(admin_url.map(|url| (AMQP_ADMIN_URL, url)));
        environment.extend(database_url.or(postgres.as_ref().map(PrivatePostgres::url)).map(|url| (DATABASE_URL, url)));
        eprintln!("RabbitMQ and PostgreSQL are ready after {:.1} s", began.elapsed().as_secs_f32());
        Ok(Self { environment, _rabbit: rabbit, _postgres: postgres, _dir: dir })
    }
}

fn given(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn install() -> Result<()> {
    let by_hand = "install rabbitmq-server, postgresql (15 or newer), strace and libfaketime by hand";
    ensure!(
        works("apt-get", &["--version"]),
        "something that the tests need is missing and there is no apt-get here: {by_hand}"
    );
    let mut command = if payhook_test_servers::we_are_root() {
        Command::new("sh")
    } else {
        ensure!(
            works("sudo", &["--version"]),
            "something that the tests need is missing, and we are neither root nor have sudo: {by_hand}"
        );
        let mut sudo = Command::new("sudo");
        sudo.arg("sh");
        sudo
    };
    eprintln!(
        "installing RabbitMQ, PostgreSQL, strace, and libfaketime from Debian's packages; for the tests of deploy/ and examples/ also nginx, \
         Caddy, PHP, and libraries of Java; no service is started"
    );
    let status = command.args(["-c", INSTALL]).status().context("cannot run apt-get")?;
    ensure!(status.success(), "apt-get: {status}; {by_hand}");
    ensure!(
        rabbit_is_installed() && postgres_is_installed() && test_tools_are_installed(),
        "the packages are installed and yet something is missing: {by_hand}"
    );
    Ok(())
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let quiet =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}
