//! Pins processes to cores with `taskset`, and reads their cost from `/proc`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// The kernel counts processor time in hundredths of a second, on every machine we know.
const TICKS_PER_S: f64 = 100.0;

/// The core of what is measured, and the core of everything else; nothing where processes are not pinned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pinning {
    cores: Option<(usize, usize)>,
}

impl Pinning {
    pub(crate) fn new(wanted: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let present = Command::new("taskset").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let can = wanted && cores >= 2 && present.is_ok_and(|status| status.success());
        Self { cores: can.then_some((0, 1)) }
    }

    pub(crate) fn is_on(self) -> bool {
        self.cores.is_some()
    }

    /// A command that runs `program` on the core of what is measured.
    pub(crate) fn measured(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match self.cores {
            Some((core, _)) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    /// Puts running processes, with all their threads, on the other core; later children follow their parents.
    pub(crate) fn put_aside(self, pids: &[u32]) {
        if let Some((_, core)) = self.cores {
            place(pids, &core.to_string());
        }
    }

    /// Lets running processes go wherever they want again.
    pub(crate) fn release(self, pids: &[u32]) {
        if self.is_on() {
            place(pids, "0-1023");
        }
    }

    pub(crate) fn in_words(self) -> String {
        match self.cores {
            Some((measured, rest)) => format!(
                "pinned with taskset: what is measured (payhook, or the raw program in its place) on core {measured}; broker, \
                 database, load generator and provider stub on core {rest}"
            ),
            None => "not pinned: every process runs where the scheduler puts it".to_owned(),
        }
    }
}

fn place(pids: &[u32], cores: &str) {
    for pid in pids {
        let quiet = Command::new("taskset")
            .args(["-a", "-p", "-c", cores, &pid.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !quiet.is_ok_and(|status| status.success()) {
            eprintln!("cannot place process {pid}");
        }
    }
}

/// A process and all it has started.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in processes {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(parent) = stat(child).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    found
}

/// The process that listens on `port`.
pub(crate) fn listener(port: u16) -> Option<u32> {
    const LISTENS: &str = "0A";
    let port = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let inode = tables.iter().flat_map(|table| table.lines()).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1)?.ends_with(&port) && *fields.get(3)? == LISTENS).then(|| fields.get(9).copied())?
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.filter_map(|entry| entry.path().read_link().ok()).any(|link| link.as_os_str() == socket.as_str())
    })
}

/// Processor seconds of a process and all it has started, those that have ended included.
pub(crate) fn cpu_s(pid: u32) -> f64 {
    let ticks = |pid: u32| -> f64 {
        // utime, stime, cutime and cstime are fields 14 to 17, the state is field 3.
        let fields = stat(pid).unwrap_or_default();
        fields.iter().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum()
    };
    family(pid).into_iter().map(ticks).sum::<f64>() / TICKS_PER_S
}

/// The fields of `/proc/<pid>/stat` after the name, which may have blanks in it.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// Resident memory of one process, in MB.
pub(crate) fn rss_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kb.map_or(f64::NAN, |kb| kb / 1024.0)
}
