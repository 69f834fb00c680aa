//! Checks that what documents and comments cite is in the tree.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Tree, holds};

/// A citation begins with a folder of the tree, or with one of these: a folder that is gone may still be cited.
const CITED: [&str; 5] = ["docs", "reference", "migrations", "deploy", "tests"];

const CITED_ENDINGS: [&str; 4] = [".md", ".rs", ".toml", ".sql"];

/// Gives the lines of a document, or the comments of any other file. A comment begins its line, or follows a blank.
fn prose<'t>(path: &str, text: &'t str) -> Vec<&'t str> {
    let mark = match Path::new(path).extension().and_then(|it| it.to_str()) {
        Some("md") => return text.lines().collect(),
        Some("rs") => "//",
        Some("sql") => "--",
        Some("toml" | "yml" | "yaml" | "service" | "sh") => "#",
        _ => return Vec::new(),
    };
    let after_blank = format!(" {mark}");
    let comment = |line: &'t str| match line.trim_start().strip_prefix(mark) {
        Some(comment) => Some(comment),
        None => line.split_once(&after_blank).map(|(_, comment)| comment),
    };
    text.lines().filter_map(comment).collect()
}

/// Finds what a line cites: `docs/providers/antom.md#refunds` is a path and a heading.
fn cited(line: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-#".contains(c)));
    words.map(|word| word.trim_end_matches(['.', '-', '/'])).filter_map(|word| {
        let (path, heading) = word.split_once('#').map_or((word, None), |(path, heading)| (path, Some(heading)));
        CITED_ENDINGS.iter().any(|ending| path.ends_with(ending)).then_some((path, heading))
    })
}

/// Makes the anchor of a heading: lower case, `-` for a blank, and nothing else but letters, digits, `-` and `_`.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn every_file_and_heading_that_is_cited_exists() {
    let rule = |tree: &Tree| {
        let mut folders: BTreeSet<&str> = tree.0.keys().filter_map(|path| Some(path.split_once('/')?.0)).collect();
        folders.extend(CITED);
        let mut found = Vec::new();
        for (file, text) in &tree.0 {
            for (path, heading) in prose(file, text).into_iter().flat_map(cited) {
                // A bare name is any file of that name, unless a heading of it is cited.
                if !path.split_once('/').map_or(heading.is_some(), |(folder, _)| folders.contains(folder)) {
                    continue;
                }
                match (tree.0.get(path), heading) {
                    (None, _) => found.push(format!("{file} cites {path}, which is not there")),
                    (Some(page), Some(heading)) => {
                        let mut headings = page.lines().filter(|line| line.starts_with('#')).map(anchor);
                        if !headings.any(|it| it == heading) {
                            found.push(format!("{file} cites {path}#{heading}, and there is no such heading"));
                        }
                    }
                    (Some(_), None) => {}
                }
            }
        }
        found
    };
    let page = ("docs/a.md", "# A\n## Who may, and why\n");
    holds(
        rule,
        &[
            &[("README.md", "See [the page](docs/b.md).")],
            &[("worker/src/a.rs", "/// `docs/b.md`, section 3.")],
            &[("worker/src/a.rs", concat!("let a = 1; /", "/ after reference/antom.md"))],
            &[("worker/src/a.rs", "//! `worker/src/b.rs` does it.")],
            &[("migrations/sqlite/0001_a.sql", "-- As migrations/sqlite/0000_b.sql has it.")],
            &[("deny.toml", "# deploy/payhook.toml")],
            &[("README.md", "SECURITY.md#attacks"), ("SECURITY.md", "# Security\n")],
            &[("worker/src/a.rs", "/// `docs/a.md#who-may`."), page],
            &[("worker/src/a.rs", "/// `docs/a.md#who-may-and-why`."), ("docs/a.md", "# A\n")],
        ],
    );
    for line in [
        "/// `docs/a.md#who-may-and-why`.",
        "// https://docs.antom.com/ac/docs/b.md",
        "let page = \"docs/b.md\";",
        "// docs/<name>.md, docs/*.md",
    ] {
        let files = [page, ("a.rs", line)].map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(rule(&Tree(files.into())), [""; 0], "{line}");
    }
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let rule = |tree: &Tree| {
        let lines =
            tree.0.iter().flat_map(|(path, text)| text.lines().enumerate().map(move |(at, line)| (path, at + 1, line)));
        let named = lines.filter(|(.., line)| paths.iter().any(|machine| line.contains(machine)));
        named.map(|(path, at, line)| format!("{path}:{at}: {}", line.trim())).collect()
    };
    holds(rule, &[&[("README.md", concat!("cd /wo", "rk/payhook"))], &[("deploy/x", concat!("/ro", "ot/.cargo"))]]);
}
