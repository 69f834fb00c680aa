//! The program that is measured, as separate processes with a configuration of their own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::http::{LoadConnection, get};
use crate::machine::{Pinning, cpu_s, rss_mb};

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// The settings that the processes of one deployment share.
pub(crate) struct Deployment {
    program: PathBuf,
    dir: PathBuf,
    pinning: Pinning,
    /// All of the configuration but the listeners.
    config: String,
}

/// A running role.
pub(crate) struct RunningRole {
    child: Child,
    pub(crate) ingress: SocketAddr,
    console: SocketAddr,
    started: Instant,
    /// From the start of the process to its first `ready`.
    pub(crate) ready_after: Duration,
    log: PathBuf,
}

impl Deployment {
    pub(crate) fn new(program: &Path, dir: &Path, pinning: Pinning, config: String) -> Self {
        Self { program: program.to_owned(), dir: dir.to_owned(), pinning, config }
    }

    fn configured(&self, name: &str) -> Result<(PathBuf, SocketAddr, SocketAddr)> {
        let (ingress, console) = (free_address()?, free_address()?);
        let file = self.dir.join(format!("{name}.toml"));
        let listeners = format!("[ingress]\nlisten = \"{ingress}\"\n[console]\nlisten = \"{console}\"\n");
        std::fs::write(&file, format!("{listeners}{}", self.config))?;
        Ok((file, ingress, console))
    }

    pub(crate) fn migrate(&self) -> Result<()> {
        let (file, ..) = self.configured("migrate")?;
        let output = Command::new(&self.program).arg("--config").arg(file).arg("migrate").output()?;
        ensure!(output.status.success(), "payhook migrate: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Starts a role and does not wait for it.
    pub(crate) fn spawn(&self, role: &str) -> Result<RunningRole> {
        let (file, ingress, console) = self.configured(role)?;
        let log = self.dir.join(format!("{role}.log"));
        let started = Instant::now();
        let child = self
            .pinning
            .measured(&self.program)
            .arg("--config")
            .arg(file)
            .arg(role)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(RunningRole { child, ingress, console, started, ready_after: Duration::ZERO, log })
    }

    /// Starts a role and waits until it says that it is ready.
    pub(crate) async fn start(&self, role: &str) -> Result<RunningRole> {
        let mut role = self.spawn(role)?;
        loop {
            if let Some(status) = role.child.try_wait()? {
                bail!("payhook ended at once, {status}: {}", role.log());
            }
            if let Ok(mut connection) = LoadConnection::open(role.console).await
                && matches!(connection.send(&get("/readyz")).await, Ok(200))
            {
                break;
            }
            ensure!(role.is_young(READY_WITHIN), "payhook does not become ready: {}", role.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        role.ready_after = role.started.elapsed();
        Ok(role)
    }
}

impl RunningRole {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cpu_s(&self) -> f64 {
        cpu_s(self.pid())
    }

    pub(crate) fn rss_mb(&self) -> f64 {
        rss_mb(self.pid())
    }

    /// Returns true if it was started less than `limit` ago.
    pub(crate) fn is_young(&self, limit: Duration) -> bool {
        self.started.elapsed() < limit
    }

    /// The end of what it said.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// Asks it to end, and waits.
    pub(crate) async fn stop(mut self) -> Result<()> {
        terminate(self.pid());
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(began.elapsed() < STOPPED_WITHIN, "payhook does not stop: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for RunningRole {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn terminate(pid: u32) {
    let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
}

/// A port nobody listens on now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
