//! The log, on standard error. It never stops the work: a thread of its own writes it, and a line that cannot be
//! written is dropped and counted.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::{Cli, Command, LogFormat};

/// Lines that wait for a slow reader of the log, some 500 KB; the next ones are dropped.
const LINES_MAX: usize = 2048;

/// The longest time a process that ends waits for its last lines to be written.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// An entry that waits for the writing thread.
enum LogEntry {
    Line(Vec<u8>),
    /// Everything before it was written, or counted as lost.
    Flush(SyncSender<()>),
}

static ENTRIES: OnceLock<SyncSender<LogEntry>> = OnceLock::new();

/// Starts the log. `RUST_LOG` chooses its level, `info` for roles and `warn` for commands unless it does.
pub(crate) fn start(cli: &Cli) {
    let level = match cli.command {
        Command::Serve | Command::Ingress | Command::Worker | Command::Console | Command::Simulate(_) => "info",
        Command::Demo(_) => "error",
        _ => "warn",
    };
    // Our own errors have what these would log; the rest of it may hold secrets, whatever RUST_LOG says.
    let quiet = ["lapin=off", "sqlx=off", "hyper=off", "hyper_util=off", "reqwest=off", "h2=off"];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let filter =
        quiet.iter().fold(filter, |filter, off| filter.add_directive(off.parse().expect("a constant directive")));
    let (entries, waiting) = sync_channel(LINES_MAX);
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&waiting, std::io::stderr));
    thread.expect("a machine that cannot start threads runs nothing");
    let entries = ENTRIES.get_or_init(|| entries);
    // tracing-subscriber would report its own errors on standard error, and panic where that cannot be written.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines(entries)).log_internal_errors(false);
    match cli.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        // A panic's own report would wait for the same standard error.
        error!("a bug of payhook's: {panic}");
    }));
}

/// Waits until what was logged is written, but not for ever.
pub(crate) fn flush() {
    let Some(entries) = ENTRIES.get() else { return };
    let (done, written) = sync_channel(1);
    if entries.try_send(LogEntry::Flush(done)).is_ok() {
        let _ = written.recv_timeout(FLUSH_WITHIN);
    }
}

/// Writes lines until nobody can send any. The writer is opened anew for each: what failed once may work again.
fn write<W: Write>(waiting: &Receiver<LogEntry>, open: impl Fn() -> W) {
    while let Ok(entry) = waiting.recv() {
        match entry {
            LogEntry::Line(line) => {
                if open().write_all(&line).is_err() {
                    lost();
                }
            }
            LogEntry::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

fn lost() {
    metrics::counter!("payhook_log_write_failures_total").increment(1);
}

/// Hands each event's text to the thread that writes.
#[derive(Clone, Copy)]
struct Lines(&'static SyncSender<LogEntry>);

impl Write for Lines {
    /// Takes one event's text as a whole: that is how tracing-subscriber writes. Never waits, never fails.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if self.0.try_send(LogEntry::Line(line.to_vec())).is_err() {
            lost();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Fails at first, then works.
    struct Flaky(Arc<AtomicUsize>);

    impl Write for Flaky {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => Err(std::io::ErrorKind::BrokenPipe.into()),
                _ => Ok(line.len()),
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_cannot_be_written_keeps_no_later_one_from_it() {
        let (entries, waiting) = sync_channel(4);
        let writes = Arc::new(AtomicUsize::new(0));
        let counted = writes.clone();
        let thread = std::thread::spawn(move || write(&waiting, || Flaky(counted.clone())));
        for _ in 0..3 {
            entries.send(LogEntry::Line(b"a line\n".to_vec())).unwrap();
        }
        drop(entries);
        thread.join().unwrap();
        assert_eq!(writes.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn logging_waits_for_no_reader() {
        let (entries, _nobody_reads) = sync_channel(1);
        let mut lines = Lines(Box::leak(Box::new(entries)));
        for _ in 0..3 {
            lines.write_all(b"a line\n").unwrap();
        }
    }
}
