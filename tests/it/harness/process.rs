//! The program under test as a process: started, stopped, killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{PipeReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than a role has to settle what is in hand when it is asked to stop.
const STOP_WITHIN: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(5);
const TAIL_LINES: usize = 30;

/// `debug` for all of ours: what must never be in a log must not be there either.
const RUST_LOG: &str = "warn,payhook=debug";

/// The program under test, with nothing of our environment in its own.
fn payhook(config: &Path, environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payhook"));
    command.env_clear().env("PAYHOOK_CONFIG", config).envs(environment).stdin(Stdio::null());
    command.current_dir(config.parent().expect("a file is in a folder"));
    command
}

/// The destination of a process's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogTo {
    File,
    /// Its reader is gone: a closed terminal.
    ClosedPipe,
    /// Its reader takes nothing more.
    HangingPipe,
    /// A disk without room.
    FullDevice,
}

/// The bytes a pipe holds on Linux before a writer waits.
const PIPE_BYTES: usize = 64 * 1024;

/// A process that can be ended and started again.
pub(crate) struct Process {
    arguments: Vec<String>,
    /// The address of its health endpoints.
    pub(crate) console: String,
    /// The address providers post to, if it takes notifications.
    pub(crate) ingress: Option<String>,
    pub(crate) log: PathBuf,
    pub(crate) log_to: LogTo,
    /// True if it lives on where a file may not grow, as on a full disk, instead of dying of SIGXFSZ.
    pub(crate) survives_file_limit: bool,
    config: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    child: Option<Child>,
    /// Held, and never read.
    hanging: Option<PipeReader>,
}

impl Process {
    /// `console_port` and `ingress_port` on the loopback; not started yet.
    pub(crate) fn new(name: &str, role: &'static str, config: &Path, console: u16, ingress: u16) -> Self {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let environment = BTreeMap::from([
            ("RUST_LOG".to_owned(), RUST_LOG.to_owned()),
            ("PAYHOOK__CONSOLE__LISTEN".to_owned(), address(console)),
            ("PAYHOOK__INGRESS__LISTEN".to_owned(), address(ingress)),
        ]);
        Self {
            arguments: vec![role.to_owned()],
            console: format!("http://{}", address(console)),
            ingress: matches!(role, "serve" | "ingress").then(|| format!("http://{}", address(ingress))),
            log: config.with_file_name(format!("{name}.log")),
            log_to: LogTo::File,
            survives_file_limit: false,
            config: config.to_owned(),
            environment,
            child: None,
            hanging: None,
        }
    }

    /// `payhook ARGUMENTS` in the folder of `config`, for as long as it lives.
    pub(crate) fn command(name: &str, arguments: &[&str], config: &Path) -> Self {
        let mut process = Self::new(name, "command", config, 0, 0);
        process.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        process.environment = BTreeMap::from([("RUST_LOG".to_owned(), RUST_LOG.to_owned())]);
        process
    }

    /// Starts it, unless it runs. Its log goes on where it was.
    pub(crate) fn start(&mut self) {
        if self.child.is_some() {
            return;
        }
        let mut command = payhook(&self.config, &self.environment);
        if self.survives_file_limit {
            let program = command.get_program().to_owned();
            let mut shell = Command::new("sh");
            shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(program).env_clear().stdin(Stdio::null());
            shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            shell.current_dir(command.get_current_dir().expect("given above"));
            command = shell;
        }
        let output = File::create(self.output()).expect("an output can be made");
        command.args(&self.arguments).stdout(output).stderr(self.standard_error());
        self.child = Some(command.spawn().expect("the program starts"));
    }

    fn standard_error(&mut self) -> Stdio {
        let pipe = || std::io::pipe().expect("a pipe can be made");
        match self.log_to {
            LogTo::File => {
                File::options().create(true).append(true).open(&self.log).expect("a log can be opened").into()
            }
            LogTo::ClosedPipe => pipe().1.into(),
            LogTo::HangingPipe => {
                let (reader, mut writer) = pipe();
                writer.write_all(&vec![b'.'; PIPE_BYTES]).expect("it fits");
                self.hanging = Some(reader);
                writer.into()
            }
            LogTo::FullDevice => File::options().write(true).open("/dev/full").expect("Linux has it").into(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Returns the exit status, if it ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("a child can be asked")
    }

    /// SIGKILL: no goodbye, nothing finished.
    pub(crate) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            // libfaketime leaves these behind, and a later process with this number fails on them.
            for left in ["faketime_shm_", "sem.faketime_sem_"] {
                let _ = std::fs::remove_file(format!("/dev/shm/{left}{}", child.id()));
            }
        }
    }

    /// SIGTERM, without waiting for what comes of it.
    pub(crate) fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// SIGHUP: read the configuration again.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            let pid = child.id().to_string();
            let _ = Command::new("kill").args(["-s", name, &pid]).stderr(Stdio::null()).status();
        }
    }

    /// Waits for it to end after [`Self::ask_to_stop`]; an error says how it ended instead.
    pub(crate) fn wait_stopped(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let end = Instant::now() + STOP_WITHIN;
        loop {
            match child.try_wait().expect("a child can be asked") {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{} ended with {status}", self.arguments[0])),
                None if Instant::now() < end => std::thread::sleep(POLL),
                None => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("{} did not stop within {} s", self.arguments[0], STOP_WITHIN.as_secs()));
                }
            }
        }
    }

    /// Returns the path of the file that its output goes to.
    fn output(&self) -> PathBuf {
        self.log.with_extension("out")
    }

    /// Returns its output so far.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.output()).unwrap_or_default()
    }

    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log, for whoever must find out why.
    pub(crate) fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        let name = self.log.file_name().unwrap_or_default().to_string_lossy();
        format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// A command that has run to its end.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs `payhook ARGUMENTS` as a user does, in the folder of the configuration.
    pub(crate) async fn payhook(config: &Path, arguments: &[&str]) -> Self {
        Self::payhook_with(config, arguments, &BTreeMap::new()).await
    }

    pub(crate) async fn payhook_with(
        config: &Path,
        arguments: &[&str],
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let mut command = tokio::process::Command::from(payhook(config, environment));
        let output = command.args(arguments).kill_on_drop(true).output().await.expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
        let code = output.status.code().expect("no signal ended it");
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Fails with everything it printed unless it ended with `code`.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: not JSON:\n{}", self.stdout))
    }
}
