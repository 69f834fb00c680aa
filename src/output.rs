//! Prints for commands: data on standard output, other messages on standard error. Only this module does so, and it
//! never panics when nobody reads: a program that follows a replay, or runs the demo, outlives its terminal.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

use comfy_table::{ContentArrangement, Table};

use crate::failure::{Exit, failed_by};

/// The first error of standard output.
static LOST: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Prints a line of data.
pub(crate) fn line(text: impl Display) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        LOST.lock().expect("nothing panics with it").get_or_insert(error);
    }
}

/// Prints a line for people, on standard error.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Returns how a command ended: data that was not printed is a failure, unless its reader closed the pipe.
pub(crate) fn finished(exit: Exit) -> anyhow::Result<Exit> {
    match LOST.lock().expect("nothing panics with it").take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(failed_by(
            error,
            "cannot write to standard output",
            "the output is not complete: print it to a file that has room",
        )),
        _ => Ok(exit),
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

/// Returns a page of a list, and how to read on; `None` if it is empty.
pub(crate) fn page<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    next: Option<String>,
) -> Option<String> {
    let mut rows = rows.into_iter().peekable();
    rows.peek()?;
    let more = next.map_or_else(String::new, |next| format!("\nmore: --before {next}"));
    Some(table(head, rows) + &more)
}

/// Returns a table below another text; nothing if it has no rows.
pub(crate) fn section<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    page(head, rows, None).map_or_else(String::new, |table| format!("\n\n{table}"))
}

/// Returns a table without lines, as wide as it needs.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    for row in rows {
        table.add_row(row.map(|cell| visible(&cell)));
    }
    table.trim_fmt()
}

/// Returns what is known of one thing, a line for each name.
pub(crate) fn facts<const N: usize>(facts: [(&'static str, String); N]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = facts.map(|(name, value)| format!("{name:width$}  {}", visible(&value)));
    lines.join("\n")
}

/// Returns a value as people read it; `-` where there is none.
pub(crate) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Ids and reasons come from outside: a character that could move a cursor is shown as its escape.
pub(crate) fn visible(text: &str) -> String {
    text.chars().flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] }).collect()
}
