//! Signals, process trees and logs. `unsafe` is forbidden here, so signals go through the shell's own `kill`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The `PATH` that a server's environment starts from: nothing of ours may change how it runs.
pub(crate) const SERVER_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) const POLL: Duration = Duration::from_millis(20);

const LOG_TAIL_LINES: usize = 25;

/// A server process: no input, output into `log`, its own process group so that a ctrl-C in the terminal is ours to
/// handle.
pub(crate) fn server(program: &Path, log: &Path) -> Result<Command> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open {}", log.display()))?;
    let mut command = Command::new(program);
    command.env_clear().env("PATH", SERVER_PATH).env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    Ok(command)
}

/// Returns true if this process has the rights of root.
pub fn we_are_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|ours| ours.uid() == 0)
}

/// Sends a signal, `KILL` for example, to all of `pids`; one that is gone already is no error.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let script = r#"signal=$1; shift; for pid do kill -s "$signal" "$pid" 2>/dev/null; done"#;
    let pids = pids.iter().map(u32::to_string);
    let _ = Command::new("sh").args(["-c", script, "sh", name]).args(pids).stdin(Stdio::null()).status();
}

/// Sends a signal, `TERM` for example, to a process group, named by the process that leads or has led it.
pub fn signal_group(name: &str, leader: u32) {
    let kill = r#"kill -s "$1" -- "-$2" 2>/dev/null"#;
    let _ = Command::new("sh").args(["-c", kill, "sh", name, &leader.to_string()]).stdin(Stdio::null()).status();
}

/// `root` and everything below it, parents first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| Some((pid, parent_of(pid)?)))
        .collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(processes.iter().filter(|(_, its_parent)| *its_parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything, a bracket too.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Returns true if the process still does anything: a zombie does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Waits until all of `pids` are gone.
pub(crate) async fn gone(pids: &[u32], within: Duration) -> Result<()> {
    let end = Instant::now() + within;
    while pids.iter().any(|pid| is_alive(*pid)) {
        if Instant::now() > end {
            bail!("still running after {} s: processes {pids:?}", within.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// [`gone`] for `Drop`, which cannot wait asynchronously.
pub(crate) fn wait_briefly(child: &mut Child, within: Duration) -> bool {
    let end = Instant::now() + within;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < end => std::thread::sleep(POLL),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

/// The last lines of each log that exists, for an error that explains itself.
pub(crate) fn log_tails(logs: &[&Path]) -> String {
    let mut tails = String::new();
    for log in logs {
        let Ok(bytes) = fs::read(log) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        let _ = write!(tails, "\n--- the end of {}\n{}", log.display(), shown.join("\n"));
    }
    tails
}

/// Outlives us by a moment: when our end of its pipe closes, however we ended, it runs the last command it was given.
///
/// `Drop` covers every end but one: a `kill -9` of our own process would leave the servers behind.
pub(crate) struct Guard {
    child: Child,
    commands: Option<ChildStdin>,
}

impl Guard {
    pub(crate) fn start() -> Result<Self> {
        let script = r#"trap "" INT TERM HUP; while read -r line; do last=$line; done; eval "$last""#;
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        let commands = child.stdin.take();
        Ok(Self { child, commands })
    }

    /// Replaces what is to be done.
    pub(crate) fn on_our_end(&mut self, command: &str) {
        if let Some(commands) = &mut self.commands {
            let _ = writeln!(commands, "{command}");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.on_our_end(":");
        self.commands = None;
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_acts_when_the_pipe_closes_and_not_before() {
        let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let mut guard = Guard::start().expect("the guard starts");
        guard.on_our_end(&format!("kill -9 {}", sleeper.id()));
        assert!(!wait_briefly(&mut sleeper, Duration::from_millis(100)), "ended too early");
        guard.commands = None; // as if our process had been killed
        assert!(wait_briefly(&mut sleeper, Duration::from_secs(5)), "not ended");
    }

    #[test]
    fn a_tree_holds_the_children_of_children() {
        let mut shell = Command::new("sh").args(["-c", "sh -c 'sleep 60; :' ; :"]).spawn().expect("sh starts");
        let end = Instant::now() + Duration::from_secs(5);
        while tree(shell.id()).len() < 3 && Instant::now() < end {
            std::thread::sleep(POLL);
        }
        let all = tree(shell.id());
        signal("KILL", &all);
        let _ = shell.wait();
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(!is_alive(shell.id()));
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        fs::write(&log, lines.join("\n")).expect("written");
        let tail = log_tails(&[&log, Path::new("/does/not/exist")]);
        assert!(tail.ends_with("line 99") && tail.contains("line 75\n") && !tail.contains("line 74\n"), "{tail}");
    }
}
