//! What is done to bodies on their way, undone: their ends, and the form of what is in between.

use serde::de::IgnoredAny;

use super::reprint::{Escapes, Layout, Unicode, reprint};
use super::{Cause, Change};

const AS_IT_CAME: &str = "hand the body on byte for byte: verify before anything parses, trims or prints it";
const NO_CONVERSION: &str = "send the body in binary: no text mode, no conversion of line ends or character sets";

const MARK: &[u8] = b"\xef\xbb\xbf";

/// A body's ends as they may have been; nothing where that would change none.
pub(super) type Edge = fn(&[u8]) -> Option<Vec<u8>>;

/// What may have been done to either end.
pub(super) fn edges() -> Vec<Change<Edge>> {
    let change = |word, what, advice, undo: Edge| Change::new(word, what, advice, undo);
    vec![
        change("final_newline_missing", "the body was signed with a line feed at its end", AS_IT_CAME, |body| {
            Some([body, b"\n"].concat())
        }),
        change("final_newline_added", "the body was signed without the line feed at its end", AS_IT_CAME, |body| {
            let body = body.strip_suffix(b"\n")?;
            Some(body.strip_suffix(b"\r").unwrap_or(body).to_vec())
        }),
        change("final_newline_missing", "the body was signed with CR LF at its end", AS_IT_CAME, |body| {
            Some([body, b"\r\n"].concat())
        }),
        change("blanks_added", "the body was signed without the blanks around it", AS_IT_CAME, |body| {
            let trimmed = body.trim_ascii_end();
            (trimmed.len() < body.len()).then(|| trimmed.to_vec())
        }),
        change("blanks_added", "the body was signed without the blanks around it", AS_IT_CAME, |body| {
            let trimmed = body.trim_ascii();
            (trimmed.len() < body.len()).then(|| trimmed.to_vec())
        }),
        change(
            "byte_order_mark_added",
            "the body was signed without the byte order mark before it",
            NO_CONVERSION,
            |body| body.strip_prefix(MARK).map(<[u8]>::to_vec),
        ),
        change(
            "byte_order_mark_missing",
            "the body was signed with a byte order mark before it",
            NO_CONVERSION,
            |body| (!body.starts_with(MARK)).then(|| [MARK, body].concat()),
        ),
    ]
}

/// What may have been done to all of it: its line ends, or JSON that was parsed and printed again. `likely` are the layouts the
/// provider prints itself, the likeliest first; no two changes come to the same bytes.
pub(super) fn forms(body: &[u8], likely: &[Layout]) -> Vec<Change<Vec<u8>>> {
    let mut changes: Vec<Change<Vec<u8>>> = Vec::new();
    // What a change of its ends explains is not called more than that.
    let ends: Vec<Vec<u8>> = edges().iter().filter_map(|edge| (edge.value)(body)).collect();
    let mut add = |word, what: String, advice, value: Vec<u8>| {
        if value != body && !ends.contains(&value) && changes.iter().all(|known| known.value != value) {
            changes.push(Change::new(word, what, advice, value));
        }
    };
    let unix = without_returns(body);
    add(
        "line_endings_changed",
        "the body was signed with LF where it has CR LF".to_owned(),
        NO_CONVERSION,
        unix.clone(),
    );
    add(
        "line_endings_changed",
        "the body was signed with CR LF where it has LF".to_owned(),
        NO_CONVERSION,
        with_returns(&unix),
    );
    let marked = body.strip_prefix(MARK).unwrap_or(body);
    let Ok(text) = std::str::from_utf8(marked) else { return changes };
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    for escapes in ESCAPES {
        // As it is first: where only the escapes differ, that is what is told.
        for layout in [Layout::Kept].into_iter().chain(likely.iter().copied()).chain(LAYOUTS) {
            let Some(printed) = reprint(text, layout, escapes) else { return changes };
            let (word, name) = named(layout);
            let what = format!("the body was signed as {name}{}", described(escapes));
            match layout {
                // What stood around it stays, too.
                Layout::Kept => {
                    let whole = String::from_utf8_lossy(body).replacen(text, &printed, 1);
                    add(word, what, AS_IT_CAME, whole.into_bytes());
                }
                Layout::Compact | Layout::Spaced => add(word, what, AS_IT_CAME, printed.into_bytes()),
                Layout::Pretty | Layout::Omise => {
                    let ended = format!("{printed}\n");
                    add(word, format!("{what}, with a line feed at its end"), AS_IT_CAME, ended.into_bytes());
                    add(word, what, AS_IT_CAME, printed.into_bytes());
                }
            }
        }
    }
    changes
}

const LAYOUTS: [Layout; 4] = [Layout::Compact, Layout::Pretty, Layout::Omise, Layout::Spaced];

/// The likeliest first: nothing escaped that need not be, as most print; then as PHP, fastjson and Python do.
const ESCAPES: [Escapes; 6] = [
    Escapes { slash: false, unicode: Unicode::Raw },
    Escapes { slash: true, unicode: Unicode::Raw },
    Escapes { slash: true, unicode: Unicode::Lower },
    Escapes { slash: false, unicode: Unicode::Lower },
    Escapes { slash: false, unicode: Unicode::Upper },
    Escapes { slash: true, unicode: Unicode::Upper },
];

fn named(layout: Layout) -> (&'static str, &'static str) {
    match layout {
        Layout::Kept => ("json_escaped_otherwise", "the same JSON"),
        Layout::Compact => ("json_reprinted", "JSON without blanks"),
        Layout::Spaced => ("json_reprinted", "JSON on one line with blanks"),
        Layout::Pretty => ("json_reprinted", "JSON with two blanks a level"),
        Layout::Omise => ("json_reprinted", "JSON with two blanks a level and empty arrays over three lines"),
    }
}

fn described(escapes: Escapes) -> &'static str {
    match (escapes.slash, escapes.unicode) {
        (false, Unicode::Raw) => ", nothing escaped that need not be",
        (true, Unicode::Raw) => ", with `/` escaped",
        (false, Unicode::Lower) => ", with all beyond ASCII escaped",
        (false, Unicode::Upper) => ", with all beyond ASCII escaped in upper case",
        (true, Unicode::Lower) => ", with `/` and all beyond ASCII escaped",
        (true, Unicode::Upper) => ", with `/` and all beyond ASCII escaped in upper case",
    }
}

fn without_returns(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for (index, byte) in body.iter().enumerate() {
        if *byte != b'\r' || body.get(index + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out
}

fn with_returns(unix: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unix.len() + unix.len() / 16);
    for byte in unix {
        if *byte == b'\n' {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

/// What the body itself shows where nothing helps: that it is not all there.
pub(super) fn not_whole(body: &[u8]) -> Option<Cause> {
    let advice = "compare its length with `content-length`, and look for a limit on the way";
    if body.is_empty() {
        return Some(Cause::likely("body_empty", "there is no body", advice));
    }
    match serde_json::from_slice::<IgnoredAny>(body) {
        Err(error) if error.is_eof() => Some(Cause::likely("body_cut_short", "the body's JSON ends early", advice)),
        Err(_) => Some(Cause::likely(
            "body_not_json",
            "the body is not JSON",
            "hand the body on as it came: not compressed, not as a form, not in base64",
        )),
        Ok(_) => None,
    }
}
