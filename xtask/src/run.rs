//! Running other programs: each in a process group of its own, so that one signal ends it and all it has started.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use payhook_test_servers::signal_group;

use crate::servers::interrupted;

const POLL: Duration = Duration::from_millis(20);

/// The time an interrupted program has to clean up.
const GRACE: Duration = Duration::from_secs(5);

/// A program without input, in a process group of its own.
pub(crate) fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).process_group(0);
    command
}

/// The cargo that runs us, so that its toolchain stays the same.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

/// Returns cargo's target directory, as cargo itself reports it.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", output.status);
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    let dir = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(dir.into())
}

/// Runs `command` to its end. An interrupt ends it and everything it started, and returns an error.
pub(crate) async fn run(command: &mut Command) -> Result<ExitStatus> {
    let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    until_end(child).await
}

/// [`run`], and a failure is an error.
pub(crate) async fn run_well(command: &mut Command) -> Result<()> {
    let status = run(command).await?;
    ensure!(status.success(), "{} failed: {status}", in_words(command));
    Ok(())
}

/// [`run`], with every line of output shown to `see` besides being passed on.
pub(crate) async fn run_watched<S: LineWatcher>(command: &mut Command, see: S) -> Result<(ExitStatus, S)> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let (out, err) = (child.stdout.take().context("a pipe")?, child.stderr.take().context("a pipe")?);
    let see = Arc::new(Mutex::new(see));
    let out = std::thread::spawn({
        let see = Arc::clone(&see);
        move || pass_on(out, std::io::stdout(), &see)
    });
    let err = std::thread::spawn({
        let see = Arc::clone(&see);
        move || pass_on(err, std::io::stderr(), &see)
    });
    let status = until_end(child).await?;
    ensure!(out.join().is_ok() && err.join().is_ok(), "lost the output of {}", in_words(command));
    let see = Arc::into_inner(see).context("both readers have ended")?;
    Ok((status, see.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// Learns from output as it passes.
pub(crate) trait LineWatcher: Send + 'static {
    fn line(&mut self, line: &str);
}

fn pass_on(from: impl Read, mut to: impl Write, see: &Mutex<impl LineWatcher>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let _ = to.write_all(&line).and_then(|()| to.flush());
        see.lock().unwrap_or_else(PoisonError::into_inner).line(&String::from_utf8_lossy(&line));
        line.clear();
    }
}

async fn until_end(mut child: Child) -> Result<ExitStatus> {
    let group = child.id();
    let status = tokio::select! {
        status = ended(&mut child) => status?,
        interrupted = interrupted() => {
            interrupted?;
            signal_group("TERM", group);
            let _ = tokio::time::timeout(GRACE, ended(&mut child)).await;
            signal_group("KILL", group);
            let _ = child.wait();
            bail!("interrupted");
        }
    };
    // A test that failed may have left a program running.
    signal_group("KILL", group);
    Ok(status)
}

async fn ended(child: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Returns the exit code that a shell would return.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(1)
}

fn in_words(command: &Command) -> String {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default();
    std::iter::once(program.into()).chain(arguments).collect::<Vec<_>>().join(" ")
}
