//! The progress of a replay on standard error: a bar on a terminal, lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use payhook_console::api::ReplayView;
use payhook_schema::ReplayState;
use tokio::time::Instant;

use crate::output;

/// The time between two lines, where there is no terminal to show a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR_CHARS: u64 = 30;

#[derive(Default)]
pub(super) struct Progress {
    /// The last line, and when it was printed.
    printed: Option<(String, Instant)>,
}

impl Progress {
    pub(super) fn show(&mut self, replay: &ReplayView) {
        let now = Instant::now();
        if std::io::stderr().is_terminal() {
            let line = format!("{} {}", bar(replay), line(replay));
            // Back to the line's start, and nothing left of what stood there.
            let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
            self.printed = Some((line, now));
            return;
        }
        let line = line(replay);
        let is_due = match &self.printed {
            None => true,
            Some((last, at)) => *last != line && (now - *at >= LINE_EVERY || is_settled(replay)),
        };
        if is_due {
            output::note(&line);
            self.printed = Some((line, now));
        }
    }

    /// Ends the bar, so that the next output begins on a line of its own.
    pub(super) fn end(&mut self) {
        if self.printed.take().is_some() && std::io::stderr().is_terminal() {
            output::note("");
        }
    }
}

fn is_settled(replay: &ReplayView) -> bool {
    replay.state != ReplayState::Running
}

/// `12/40  changed 3  unchanged 9  failed 0`, and the state unless it runs.
fn line(replay: &ReplayView) -> String {
    let ReplayView { done, total, changed, unchanged, failed, .. } = replay;
    let word = if replay.plan { "would change" } else { "changed" };
    let state = if is_settled(replay) { format!("  {}", replay.state) } else { String::new() };
    format!("{done}/{total}  {word} {changed}  unchanged {unchanged}  failed {failed}{state}")
}

fn bar(replay: &ReplayView) -> String {
    // An empty replay must not divide by zero.
    let total = replay.total.max(1);
    let full = (replay.done.min(total) * BAR_CHARS / total) as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR_CHARS as usize - full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::replay;

    #[test]
    fn a_line_shows_the_counts_and_the_state_unless_it_runs() {
        let view = replay("running", false, 12);
        assert_eq!(line(&view), "12/40  changed 3  unchanged 9  failed 0");
        assert_eq!(line(&replay("paused", true, 12)), "12/40  would change 3  unchanged 9  failed 0  paused");
    }

    #[test]
    fn a_bar_is_as_full_as_the_replay_is_done() {
        let bar = |done| bar(&replay("running", false, done));
        assert_eq!(bar(0), format!("[{}]", ".".repeat(30)));
        assert_eq!(bar(20), format!("[{}{}]", "#".repeat(15), ".".repeat(15)));
        assert_eq!(bar(40), format!("[{}]", "#".repeat(30)));
    }
}
