//! The house rules, as tests over the tree itself.
//!
//! Each rule is a function from a tree of files to what breaks it, and each test shows both: that our tree keeps the
//! rule, and that the rule catches a tree that does not. The text that a rule looks for is spelled in two halves here,
//! or the rule would find itself.

#[path = "tidy/citations.rs"]
mod citations;
#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/names.rs"]
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

/// No file of one subject needs more.
const SOURCE_LINES_MAX: usize = 600;

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "DECISIONS.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "payhook.example.toml",
];

/// Not ours to read: made by tools, or kept by them.
const NOT_OURS: [&str; 3] = ["target", ".git", "node_modules"];

/// Every text file by its path from the top.
struct Tree(BTreeMap<String, String>);

static OURS: LazyLock<Tree> = LazyLock::new(|| {
    let mut files = BTreeMap::new();
    read(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files);
    Tree(files)
});

fn read(dir: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).expect("a readable directory").flatten() {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = format!("{prefix}{name}");
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{path}/"), files);
        } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
            files.insert(path, text);
        }
    }
}

/// Our tree keeps the rule, and the rule catches every tree in `broken`.
#[track_caller]
fn holds(rule: impl Fn(&Tree) -> Vec<String>, broken: &[&[(&str, &str)]]) {
    for files in broken {
        let tree = Tree(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect());
        assert!(!rule(&tree).is_empty(), "the rule does not catch {files:?}");
    }
    let found = rule(&OURS);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

impl Tree {
    fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        let sources = self.0.iter().filter(|(path, _)| Path::new(path).extension().is_some_and(|it| it == "rs"));
        sources.map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

// ---- what sources say ----

#[test]
fn one_file_knows_the_retry_crate() {
    let name = concat!("Exponential", "Backoff");
    let home = "schema/src/backoff.rs";
    let rule = |tree: &Tree| {
        let users = tree.sources().filter(|(_, text)| text.contains(name)).map(|(path, _)| path);
        if users.eq([home]) { Vec::new() } else { vec![format!("only {home} computes waits, with its crate")] }
    };
    holds(
        rule,
        &[
            &[
                (home, concat!("Exponential", "Backoff")),
                ("schema/src/a.rs", concat!("let waits = Exponential", "Backoff::default();")),
            ],
            &[(home, "")],
        ],
    );
}

#[test]
fn only_provider_and_schema_vouch_for_what_was_verified() {
    let vouch = concat!("Verified::", "vouch(");
    let rule = |tree: &Tree| {
        let elsewhere =
            tree.sources().filter(|(path, _)| !path.starts_with("provider/src/") && !path.starts_with("schema/src/"));
        elsewhere.filter(|(_, text)| text.contains(vouch)).map(|(path, _)| format!("{path} calls {vouch}…)")).collect()
    };
    holds(rule, &[&[("ingress/src/lib.rs", concat!("let n = Verified::", "vouch(body);"))]]);
}

/// The code of a file without its tests, which stand last.
fn without_tests(text: &str) -> &str {
    text.split(concat!("#[cfg", "(test)]")).next().unwrap_or_default()
}

#[test]
fn the_queue_recovers_by_itself_and_never_through_its_client_library() {
    // The library's own recovery replays what was never confirmed, and keeps consumers it should have given up.
    let name = concat!("enable_auto_", "recover");
    let rule = |tree: &Tree| {
        let queue = tree.sources().filter(|(path, _)| path.starts_with("queue/"));
        queue.filter(|(_, text)| text.contains(name)).map(|(path, _)| format!("{path} names {name}")).collect()
    };
    holds(rule, &[&[("queue/src/rabbitmq.rs", concat!("properties.enable_auto_", "recover()"))]]);
}

#[test]
fn the_brokers_own_account_of_deaths_is_read_and_never_published() {
    // A copy of it in a publish arms the broker's cycle detection, which drops messages without a word.
    let rule = |tree: &Tree| {
        let queue = tree.sources().filter(|(path, _)| path.starts_with("queue/src/"));
        let lines = queue.flat_map(|(path, text)| without_tests(text).lines().map(move |line| (path, line)));
        let named = lines.filter(|(_, line)| !line.trim_start().starts_with("//") && line.contains("\"x-death\""));
        named
            .filter(|(_, line)| !line.contains(".get(\"x-death\")"))
            .map(|(path, line)| format!("{path} does more than read the header: {}", line.trim()))
            .collect()
    };
    holds(rule, &[&[("queue/src/rabbitmq/publish.rs", "headers.insert(\"x-death\".into(), deaths);\n")]]);
}

#[test]
fn no_source_file_is_too_long() {
    let rule = |tree: &Tree| {
        let lengths = tree.sources().map(|(path, text)| (path, text.lines().count()));
        lengths
            .filter(|(_, lines)| *lines > SOURCE_LINES_MAX)
            .map(|(path, lines)| format!("{path}: {lines} lines"))
            .collect()
    };
    holds(rule, &[&[("long.rs", &"//\n".repeat(SOURCE_LINES_MAX + 1))]]);
}

/// May name a provider outside its home, and why.
const NAME_PROVIDERS: [(&str, &str); 1] = [("src/demo/", "a story with payments of both")];

/// Migrations that named providers before migration 24 forgot them. A migration that was released is not touched again.
const NAME_PROVIDERS_FOR_EVER: [&str; 6] =
    ["0001_orders", "0002_history", "0004_dead_letters", "0006_refunds", "0012_replays", "0024_any_provider"];

/// Crates and folders that are the providers' home, or their double's, or test code.
const PROVIDER_HOMES: [&str; 5] = ["provider/", "schema/src/", "simulator/", "bench/", "tests/"];

#[test]
fn code_asks_the_profile_and_does_not_compare_providers() {
    // A comparison, a word in SQL, or a `_` arm decides for the next provider, and nobody notices.
    let names = ["Antom", "Omise", "Tamarind"].map(|name| [format!("Provider::{name}"), format!("Account::{name}")]);
    let words =
        ["antom", "omise", "tamarind"].map(|word| [format!("'{word}'"), format!("\"{word}\""), format!("\"{word}.\"")]);
    let is_exempt = |path: &str| {
        let tests = ["tests.rs", "/tests/", "/conformance", "promises.rs", "/model"];
        tests.iter().chain(&NAME_PROVIDERS_FOR_EVER).any(|part| path.contains(part))
    };
    let rule = |tree: &Tree| {
        let mut found = Vec::new();
        let sql = tree.0.iter().filter(|(path, _)| Path::new(path).extension() == Some("sql".as_ref()));
        for (path, text) in tree.sources().chain(sql.map(|(path, text)| (path.as_str(), text.as_str()))) {
            if PROVIDER_HOMES.iter().any(|home| path.starts_with(home)) || is_exempt(path) {
                continue;
            }
            let may_name = NAME_PROVIDERS.iter().any(|(file, _)| path.starts_with(file));
            for line in without_tests(text).lines().filter(|line| !line.trim_start().starts_with("//")) {
                let names_one = names.iter().flatten().chain(words.iter().flatten()).any(|name| line.contains(name));
                let compares = ["== ", "!= ", "matches!(", "if let "].iter().any(|it| line.contains(it));
                if names_one && (compares || !may_name) {
                    found.push(format!("{path} decides by a provider's name, not by its profile: {}", line.trim()));
                }
            }
        }
        found
    };
    holds(
        rule,
        &[
            &[("worker/src/a.rs", "if key.provider == Provider::Antom { seal() }")],
            &[("worker/src/a.rs", "let Account::Omise(account) = account else { return };")],
            &[("store/src/orders/a.rs", "\"select id from payments where provider = 'antom'\"")],
            &[("migrations/sqlite/0025_a.sql", "create index a on payments (id) where provider = 'omise';")],
            &[("src/reload.rs", "[\"antom.\", \"omise.\", \"tokens.\"]")],
            &[("src/demo/a.rs", "let kind = if provider != Provider::Omise { kind } else { key };")],
        ],
    );
}

/// They open a noun clause, where a verb or the thing itself should stand.
const CLAUSES: [&str; 10] =
    ["What ", "Whatever ", "Whether ", "Who ", "Whoever ", "Which ", "Nobody ", "Nothing ", "One ", "So "];

#[test]
fn doc_comments_open_with_a_verb_or_the_thing() {
    let rule = |tree: &Tree| {
        let (mut blocks, mut found) = (0, Vec::new());
        for (path, text) in tree.sources() {
            let mut before = None;
            for line in text.lines().map(str::trim_start) {
                let doc = line.strip_prefix("/// ").or_else(|| line.strip_prefix("//! "));
                if let (Some(doc), None) = (doc, before) {
                    blocks += 1;
                    found
                        .extend(CLAUSES.iter().any(|clause| doc.starts_with(clause)).then(|| format!("{path}: {doc}")));
                }
                before = doc;
            }
        }
        // A habit is caught, a sentence is not.
        if found.len() * 100 < blocks * 3 { Vec::new() } else { found }
    };
    holds(rule, &[&[("a.rs", "/// What it does.\nfn a() {}\n\n/// Reads it.\nfn b() {}\n")]]);
}

#[test]
fn an_exception_from_a_lint_is_expected_and_says_why() {
    let [allow, expect] = [concat!("[", "allow("), concat!("[", "expect(")];
    let rule = |tree: &Tree| {
        let mut found = Vec::new();
        for (path, text) in tree.sources() {
            if text.contains(&format!("#{allow}")) || text.contains(&format!("#!{allow}")) {
                found.push(format!("{path} allows a lint: expect it, with a reason"));
            }
            let expectations = text.split(expect).skip(1).filter_map(|rest| rest.split(")]").next());
            let without = expectations.filter(|it| !it.contains("reason = "));
            found.extend(without.map(|it| format!("{path} gives no reason for {it}")));
        }
        found
    };
    let reasonless = concat!("#[", "expect(dead_code)]\nstruct S;");
    holds(
        rule,
        &[
            &[("a.rs", concat!("#[", "allow(dead_code, reason = \"later\")]"))],
            &[("a.rs", concat!("#![", "allow(missing_docs)]"))],
            &[("a.rs", reasonless)],
        ],
    );
}

// ---- what the tree holds ----

#[test]
fn both_stores_have_the_same_migrations() {
    let rule = |tree: &Tree| {
        let names = |folder: &str| -> BTreeSet<&str> {
            let files = tree.0.keys().filter_map(|path| path.strip_prefix(folder));
            files.filter(|name| Path::new(name).extension().is_some_and(|it| it == "sql")).collect()
        };
        let (postgres, sqlite) = (names("migrations/postgres/"), names("migrations/sqlite/"));
        let mut found: Vec<String> =
            postgres.symmetric_difference(&sqlite).map(|name| format!("only one store has {name}")).collect();
        if postgres.is_empty() && sqlite.is_empty() {
            found.push("there are no migrations".to_owned());
        }
        found
    };
    let one_sided = [("migrations/postgres/0001_first.sql", ""), ("migrations/sqlite/0001_start.sql", "")];
    holds(rule, &[&one_sided, &[]]);
}

#[test]
fn the_documents_a_reader_looks_for_are_there() {
    let rule = |tree: &Tree| {
        let missing = DOCUMENTS.iter().filter(|name| tree.0.get(**name).is_none_or(|text| text.trim().is_empty()));
        missing.map(|name| format!("{name} is missing or empty")).collect()
    };
    holds(rule, &[&[("README.md", "# payhook")]]);
}

#[test]
fn every_test_that_a_document_names_exists() {
    let rule = |tree: &Tree| {
        let page = |name: &str| tree.0.get(name).map(String::as_str).unwrap_or_default();
        // Of the map, the table of invariants alone: the others name files and no tests.
        let invariants = page("ARCHITECTURE.md").split_once("\n## Invariants\n").map_or("", |(_, rest)| rest);
        let invariants = invariants.split("\n## ").next().unwrap_or_default();
        let mut found = Vec::new();
        for (page, text) in [("SECURITY.md", page("SECURITY.md")), ("ARCHITECTURE.md", invariants)] {
            for row in text.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")) {
                let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
                let mut file = "";
                // Every second part stands between backticks: a file, then the tests in it.
                for word in tests.split('`').skip(1).step_by(2) {
                    match word.contains(".rs") {
                        true => file = word,
                        false if !tree.0.get(file).is_some_and(|text| text.contains(&format!("fn {word}("))) => {
                            found.push(format!("{page} names {word} in {file}, which is not there"));
                        }
                        false => {}
                    }
                }
            }
            for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| invariant |")) {
                if page == "ARCHITECTURE.md" && !row.contains(".rs`") {
                    found.push(format!("{page} names no test for: {row}"));
                }
            }
        }
        found
    };
    let invariant = |row| format!("# Map\n\n## Invariants\n\n{row}\n\n## A journey\n");
    holds(
        rule,
        &[
            &[("SECURITY.md", "| an attack | a defence | `tests/a.rs` `it_is_refused` |"), ("tests/a.rs", "")],
            &[("ARCHITECTURE.md", &invariant("| it holds | `tests/a.rs` `it_holds` |")), ("tests/a.rs", "")],
            &[("ARCHITECTURE.md", &invariant("| it holds | everybody knows |"))],
        ],
    );
}

#[test]
fn money_has_one_home() {
    // The text that only these files may have, but for the crate that defines it and for tests.
    const HOMES: [(&str, &str, &str); 3] = [
        (concat!("Event::", "of_"), "schema/src/event.rs", "worker/src/money/announce.rs"),
        (concat!(" Change ", "{ "), "store/src/settling", "worker/src/money/"),
        (concat!("client.", "ask"), "provider/", "worker/src/ask/"),
    ];
    let makes = |line: &str| !line.contains(concat!("let ", "Change ")) && !line.trim_start().starts_with("//");
    let rule = |tree: &Tree| {
        let mut found = Vec::new();
        for (path, text) in tree.sources().filter(|(path, _)| path.contains("/src/") && !path.contains("/tests")) {
            let is_sample =
                ["promises", "/conformance", "/model", "bench/", "tests.rs"].iter().any(|it| path.contains(it));
            for (what, defined, made) in HOMES {
                let is_home = path.starts_with(defined) || path.starts_with(made);
                if !is_sample && !is_home && without_tests(text).lines().any(|line| line.contains(what) && makes(line))
                {
                    found.push(format!("{path} has `{what}`, whose place is {made}"));
                }
            }
        }
        found
    };
    holds(
        rule,
        &[
            &[("console/src/a.rs", concat!("let event = Event::", "of_order(kind, data, now);"))],
            &[("worker/src/chores/a.rs", concat!("let change = Change", " { order, payment, events };"))],
            &[("console/src/a.rs", concat!("self.client.", "ask(&account, id).await"))],
        ],
    );
}

/// Lists what stands behind `("GET", "/v1/orders/O-1",` in a test, and behind `("/v1/orders/{order_id}", READ, get(` in
/// the console.
fn calls(text: &str) -> Vec<(String, Vec<&str>)> {
    let rows = text.lines().filter_map(|line| line.trim_start().strip_prefix("(\""));
    rows.filter_map(|row| match row.split_once("\", \"") {
        Some((method, rest)) => Some((method.to_owned(), rest.split('"').next()?)),
        None => Some((row.rsplit(", ").next()?.split('(').next()?.to_uppercase(), row.split('"').next()?)),
    })
    .filter(|(_, path)| path.starts_with("/v1/"))
    .map(|(method, path)| (method, path.split('/').collect()))
    .collect()
}

#[test]
fn a_test_says_of_every_route_who_may() {
    let rule = |tree: &Tree| {
        let text = |path: &str| tree.0.get(path).map(String::as_str).unwrap_or_default();
        let tested = calls(text("console/tests/api/roles.rs"));
        let is_tested = |method: &String, route: &[&str]| {
            let same = |(part, of_route): (&&str, &&str)| part == of_route || of_route.starts_with('{');
            tested
                .iter()
                .any(|(of, path)| of == method && path.len() == route.len() && path.iter().zip(route).all(same))
        };
        let mut found = Vec::new();
        let routes = calls(text("console/src/lib.rs"));
        for (method, route) in routes.iter().filter(|(method, route)| !is_tested(method, route)) {
            found.push(format!("no row of console/tests/api/roles.rs is {method} {}", route.join("/")));
        }
        if routes.is_empty() {
            found.push("console/src/lib.rs has no routes".to_owned());
        }
        found
    };
    let routes = ("console/src/lib.rs", "        (\"/v1/orders/{order_id}\", READ, get(orders::show)),");
    let row = |row: &'static str| ("console/tests/api/roles.rs", row);
    holds(
        rule,
        &[
            &[routes],
            &[routes, row("(\"PUT\", \"/v1/orders/O-1\", &[]),")],
            &[routes, row("(\"GET\", \"/v1/orders\", &[]),")],
        ],
    );
}
