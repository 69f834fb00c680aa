//! Programs beside payhook that a test runs where they are installed: proxies, and consumers in other languages.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Packages of other languages are installed here once.
const INSTALLED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/installed");

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

/// Says that a part is left out, where no test harness can swallow it.
pub(crate) fn left_out(what: &str, packages: &str) {
    drop(writeln!(std::io::stderr(), "left out: {what} is not installed; apt-get install {packages}"));
}

/// True if the program is on this machine; otherwise its test is [`left_out`].
pub(crate) fn is_installed(program: &str, packages: &str) -> bool {
    let found = Command::new("which").arg(program).stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        left_out(program, packages);
    }
    found
}

/// Installs once for each content of `wanted`, in a folder of its own. Returns the folder.
pub(crate) fn installed(name: &str, wanted: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let folder = Path::new(INSTALLED).join(name);
    let done = folder.join("installed");
    let wanted = std::fs::read_to_string(wanted).expect("it names its packages");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return folder;
    }
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    install(&folder);
    std::fs::write(&done, wanted).expect("the folder can be written");
    folder
}

/// Returns a Python that has the packages of `requirements`.
pub(crate) fn python_with(name: &str, requirements: &str) -> String {
    let folder = installed(name, requirements, |folder| {
        runs(Command::new("python3").args(["-m", "venv"]).arg(folder));
        let mut pip = Command::new(folder.join("bin/pip"));
        runs(pip.args(["install", "--quiet", "--disable-pip-version-check", "-r", requirements]));
    });
    folder.join("bin/python").display().to_string()
}

/// Runs it to its end, which must be a good one.
pub(crate) fn runs(command: &mut Command) {
    let ended = command.output().unwrap_or_else(|error| panic!("{command:?} cannot run: {error}"));
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}
