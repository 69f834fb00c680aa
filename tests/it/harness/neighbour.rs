//! Programs beside payhook that a test runs where they are installed: proxies, and consumers in other languages.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that ends with the test.
pub(crate) struct Neighbour(Child);

impl Neighbour {
    /// Starts it. Its output goes on at the end of `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log can be opened");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log has two ends")).stderr(log);
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // Not SIGKILL: nginx ends its own children.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// True if the program is on this machine; otherwise says that its test is left out, where no test harness can swallow it.
pub(crate) fn is_installed(program: &str, packages: &str) -> bool {
    let found = Command::new("which").arg(program).stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        drop(writeln!(std::io::stderr(), "left out: {program} is not installed; apt-get install {packages}"));
    }
    found
}
