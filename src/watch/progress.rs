use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::output;

/// The time between two lines, where there is no terminal to show a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR_CHARS: u64 = 30;

/// Shows on standard error how far a replay is: a bar on a terminal, lines elsewhere.
#[derive(Default)]
pub(super) struct Progress {
    /// The last line, and when it was said.
    said: Option<(String, Instant)>,
}

impl Progress {
    pub(super) fn show(&mut self, replay: &Value) {
        let now = Instant::now();
        if std::io::stderr().is_terminal() {
            let line = format!("{} {}", bar(replay), line(replay));
            // Back to the line's start, and nothing left of what stood there.
            let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
            self.said = Some((line, now));
            return;
        }
        let line = line(replay);
        let is_due = match &self.said {
            None => true,
            Some((said, at)) => *said != line && (now - *at >= LINE_EVERY || is_settled(replay)),
        };
        if is_due {
            output::note(&line);
            self.said = Some((line, now));
        }
    }

    /// Ends the bar, so that the next output begins on a line of its own.
    pub(super) fn end(&mut self) {
        if self.said.take().is_some() && std::io::stderr().is_terminal() {
            output::note("");
        }
    }
}

fn is_settled(replay: &Value) -> bool {
    replay["state"] != "running"
}

fn count(replay: &Value, key: &str) -> u64 {
    replay[key].as_u64().unwrap_or_default()
}

/// `12/40  changed 3  unchanged 9  failed 0`, and the state where it does not run.
fn line(replay: &Value) -> String {
    let of = |key: &str| count(replay, key);
    let changed = if replay["plan"] == true { "would change" } else { "changed" };
    let mut line = format!(
        "{}/{}  {changed} {}  unchanged {}  failed {}",
        of("done"),
        of("total"),
        of("changed"),
        of("unchanged"),
        of("failed")
    );
    if let (true, Some(state)) = (is_settled(replay), replay["state"].as_str()) {
        line.push_str("  ");
        line.push_str(state);
    }
    line
}

fn bar(replay: &Value) -> String {
    let (done, total) = (count(replay, "done"), count(replay, "total").max(1));
    let full = (done.min(total) * BAR_CHARS / total) as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR_CHARS as usize - full))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replay(state: &str, plan: bool, done: u64) -> Value {
        json!({ "state": state, "plan": plan, "total": 40, "done": done, "changed": 3, "unchanged": 9, "failed": 0 })
    }

    #[test]
    fn a_line_says_how_far_it_is_and_whether_it_waits() {
        assert_eq!(line(&replay("running", false, 12)), "12/40  changed 3  unchanged 9  failed 0");
        assert_eq!(line(&replay("paused", true, 12)), "12/40  would change 3  unchanged 9  failed 0  paused");
    }

    #[test]
    fn a_bar_is_as_full_as_it_is_done() {
        assert_eq!(bar(&replay("running", false, 0)), format!("[{}]", ".".repeat(30)));
        assert_eq!(bar(&replay("running", false, 20)), format!("[{}{}]", "#".repeat(15), ".".repeat(15)));
        assert_eq!(bar(&replay("done", false, 40)), format!("[{}]", "#".repeat(30)));
        assert_eq!(bar(&json!({})), format!("[{}]", ".".repeat(30)), "nothing to do is no division by nothing");
    }
}
