//! Prints for commands: data on standard output, other messages on standard error. Only this module does so, and it
//! never panics where nobody reads: a program that follows a replay, or runs the demo, outlives its terminal.

use std::io::{ErrorKind, Write};
use std::sync::Mutex;

use comfy_table::{ContentArrangement, Table};

use crate::failure::{Ended, failed_by};

/// The first error of standard output.
static LOST: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Prints a line of data.
pub(crate) fn line(text: impl std::fmt::Display) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        LOST.lock().expect("nothing panics with it").get_or_insert(error);
    }
}

/// Prints a line for a person who watches, on standard error.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Returns how a command ended: data that was not printed is a failure, unless its reader closed the pipe.
pub(crate) fn finished(ended: Ended) -> anyhow::Result<Ended> {
    match LOST.lock().expect("nothing panics with it").take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(failed_by(error, "cannot write to standard output", "what was printed is not complete"))
        }
        _ => Ok(ended),
    }
}

/// Exact bytes, with nothing before and nothing behind them.
pub(crate) fn bytes(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Prints a JSON document, readable.
pub(crate) fn json(value: &serde_json::Value) {
    line(serde_json::to_string_pretty(value).expect("JSON values always print"));
}

/// A table without lines, as wide as it needs.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    line(format_table(head, rows));
}

/// Prints what is known of one thing, a line for each name.
pub(crate) fn facts(facts: impl IntoIterator<Item = (&'static str, String)>) {
    let facts: Vec<_> = facts.into_iter().collect();
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in facts {
        line(format_args!("{name:width$}  {}", value.chars().flat_map(visible).collect::<String>()));
    }
}

pub(crate) fn format_table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    for row in rows {
        // Ids and reasons come from outside: what could move a cursor is shown as what it is.
        table.add_row(row.map(|cell| cell.chars().flat_map(visible).collect::<String>()));
    }
    table.trim_fmt()
}

fn visible(char: char) -> Vec<char> {
    if char.is_control() { char.escape_default().collect() } else { vec![char] }
}
