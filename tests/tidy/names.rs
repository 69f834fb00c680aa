//! Checks names and comments: a type name means one type, every file says what it does, and comments are as wide as
//! code.

use std::collections::BTreeMap;

use super::{Tree, holds};

/// The same as `max_width` in `rustfmt.toml`, which does not wrap comments.
const COMMENT_WIDTH_MAX: usize = 120;

/// Folders in which every file opens with a line that says what the file does; `tests.rs` tests the file beside it.
const INTRODUCED: [&str; 8] =
    ["bench/", "console/src/", "ingress/", "queue/", "store/src/", "vault/", "worker/src/", "xtask/"];

/// Type names that several crates may have, and the reason.
const SHARED_NAMES: [(&str, &str); 1] = [("Inner", "the part of a type behind its `Arc`, private to the type's file")];

/// A provider's folder: its types have the provider's own names. Harnesses in `tests/` are free, too.
fn is_free(path: &str) -> bool {
    let in_folder = |home: &str| path.strip_prefix(home).is_some_and(|rest| rest.contains('/'));
    path.starts_with("tests/") || in_folder("provider/src/") || in_folder("simulator/src/")
}

/// Returns the name of the type that a line declares for its whole module.
fn declared(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let (kind, rest) = line.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    ["struct", "enum", "trait", "type", "union"].contains(&kind).then_some(name)
}

#[test]
fn a_type_name_means_one_type() {
    let rule = |tree: &Tree| {
        let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (path, text) in tree.sources().filter(|(path, _)| !is_free(path)) {
            for name in text.lines().filter_map(declared) {
                homes.entry(name).or_default().push(path);
            }
        }
        homes.retain(|name, files| files.len() > 1 && !SHARED_NAMES.iter().any(|(shared, _)| shared == name));
        homes.iter().map(|(name, files)| format!("`{name}` is a type in {}", files.join(" and "))).collect()
    };
    holds(
        rule,
        &[&[("a/src/lib.rs", "pub struct Wait(u8);"), ("b/src/x.rs", "pub(crate) enum Wait {\n    Short,\n}")]],
    );
}

#[test]
fn every_file_says_what_it_does() {
    let rule = |tree: &Tree| {
        let files = tree.sources().filter(|(path, _)| INTRODUCED.iter().any(|folder| path.starts_with(folder)));
        let silent = files.filter(|(path, text)| !path.ends_with("tests.rs") && !text.starts_with("//!"));
        silent.map(|(path, _)| format!("{path} does not open with a `//!` line")).collect()
    };
    holds(rule, &[&[("queue/src/a.rs", "use std::fmt;\n")]]);
}

#[test]
fn comments_are_as_wide_as_code() {
    let rule = |tree: &Tree| {
        let lines = tree
            .sources()
            .flat_map(|(path, text)| text.lines().enumerate().map(move |(at, line)| (path, at + 1, line)));
        // Rows of a table and commands cannot be wrapped.
        let wraps = |text: &str| !text.starts_with(['|', '$']);
        let comments = lines.filter(|(.., line)| {
            let line = line.trim_start();
            line.starts_with("//") && wraps(line.trim_start_matches(['/', '!']).trim_start())
        });
        comments
            .filter(|(.., line)| line.chars().count() > COMMENT_WIDTH_MAX)
            .map(|(path, at, _)| format!("{path}:{at} is wider than {COMMENT_WIDTH_MAX} columns"))
            .collect()
    };
    holds(rule, &[&[("queue/src/a.rs", &format!("/// {}", "word ".repeat(24)))]]);
}
