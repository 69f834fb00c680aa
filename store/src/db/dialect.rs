//! Says in SQLite's SQL what a statement says in PostgreSQL's.
//!
//! Each difference is one line of [`WORDS`], or one of the three rules that take a list as a parameter:
//!
//! | PostgreSQL | SQLite |
//! |---|---|
//! | `= any($1)` | `in (select value from json_each($1))` |
//! | `unnest($1) with ordinality as k (name, ord)` | `(select value as name, key + 1 as ord from json_each($1)) as k` |
//! | `jsonb_to_recordset($1) as k (id uuid)` | `(select value ->> 'id' as id from json_each($1)) as k` |
//!
//! Casts (`$1::text[]`) tell PostgreSQL the type of a parameter, and SQLite is given none.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Texts that are replaced as they stand. A longer text comes before the one it begins with.
const WORDS: &[(&str, &str)] = &[
    // There is one writer, so a transaction that writes holds all rows.
    (" for no key update skip locked", ""),
    (" for no key update", ""),
    (" for update of i skip locked", ""),
    (" for update of d", ""),
    (" for update skip locked", ""),
    (" for update", ""),
    // The tables of a cross join are read in the order they are written; without statistics SQLite may begin at the
    // wrong end.
    (" inner join ", " cross join "),
    ("timestamptz 'infinity'", "9223372036854775807"),
    ("timestamptz '-infinity'", "-9223372036854775808"),
    ("cardinality(", "json_array_length("),
    ("greatest(", "max("),
    ("least(", "min("),
    ("jsonb_build_object(", "json_object("),
    ("json_build_object(", "json_object("),
    ("json_agg(", "json_group_array("),
    // Times are microseconds.
    ("(extract(epoch from ", ""),
    (") * 1000000)", ""),
    (" collate \"C\"", ""),
    // As the partial indexes have it.
    ("not finished", "finished = 0"),
    ("and finished ", "and finished = 1 "),
];

/// Returns the statement as SQLite is given it. It is made once: a statement that stays the same stays prepared.
pub(super) fn sqlite(sql: &'static str) -> &'static str {
    static MADE: RwLock<Option<HashMap<&'static str, &'static str>>> = RwLock::new(None);
    if let Some(made) = MADE.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|all| all.get(sql)) {
        return made;
    }
    let mut made = MADE.write().unwrap_or_else(PoisonError::into_inner);
    // The statements are a fixed number of literals, so this ends.
    made.get_or_insert_default().entry(sql).or_insert_with(|| translated(sql).leak())
}

fn translated(sql: &str) -> String {
    let mut sql = without_casts(sql);
    for (postgres, sqlite) in WORDS {
        sql = sql.replace(postgres, sqlite);
    }
    let sql = replaced(&sql, "= any(", |parameter, rest| {
        Some((format!("in (select value from json_each({parameter}))"), rest))
    });
    let sql = replaced(&sql, "unnest(", |list, rest| {
        let rest = rest.strip_prefix(" with ordinality").unwrap_or(rest);
        let (name, columns, rest) = alias(rest)?;
        let columns = columns.split(", ").zip(["value", "key + 1"]);
        Some((rows(list, name, columns.map(|(column, value)| format!("{value} as {column}"))), rest))
    });
    replaced(&sql, "jsonb_to_recordset(", |list, rest| {
        let (name, columns, rest) = alias(rest)?;
        let columns = columns.split(", ").filter_map(|column| column.split(' ').next());
        Some((rows(list, name, columns.map(|column| format!("value ->> '{column}' as {column}"))), rest))
    })
}

fn rows(list: &str, name: &str, columns: impl Iterator<Item = String>) -> String {
    format!("(select {} from json_each({list})) as {name}", columns.collect::<Vec<_>>().join(", "))
}

/// Reads ` as name (columns)` at the beginning of `text`.
fn alias(text: &str) -> Option<(&str, &str, &str)> {
    let (name, text) = text.strip_prefix(" as ")?.split_once(" (")?;
    let (columns, text) = text.split_once(')')?;
    Some((name, columns, text))
}

/// Replaces each `call`, whose one parameter ends at the next parenthesis, as `with` says of the parameter and the text
/// behind.
fn replaced<'t>(text: &'t str, call: &str, with: impl Fn(&'t str, &'t str) -> Option<(String, &'t str)>) -> String {
    let (mut done, mut left) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = left.split_once(call) {
        let (parameter, after) = after.split_once(')').unwrap_or((after, ""));
        let (replacement, rest) =
            with(parameter, after).unwrap_or_else(|| panic!("`{call}` is not as expected: {text}"));
        done.push_str(before);
        done.push_str(&replacement);
        left = rest;
    }
    done + left
}

/// Takes away each `::type`.
fn without_casts(sql: &str) -> String {
    let mut parts = sql.split("::");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |sql, part| {
        sql + part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).trim_start_matches("[]")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_applied() {
        for (postgres, expected) in [
            (
                "select 1 from a where id = any($1::uuid[]) and b",
                "select 1 from a where id in (select value from json_each($1)) and b",
            ),
            (
                "from unnest($2::text[]) as k (name) where true",
                "from (select value as name from json_each($2)) as k where true",
            ),
            (
                "from unnest($1) with ordinality as k (id, ord) join",
                "from (select value as id, key + 1 as ord from json_each($1)) as k join",
            ),
            (
                "from jsonb_to_recordset($1::jsonb) as t (id uuid, state text) where",
                "from (select value ->> 'id' as id, value ->> 'state' as state from json_each($1)) as t where",
            ),
            ("greatest($2, 1) > timestamptz '-infinity' for update of d", "max($2, 1) > -9223372036854775808"),
            ("$1::text is null or ''::bytea = $2", "$1 is null or '' = $2"),
        ] {
            assert_eq!(translated(postgres), expected);
        }
    }

    #[test]
    fn a_statement_is_made_once() {
        let sql = "select 1 for update";
        assert_eq!(sqlite(sql), "select 1");
        assert!(std::ptr::eq(sqlite(sql), sqlite(sql)));
    }
}
