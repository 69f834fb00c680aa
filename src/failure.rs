//! How commands end: done, nothing found, or an error with a hint.

use std::fmt;

use crate::output;

/// The end of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// Exit code 3: there is no such thing, or the list is empty.
    NothingFound,
}

/// An error with the next step to try.
#[derive(Debug)]
struct Hinted {
    what: String,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Hinted {}

/// An error of ours: what failed, and what to try next.
pub(crate) fn failed(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { what: what.into(), hint: hint.into() }.into()
}

/// The same on top of a cause.
pub(crate) fn failed_by(
    cause: impl Into<anyhow::Error>,
    what: impl Into<String>,
    hint: impl Into<String>,
) -> anyhow::Error {
    cause.into().context(Hinted { what: what.into(), hint: hint.into() })
}

/// Prints what failed, why, and the next step, on standard error; readable without colour.
pub(crate) fn print(error: &anyhow::Error) {
    output::note(format_args!("error: {error}"));
    let mut printed = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !printed.contains(&text) {
            output::note(format_args!("  caused by: {text}"));
        }
        printed = text;
    }
    if let Some(Hinted { hint, .. }) = error.downcast_ref::<Hinted>() {
        output::note(format_args!("hint: {hint}"));
    }
}
